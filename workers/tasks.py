"""Tasks: the list that a creator reads, or an agency of all its creators, a page at a time.

Each order stands where it was placed, for ever. Somebody who reads page after page meets every
order that was there when they began, and fits all the while, exactly once; what is recorded while
they read comes once or, if it was placed later than what they have seen, at their next reading.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Engine, Select, Table, bindparam, select, union_all

from models.lifecycle import State
from models.orders.order import PublicStatus
from workers import archive_tables, party_tables, tables
from workers.clock import from_us
from workers.database import reading
from workers.newest import newest
from workers.pages import read_cursor, write_cursor
from workers.wanted import Wanted

SHOWN = (
    *("order_id", "name", "client_id", "creator_id", "industry", "amount_fen", "placed_at"),
    *("expected_publish_at", "public_status", "state", "reason"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """An order as a creator's task; `client_name` is that of a registered client."""

    task_id: str
    name: str
    client_id: str
    client_name: str | None
    creator_id: str
    industry: str
    amount_fen: int
    created_at: datetime
    expected_publish_at: datetime | None
    status: PublicStatus
    state: State
    reason: str | None


@dataclass(frozen=True, slots=True)
class TaskPage:
    """Some tasks, the latest first, and where to go on, if anywhere.

    There may be fewer than were asked for, even none, and yet somewhere to go on.
    """

    tasks: list[Task]
    cursor: str | None


def tasks(
    engine: Engine, order_filter: Wanted, *, cursor: str | None = None, limit: int = 50
) -> TaskPage:
    """Return a page; raise `BadCursor` where a cursor is none of ours."""
    after = read_cursor(cursor)
    with reading(engine) as connection:
        listing = newest(connection, order_filter, after, limit)
        order_ids = [order_id for _, order_id in listing.keys]
        rows = {row.order_id: row for row in connection.execute(_NAMED, {"names": order_ids})}
    return TaskPage([_task(rows[order_id]) for order_id in order_ids], write_cursor(listing.after))


def _named(order: Table) -> Select[Any]:
    client = party_tables.clients
    whole = order.outerjoin(client, client.c.client_id == order.c.client_id)
    columns = (order.c[name] for name in SHOWN)
    query = select(*columns, client.c.name.label("client_name")).select_from(whole)
    return query.where(order.c.order_id.in_(bindparam("names", expanding=True)))


_NAMED = union_all(_named(tables.orders), _named(archive_tables.orders))


def _task(row: Any) -> Task:  # noqa: ANN401 - a row of orders, with its client's name
    expected = row.expected_publish_at
    return Task(
        task_id=row.order_id,
        name=row.name,
        client_id=row.client_id,
        client_name=row.client_name,
        creator_id=row.creator_id,
        industry=row.industry,
        amount_fen=row.amount_fen,
        created_at=from_us(row.placed_at),
        expected_publish_at=None if expected is None else from_us(expected),
        status=PublicStatus(row.public_status),
        state=State(row.state),
        reason=row.reason,
    )
