"""Broker: Dramatiq on Redis, handing out batches and honouring no options; its two actors."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, TypeVar

import dramatiq
import redis
import structlog
from dramatiq import Message
from dramatiq.broker import Broker

from models.errors import Unavailable
from workers.queue.consumer import BatchConsumer, MessageBatch
from workers.queue.in_flight import ProcessState, QuarantineItems
from workers.queue.messages import ACTORS, UNSIGNED
from workers.queue.redis import COMMANDS, WAKEUPS
from workers.signing import Keyring

log = structlog.get_logger()

T = TypeVar("T")


class EarnestBroker(Broker):
    """A Dramatiq broker that hands out batches: what one commit can settle.

    It keeps Dramatiq's keys and message format, and none of its middleware: no delays, no
    retries, no options are honoured, so a forged message can ask for nothing but its actor.
    """

    def __init__(
        self, client: redis.Redis, quarantine: QuarantineItems, keys: Keyring = UNSIGNED
    ) -> None:
        """Keep the client; nothing is sent yet."""
        super().__init__(middleware=[])
        self.client = client
        self.process = ProcessState(client, quarantine, keys)
        self.consumers: dict[str, BatchConsumer] = {}

    def declare_queue(self, queue_name: str) -> None:
        """Declare a queue, without a twin for delayed messages: there are none."""
        if queue_name not in self.queues:
            self.emit_before("declare_queue", queue_name)
            self.queues[queue_name] = None
            self.emit_after("declare_queue", queue_name)

    def consume(self, queue_name: str, prefetch: int = 1, timeout: int = 0) -> BatchConsumer:
        """Return the queue's consumer; the same one again when its thread starts anew."""
        del prefetch, timeout
        if queue_name not in self.consumers:
            self.consumers[queue_name] = BatchConsumer(self.process, queue_name)
        return self.consumers[queue_name]

    def enqueue(self, message: Message[Any], *, delay: int | None = None) -> Message[Any]:
        """Refuse Dramatiq's own way in: what it sends bears no stamp of ours."""
        del delay
        raise NotImplementedError(f"use workers.client instead of {message.actor_name}.send()")

    def release_all(self) -> None:
        """Give back everything taken and not settled; for a process that ends in good order."""
        for consumer in self.process.everyone():
            consumer.release()


MIN_RETRY_INTERVAL_S = 0.1


MAX_RETRY_INTERVAL_S = 2.0


def declare_actors(
    broker: EarnestBroker,
    settle: Callable[[MessageBatch], None],
    wake: Callable[[list[str]], None],
    stopping: threading.Event,
) -> None:
    """Declare the two actors: people's commands first, then the clock's wake-ups."""

    def settle_commands(batch: MessageBatch) -> None:
        _retry_until_done(lambda: settle(batch), stopping)

    def wake_orders(batch: MessageBatch) -> None:
        subjects = sorted({name for delivery in batch.deliveries for name in delivery.orders})
        if _retry_until_done(lambda: wake(subjects), stopping):
            batch.acknowledge_all()

    for queue, actor, priority in ((COMMANDS, settle_commands, 0), (WAKEUPS, wake_orders, 10)):
        dramatiq.actor(
            broker=broker, actor_name=ACTORS[queue], queue_name=queue, priority=priority
        )(actor)


def _retry_until_done(work: Callable[[], None], stopping: threading.Event) -> bool:
    """Work, and while a server is away wait and try again: there is nothing better to do.

    Returns False when the process is asked to stop first.
    """
    pause_s = MIN_RETRY_INTERVAL_S
    while True:
        try:
            work()
        except Unavailable as error:
            log.warning("settle.waiting", error=str(error)[:300], pause_s=pause_s)
        except Exception:
            log.exception("settle.failed", pause_s=pause_s)
        else:
            return True
        if stopping.wait(pause_s):
            return False
        pause_s = min(2 * pause_s, MAX_RETRY_INTERVAL_S)
