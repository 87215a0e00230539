"""Forecast: what falls due in the next hours, and how much money hangs on it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, Engine, FromClause, case, func, select

from workers import tables
from workers.clock import MICROSECOND, instant, to_us
from workers.reports.breakdown import HOUR_US, PARTIES, By, Row, Source, reporting

BREAKDOWNS = (By.STATE, By.HOUR, *PARTIES)
COLUMNS = ("deadlines", "overdue", "first_due_at", "held_fen", "total_fen")


def forecast(engine: Engine, by: By, *, at: datetime, within: timedelta) -> Iterator[Row]:
    """Count the deadlines until `at` and a while, those overdue among them.

    `held_fen` is what the orders hold, `total_fen` what they are worth if all goes well.
    """
    c, now = tables.orders.c, to_us(at)
    with reporting(engine) as connection:
        rows, name = _key(connection, by)
        overdue = func.sum(case((c.due_at < now, 1), else_=0))
        figures = (func.count(), overdue, func.min(c.due_at))
        sums = (func.sum(c.held_fen), func.sum(c.total_fen))
        query = select(name.label("key"), *figures, *sums).select_from(rows)
        query = query.where(c.due_at <= now + within // MICROSECOND)
        for key, count, overdue_count, first_due_at, held_fen, total_fen in connection.execute(
            query.group_by("key").order_by("key")
        ):
            yield {
                by.value: instant(key) if by is By.HOUR else key or None,
                "deadlines": count,
                "overdue": int(overdue_count),
                "first_due_at": instant(first_due_at),
                "held_fen": int(held_fen),
                "total_fen": int(total_fen),
            }


def _key(connection: Connection, by: By) -> tuple[FromClause, ColumnElement[Any]]:
    """Return the orders at hand, and what each counts under; none in the archive waits for us."""
    waiting = tables.orders
    if by is By.HOUR:
        return waiting, waiting.c.due_at // HOUR_US * HOUR_US
    return Source(waiting, lambda name: waiting.c[name]).key(connection, by)
