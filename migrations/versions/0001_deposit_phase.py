"""Deposit phase: the tables of the first version."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

WHOLE = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def _all(kind: sa.types.TypeEngine[Any], names: str) -> Iterator[sa.Column[Any]]:
    return (sa.Column(name, kind, nullable=False) for name in names.split())


STATES = (
    "'awaiting_balance', 'awaiting_deposit', 'balance_overdue', 'cancelled', 'completed', "
    "'declined', 'expired', 'forfeited', 'in_fulfilment', 'offered'"
)
FINAL = "'cancelled', 'completed', 'declined', 'expired', 'forfeited'"


def _check(condition: str, name: str) -> sa.CheckConstraint:
    return sa.CheckConstraint(condition, name=op.f(f"ck_orders_{name}"))


def upgrade() -> None:
    """Create everything; `workers/database/schema.py` says what each table is for."""
    for create in (
        _creators,
        _dead_letters,
        _events,
        _leases,
        _mcns,
        _orders,
        _payments,
        _policies,
        _postings,
        _quarantine,
        _receipts,
        _refunds,
    ):
        create()


def _creators() -> None:
    op.create_table(
        "creators",
        *_all(sa.Text(), "creator_id name"),
        sa.Column("mcn_id", sa.Text(), nullable=True),
        sa.Column("sequence", WHOLE, nullable=False),
        sa.PrimaryKeyConstraint("creator_id", name=op.f("pk_creators")),
        sqlite_strict=True,
    )


def _dead_letters() -> None:
    op.create_table(
        "dead_letters",
        sa.Column("letter_id", WHOLE, autoincrement=True, nullable=False),
        sa.Column("command", sa.Text(), nullable=False),
        *_all(WHOLE, "received_at stamp"),
        sa.Column("error", sa.Text(), nullable=False),
        sa.Column("died_at", WHOLE, nullable=False),
        sa.Column("replayed_at", WHOLE, nullable=True),
        sa.PrimaryKeyConstraint("letter_id", name=op.f("pk_dead_letters")),
        sa.UniqueConstraint("stamp", name=op.f("uq_dead_letters_stamp")),
        sqlite_strict=True,
    )


def _events() -> None:
    op.create_table(
        "events",
        sa.Column("position", WHOLE, autoincrement=True, nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("sequence", WHOLE, nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        *_all(WHOLE, "at recorded_at"),
        *_all(sa.Text(), "caused_by body"),
        sa.Column("published_at", WHOLE, nullable=True),
        sa.CheckConstraint("sequence > 0", name=op.f("ck_events_sequence_counts")),
        sa.PrimaryKeyConstraint("position", name=op.f("pk_events")),
        sa.UniqueConstraint("subject", "sequence", name=op.f("uq_events_subject_sequence")),
        sqlite_strict=True,
    )
    op.create_index(
        "ix_events_unpublished",
        "events",
        ["position"],
        unique=False,
        sqlite_where=sa.text("published_at IS NULL"),
        postgresql_where=sa.text("published_at IS NULL"),
    )


def _leases() -> None:
    op.create_table(
        "leases",
        *_all(sa.Text(), "name holder"),
        sa.Column("until", WHOLE, nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_leases")),
        sqlite_strict=True,
    )


def _mcns() -> None:
    op.create_table(
        "mcns",
        *_all(sa.Text(), "mcn_id name"),
        sa.Column("sequence", WHOLE, nullable=False),
        sa.PrimaryKeyConstraint("mcn_id", name=op.f("pk_mcns")),
        sqlite_strict=True,
    )


def _orders() -> None:
    op.create_table(
        "orders",
        *_all(sa.Text(), "order_id client_id creator_id name task_type industry brief state"),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("policy_version", sa.Text(), nullable=False),
        *_all(WHOLE, "original_amount_fen amount_fen total_fen deposit_fen held_fen"),
        *_all(WHOLE, "balance_due_fen placed_at sequence"),
        sa.Column("due_at", WHOLE, nullable=True),
        sa.Column("wake_at", WHOLE, nullable=True),
        sa.Column("document", sa.Text(), nullable=False),
        _check(
            "amount_fen > 0 AND original_amount_fen > 0 AND total_fen >= amount_fen"
            " AND deposit_fen BETWEEN 0 AND total_fen AND held_fen BETWEEN 0 AND total_fen"
            " AND balance_due_fen BETWEEN 0 AND total_fen",
            "money_in_range",
        ),
        _check("(due_at IS NULL) = (wake_at IS NULL)", "waits_and_wakes"),
        _check(f"(state IN ({FINAL})) = (reason IS NOT NULL)", "ended"),
        _check(f"state IN ({STATES})", "state_known"),
        _check(f"state NOT IN ({FINAL}) OR held_fen = 0", "final_holds_nothing"),
        sa.PrimaryKeyConstraint("order_id", name=op.f("pk_orders")),
        sqlite_strict=True,
    )
    op.create_index(
        "ix_orders_wake_at",
        "orders",
        ["wake_at"],
        unique=False,
        sqlite_where=sa.text("wake_at IS NOT NULL"),
        postgresql_where=sa.text("wake_at IS NOT NULL"),
    )


def _payments() -> None:
    op.create_table(
        "payments",
        sa.Column("payment_id", sa.Text(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        *_all(WHOLE, "amount_fen paid_at received_at"),
        sa.Column("command_id", sa.Text(), nullable=False),
        sa.Column("sequence", WHOLE, nullable=False),
        sa.CheckConstraint("amount_fen > 0", name=op.f("ck_payments_some_money")),
        sa.CheckConstraint("paid_at <= received_at", name=op.f("ck_payments_no_foresight")),
        sa.PrimaryKeyConstraint("payment_id", name=op.f("pk_payments")),
        sqlite_strict=True,
    )


def _policies() -> None:
    op.create_table(
        "policies",
        *_all(sa.Text(), "version document"),
        sa.Column("adopted_at", WHOLE, nullable=False),
        sa.PrimaryKeyConstraint("version", name=op.f("pk_policies")),
        sqlite_strict=True,
    )


def _postings() -> None:
    op.create_table(
        "postings",
        sa.Column("subject", sa.Text(), nullable=False),
        *_all(WHOLE, "sequence ordinal"),
        *_all(sa.Text(), "source target"),
        sa.Column("amount_fen", WHOLE, nullable=False),
        sa.CheckConstraint("amount_fen > 0", name=op.f("ck_postings_moves_something")),
        sa.CheckConstraint("source <> target", name=op.f("ck_postings_moves_somewhere")),
        sa.PrimaryKeyConstraint("subject", "sequence", "ordinal", name=op.f("pk_postings")),
        sqlite_strict=True,
    )


def _quarantine() -> None:
    op.create_table(
        "quarantine",
        sa.Column("item_id", WHOLE, autoincrement=True, nullable=False),
        *_all(sa.Text(), "queue message_id reason"),
        sa.Column("payload", sa.LargeBinary(), nullable=False),
        *_all(WHOLE, "size quarantined_at"),
        sa.PrimaryKeyConstraint("item_id", name=op.f("pk_quarantine")),
        sa.UniqueConstraint("message_id", name=op.f("uq_quarantine_message_id")),
        sqlite_strict=True,
    )


def _receipts() -> None:
    op.create_table(
        "receipts",
        sa.Column("command_id", sa.Text(), nullable=False),
        sa.Column("fingerprint", sa.LargeBinary(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        *_all(WHOLE, "received_at stamp"),
        sa.Column("about", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "(outcome = 'rejected') = (reason IS NOT NULL) OR outcome = 'duplicate'",
            name=op.f("ck_receipts_refusal_says_why"),
        ),
        sa.CheckConstraint(
            "outcome IN ('applied', 'rejected', 'duplicate')",
            name=op.f("ck_receipts_outcome_known"),
        ),
        sa.PrimaryKeyConstraint("command_id", name=op.f("pk_receipts")),
        sqlite_strict=True,
    )


def _refunds() -> None:
    op.create_table(
        "refunds",
        *_all(sa.Text(), "refund_id base_id payment_id"),
        sa.Column("order_id", sa.Text(), nullable=True),
        sa.Column("client_id", sa.Text(), nullable=False),
        *_all(WHOLE, "amount_fen requested_at"),
        sa.Column("confirmed_at", WHOLE, nullable=True),
        sa.CheckConstraint("amount_fen > 0", name=op.f("ck_refunds_some_money")),
        sa.PrimaryKeyConstraint("refund_id", name=op.f("pk_refunds")),
        sa.UniqueConstraint("payment_id", "order_id", name=op.f("uq_refunds_payment_id_order_id")),
        sqlite_strict=True,
    )
    op.create_index(op.f("ix_refunds_base_id"), "refunds", ["base_id"], unique=False)
    op.create_index(op.f("ix_refunds_order_id"), "refunds", ["order_id"], unique=False)
