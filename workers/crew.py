"""Crew: what the consumers of one process share."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Protocol
from uuid import uuid4

import redis
import structlog

from workers.envelope import Delivery, Refused
from workers.hands import Hands
from workers.signing import Keyring
from workers.wire import Scripts

log = structlog.get_logger()

Quarantine = Callable[[Refused], None]
"""Keeps what is for nobody; raises while it cannot."""


class Member(Protocol):
    """A consumer as the others know it."""

    hands: Hands
    room: threading.Event

    def restore(self) -> None:
        """Tell Redis what it has."""

    def give_back(self, deliveries: Sequence[Delivery], *, behind: bool = False) -> None:
        """Put messages that nobody works on back into the queue."""

    def release(self) -> None:
        """Give back whatever was taken and not settled."""


class Crew:
    """The consumers of one process, and what they share."""

    def __init__(self, client: redis.Redis, quarantine: Quarantine, keys: Keyring) -> None:
        """Take a name that no other process has."""
        self.client, self.scripts = client, Scripts(client)
        self.quarantine, self.signing = quarantine, keys
        self.name = str(uuid4())
        self.epoch = ""
        # One consumer takes at a time: a message under suspicion must be alone in the process.
        self.turn = threading.Lock()
        self._members: dict[str, Member] = {}

    def join(self, member: Member, queue: str) -> None:
        """Add the consumer of a queue."""
        self._members[queue] = member

    def everyone(self) -> list[Member]:
        """Return the consumers of all queues."""
        return list(self._members.values())

    def make_room(self) -> None:
        """Wake the consumers that wait until somebody has less in hand."""
        for consumer in self.everyone():
            consumer.room.set()

    def remember(self, epoch: str) -> None:
        """Note since when Redis remembers; if it has forgotten us, tell it what we have."""
        if self.epoch and epoch != self.epoch:
            log.error("redis.wiped", held=sum(len(consumer.hands) for consumer in self.everyone()))
            for consumer in self.everyone():
                consumer.restore()
        self.epoch = epoch
