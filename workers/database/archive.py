"""Archive: moves orders at rest out of the live tables and back, and keeps totals of the archive.

What an order's history needs goes with it: debts that are settled, events, postings, the outcomes
of its commands. Receipts and payments stay, so every id stays taken. Which orders go is decided by
`scheduler.maintenance`.

Totals are kept in the commits that change them, so the books need not read what has come to rest:
they add this to the rest of the tables. An audit of everything reads it all the same, and finds
whether this is still true.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import Column, ColumnElement, Connection, Table, func, select

from models.audit.order_checks import Finding
from models.errors import Conflict
from models.lifecycle import DebtStatus
from workers.database import archive_schema, bulk, receipts, schema
from workers.database.archive_schema import ARCHIVED
from workers.database.engine import insert_new

ACCOUNT, ENDED = "account:", "ended:"


FORFEITED, RETURNED, PAID_OUT = "forfeited", "returned", "paid_out"


CHUNK_SIZE = 2_000
"""Rows held in memory while the archive is added up anew."""


Totals = Counter[str]


def totals_of_orders(
    orders: Iterable[Any], refunds: Iterable[Any], payouts: Iterable[Any]
) -> Totals:
    """Add up rows: orders by their ending, forfeited deposits, and what has left, in fen."""
    totals = Totals()
    for row in orders:
        totals[ending_name(row.state, row.reason)] += 1
        totals[FORFEITED] += _forfeited(row.document)
    for name, debts in ((RETURNED, refunds), (PAID_OUT, payouts)):
        left = (row for row in debts if row.status == DebtStatus.CONFIRMED.value)
        totals[name] += sum(row.amount_fen for row in left)
    return totals


def _forfeited(document: str) -> int:
    try:
        return sum(holding["amount_fen"] for holding in json.loads(document)["forfeited"])
    except (ValueError, LookupError, TypeError):
        # What cannot be read any more is a finding of the audit's own.
        return 0


def ending_name(state: str, reason: str | None) -> str:
    """Name the number of orders with an ending."""
    return f"{ENDED}{state}:{reason}"


def totals_of_postings(postings: Iterable[Any]) -> Totals:
    """Add up rows of postings by account, in fen."""
    totals = Totals()
    for row in postings:
        totals[f"{ACCOUNT}{row.source}"] -= row.amount_fen
        totals[f"{ACCOUNT}{row.target}"] += row.amount_fen
    return totals


def add_to_totals(connection: Connection, changes_by_name: Mapping[str, int]) -> None:
    """Change totals; always in the same order, so that nobody waits for each other in a circle."""
    table = archive_schema.totals
    changes = sorted((name, value) for name, value in changes_by_name.items() if value)
    insert_new(connection, table, [{"name": name, "value": 0} for name, _ in changes])
    for name, value in changes:
        update = table.update().where(table.c.name == name)
        connection.execute(update.values(value=table.c.value + value))


def read_totals(connection: Connection) -> dict[str, int]:
    """Return every total by its name."""
    table = archive_schema.totals
    return {row.name: row.value for row in connection.execute(select(table))}


def account_totals(totals: Mapping[str, int]) -> dict[str, int]:
    """Return what the archive's postings come to, by account, in fen."""
    names = (name for name in totals if name.startswith(ACCOUNT))
    return {name.removeprefix(ACCOUNT): totals[name] for name in names}


def ending_totals(totals: Mapping[str, int]) -> Counter[tuple[str, str | None]]:
    """Return how many archived orders ended how, by state and reason."""
    names = (name for name in totals if name.startswith(ENDED))
    return Counter({_ending(name): totals[name] for name in names})


def _ending(name: str) -> tuple[str, str]:
    state, _, reason = name.removeprefix(ENDED).partition(":")
    return state, reason


def recompute_totals(connection: Connection) -> Totals:
    """Add up the archive anew, row by row."""
    totals = Totals()
    for table, totals_of in (
        (archive_schema.orders, lambda rows: totals_of_orders(rows, (), ())),
        (archive_schema.refunds, lambda rows: totals_of_orders((), rows, ())),
        (archive_schema.payouts, lambda rows: totals_of_orders((), (), rows)),
        (archive_schema.postings, totals_of_postings),
    ):
        query = select(table).execution_options(yield_per=CHUNK_SIZE)
        for chunk in connection.execute(query).partitions():
            totals.update(totals_of(chunk))
    return totals


def totals_findings(
    stored_totals: Mapping[str, int], recomputed_totals: Mapping[str, int]
) -> list[Finding]:
    """Name the totals that are not what the archive adds up to."""
    names = sorted(stored_totals.keys() | recomputed_totals.keys())
    return [
        Finding(
            "archive", name, f"{stored_totals.get(name, 0)}, not {recomputed_totals.get(name, 0)}"
        )
        for name in names
        if stored_totals.get(name, 0) != recomputed_totals.get(name, 0)
    ]


def subject_of_newest_event() -> ColumnElement[str]:
    """Name whom the newest event is about: it stays, for SQLite would give its number again."""
    column = schema.events.c
    query = select(column.subject).order_by(column.position.desc()).limit(1)
    return func.coalesce(query.scalar_subquery(), "")


def move_to_archive(connection: Connection, orders: Sequence[Any]) -> None:
    """Move some orders, given as their rows, with all that is at rest with them."""
    order_ids = [row.order_id for row in orders]
    debts = [
        bulk.fetch(connection, table.c, table.c.order_id, order_ids)
        for table in (schema.refunds, schema.payouts)
    ]
    subjects, column = [f"order:{order_id}" for order_id in order_ids], schema.postings.c
    posting_rows = bulk.fetch(connection, column, column.subject, subjects)
    added_totals = totals_of_orders(orders, *debts)
    added_totals.update(totals_of_postings(posting_rows))
    add_to_totals(connection, added_totals)
    _move_rows(
        connection, schema.events, "position", _published_events(connection, order_ids, subjects)
    )
    _move_rows(connection, schema.postings, "subject", subjects)
    for table in (schema.refunds, schema.payouts, schema.orders):
        _move_rows(connection, table, "order_id", order_ids)


def _published_events(
    connection: Connection, order_ids: list[str], subjects: list[str]
) -> list[int]:
    """Find the events of some orders, and the published outcomes of commands about them."""
    receipt, event = schema.receipts.c, schema.events.c
    name_columns = (receipt.sender, receipt.command_id)
    receipt_rows = bulk.fetch(connection, name_columns, receipt.about, order_ids)
    subjects = subjects + [
        subject for row in receipt_rows for subject in receipts.subjects_of_outcome(*row)
    ]
    columns = (event.position, event.published_at, event.subject)
    newest_subject = connection.execute(select(subject_of_newest_event())).scalar()
    event_rows = bulk.fetch(connection, columns, event.subject, subjects)
    return [
        row.position for row in event_rows if row.published_at and row.subject != newest_subject
    ]


def _move_rows(connection: Connection, table: Table, by: str, ids: Sequence[Any]) -> None:
    bulk.move(connection, table, ARCHIVED[table], by, ids)


class ArchivedOrdersNeeded(Conflict):
    """Orders at rest are needed for what was decided without them: bring them back, try again."""

    def __init__(self, order_ids: Collection[str]) -> None:
        """Keep which."""
        super().__init__(f"{len(order_ids)} archived orders have refunds of these names")
        self.order_ids = frozenset(order_ids)


def restore(connection: Connection, order_ids: Collection[str]) -> tuple[list[str], set[str]]:
    """Bring back those orders that rest, with their debts; return their ids, locked.

    To be asked about ids that were not found in `orders`, and about nothing else: it costs one look
    at two indexes. Those that are there all the same, because somebody else has locked them, are
    returned beside.
    """
    order_tables = (schema.orders, archive_schema.orders)
    archived_by_id = bulk.which_table(connection, order_tables, "order_id", order_ids)
    locked_ids = {order_id for order_id, is_archived in archived_by_id.items() if not is_archived}
    archived_ids = sorted(archived_by_id.keys() - locked_ids)
    columns = archive_schema.orders.c
    lock = "FOR UPDATE SKIP LOCKED"
    rows = bulk.fetch(connection, columns, columns.order_id, archived_ids, lock)
    # What another writer is bringing back just now is its own for the moment.
    restored_ids = [row.order_id for row in rows]
    if rows:
        _move_to_live(connection, rows)
    return restored_ids, locked_ids | (set(archived_ids) - set(restored_ids))


def fetch_archived(
    connection: Connection, columns: Iterable[Column[Any]], by: Column[Any], ids: Collection[str]
) -> Sequence[Any]:
    """Return such rows of a table's archive, if it has one, and leave them where they are."""
    archive_table = ARCHIVED.get(by.table)
    if archive_table is None:
        return ()
    return bulk.fetch(
        connection,
        [archive_table.c[column.name] for column in columns],
        archive_table.c[by.name],
        ids,
    )


def _move_to_live(connection: Connection, rows: Sequence[Any]) -> None:
    ids = [row.order_id for row in rows]
    debts = [
        bulk.fetch(connection, table.c, table.c.order_id, ids)
        for table in (archive_schema.refunds, archive_schema.payouts)
    ]
    removed_totals = totals_of_orders(rows, *debts)
    add_to_totals(connection, {name: -value for name, value in removed_totals.items()})
    for table in (schema.orders, schema.refunds, schema.payouts):
        bulk.move(connection, ARCHIVED[table], table, "order_id", ids)


def refuse_archived_refunds(connection: Connection, refund_ids: Collection[str]) -> None:
    """Raise `ArchivedOrdersNeeded` where an order at rest has one of these refunds already."""
    table = archive_schema.refunds.c
    refund_rows = bulk.fetch(
        connection, (table.refund_id, table.order_id), table.refund_id, refund_ids
    )
    if refund_rows:
        raise ArchivedOrdersNeeded({row.order_id for row in refund_rows})
