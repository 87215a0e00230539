"""Waking: letting time pass for a database as a scheduler would, from one alarm to the next."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Engine, func, select, union_all

from tests.doors import FixedDoor
from workers.database.engine import reading
from workers.processing import wakeups
from workers.processing.processor import Settler
from workers.timestamps import MICROSECOND, from_us

CLAIMED = 100


def pass_time(processor: Settler, clock: FixedDoor, until: datetime) -> None:
    """Wake whatever wants attention up to an instant, each at its own, and just after it."""
    while (due_at := next_wake(processor.store.engine)) is not None and due_at <= until:
        for now in (due_at, due_at + MICROSECOND):
            if now <= until:
                clock.present = now
                processor.settle((), wakeups.claim(processor.store.engine, now, CLAIMED))
        if next_wake(processor.store.engine) == due_at:
            return


def next_wake(engine: Engine) -> datetime | None:
    """Return when anything next wants attention."""
    columns = (key.table.c.wake_at for _, key in wakeups.ALARMS)
    soonest = union_all(*(select(func.min(column)) for column in columns))
    with reading(engine) as connection:
        wakes_at_us = [
            wake_at_us
            for wake_at_us in connection.execute(soonest).scalars()
            if wake_at_us is not None
        ]
    return from_us(min(wakes_at_us)) if wakes_at_us else None
