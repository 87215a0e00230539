"""Timelines: a database knows its own line of events, so that one that was set back is noticed."""

from __future__ import annotations

import time
from uuid import uuid4

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"

WHOLE = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Begin the first timeline: all events so far belong to it."""
    for table in ("events", "archived_events"):
        op.add_column(table, sa.Column("timeline", WHOLE))
    timelines = op.create_table(
        "timelines",
        sa.Column("number", WHOLE, primary_key=True, autoincrement=False),
        sa.Column("identity", sa.Text, nullable=False, unique=True),
        sa.Column("began_at", WHOLE, nullable=False),
        sqlite_strict=True,
    )
    row = {"number": 1, "identity": uuid4().hex, "began_at": time.time_ns() // 1_000}
    op.bulk_insert(timelines, [row])
