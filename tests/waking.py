"""Waking: letting time pass for a database as a scheduler would, from one alarm to the next."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Engine, func, select, union_all

from tests.doors import FixedDoor
from workers import wakeups
from workers.clock import MICROSECOND, from_us
from workers.database import reading
from workers.settle import Settler

CLAIMED = 100


def pass_time(settler: Settler, door: FixedDoor, until: datetime) -> None:
    """Wake whatever wants attention up to an instant, each at its own, and just after it."""
    while (due := next_wake(settler.store.engine)) is not None and due <= until:
        for now in (due, due + MICROSECOND):
            if now <= until:
                door.present = now
                settler.settle((), wakeups.claim(settler.store.engine, now, CLAIMED))
        if next_wake(settler.store.engine) == due:
            return


def next_wake(engine: Engine) -> datetime | None:
    """Return when anything next wants attention."""
    columns = (key.table.c.wake_at for _, key in wakeups.ALARMS)
    soonest = union_all(*(select(func.min(column)) for column in columns))
    with reading(engine) as connection:
        found = [one for one in connection.execute(soonest).scalars() if one is not None]
    return from_us(min(found)) if found else None
