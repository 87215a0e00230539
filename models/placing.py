"""Placing: how an order begins."""

from __future__ import annotations

from datetime import datetime, timedelta

from models import money
from models.commands import PlaceOrder
from models.order_events import OrderPlaced
from models.policy import Policy

FURTHEST_PUBLICATION = timedelta(days=366)
"""How far ahead a publication may be planned: a year, leap years included."""


def fault(command: PlaceOrder, policy: Policy, at: datetime) -> str | None:
    """Say what makes an order impossible whoever asks: such a command is malformed."""
    if money.total(command.amount_fen, policy.service_fee_bps) > money.MAX_FEN:
        return "amount_fen: with the service fee it is more than an order can be worth"
    publish_at = command.expected_publish_at
    if publish_at is not None and not at <= publish_at <= at + FURTHEST_PUBLICATION:
        return "expected_publish_at: an instant within a year from now is wanted"
    return None


def place(command: PlaceOrder, policy: Policy, at: datetime) -> OrderPlaced:
    """Freeze the terms of an order under the policy in force."""
    total_fen = money.total(command.amount_fen, policy.service_fee_bps)
    deposit_fen = money.deposit(total_fen, policy.deposit_bps) if command.prepay_deposit else 0
    return OrderPlaced(
        client_id=command.by.id,
        creator_id=command.creator_id,
        name=command.name,
        task_type=command.task_type,
        industry=command.industry,
        brief=command.brief,
        amount_fen=command.amount_fen,
        total_fen=total_fen,
        deposit_fen=deposit_fen,
        prepay_deposit=command.prepay_deposit,
        due_fen=deposit_fen or total_fen,
        due_at=at + policy.deposit_window,
        policy_version=policy.version,
        expected_publish_at=command.expected_publish_at,
        needs_script=command.needs_script,
    )
