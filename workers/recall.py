"""Recall: orders that rest in the archive, brought back when somebody names them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any

from sqlalchemy import Column, Connection

from models.errors import Conflict
from workers import archive_tables, archive_totals, bulk, debt_tables, tables
from workers.archive_tables import ARCHIVED


class Recalled(Conflict):
    """Orders at rest are needed for what was judged without them: once they are back, try again."""

    def __init__(self, order_ids: Collection[str]) -> None:
        """Keep which."""
        super().__init__(f"{len(order_ids)} archived orders have refunds of these names")
        self.order_ids = frozenset(order_ids)


def bring_back(connection: Connection, order_ids: Collection[str]) -> list[str]:
    """Bring back those orders that rest, with their debts; return their ids, locked.

    To be asked about ids that are not in `orders`, and about nothing else: it costs one look at
    two indexes. Raise `Conflict` where another writer has just brought one back.
    """
    order_tables = (tables.orders, archive_tables.orders)
    archived_by_id = bulk.whereabouts(connection, order_tables, "order_id", order_ids)
    if not all(archived_by_id.values()):
        raise Conflict("an order came back from the archive a moment ago")
    if not archived_by_id:
        return []
    columns = archive_tables.orders.c
    rows = bulk.fetch(connection, columns, columns.order_id, archived_by_id, "FOR UPDATE")
    if len(rows) < len(archived_by_id):
        raise Conflict("another writer is bringing an order back from the archive")
    _move(connection, rows)
    return list(archived_by_id)


def at_rest(
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


def _move(connection: Connection, rows: Sequence[Any]) -> None:
    ids = [row.order_id for row in rows]
    debts = [
        bulk.fetch(connection, table.c, table.c.order_id, ids)
        for table in (archive_tables.refunds, archive_tables.payouts)
    ]
    worth = archive_totals.worth_of_orders(rows, *debts)
    archive_totals.add(connection, {name: -value for name, value in worth.items()})
    for table in (tables.orders, debt_tables.refunds, debt_tables.payouts):
        bulk.move(connection, ARCHIVED[table], table, "order_id", ids)


def refuse_taken(connection: Connection, refund_ids: Collection[str]) -> None:
    """Raise `Recalled` where an order at rest has a refund of one of these names already."""
    table = archive_tables.refunds.c
    refund_rows = bulk.fetch(
        connection, (table.refund_id, table.order_id), table.refund_id, refund_ids
    )
    if refund_rows:
        raise Recalled({row.order_id for row in refund_rows})
