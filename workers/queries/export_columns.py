"""Export columns: what an export says of each order, event and posting, and its types."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from operator import attrgetter
from typing import Any

from models.orders.order import Order
from workers.timestamps import optional_us, to_us

Value = str | int | bool | None


class Kind(Enum):
    """What a value is, whatever the format that carries it."""

    TEXT = auto()
    NAME = auto()
    """One of a few."""

    WHOLE = auto()
    INSTANT = auto()
    """Microseconds since 1970 UTC."""

    FLAG = auto()
    JSON = auto()
    """The text of a JSON value."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column: `of` finds its value in what was read."""

    name: str
    kind: Kind
    of: Callable[[Any], Value]


Columns = tuple[Column, ...]


def stored(kind: Kind, *names: str) -> Columns:
    """Take columns of a row as they stand."""
    return tuple(Column(name, kind, attrgetter(name)) for name in names)


@dataclass(frozen=True, slots=True)
class Stood:
    """An order's row, and the order that its document describes."""

    row: Any
    order: Order


def kept(kind: Kind, *names: str) -> Columns:
    """Take what an order's row has."""
    return tuple(Column(name, kind, attrgetter(f"row.{name}")) for name in names)


def said(kind: Kind, *names: str) -> Columns:
    """Take what an order says of itself."""
    return tuple(Column(name, kind, attrgetter(f"order.{name}")) for name in names)


def instants(*names: str) -> Columns:
    """Take instants that an order says of itself."""
    return tuple(Column(name, Kind.INSTANT, _instant(name)) for name in names)


def _instant(name: str) -> Callable[[Stood], int | None]:
    return lambda entry: optional_us(getattr(entry.order, name))


def _forfeited_fen(entry: Stood) -> int:
    return sum(holding.amount_fen for holding in entry.order.forfeited)


def _ended_at(entry: Stood) -> int | None:
    return to_us(entry.order.entered_at) if entry.order.is_final else None


def family(account: str) -> str:
    """Return the family of an account: what stands before the colon."""
    return account.partition(":")[0]


def order_of(subject: str) -> str | None:
    """Return the order that a subject is, or None."""
    return subject[6:] if subject.startswith("order:") else None


ORDERS: Columns = (
    *kept(Kind.TEXT, "order_id", "client_id", "creator_id"),
    *said(Kind.TEXT, "mcn_id"),
    *kept(Kind.TEXT, "name", "industry"),
    *kept(Kind.NAME, "task_type", "public_status", "state", "reason", "policy_version"),
    *said(Kind.FLAG, "prepay_deposit"),
    *kept(Kind.WHOLE, "original_amount_fen", "amount_fen"),
    *said(Kind.WHOLE, "fee_fen"),
    *kept(Kind.WHOLE, "total_fen", "deposit_fen", "held_fen", "balance_due_fen"),
    Column("forfeited_fen", Kind.WHOLE, _forfeited_fen),
    *said(Kind.WHOLE, "mcn_share_bps", "revisions"),
    *kept(Kind.INSTANT, "placed_at"),
    *instants("offered_at", "entered_at"),
    *kept(Kind.INSTANT, "due_at"),
    Column("ended_at", Kind.INSTANT, _ended_at),
    *instants("expected_publish_at"),
    *said(Kind.FLAG, "released", "rated"),
    *kept(Kind.WHOLE, "sequence"),
)
"""An order as it stands. Its brief is left out: the longest text, and nothing to be counted."""

# `at` alone would be a keyword wherever analysts query.
HAPPENED_AT = Column("happened_at", Kind.INSTANT, attrgetter("at"))

EVENTS: Columns = (
    *stored(Kind.WHOLE, "position"),
    *stored(Kind.TEXT, "subject"),
    *stored(Kind.WHOLE, "sequence"),
    *stored(Kind.NAME, "type"),
    Column("order_id", Kind.TEXT, lambda row: order_of(row.subject)),
    HAPPENED_AT,
    *stored(Kind.INSTANT, "recorded_at"),
    *stored(Kind.TEXT, "caused_by"),
    *stored(Kind.JSON, "body"),
)

POSTINGS: Columns = (
    *stored(Kind.WHOLE, "position", "ordinal"),
    *stored(Kind.TEXT, "subject"),
    *stored(Kind.WHOLE, "sequence"),
    *stored(Kind.NAME, "type"),
    Column("order_id", Kind.TEXT, lambda row: order_of(row.subject)),
    HAPPENED_AT,
    *stored(Kind.TEXT, "source", "target"),
    Column("source_family", Kind.NAME, lambda row: family(row.source)),
    Column("target_family", Kind.NAME, lambda row: family(row.target)),
    *stored(Kind.WHOLE, "amount_fen"),
)
