"""Broker harness: one process's broker at a real Redis, whose messages a test settles by hand."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field

import redis
from dramatiq.broker import MessageProxy

from models.errors import Unavailable
from tests.support.sample_commands import registration
from workers.queue.broker import EarnestBroker
from workers.queue.consumer import BatchConsumer, MessageBatch
from workers.queue.messages import Delivery, Received, RefusedItem
from workers.queue.redis import COMMANDS, Keys

KEYS = Keys(COMMANDS)


@dataclass
class BrokerHarness:
    """One process's broker at a Redis; `quarantined` is what it refused."""

    redis_client: redis.Redis
    quarantined: list[RefusedItem] = field(default_factory=list)
    database_is_down: bool = False
    broker: EarnestBroker = field(init=False)

    def __post_init__(self) -> None:
        self.broker = EarnestBroker(self.redis_client, self.quarantine)

    def quarantine(self, items: Sequence[RefusedItem]) -> None:
        if self.database_is_down:
            raise Unavailable("the database is away")
        self.quarantined.extend(items)

    @property
    def consumer(self) -> BatchConsumer:
        return self.broker.consume(COMMANDS)

    def take(self) -> MessageProxy | None:
        return next(self.consumer)

    def settle(self, message: MessageProxy) -> list[str]:
        """Settle a batch and acknowledge it; return the texts of its commands."""
        batch = batch_of(message)
        commands = commands_of(message)
        batch.acknowledge(commands)
        batch.consumer.ack(message)
        return [command.text for command in commands]

    def drain(self) -> list[str]:
        """Settle until the queue is empty; return the texts of the commands, in order."""
        texts: list[str] = []
        while self.redis_client.hlen(KEYS.messages):
            message = self.take()
            texts += self.settle(message) if message else []
        return texts


def batch_of(message: MessageProxy | None) -> MessageBatch:
    """Return what a message of Dramatiq's carries."""
    batch = require(message).kwargs["batch"]
    assert isinstance(batch, MessageBatch)
    return batch


def deliveries_of(message: MessageProxy | None) -> list[Delivery]:
    return list(batch_of(message).deliveries)


def commands_of(message: MessageProxy | None) -> list[Received]:
    """Return the commands of a batch that are not settled yet."""
    return [command for delivery in deliveries_of(message) for command in delivery.commands]


def require(message: MessageProxy | None) -> MessageProxy:
    assert message is not None
    return message


def write_raw(redis_client: redis.Redis, name: str | bytes, payload: str | bytes) -> None:
    """Write a message past the arrival clock, as anybody could who reaches Redis."""
    now, message_id = redis_client.time(), name if isinstance(name, bytes) else name.encode()
    redis_client.hset(KEYS.messages, message_id, payload)
    redis_client.zadd(KEYS.pending, {message_id: now[0] * 1_000_000 + now[1]})
    redis_client.rpush(KEYS.waiting, message_id)


def message_text(**changes: object) -> str:
    """Write a message as our client does, with some of its fields replaced."""
    kwargs = {"commands": [registration(1)]}
    fields = {"queue_name": COMMANDS, "actor_name": "settle_commands", "args": [], "options": {}}
    return json.dumps(fields | {"message_id": "m", "kwargs": kwargs} | changes)


def message_with_kwargs(**changes: object) -> str:
    return message_text(kwargs={"commands": ["x"]} | changes)
