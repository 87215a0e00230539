"""Limits: receipts keep what would not have been refused, and orders the name that is theirs.

What a receipt told of a cost it tells as a limit. A reminder names its order, so what is known of
an order when it is woken has the name, too.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"

COSTS = (
    """UPDATE receipts SET limits = '{"cost_fen":' || cost_fen || '}' WHERE cost_fen IS NOT NULL"""
)

NAMED = {
    "sqlite": "json_set(document, '$.name', name)",
    "postgresql": "CAST(CAST(document AS jsonb) || jsonb_build_object('name', name) AS text)",
}


def upgrade() -> None:
    """Add the limits, carry over what there is of them, and name all orders."""
    op.add_column("receipts", sa.Column("limits", sa.Text()))
    op.execute(COSTS)
    op.drop_column("receipts", "cost_fen")
    document = NAMED[op.get_bind().dialect.name]
    for table in ("orders", "archived_orders"):
        op.execute(f"UPDATE {table} SET document = {document}")  # noqa: S608 - ours
