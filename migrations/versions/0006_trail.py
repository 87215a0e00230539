"""Trail: what operators did is found without looking at everything that ever happened."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Index the few events that tell of operators, in both halves."""
    where = sa.text("type = 'operator.acted'")
    for table in ("events", "archived_events"):
        op.create_index(
            f"ix_{table}_acted",
            table,
            ["position"],
            sqlite_where=where,
            postgresql_where=where,
        )
