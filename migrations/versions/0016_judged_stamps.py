"""Judged stamps: orders, creators and receipts tell if anything was judged out of order."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"

WHOLE = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Add the columns: of what was judged before this version, nothing is known."""
    for table in ("orders", "archived_orders", "creators"):
        op.add_column(table, sa.Column("judged_stamp", WHOLE))
    op.add_column("receipts", sa.Column("judged_after", WHOLE))
    where = sa.text("judged_after IS NOT NULL")
    op.create_index(
        "ix_receipts_judged_after",
        "receipts",
        ["judged_after"],
        sqlite_where=where,
        postgresql_where=where,
    )
