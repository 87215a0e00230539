"""Debts: payouts, shares in suspense, and what is told of money that has not left in time."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from models.notices import OperatorAlerted
from models.reasons import Alert
from models.refunds import Refund

SIDES = ("creator", "mcn")


@dataclass(frozen=True, slots=True, kw_only=True)
class Payout:
    """Money owed to one of the creator's side: `requested` until it is confirmed."""

    payout_id: str
    order_id: str
    party: str
    amount_fen: int
    requested_at: datetime
    confirmed_at: datetime | None = None
    wake_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspended:
    """A share of a payment for an order that nobody knew when the money came."""

    share_id: str
    payment_id: str
    order_id: str
    amount_fen: int
    suspended_at: datetime
    resolved_at: datetime | None = None


def share_id(payment_id: str, order_id: str) -> str:
    """Name a share: ids have no colon, so no two spell the same."""
    return f"{payment_id}:{order_id}"


def order_paid_out(payout_id: str) -> str | None:
    """Return the order that a payout's id names: the side stands last."""
    head, _, side = payout_id.rpartition("_")
    return head.removeprefix("po_") if side in SIDES and head.startswith("po_") else None


def overdue(debt: Refund | Payout) -> OperatorAlerted:
    """Tell an operator that money owed has not left."""
    if isinstance(debt, Payout):
        return OperatorAlerted(
            alert=Alert.PAYOUT_OVERDUE,
            payment_id="",
            amount_fen=debt.amount_fen,
            for_order_id=debt.order_id,
            payout_id=debt.payout_id,
            due_at=debt.wake_at,
        )
    return OperatorAlerted(
        alert=Alert.REFUND_OVERDUE,
        payment_id=debt.payment_id,
        amount_fen=debt.amount_fen,
        for_order_id=debt.order_id or debt.for_order_id,
        refund_id=debt.refund_id,
        due_at=debt.wake_at,
    )
