"""Broker: Dramatiq on Redis, handing out bundles and honouring nobody's options."""

from __future__ import annotations

from typing import Any

import redis
from dramatiq import Message
from dramatiq.broker import Broker

from workers.consumer import BundleConsumer
from workers.crew import Crew, Quarantine
from workers.envelope import UNSIGNED
from workers.signing import Keyring


class EarnestBroker(Broker):
    """A Dramatiq broker that hands out bundles: what one commit can settle.

    It keeps Dramatiq's keys and message format, and none of its middleware: no delays, no
    retries, no options are honoured, so a forged message can ask for nothing but its actor.
    """

    def __init__(
        self, client: redis.Redis, quarantine: Quarantine, keys: Keyring = UNSIGNED
    ) -> None:
        """Keep the client; nothing is sent yet."""
        super().__init__(middleware=[])
        self.client = client
        self.crew = Crew(client, quarantine, keys)
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
        """Refuse Dramatiq's own way in: what it sends bears no stamp of the door."""
        del delay
        raise NotImplementedError(f"use workers.client instead of {message.actor_name}.send()")

    def release_all(self) -> None:
        """Give back everything taken and not settled; for a process that ends in good order."""
        for consumer in self.crew.everyone():
            consumer.release()
