"""Reservations: rows of the inbox say whether Redis knows of their stamps.

What was excused from holding deadlines back is no longer: such commands are parked now.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    """Rename the column: everything that waits is handed in by the sweep."""
    op.execute("ALTER TABLE inbox RENAME COLUMN excused TO reserved")
    op.execute("UPDATE inbox SET reserved = 1")
    op.create_index("ix_suspended_payment_id", "suspended", ["payment_id"])
    unreserved = sa.text("reserved = 0")
    op.create_index(
        "ix_inbox_unreserved",
        "inbox",
        ["stamp"],
        sqlite_where=unreserved,
        postgresql_where=unreserved,
    )
