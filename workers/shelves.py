"""Shelves: where the book's lesser things stand in the database, and how they are written."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from functools import partial
from typing import Any, TypeVar

from sqlalchemy import Table

from models.creators import CREATORS as DOCUMENTS
from models.creators import Client, Creator, Mcn, Provider, Report
from models.obligations import Payment, Payout, Refund, Suspended, base_of
from workers import debt_tables, party_tables, schema
from workers.clock import from_us, optional_us, to_us
from workers.rows import Row

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Shelf:
    """One table of one kind of thing: `name` is the book's attribute, `key` the id's column.

    `alarm` is what wake-ups put before the id, where the kind has deadlines of its own.
    """

    name: str
    table: Table
    key: str
    read: Callable[[Any], Any]
    write: Callable[[Any], Row]
    alarm: str | None = None


def plain(kind: type[T], row: Any) -> T:  # noqa: ANN401 - a row of any statement over its table
    """Read what stands in columns of the same names; those that end in `_at` are instants."""
    return _made(kind, row._mapping)  # noqa: SLF001 - SQLAlchemy's public name for it


def _made(kind: type[T], values: Mapping[str, Any]) -> T:
    body: Any = kind
    return kind(**{field.name: _value(field.name, values[field.name]) for field in fields(body)})


def _value(name: str, value: Any) -> Any:  # noqa: ANN401 - of any column
    return from_us(value) if name.endswith("_at") and value is not None else value


def flat(entity: Any) -> Row:  # noqa: ANN401 - anything with fields
    """Write each field into the column of its name."""
    values = ((field.name, getattr(entity, field.name)) for field in fields(entity))
    return {name: to_us(value) if isinstance(value, datetime) else value for name, value in values}


def _debt(kind: type[T], row: Any) -> T:  # noqa: ANN401 - a row of refunds or payouts
    # While a wake-up is under way the column `wake_at` runs ahead of what the rules know.
    mapping = row._mapping  # noqa: SLF001 - SQLAlchemy's public name for it
    return _made(kind, {**mapping, "wake_at": mapping["due_at"]})


def _debt_row(debt: Refund | Payout) -> Row:
    return flat(debt) | {"due_at": optional_us(debt.wake_at)}


def _refund_row(refund: Refund) -> Row:
    return _debt_row(refund) | {"base_id": base_of(refund.refund_id)}


def _creator(row: Any) -> Creator:  # noqa: ANN401 - a row of any statement over creators
    return DOCUMENTS.validate_json(row.document)


def _creator_row(creator: Creator) -> Row:
    return {
        "creator_id": creator.creator_id,
        "name": creator.name,
        "mcn_id": creator.agency,
        "sequence": creator.sequence,
        "standing": creator.standing.name,
        "wake_at": optional_us(creator.wake_at),
        "document": DOCUMENTS.dump_json(creator).decode(),
    }


def _shelf(name: str, key: str, kind: type[Any]) -> Shelf:
    return Shelf(name, schema.metadata.tables[name], key, partial(plain, kind), flat)


CREATORS = Shelf("creators", party_tables.creators, "creator_id", _creator, _creator_row, "creator")


MCNS = _shelf("mcns", "mcn_id", Mcn)


CLIENTS = _shelf("clients", "client_id", Client)


PROVIDERS = _shelf("providers", "provider_id", Provider)


VIOLATIONS = _shelf("violations", "violation_id", Report)


PAYMENTS = _shelf("payments", "payment_id", Payment)


SUSPENDED = _shelf("suspended", "share_id", Suspended)


REFUNDS = Shelf(
    "refunds", debt_tables.refunds, "refund_id", partial(_debt, Refund), _refund_row, "refund"
)


PAYOUTS = Shelf(
    "payouts", debt_tables.payouts, "payout_id", partial(_debt, Payout), _debt_row, "payout"
)


PARTIES = (MCNS, CLIENTS, PROVIDERS)
"""Read as they stand: which of two racing commands came first is anyone's guess."""


SHELVES = (CREATORS, *PARTIES, VIOLATIONS, PAYMENTS, REFUNDS, PAYOUTS, SUSPENDED)
"""Everything but orders and receipts, which are more than their shelf."""
