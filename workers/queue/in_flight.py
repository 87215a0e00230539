"""In flight: the messages that one process has taken and not settled, and its consumers' state."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Protocol
from uuid import uuid4

import redis
import structlog

from workers.queue.messages import Bundle, Delivery, RefusedItem
from workers.queue.redis import Scripts
from workers.signing import Keyring

log = structlog.get_logger()


TAKEN = 768
"""Messages a process may have taken from a queue: a bundle at work, and two that rest."""


AHEAD = 1
"""Bundles of a queue that a process has at work: what comes in meanwhile makes one commit, and is
handled after what it may depend on, where more bundles would be small ones, and overtake."""


FEW = 8
"""Company of a message whose worker died once: so few are suspects after a second death."""


HELD_S = 0.05
"""How long a message that was held back rests before it is handled again."""


def company(attempts: int) -> int:
    """Return how many messages a process may work on at once with one of so many deaths."""
    return 1 if attempts > 1 else FEW if attempts else 1_000_000


class InFlightMessages:
    """One queue's messages in this process; its threads share them."""

    def __init__(self) -> None:
        """Start empty."""
        self._lock = threading.Lock()
        self._taken: dict[str, Delivery] = {}
        self._resting: dict[str, float] = {}
        self._given: set[str] = set()
        self._bundles = 0

    def take(self, deliveries: Iterable[Delivery]) -> None:
        """Note what was taken from Redis."""
        with self._lock:
            self._taken.update((delivery.message_id, delivery) for delivery in deliveries)

    def drop(self, message_ids: Iterable[str]) -> None:
        """Forget what is settled, or was given back."""
        with self._lock:
            for message_id in message_ids:
                self._taken.pop(message_id, None)
                self._resting.pop(message_id, None)
                self._given.discard(message_id)

    def hand_out(self, deliveries: Iterable[Delivery]) -> None:
        """Note what somebody works on from now on."""
        with self._lock:
            self._bundles += 1
            self._given.update(delivery.message_id for delivery in deliveries)

    def full(self) -> bool:
        """Tell whether there is work enough."""
        return self._bundles >= AHEAD

    def put_down(self, bundle: Bundle) -> None:
        """Forget what a bundle settled, and let the rest of it rest for a moment."""
        self.drop(
            delivery.message_id
            for delivery in bundle.deliveries
            if delivery.message_id in bundle.settled
        )
        until, message_ids = (
            time.monotonic() + HELD_S,
            [delivery.message_id for delivery in bundle.deliveries],
        )
        with self._lock:
            self._bundles -= 1
            self._given.difference_update(message_ids)
            self._resting.update(
                (message_id, until) for message_id in message_ids if message_id in self._taken
            )

    def rest(self, *, but: Collection[str]) -> None:
        """Put down what was taken and not handed out."""
        now = time.monotonic()
        with self._lock:
            idle = self._taken.keys() - self._given - self._resting.keys() - set(but)
            self._resting.update((message_id, now) for message_id in idle)

    def pick_up(self, at_work: int, allowed: int, limit: int) -> list[Delivery]:
        """Take up again what has rested enough, up to `limit`, where `at_work` are worked on.

        There may be `allowed` at work at once, and fewer for the sake of some.
        """
        now, deliveries = time.monotonic(), list[Delivery]()
        with self._lock:
            for message_id in [
                message_id for message_id, until in self._resting.items() if until <= now
            ]:
                delivery = self._taken[message_id]
                allowed = min(allowed, company(delivery.attempts))
                if len(deliveries) >= limit or at_work + len(deliveries) >= allowed:
                    break
                deliveries.append(delivery)
                del self._resting[message_id]
        return deliveries

    def resting(self) -> list[Delivery]:
        """Return what is held back."""
        with self._lock:
            return [self._taken[message_id] for message_id in self._resting]

    def at_work(self) -> list[Delivery]:
        """Return what was handed out and is neither settled nor put down."""
        with self._lock:
            return [
                self._taken[message_id] for message_id in self._given if message_id in self._taken
            ]

    def all(self) -> Collection[Delivery]:
        """Return everything taken."""
        with self._lock:
            return list(self._taken.values())

    def __len__(self) -> int:
        return len(self._taken)


QuarantineItem = Callable[[RefusedItem], None]
"""Keeps what is for nobody; raises while it cannot."""


class Member(Protocol):
    """A consumer as the others know it."""

    hands: InFlightMessages
    room: threading.Event

    def restore(self) -> None:
        """Tell Redis what it has."""

    def give_back(self, deliveries: Sequence[Delivery], *, behind: bool = False) -> None:
        """Put messages that nobody works on back into the queue."""

    def release(self) -> None:
        """Give back whatever was taken and not settled."""


class ProcessState:
    """The consumers of one process, and what they share."""

    def __init__(self, client: redis.Redis, quarantine: QuarantineItem, keys: Keyring) -> None:
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
        """Wake the consumers that wait until somebody has fewer messages in flight."""
        for consumer in self.everyone():
            consumer.room.set()

    def remember(self, epoch: str) -> None:
        """Note since when Redis remembers; if it has forgotten us, tell it what we have."""
        if self.epoch and epoch != self.epoch:
            log.error("redis.wiped", held=sum(len(consumer.hands) for consumer in self.everyone()))
            for consumer in self.everyone():
                consumer.restore()
        self.epoch = epoch
