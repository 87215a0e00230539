"""Unpaid: how many orders of a client wait for their first payment is counted by an index."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"


def upgrade() -> None:
    """Index the orders that wait for their first payment by their client."""
    where = sa.text("state = 'awaiting_deposit'")
    op.create_index(
        "ix_orders_unpaid",
        "orders",
        ["client_id", "state"],
        sqlite_where=where,
        postgresql_where=where,
    )
