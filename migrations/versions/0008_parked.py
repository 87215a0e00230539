"""Parked: commands and money that come before the order that they are for."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"

WHOLE = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

# Whoever waits already has been told to an operator, and is not judged again.
CARRY_OVER = """
    INSERT INTO suspended (
        share_id, payment_id, order_id, amount_fen, suspended_at, number, resolved_at
    )
    SELECT share_id, payment_id, order_id, amount_fen, suspended_at, suspended_at, resolved_at
    FROM suspended_before
"""


def upgrade() -> None:
    """Create what `workers/database/schema.py` describes, and keep what is in suspense."""
    _parked()
    _suspended()
    op.add_column("payments", sa.Column("client_id", sa.Text()))


def _parked() -> None:
    op.create_table(
        "parked",
        *(_whole("stamp"), _text("sender"), _text("command_id"), _text("order_id")),
        *(_text("command"), _whole("received_at"), _whole("answer_at"), _whole("wake_at")),
        sa.Column("trace", sa.Text()),
        sa.PrimaryKeyConstraint("stamp", name=op.f("pk_parked")),
        sqlite_strict=True,
    )
    for column in ("order_id", "wake_at", "command_id"):
        op.create_index(f"ix_parked_{column}", "parked", [column])
    op.create_index("ix_parked_sender_command_id", "parked", ["sender", "command_id"])


def _suspended() -> None:
    """Write the table anew, so that SQLite too can hold that the new column is never empty."""
    op.rename_table("suspended", "suspended_before")
    if op.get_bind().dialect.name == "postgresql":
        op.execute("ALTER INDEX pk_suspended RENAME TO pk_suspended_before")
    op.create_table(
        "suspended",
        *(_text("share_id"), _text("payment_id"), _text("order_id"), _whole("amount_fen")),
        *(_whole("suspended_at"), _whole("number")),
        *(sa.Column(name, WHOLE) for name in ("resolved_at", "due_at", "wake_at")),
        sa.PrimaryKeyConstraint("share_id", name=op.f("pk_suspended")),
        sa.CheckConstraint("amount_fen > 0", name=op.f("ck_suspended_some_money")),
        sqlite_strict=True,
    )
    op.execute(CARRY_OVER)
    op.drop_table("suspended_before")
    op.create_index("ix_suspended_order_id", "suspended", ["order_id"])
    where = sa.text("wake_at IS NOT NULL")
    op.create_index(
        "ix_suspended_wake_at",
        "suspended",
        ["wake_at"],
        sqlite_where=where,
        postgresql_where=where,
    )


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text(), nullable=False)


def _whole(name: str) -> sa.Column[int]:
    return sa.Column(name, WHOLE, nullable=False)
