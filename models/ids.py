"""Ids: how refunds, payouts and shares of payments are named, and what their names tell."""

from __future__ import annotations

import re

PAYEE_SIDES = ("creator", "mcn")


def make_refund_base_id(payment_id: str, order_id: str | None) -> str:
    """Spell a refund's id; two pairs may spell the same, since ids may contain underscores."""
    return f"rf_{payment_id}" if order_id is None else f"rf_{payment_id}_{order_id}"


def strip_refund_number(refund_id: str) -> str:
    """Return the spelling without the number that tells later pairs apart."""
    return re.sub(r"~\d+$", "", refund_id)


def parse_refund_order_ids(refund_id: str) -> tuple[str, ...]:
    """Return every order id that a refund's id may contain."""
    parts = strip_refund_number(refund_id).removeprefix("rf_").split("_")
    return tuple(filter(None, ("_".join(parts[n:]) for n in range(1, len(parts)))))


def share_id(payment_id: str, order_id: str) -> str:
    """Name a share: ids have no colon, so no two spell the same."""
    return f"{payment_id}:{order_id}"


def parse_payout_order_id(payout_id: str) -> str | None:
    """Return the order that a payout's id names: the side stands last."""
    head, _, side = payout_id.rpartition("_")
    return head.removeprefix("po_") if side in PAYEE_SIDES and head.startswith("po_") else None
