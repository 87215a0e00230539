"""Archive schema: what has come to rest, in tables like those that it came from.

An order rests whole: its row, its debts, its events and postings, the outcomes of its commands.
Its row and its debts come back when somebody needs it again; facts stay where they are, since
nothing changes them. Whoever reads takes both halves as one, by `with_archive`.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    CheckConstraint,
    Column,
    DefaultClause,
    Index,
    Subquery,
    Table,
    Text,
    UniqueConstraint,
    select,
    union_all,
)

from workers.database import schema
from workers.database.schema import WholeNumber, partial_index, strict_table

ARCHIVE_PREFIX = "archived_"


def archive_of(table: Table, at_rest: str = "") -> Table:
    """Declare a table once more: the same columns, keys and constraints, and `at_rest`."""
    columns = [
        Column(
            column.name,
            column.type,
            primary_key=column.primary_key,
            nullable=column.nullable,
            server_default=_default_of(column),
        )
        for column in table.columns
    ]
    if table.primary_key.columns.keys() == ["position"]:
        # Numbers are given where events are written down, and kept here.
        columns[0].autoincrement = False
    own = f"ck_{table.name}_"
    checks = [
        CheckConstraint(str(constraint.sqltext), name=str(constraint.name).removeprefix(own))
        for constraint in sorted(table.constraints, key=lambda constraint: str(constraint.name))
        if isinstance(constraint, CheckConstraint)
    ]
    if at_rest:
        checks.append(CheckConstraint(at_rest, name="at_rest"))
    uniques = [
        UniqueConstraint(*constraint.columns.keys())
        for constraint in table.constraints
        if isinstance(constraint, UniqueConstraint)
    ]
    return strict_table(f"{ARCHIVE_PREFIX}{table.name}", *columns, *checks, *uniques)


def _default_of(column: Column[Any]) -> Any:  # noqa: ANN401 - whatever SQL a column was given
    default = column.server_default
    return default.arg if isinstance(default, DefaultClause) else None


orders = archive_of(schema.orders, "ended_at IS NOT NULL")


events = archive_of(schema.events, "published_at IS NOT NULL")


postings = archive_of(schema.postings)


_SETTLED = schema.IS_OWED.replace(" IN ", " NOT IN ")


refunds = archive_of(schema.refunds, _SETTLED)


payouts = archive_of(schema.payouts, _SETTLED)


for _name, _columns in schema.LIST_INDEXES.items():
    Index(f"ix_archived_orders_{_name}", *(orders.c[column_name] for column_name in _columns))


Index("ix_archived_refunds_order_id", refunds.c.order_id)


Index("ix_archived_refunds_payment_id", refunds.c.payment_id)


Index("ix_archived_payouts_order_id", payouts.c.order_id)


partial_index("ix_archived_events_acted", events.c.position, schema.IS_OPERATOR_ACTION)


partial_index("ix_orders_ended_at", schema.orders.c.ended_at, "ended_at IS NOT NULL")


totals = strict_table(
    "archive_totals",
    Column("name", Text, primary_key=True),
    Column("value", WholeNumber, nullable=False),
)
"""What the archive adds up to, so that nobody need read all of it to know."""


ARCHIVED = {
    table: orders.metadata.tables[f"{ARCHIVE_PREFIX}{table.name}"]
    for table in (
        schema.orders,
        schema.events,
        schema.postings,
        schema.refunds,
        schema.payouts,
    )
}


_WITH_ARCHIVE = {
    table: union_all(select(table), select(archive_table)).subquery(f"all_{table.name}")
    for table, archive_table in ARCHIVED.items()
}


def with_archive(table: Table) -> Subquery:
    """Return both halves of a table as one, to be read.

    What is filtered or sorted by an index goes through the index of each half, as long as the
    columns that it is sorted by are selected too.
    """
    return _WITH_ARCHIVE[table]
