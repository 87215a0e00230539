"""Task lists: what people are shown of an order, when it is to be published, and pages by both."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

WHOLE = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

IN_PROGRESS = (
    "'accepted_delivery', 'content_review', 'in_arbitration', 'in_fulfilment', 'producing',"
    " 'published', 'ready_to_publish', 'script_review', 'script_revision'"
)
PENDING_PAYMENT = "'awaiting_balance', 'awaiting_deposit', 'balance_overdue'"
CANCELLED = "'cancelled', 'declined', 'expired', 'forfeited'"

SHOWN = (
    "public_status IN ('cancelled', 'finished', 'in_progress', 'pending_acceptance',"
    " 'pending_payment', 'pending_review')"
    f" AND (state NOT IN ({PENDING_PAYMENT}) OR public_status IN ('pending_payment'))"
    " AND (state NOT IN ('offered') OR public_status IN ('pending_acceptance'))"
    f" AND (state NOT IN ({IN_PROGRESS}) OR public_status IN ('in_progress'))"
    " AND (state NOT IN ('completed') OR public_status IN ('finished', 'pending_review'))"
    f" AND (state NOT IN ({CANCELLED}) OR public_status IN ('cancelled'))"
)

STATUS = f"""CASE
    WHEN state IN ({PENDING_PAYMENT}) THEN 'pending_payment'
    WHEN state = 'offered' THEN 'pending_acceptance'
    WHEN state IN ({IN_PROGRESS}) THEN 'in_progress'
    WHEN state = 'completed' THEN CASE WHEN {{rated}} THEN 'finished' ELSE 'pending_review' END
    ELSE 'cancelled' END"""

SAID = "json_extract(document, '$.expected_publish_at')"
# Whole seconds by SQLite, which would round the rest; microseconds as they are written.
EXPECTED_SQLITE = f"""CASE WHEN {SAID} IS NOT NULL THEN
    CAST(strftime('%s', substr({SAID}, 1, 19)) AS INTEGER) * 1000000
    + CASE substr({SAID}, 20, 1) WHEN '.' THEN CAST(substr({SAID}, 21, 6) AS INTEGER) ELSE 0 END
    END"""
EXPECTED_POSTGRESQL = (
    "CAST(extract(epoch FROM CAST(CAST(document AS json) ->> 'expected_publish_at'"
    " AS timestamptz)) * 1000000 AS bigint)"
)

REPLACED = (
    "ix_orders_roster",
    *(f"ix_orders_{one}_placed_at_order_id" for one in ("client_id", "creator_id", "state")),
    "ix_orders_placed_at_order_id",
)
SORTED_BY_BYTES = (
    *(("orders", "order_id"), ("refunds", "order_id"), ("payouts", "order_id")),
    *(("events", "subject"), ("postings", "subject")),
)
PAGES = {
    "ix_orders_newest": "placed_at order_id creator_id",
    "ix_orders_by_status": "public_status placed_at order_id creator_id state",
    "ix_orders_by_creator": "creator_id public_status placed_at order_id",
    "ix_orders_by_client": "client_id placed_at order_id",
}


def upgrade() -> None:
    """Write both projections for the orders there are, and exchange the indexes of pages."""
    for name in REPLACED:
        op.drop_index(name, "orders")
    if op.get_bind().dialect.name == "sqlite":
        _rewrite()
    else:
        _extend()
    for name, columns in PAGES.items():
        op.create_index(name, "orders", columns.split())
    op.create_index("ix_creators_by_mcn", "creators", ["mcn_id", "creator_id"])


def _extend() -> None:
    rated = STATUS.format(rated="CAST(document AS json) ->> 'rated' = 'true'")
    op.add_column("orders", sa.Column("public_status", sa.Text(), nullable=True))
    op.add_column("orders", sa.Column("expected_publish_at", WHOLE, nullable=True))
    fill = f"UPDATE orders SET public_status = {rated},"  # noqa: S608 - ours
    _run(f"{fill} expected_publish_at = {EXPECTED_POSTGRESQL}")
    op.alter_column("orders", "public_status", nullable=False)
    op.create_check_constraint(op.f("ck_orders_shown_as_it_is"), "orders", SHOWN)
    for table, column in SORTED_BY_BYTES:
        op.alter_column(table, column, type_=sa.Text(collation="C"))


def _rewrite() -> None:
    """Write SQLite's table anew: so that the new columns are as strict as the old ones."""
    query = "SELECT sql FROM sqlite_master WHERE type = '{}' AND tbl_name = 'orders'"
    (before,) = op.get_bind().exec_driver_sql(query.format("table")).scalars()
    indexes = list(op.get_bind().exec_driver_sql(query.format("index")).scalars())
    columns = "\tdocument TEXT NOT NULL, \n\tpublic_status TEXT NOT NULL, \n"
    columns += "\texpected_publish_at INTEGER, \n"
    check = f"\tCONSTRAINT ck_orders_shown_as_it_is CHECK ({SHOWN}), \n"
    _run("ALTER TABLE orders RENAME TO orders_before")
    _run(before.replace("\tdocument TEXT NOT NULL, \n", columns + check))
    status = STATUS.format(rated="json_extract(document, '$.rated')")
    columns = f"*, {status}, {EXPECTED_SQLITE}"
    _run(f"INSERT INTO orders SELECT {columns} FROM orders_before")  # noqa: S608 - ours
    _run("DROP TABLE orders_before")
    for one in filter(None, indexes):
        _run(one)


def _run(statement: str) -> None:
    op.get_bind().exec_driver_sql(statement)
