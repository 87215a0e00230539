"""Clocks: an arrival clock that a test moves, and time that passes as under a scheduler."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import Engine, func, select, union_all

from models.fields import MICROSECOND
from workers.database.engine import reading
from workers.inbox import ReservedMessage
from workers.processing import wakeups
from workers.processing.processor import BatchProcessor
from workers.queue.frontier import Blocker, Frontier
from workers.queue.messages import HeldCommand, Received, announce
from workers.timestamps import from_us, to_us


@dataclass(slots=True)
class FixedArrivalClock:
    """An arrival clock that stands still at `present`, until the test moves it.

    `waiting` holds, under its message's id, what others have received and not settled; of those
    named in `unread` nobody has said yet what they are about. `held` is what was held back last.
    """

    present: datetime
    waiting: dict[str, Received] = field(default_factory=dict)
    unread: set[str] = field(default_factory=set)
    held: list[HeldCommand] = field(default_factory=list)

    def now(self) -> datetime:
        """Return the instant at which the clock stands."""
        return self.present

    def frontier(self, announcements: Mapping[str, bytes], before: int) -> Frontier:
        """Return what others have that begins before a stamp, also what nobody has read."""
        frontier = Frontier(to_us(self.present))
        for message_id, received in self.waiting.items():
            if message_id not in announcements and received.stamp < before:
                frontier.add_message(
                    message_id, received.stamp, announce(received.stamp, [received])
                )
        return frontier

    def wakeup_frontier(self) -> Frontier:
        """Return what others have, up to the first that nobody has read."""
        frontier = Frontier(to_us(self.present))
        unread = (self.waiting[message_id] for message_id in self.unread & self.waiting.keys())
        oldest_unread = min(unread, key=lambda received: received.stamp, default=None)
        if oldest_unread is not None:
            frontier.unknown_from = Blocker(oldest_unread.message_id, 0, oldest_unread.stamp)
        for message_id, received in self.waiting.items():
            if oldest_unread is None or received.stamp < oldest_unread.stamp:
                frontier.add_message(
                    message_id, received.stamp, announce(received.stamp, [received])
                )
        return frontier

    def watermark(self) -> datetime:
        """Return up to when time may pass where nothing is in flight."""
        return from_us(self.wakeup_frontier().horizon(()))

    def note_held(self, held: Sequence[HeldCommand]) -> None:
        """Keep which commands are held back now."""
        self.held = list(held)


@dataclass(slots=True)
class FixedReservations:
    """Gives stamps from `next_stamp` on; while `redis_is_away` nobody else heeds them."""

    next_stamp: int
    redis_is_away: bool = False
    reserved: list[ReservedMessage] = field(default_factory=list)
    cancelled: list[str] = field(default_factory=list)

    def reserve(self, messages: Sequence[ReservedMessage]) -> list[int] | None:
        """Reserve the stamps of each message's commands, and return the first of each."""
        if self.redis_is_away:
            return None
        self.reserved += messages
        return [self.stamp_here(count) for _, count, _ in messages]

    def stamp_here(self, count: int) -> int:
        """Return the first of so many stamps."""
        self.next_stamp += count
        return self.next_stamp - count

    def cancel(self, message_ids: Sequence[str]) -> None:
        """Note what was given up."""
        self.cancelled += message_ids


CLAIM_LIMIT = 100
"""How many orders one claim wakes: more than any test has."""


MAX_ROUNDS = 10
"""How often in a row the same instant may want attention: a change spreads in several rounds."""


def pass_time(processor: BatchProcessor, clock: FixedArrivalClock, until: datetime) -> None:
    """Wake whatever wants attention up to an instant, each at its own, and just after it."""
    previous_due_at, rounds = None, 0
    while (due_at := next_wake(processor.store.engine)) is not None and due_at <= until:
        rounds = rounds + 1 if due_at == previous_due_at else 0
        if rounds == MAX_ROUNDS:
            return
        previous_due_at = due_at
        for now in (due_at, due_at + MICROSECOND):
            if now <= until:
                clock.present = now
                processor.wake(wakeups.claim(processor.store.engine, now, CLAIM_LIMIT))


def next_wake(engine: Engine) -> datetime | None:
    """Return when anything next wants attention."""
    columns = (key.table.c.wake_at for _, key in wakeups.WAKEABLE_KEYS)
    soonest = union_all(*(select(func.min(column)) for column in columns))
    with reading(engine) as connection:
        wakes_at_us = [
            wake_at_us
            for wake_at_us in connection.execute(soonest).scalars()
            if wake_at_us is not None
        ]
    return from_us(min(wakes_at_us)) if wakes_at_us else None
