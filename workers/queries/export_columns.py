"""Export columns: what an export says of each order, event and posting, and its types."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from operator import attrgetter
from typing import Any

from models.orders.order import Order
from workers.timestamps import optional_us, to_us

ExportValue = str | int | bool | None


class ValueKind(Enum):
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
class ExportColumn:
    """One column: `of` finds its value in what was read."""

    name: str
    kind: ValueKind
    of: Callable[[Any], ExportValue]


ExportColumns = tuple[ExportColumn, ...]


def row_columns(kind: ValueKind, *names: str) -> ExportColumns:
    """Take columns of a row as they stand."""
    return tuple(ExportColumn(name, kind, attrgetter(name)) for name in names)


@dataclass(frozen=True, slots=True)
class StoredOrder:
    """An order's row, and the order that its document describes."""

    row: Any
    order: Order


def order_row_columns(kind: ValueKind, *names: str) -> ExportColumns:
    """Take what an order's row has."""
    return tuple(ExportColumn(name, kind, attrgetter(f"row.{name}")) for name in names)


def order_columns(kind: ValueKind, *names: str) -> ExportColumns:
    """Take what an order says of itself."""
    return tuple(ExportColumn(name, kind, attrgetter(f"order.{name}")) for name in names)


def order_instant_columns(*names: str) -> ExportColumns:
    """Take instants that an order says of itself."""
    return tuple(ExportColumn(name, ValueKind.INSTANT, _instant(name)) for name in names)


def _instant(name: str) -> Callable[[StoredOrder], int | None]:
    return lambda entry: optional_us(getattr(entry.order, name))


def _forfeited_fen(entry: StoredOrder) -> int:
    return sum(holding.amount_fen for holding in entry.order.forfeited)


def _ended_at(entry: StoredOrder) -> int | None:
    return to_us(entry.order.entered_at) if entry.order.is_final else None


def account_family(account: str) -> str:
    """Return the family of an account: what stands before the colon."""
    return account.partition(":")[0]


def order_id_of(subject: str) -> str | None:
    """Return the order that a subject is, or None."""
    return subject[6:] if subject.startswith("order:") else None


ORDER_COLUMNS: ExportColumns = (
    *order_row_columns(ValueKind.TEXT, "order_id", "client_id", "creator_id"),
    *order_columns(ValueKind.TEXT, "mcn_id"),
    *order_row_columns(ValueKind.TEXT, "name", "industry"),
    *order_row_columns(
        ValueKind.NAME, "task_type", "public_status", "state", "reason", "policy_version"
    ),
    *order_columns(ValueKind.FLAG, "prepay_deposit"),
    *order_row_columns(ValueKind.WHOLE, "original_amount_fen", "amount_fen"),
    *order_columns(ValueKind.WHOLE, "fee_fen"),
    *order_row_columns(ValueKind.WHOLE, "total_fen", "deposit_fen", "held_fen", "balance_due_fen"),
    ExportColumn("forfeited_fen", ValueKind.WHOLE, _forfeited_fen),
    *order_columns(ValueKind.WHOLE, "mcn_share_bps", "revisions"),
    *order_row_columns(ValueKind.INSTANT, "placed_at"),
    *order_instant_columns("offered_at", "entered_at"),
    *order_row_columns(ValueKind.INSTANT, "due_at"),
    ExportColumn("ended_at", ValueKind.INSTANT, _ended_at),
    *order_instant_columns("expected_publish_at"),
    *order_columns(ValueKind.FLAG, "released", "rated"),
    *order_row_columns(ValueKind.WHOLE, "sequence"),
)
"""An order as it stands. Its brief is left out: the longest text, and nothing to be counted."""


# `at` alone would be a keyword wherever analysts query.
HAPPENED_AT = ExportColumn("happened_at", ValueKind.INSTANT, attrgetter("at"))


EVENT_COLUMNS: ExportColumns = (
    *row_columns(ValueKind.WHOLE, "position"),
    *row_columns(ValueKind.TEXT, "subject"),
    *row_columns(ValueKind.WHOLE, "sequence"),
    *row_columns(ValueKind.NAME, "type"),
    ExportColumn("order_id", ValueKind.TEXT, lambda row: order_id_of(row.subject)),
    HAPPENED_AT,
    *row_columns(ValueKind.INSTANT, "recorded_at"),
    *row_columns(ValueKind.TEXT, "caused_by"),
    *row_columns(ValueKind.JSON, "body"),
)


POSTING_COLUMNS: ExportColumns = (
    *row_columns(ValueKind.WHOLE, "position", "ordinal"),
    *row_columns(ValueKind.TEXT, "subject"),
    *row_columns(ValueKind.WHOLE, "sequence"),
    *row_columns(ValueKind.NAME, "type"),
    ExportColumn("order_id", ValueKind.TEXT, lambda row: order_id_of(row.subject)),
    HAPPENED_AT,
    *row_columns(ValueKind.TEXT, "source", "target"),
    ExportColumn("source_family", ValueKind.NAME, lambda row: account_family(row.source)),
    ExportColumn("target_family", ValueKind.NAME, lambda row: account_family(row.target)),
    *row_columns(ValueKind.WHOLE, "amount_fen"),
)
