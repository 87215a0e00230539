"""Debt tables: money owed, money that has left, and money that nobody claims.

`due_at` is when an operator is told that it has not left; `wake_at`, as for orders, is when it next
wants attention, and runs ahead while a wake-up is under way.
"""

from __future__ import annotations

from sqlalchemy import CheckConstraint, Column, Text, UniqueConstraint

from workers.schema import Key, Whole, partial, strict

refunds = strict(
    "refunds",
    Column("refund_id", Text, primary_key=True),
    Column("base_id", Text, nullable=False, index=True),
    Column("payment_id", Text, nullable=False),
    Column("order_id", Key, index=True),
    Column("client_id", Text, nullable=False),
    Column("amount_fen", Whole, nullable=False),
    Column("requested_at", Whole, nullable=False),
    Column("confirmed_at", Whole),
    Column("for_order_id", Text),
    Column("due_at", Whole),
    Column("wake_at", Whole),
    UniqueConstraint("payment_id", "order_id"),
    CheckConstraint("amount_fen > 0", name="some_money"),
)
partial("ix_refunds_wake_at", refunds.c.wake_at, "wake_at IS NOT NULL")

payouts = strict(
    "payouts",
    Column("payout_id", Text, primary_key=True),
    Column("order_id", Key, nullable=False, index=True),
    Column("party", Text, nullable=False),
    Column("amount_fen", Whole, nullable=False),
    Column("requested_at", Whole, nullable=False),
    Column("confirmed_at", Whole),
    Column("due_at", Whole),
    Column("wake_at", Whole),
    CheckConstraint("amount_fen > 0", name="some_money"),
)
partial("ix_payouts_wake_at", payouts.c.wake_at, "wake_at IS NOT NULL")
partial("ix_payouts_waiting", payouts.c.requested_at, "confirmed_at IS NULL")

suspended = strict(
    "suspended",
    Column("share_id", Text, primary_key=True),
    Column("payment_id", Text, nullable=False),
    Column("order_id", Text, nullable=False),
    Column("amount_fen", Whole, nullable=False),
    Column("suspended_at", Whole, nullable=False),
    Column("resolved_at", Whole),
    CheckConstraint("amount_fen > 0", name="some_money"),
)
"""Shares of payments for orders that nobody knew; `share_id` is payment and order."""
