"""Ids: how commands, refunds, payouts and shares are named, and what their names tell."""

from __future__ import annotations

import hashlib
import re
from base64 import b32decode, b32encode
from functools import lru_cache
from typing import NamedTuple

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


def make_transfer_id(payout_id: str) -> str:
    """Name the refund that a payout turns into when it is reversed in the client's favour."""
    return f"{TRANSFER_PREFIX}{payout_id}"


TRANSFER_PREFIX = "rv_"


def parse_refund_order_ids(refund_id: str) -> tuple[str, ...]:
    """Return every order id that a refund's id may contain."""
    if refund_id.startswith(TRANSFER_PREFIX):
        order_id = parse_payout_order_id(refund_id.removeprefix(TRANSFER_PREFIX))
        return () if order_id is None else (order_id,)
    parts = strip_refund_number(refund_id).removeprefix("rf_").split("_")
    return tuple(filter(None, ("_".join(parts[n:]) for n in range(1, len(parts)))))


def parse_refund_payment_ids(refund_id: str) -> tuple[str, ...]:
    """Return every payment id that a refund's id may contain."""
    if refund_id.startswith(TRANSFER_PREFIX):
        return ()
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


@lru_cache(maxsize=65_536)
def subject_key(subject: str) -> bytes:
    """Return 8 bytes that stand for a subject, given as `kind:id` or as its `key:` in letters.

    Where two share a key, one waits in vain for the other, and no more.
    """
    if subject.startswith(KEY_PREFIX):
        return b32decode(subject.removeprefix(KEY_PREFIX) + "===")
    return hashlib.blake2b(subject.encode(), digest_size=8).digest()


KEY_PREFIX = "key:"


class Reference(NamedTuple):
    """What a reference tells: whose it is, whatever the attempt, and which attempt it is for."""

    stem: str
    attempt: int

    @property
    def home(self) -> str:
        """Name the subject in whose events its refund or payout is told of, by its key."""
        return f"{KEY_PREFIX}{self.stem[1:14]}"


_REFERENCE = re.compile(r"([RP][A-Z2-7]{26})([1-9][0-9]{0,4})", re.ASCII)


@lru_cache(maxsize=65_536)
def make_reference_stem(debt_id: str, home: str) -> str:
    """Return what the references of all attempts at a refund or payout begin with.

    `home` is the subject in whose events it is told of. Its key stands in the reference, so that
    whoever names one is put in the order of all that is about that subject. With the key of the id
    these are 128 bits: no two references are the same.
    """
    kind = "P" if debt_id.startswith("po_") else "R"
    return kind + _letters_of_key(home) + _letters_of_key(debt_id)


def _letters_of_key(subject: str) -> str:
    return b32encode(subject_key(subject)).decode().rstrip("=")


def make_reference(stem: str, attempt: int) -> str:
    """Return what payment rails are given for one attempt: at most 32 letters and digits."""
    return f"{stem}{attempt}"


def parse_reference(name: str) -> Reference | None:
    """Read a reference; None for an id: it has an underscore, which no reference has."""
    match = _REFERENCE.fullmatch(name)
    return None if match is None else Reference(match[1], int(match[2]))
