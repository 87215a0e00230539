"""Doors: the inbox, the watchers' tables, and indexes for pages of orders."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

WHOLE = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

PAGES = ("client_id", "creator_id", "state")


def upgrade() -> None:
    """Create what `workers/database/schema.py` describes."""
    _inbox()
    _tallies()
    _audits()
    for column in PAGES:
        name = f"ix_orders_{column}_placed_at_order_id"
        op.create_index(name, "orders", [column, "placed_at", "order_id"])
    op.create_index("ix_orders_placed_at_order_id", "orders", ["placed_at", "order_id"])
    _partial("ix_orders_due_at", "orders", "due_at", "due_at IS NOT NULL")
    op.add_column("events", sa.Column("trace", sa.Text(), nullable=True))
    op.add_column("receipts", sa.Column("asked_by", sa.Text(), nullable=True))
    op.create_index("ix_receipts_about", "receipts", ["about"])
    _partial("ix_refunds_waiting", "refunds", "requested_at", "confirmed_at IS NULL")


def _whole(name: str) -> sa.Column[int]:
    return sa.Column(name, WHOLE, nullable=False)


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text(), nullable=False)


def _inbox() -> None:
    op.create_table(
        "inbox",
        _text("command_id"),
        sa.Column("fingerprint", sa.LargeBinary(), nullable=False),
        _text("command"),
        _whole("received_at"),
        _whole("stamp"),
        _text("message_id"),
        _whole("excused"),
        sa.Column("trace", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("command_id", name=op.f("pk_inbox")),
        sqlite_strict=True,
    )
    op.create_index(op.f("ix_inbox_message_id"), "inbox", ["message_id"])
    op.create_index("ix_inbox_received_at_stamp", "inbox", ["received_at", "stamp"])


def _tallies() -> None:
    op.create_table(
        "tallies",
        _text("name"),
        _text("labels"),
        _whole("value"),
        sa.PrimaryKeyConstraint("name", "labels", name=op.f("pk_tallies")),
        sqlite_strict=True,
    )


def _audits() -> None:
    op.create_table(
        "audits",
        sa.Column("audit_id", WHOLE, autoincrement=True, nullable=False),
        _whole("audited_at"),
        _whole("orders"),
        _whole("payments"),
        _whole("took_ms"),
        _text("findings"),
        sa.PrimaryKeyConstraint("audit_id", name=op.f("pk_audits")),
        sqlite_strict=True,
    )


def _partial(name: str, table: str, column: str, condition: str) -> None:
    where = sa.text(condition)
    op.create_index(name, table, [column], sqlite_where=where, postgresql_where=where)
