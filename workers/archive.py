"""Archive: orders at rest leave the tables that everything else has to look through.

What an order's history needs goes with it: debts that are settled, events, postings, the outcomes
of its commands. Receipts and payments stay, so every id stays taken.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    Table,
    exists,
    func,
    literal,
    select,
    tuple_,
)

from models.errors import BrokenInvariant
from models.policy import Policy
from workers import archive_totals, bulk, debt_tables, rows, tables
from workers.archive_tables import ARCHIVED
from workers.clock import to_us
from workers.database import reading, writing
from workers.store import Store

BATCH = 100
"""Orders put away in one transaction: some thousand rows, some tens of milliseconds."""


LOOK = 1_000
"""Orders looked at in one query when they are only counted."""


Place = tuple[int, str]


BEGINNING: Place = (-1, "")


@dataclass(frozen=True, slots=True)
class Due:
    """Orders that ended before an instant; at another one they are to be at rest."""

    ended_before: datetime
    at: datetime


@dataclass(frozen=True, slots=True)
class Found:
    """A page of orders that may be at rest: those that are, and where the next page begins."""

    rows: list[Any]
    place: Place | None


def archive(store: Store, due: Due, limit: int = BATCH) -> int:
    """Put away one batch of orders, those that ended first; return how many, 0 when none is left.

    Orders that somebody is busy with are passed over. Several may archive at once, and die at it.
    """
    if not _anything(store, due):
        return 0
    place: Place | None = BEGINNING
    policies = store.known_policies()
    with writing(store.engine) as connection:
        while place is not None:
            page = _look(connection, policies, _locked(_ended(due, place, limit)), due)
            resting_rows = _still(connection, page.rows, due)
            if resting_rows:
                put_away(connection, resting_rows)
                return len(resting_rows)
            place = page.place
    return 0


def count(store: Store, due: Due) -> tuple[int, int]:
    """Count the orders to be put away, and those that ended long enough ago and must still stay."""
    ready_count, policies = 0, store.known_policies()
    place: Place | None = BEGINNING
    with reading(store.engine) as connection:
        column = tables.orders.c.ended_at
        query = select(func.count()).where(column <= to_us(due.ended_before))
        ended_count = int(connection.execute(query).scalar_one())
        while place is not None:
            page = _look(connection, policies, _ended(due, place, LOOK), due)
            ready_count, place = ready_count + len(page.rows), page.place
    return ready_count, ended_count - ready_count


def _anything(store: Store, due: Due) -> bool:
    with reading(store.engine) as connection:
        return connection.execute(_ended(due, BEGINNING, 1)).first() is not None


def _look(
    connection: Connection, policies: dict[str, Policy], query: Select[Any], due: Due
) -> Found:
    order_rows = connection.execute(query).all()
    resting_rows = [row for row in order_rows if _rests(row, policies, due.at)]
    place = (order_rows[-1].ended_at, order_rows[-1].order_id) if order_rows else None
    return Found(resting_rows, place)


def _still(connection: Connection, order_rows: list[Any], due: Due) -> list[Any]:
    """Look again, now that nobody can change these orders any more: one was perhaps just paid."""
    order_ids = [row.order_id for row in order_rows]
    query = _ended(due, BEGINNING, len(order_ids)).where(tables.orders.c.order_id.in_(order_ids))
    resting_ids = {row.order_id for row in connection.execute(query)} if order_ids else set()
    return [row for row in order_rows if row.order_id in resting_ids]


def _rests(row: Any, policies: dict[str, Policy], at: datetime) -> bool:  # noqa: ANN401 - a row
    try:
        return rows.read_order(row.document, policies).rests(at)
    except BrokenInvariant:
        # An audit tells of it; it keeps nobody else from being put away.
        return False


def _locked(query: Select[Any]) -> Select[Any]:
    return query.with_for_update(skip_locked=True, of=tables.orders)


def _ended(due: Due, after: Place, limit: int) -> Select[Any]:
    """Ask for orders that ended, owe nothing to anybody and have nothing to tell any more."""
    order, refund, payout, event = (
        table.c
        for table in (tables.orders, debt_tables.refunds, debt_tables.payouts, tables.events)
    )
    subject = literal("order:").concat(order.order_id)
    key = tuple_(order.ended_at, order.order_id)
    query = select(tables.orders).where(
        order.ended_at <= to_us(due.ended_before),
        key > after,
        ~exists().where(refund.order_id == order.order_id, refund.confirmed_at.is_(None)),
        ~exists().where(payout.order_id == order.order_id, payout.confirmed_at.is_(None)),
        ~exists().where(event.subject == subject, event.published_at.is_(None)),
        subject != _newest(),
    )
    return query.order_by(order.ended_at, order.order_id).limit(limit)


def _newest() -> ColumnElement[str]:
    """Name whom the newest event is about: it stays, for SQLite would give its number again."""
    column = tables.events.c
    query = select(column.subject).order_by(column.position.desc()).limit(1)
    return func.coalesce(query.scalar_subquery(), "")


def put_away(connection: Connection, orders: Sequence[Any]) -> None:
    """Move some orders, given as their rows, with all that is at rest with them."""
    order_ids = [row.order_id for row in orders]
    debts = [
        bulk.fetch(connection, table.c, table.c.order_id, order_ids)
        for table in (debt_tables.refunds, debt_tables.payouts)
    ]
    subjects, posting = [f"order:{order_id}" for order_id in order_ids], tables.postings.c
    posting_rows = bulk.fetch(connection, posting, posting.subject, subjects)
    worth = archive_totals.worth_of_orders(orders, *debts)
    worth.update(archive_totals.worth_of_postings(posting_rows))
    archive_totals.add(connection, worth)
    _move(connection, tables.events, "position", _told(connection, order_ids, subjects))
    _move(connection, tables.postings, "subject", subjects)
    for table in (debt_tables.refunds, debt_tables.payouts, tables.orders):
        _move(connection, table, "order_id", order_ids)


def _told(connection: Connection, order_ids: list[str], subjects: list[str]) -> list[int]:
    """Find the events of some orders, and the outcomes of commands about them that were told."""
    receipt, event = tables.receipts.c, tables.events.c
    receipt_rows = bulk.fetch(connection, (receipt.command_id,), receipt.about, order_ids)
    subjects = subjects + [f"command:{row.command_id}" for row in receipt_rows]
    columns = (event.position, event.published_at, event.subject)
    newest_subject = connection.execute(select(_newest())).scalar()
    event_rows = bulk.fetch(connection, columns, event.subject, subjects)
    return [
        row.position for row in event_rows if row.published_at and row.subject != newest_subject
    ]


def _move(connection: Connection, table: Table, by: str, ids: Sequence[Any]) -> None:
    bulk.move(connection, table, ARCHIVED[table], by, ids)
