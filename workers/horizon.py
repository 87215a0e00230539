"""Horizon: up to where the facts on record are all there, so that a reader may go by number."""

from __future__ import annotations

import time

from sqlalchemy import Connection, Engine, func, select, text

from models.errors import Unavailable
from workers import tables
from workers.database import reading

PATIENCE_S = 60.0
"""How long a writer may take to end; PostgreSQL itself ends one that has fallen silent by then."""

LOOK_AGAIN_S = 0.005

# Every writer holds this lock from before it takes its first number until it has committed.
WRITERS = text(
    "SELECT virtualtransaction FROM pg_locks WHERE locktype = 'relation'"
    " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    " AND relation = to_regclass('events') AND mode = 'RowExclusiveLock' AND granted"
)


def horizon(engine: Engine) -> int:
    """Return a position behind which no event will ever appear that is not there already.

    PostgreSQL gives numbers before commits, so a smaller one may appear after a larger. Whoever
    is writing at this moment is waited for, and nobody is kept from writing; raise `Unavailable`
    where a writer does not end.
    """
    with reading(engine) as connection:
        last_position = connection.execute(select(func.max(tables.events.c.position))).scalar() or 0
        # In this order: who took a smaller number than the last one seen is among them.
        writers = _writers(connection)
    give_up_at = time.monotonic() + PATIENCE_S
    while writers:
        if time.monotonic() > give_up_at:
            raise Unavailable(f"a transaction has been writing events for over {PATIENCE_S:.0f} s")
        time.sleep(LOOK_AGAIN_S)
        with reading(engine) as connection:
            writers &= _writers(connection)
    return int(last_position)


def _writers(connection: Connection) -> set[str]:
    """Name the transactions that are writing events; SQLite's writers come one after the other."""
    if connection.dialect.name != "postgresql":
        return set()
    return set(connection.execute(WRITERS).scalars())
