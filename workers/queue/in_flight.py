"""In flight: the messages that one process has taken and not settled, and its consumers' state."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Protocol
from uuid import uuid4

import redis
import structlog

from workers.queue.messages import Delivery, RefusedItem
from workers.queue.redis import Scripts
from workers.signing import Keyring

log = structlog.get_logger()


MAX_TAKEN = 1_500
"""Messages a process may have taken from a queue: a batch at work, and those held back."""


MAX_BESIDE_SUSPECT = 8
"""Messages beside one whose worker died once: so few are suspects after a second death."""


UNLIMITED = 1_000_000


def max_at_once(deliveries: Iterable[Delivery]) -> int:
    """Return how many messages a process may work on at once, for the sake of some of them."""
    return min((_max_beside(delivery.attempts) for delivery in deliveries), default=UNLIMITED)


def _max_beside(attempts: int) -> int:
    return 1 if attempts > 1 else MAX_BESIDE_SUSPECT if attempts else UNLIMITED


class InFlightMessages:
    """One queue's messages in this process; its threads share them.

    A message is at work, or it is held: it was taken, and waits to be handed out, or again.
    """

    def __init__(self) -> None:
        """Start empty."""
        self._lock = threading.Lock()
        self._taken: dict[str, Delivery] = {}
        self._at_work: set[str] = set()

    def take(self, deliveries: Iterable[Delivery]) -> None:
        """Note what was taken from Redis."""
        with self._lock:
            self._taken.update((delivery.message_id, delivery) for delivery in deliveries)

    def drop(self, message_ids: Iterable[str]) -> None:
        """Forget what is settled, or was given back."""
        with self._lock:
            for message_id in message_ids:
                self._taken.pop(message_id, None)
                self._at_work.discard(message_id)

    def hand_out(self, deliveries: Iterable[Delivery]) -> None:
        """Note what somebody works on from now on."""
        with self._lock:
            self._at_work.update(delivery.message_id for delivery in deliveries)

    def hold(self, message_ids: Iterable[str]) -> None:
        """Note what nobody works on any more, and is not settled."""
        with self._lock:
            self._at_work.difference_update(message_ids)

    def held(self, *, but: Collection[str] = ()) -> list[Delivery]:
        """Return what is held, oldest first, except some."""
        with self._lock:
            held = [
                delivery
                for message_id, delivery in self._taken.items()
                if message_id not in self._at_work and message_id not in but
            ]
        return sorted(held, key=lambda delivery: (delivery.stamp, delivery.message_id))

    def at_work(self) -> list[Delivery]:
        """Return what is worked on."""
        with self._lock:
            return [self._taken[message_id] for message_id in self._at_work]

    def settle(self, stamps: Mapping[str, Collection[int]]) -> tuple[list[str], list[Delivery]]:
        """Take settled commands out, given as stamps by message.

        Returns the messages of which nothing is left, which are forgotten, and those of which
        something is.
        """
        settled, shrunk = [], []
        with self._lock:
            for message_id, settled_stamps in stamps.items():
                delivery = self._taken.get(message_id)
                if delivery is None:
                    continue
                delivery.commands = [
                    command for command in delivery.commands if command.stamp not in settled_stamps
                ]
                if delivery.commands:
                    shrunk.append(delivery)
                else:
                    settled.append(message_id)
                    del self._taken[message_id]
                    self._at_work.discard(message_id)
        return settled, shrunk

    def all(self) -> Collection[Delivery]:
        """Return everything taken."""
        with self._lock:
            return list(self._taken.values())

    def __len__(self) -> int:
        return len(self._taken)


QuarantineItems = Callable[[Sequence[RefusedItem]], None]
"""Keeps what is for nobody; raises while it cannot."""


class Member(Protocol):
    """A consumer as the others know it."""

    in_flight: InFlightMessages
    room: threading.Event

    def restore(self) -> None:
        """Tell Redis what it has."""

    def release(self) -> None:
        """Give back whatever was taken and not settled."""

    def give_back(self, deliveries: Collection[Delivery]) -> None:
        """Put messages that nobody works on back into the queue."""


class ProcessState:
    """The consumers of one process, and what they share."""

    def __init__(self, client: redis.Redis, quarantine: QuarantineItems, keys: Keyring) -> None:
        """Take a name that no other process has."""
        self.client, self.scripts = client, Scripts(client)
        self.quarantine, self.keys = quarantine, keys
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
        """Wake the consumers that wait until somebody has fewer messages in flight."""
        for consumer in self.everyone():
            consumer.room.set()

    def remember(self, epoch: str) -> None:
        """Note since when Redis remembers; if it has forgotten us, tell it what we have."""
        if self.epoch and epoch != self.epoch:
            in_flight = sum(len(consumer.in_flight) for consumer in self.everyone())
            log.error("redis.wiped", in_flight=in_flight)
            for consumer in self.everyone():
                consumer.restore()
        self.epoch = epoch
