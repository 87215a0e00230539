"""Ids: how commands, refunds, payouts and shares are named, and what their names tell."""

from __future__ import annotations

import re

PAYEE_SIDES = ("creator", "mcn")

UNKNOWN = "-"
"""What stands for the sender, or for the id, that a malformed command does not tell."""


def make_command_key(sender: str | None, command_id: str | None) -> str:
    """Name a command for all senders: `role:id:command id`. Ids have no colon: no two are alike."""
    return f"{sender or UNKNOWN}:{command_id or UNKNOWN}"


def split_command_key(key: str) -> tuple[str, str]:
    """Return the sender and the id of a command that is well formed, given its key.

    The sender is empty where a key is the id alone, as it was before ids belonged to their senders.
    """
    sender, _, command_id = key.rpartition(":")
    return sender, command_id


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


def parse_refund_payment_ids(refund_id: str) -> tuple[str, ...]:
    """Return every payment id that a refund's id may contain."""
    parts = strip_refund_number(refund_id).removeprefix("rf_").split("_")
    return tuple(filter(None, ("_".join(parts[:n]) for n in range(1, len(parts) + 1))))


def share_id(payment_id: str, order_id: str) -> str:
    """Name a share: ids have no colon, so no two spell the same."""
    return f"{payment_id}:{order_id}"


def split_share_id(share: str) -> tuple[str, str]:
    """Return the payment and the order of a share."""
    payment_id, _, order_id = share.partition(":")
    return payment_id, order_id


def parse_wake_subject(subject: str) -> tuple[str, str]:
    """Return the kind and the id of what is to be told the time; a bare id is an order's."""
    kind, colon, subject_id = subject.partition(":")
    return (kind, subject_id) if colon else ("order", subject)


def parse_payout_order_id(payout_id: str) -> str | None:
    """Return the order that a payout's id names: the side stands last."""
    head, _, side = payout_id.rpartition("_")
    return head.removeprefix("po_") if side in PAYEE_SIDES and head.startswith("po_") else None
