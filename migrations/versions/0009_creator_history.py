"""Creator history: each order says up to which of its creator's events it has learned.

Creators' documents are read as they are, as a history of one version that every order knows.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"

WHOLE = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Add the number to orders in both halves, and index the open ones by it."""
    for table in ("orders", "archived_orders"):
        op.add_column(
            table,
            sa.Column("creator_sequence", WHOLE, nullable=False, server_default=sa.text("0")),
        )
    where = sa.text("ended_at IS NULL")
    op.create_index(
        "ix_orders_creator_sequence",
        "orders",
        ["creator_id", "creator_sequence", "order_id"],
        sqlite_where=where,
        postgresql_where=where,
    )
