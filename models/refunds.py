"""Refunds: money owed back, named after the payment and the order it came from."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Refund:
    """Money owed back: `requested` until it is confirmed.

    `order_id` None: a whole payment, or a share of one for an order that nobody knew, which
    `for_order_id` names. At `wake_at` an operator is told that it has not left.
    """

    refund_id: str
    payment_id: str
    order_id: str | None
    client_id: str
    amount_fen: int
    requested_at: datetime
    confirmed_at: datetime | None = None
    for_order_id: str | None = None
    wake_at: datetime | None = None


def base_id(payment_id: str, order_id: str | None) -> str:
    """Spell a refund's id; two pairs may spell the same, since ids may contain underscores."""
    return f"rf_{payment_id}" if order_id is None else f"rf_{payment_id}_{order_id}"


def base_of(refund_id: str) -> str:
    """Return the spelling without the number that tells later pairs apart."""
    return re.sub(r"~\d+$", "", refund_id)


def orders_spelt(refund_id: str) -> tuple[str, ...]:
    """Return every order id that a refund's id may contain."""
    parts = base_of(refund_id).removeprefix("rf_").split("_")
    return tuple(filter(None, ("_".join(parts[n:]) for n in range(1, len(parts)))))
