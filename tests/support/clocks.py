"""Clocks: an arrival clock that a test moves, and time that passes as under a scheduler."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import Engine, func, select, union_all

from workers.database.engine import reading
from workers.processing import wakeups
from workers.processing.processor import BatchProcessor
from workers.timestamps import MICROSECOND, from_us


@dataclass(slots=True)
class FixedArrivalClock:
    """An arrival clock that stands still; `waiting` holds received messages, settled by nobody.

    Its instants are set by the test: `present`, and under each message's id when it was received.
    """

    present: datetime
    waiting: dict[str, datetime] = field(default_factory=dict)

    def now(self) -> datetime:
        """Return the instant at which the clock stands."""
        return self.present

    def watermark(self, without: Collection[str]) -> datetime:
        """Return the receipt of the oldest waiting message but for `without`, or the present."""
        arrivals = (
            received_at
            for message_id, received_at in self.waiting.items()
            if message_id not in without
        )
        return min((self.present, *arrivals))

    def excuse(self, message_ids: Collection[str]) -> None:
        """Forget that these messages are waiting."""
        for message_id in message_ids:
            self.waiting.pop(message_id, None)


CLAIM_LIMIT = 100
"""How many orders one claim wakes: more than any test has."""


def pass_time(processor: BatchProcessor, clock: FixedArrivalClock, until: datetime) -> None:
    """Wake whatever wants attention up to an instant, each at its own, and just after it."""
    while (due_at := next_wake(processor.store.engine)) is not None and due_at <= until:
        for now in (due_at, due_at + MICROSECOND):
            if now <= until:
                clock.present = now
                processor.settle((), wakeups.claim(processor.store.engine, now, CLAIM_LIMIT))
        if next_wake(processor.store.engine) == due_at:
            return


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
