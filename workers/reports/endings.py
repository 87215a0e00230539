"""Endings: how orders ended, and why."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sqlalchemy import Engine, func, select

from models.lifecycle import FINAL
from workers.reports.breakdown import PARTIES, By, Row, named, orders, reporting

BREAKDOWNS = (*PARTIES, By.MONTH)
COLUMNS = ("state", "reason", "orders", "total_fen")


def endings(engine: Engine, by: By | None) -> Iterator[Row]:
    """Count orders that have ended by state and reason, and add up what they were worth."""
    source = orders()
    state, reason, worth = map(source.column, ("state", "reason", "total_fen"))
    with reporting(engine) as connection:
        rows, key = source.key(connection, by)
        group = {"key": key, "ended_as": state, "because": reason}
        columns: list[Any] = [
            named(connection, column).label(label) for label, column in group.items()
        ]
        columns += [func.count(), func.sum(worth)]
        query = select(*columns).select_from(rows)
        query = query.where(state.in_([final_state.value for final_state in FINAL]))
        query = query.group_by(*group).order_by(*group)
        for name, ended_as, because, count, fen in connection.execute(query):
            head = {} if by is None else {by.value: name or None}
            figures = {"state": ended_as, "reason": because, "orders": count, "total_fen": int(fen)}
            yield head | figures
