"""Broker harness: one process's broker at a real Redis, whose batches a test settles by hand."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

import redis
from dramatiq.broker import MessageProxy

from models.errors import Unavailable
from tests.support.sample_commands import registration
from workers.queue.broker import EarnestBroker
from workers.queue.consumer import BundleConsumer
from workers.queue.messages import Bundle, Delivery, RefusedItem
from workers.queue.redis import COMMANDS, Keys

KEYS = Keys(COMMANDS)


@dataclass
class BrokerHarness:
    """One process's broker at a wire; `refused` is what it quarantined."""

    wire: redis.Redis
    refused: list[RefusedItem] = field(default_factory=list)
    away: bool = False
    broker: EarnestBroker = field(init=False)

    def __post_init__(self) -> None:
        self.broker = EarnestBroker(self.wire, self.quarantine)

    def quarantine(self, refused_message: RefusedItem) -> None:
        if self.away:
            raise Unavailable("the database is away")
        self.refused.append(refused_message)

    @property
    def consumer(self) -> BundleConsumer:
        return self.broker.consume(COMMANDS)

    def take(self) -> MessageProxy | None:
        return next(self.consumer)

    def settle(self, message: MessageProxy) -> list[str]:
        """Settle a bundle and acknowledge it; return the texts of its commands."""
        bundle: Bundle = message.kwargs["bundle"]
        bundle.settled = {delivery.message_id for delivery in bundle.deliveries}
        self.consumer.ack(message)
        return [command.text for delivery in bundle.deliveries for command in delivery.commands]

    def drain(self) -> list[str]:
        """Settle until the queue is empty; return the texts of the commands, in order."""
        texts: list[str] = []
        while self.wire.hlen(KEYS.messages):
            message = self.take()
            texts += self.settle(message) if message else []
        return texts


def deliveries_of(message: MessageProxy | None) -> list[Delivery]:
    return list(require(message).kwargs["bundle"].deliveries)


def require(message: MessageProxy | None) -> MessageProxy:
    assert message is not None
    return message


def write_raw(redis_client: redis.Redis, name: str | bytes, payload: str | bytes) -> None:
    """Write a message past the door, as anybody could who reaches Redis."""
    now, message_id = redis_client.time(), name if isinstance(name, bytes) else name.encode()
    redis_client.hset(KEYS.messages, message_id, payload)
    redis_client.zadd(KEYS.pending, {message_id: now[0] * 1_000_000 + now[1]})
    redis_client.rpush(KEYS.waiting, message_id)


def message_text(**changes: object) -> str:
    """Write a message as our client does, with some of its fields replaced."""
    kwargs = {"commands": [registration(1)], "received_at": 5, "stamp": 5}
    fields = {"queue_name": COMMANDS, "actor_name": "settle_commands", "args": [], "options": {}}
    return json.dumps(fields | {"message_id": "m", "kwargs": kwargs} | changes)


def message_with_kwargs(**changes: object) -> str:
    return message_text(kwargs={"commands": ["x"], "received_at": 5, "stamp": 5} | changes)
