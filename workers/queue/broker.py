"""Broker: Dramatiq on Redis, handing out batches and honouring no options; its two actors."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

import dramatiq
import redis
import structlog
from dramatiq import Message
from dramatiq.broker import Broker

from models.errors import Unavailable
from workers.queue.consumer import BundleConsumer
from workers.queue.in_flight import ProcessState, QuarantineItem
from workers.queue.messages import ACTORS, UNSIGNED, Bundle, Received
from workers.queue.redis import COMMANDS, WAKEUPS
from workers.signing import Keyring

log = structlog.get_logger()


class EarnestBroker(Broker):
    """A Dramatiq broker that hands out bundles: what one commit can settle.

    It keeps Dramatiq's keys and message format, and none of its middleware: no delays, no
    retries, no options are honoured, so a forged message can ask for nothing but its actor.
    """

    def __init__(
        self, client: redis.Redis, quarantine: QuarantineItem, keys: Keyring = UNSIGNED
    ) -> None:
        """Keep the client; nothing is sent yet."""
        super().__init__(middleware=[])
        self.client = client
        self.crew = ProcessState(client, quarantine, keys)
        self.consumers: dict[str, BundleConsumer] = {}

    def declare_queue(self, queue_name: str) -> None:
        """Declare a queue, without a twin for delayed messages: there are none."""
        if queue_name not in self.queues:
            self.emit_before("declare_queue", queue_name)
            self.queues[queue_name] = None
            self.emit_after("declare_queue", queue_name)

    def consume(self, queue_name: str, prefetch: int = 1, timeout: int = 0) -> BundleConsumer:
        """Return the queue's consumer; the same one again when its thread starts anew."""
        del prefetch, timeout
        if queue_name not in self.consumers:
            self.consumers[queue_name] = BundleConsumer(self.crew, queue_name)
        return self.consumers[queue_name]

    def enqueue(self, message: Message[Any], *, delay: int | None = None) -> Message[Any]:
        """Refuse Dramatiq's own way in: what it sends bears no stamp of ours."""
        del delay
        raise NotImplementedError(f"use workers.client instead of {message.actor_name}.send()")

    def release_all(self) -> None:
        """Give back everything taken and not settled; for a process that ends in good order."""
        for consumer in self.crew.everyone():
            consumer.release()


MIN_RETRY_INTERVAL_S = 0.1


MAX_RETRY_INTERVAL_S = 2.0


DeferredCommands = list[Received] | None


def declare_actors(
    broker: EarnestBroker,
    process: Callable[[Sequence[Received], Sequence[str]], list[Received]],
    stopping: threading.Event,
) -> None:
    """Declare the two actors: people's commands first, then the clock's wake-ups.

    `process` takes commands and ids of orders to wake, and returns the commands it deferred.
    """

    def settle(bundle: Bundle) -> None:
        commands = [command for delivery in bundle.deliveries for command in delivery.commands]
        order_ids = {order_id for delivery in bundle.deliveries for order_id in delivery.orders}
        deferred_commands = _retry_until_settled(
            lambda: process(commands, sorted(order_ids)), stopping
        )
        if deferred_commands is not None:
            deferred_message_ids = {command.message_id for command in deferred_commands}
            bundle.settled = {
                delivery.message_id for delivery in bundle.deliveries
            } - deferred_message_ids

    for queue, priority in ((COMMANDS, 0), (WAKEUPS, 10)):
        name = ACTORS[queue]
        declare = dramatiq.actor(
            broker=broker, actor_name=name, queue_name=queue, priority=priority
        )
        declare(settle)


def _retry_until_settled(
    settle: Callable[[], list[Received]], stopping: threading.Event
) -> DeferredCommands:
    """Settle, and while a server is away wait and try again: there is nothing better to do.

    Nothing is acknowledged meanwhile. Returns None when the process is asked to stop first.
    """
    pause_s = MIN_RETRY_INTERVAL_S
    while True:
        try:
            return settle()
        except Unavailable as error:
            log.warning("settle.waiting", error=str(error)[:300], pause_s=pause_s)
        except Exception:
            log.exception("settle.failed", pause_s=pause_s)
        if stopping.wait(pause_s):
            return None
        pause_s = min(2 * pause_s, MAX_RETRY_INTERVAL_S)
