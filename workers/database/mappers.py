"""Mappers: orders, events, receipts, parties and debts as rows of their tables, and back."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from functools import partial
from typing import Any, TypeVar

from pydantic import ValidationError
from sqlalchemy import Table

from models.commands.parsing import read_command, write_command
from models.creators import (
    CREATOR_ADAPTER,
    Creator,
    RegisteredClient,
    RegisteredMcn,
    RegisteredProvider,
    ViolationReport,
)
from models.errors import BrokenInvariant
from models.events import read_fact
from models.events.event import Event
from models.events.notifications import LIMITS_ADAPTER
from models.events.orders import OrderPlaced
from models.ids import strip_refund_number, subject_key
from models.lifecycle import DebtStatus
from models.obligations import Payment, Payout, Refund, SuspenseItem
from models.orders.order import ORDER_ADAPTER, Order, public_status
from models.policy import Policy
from models.service.outcome import Receipt
from models.service.parked import ParkedCommand
from models.service.unit_of_work import UnitOfWork
from workers.database import schema
from workers.timestamps import from_us, optional_us, to_us

T = TypeVar("T")


Row = dict[str, Any]


def order_row(order: Order, wake_at: datetime | None, judged_stamp: int | None) -> Row:
    """Write what may change of an order: its document and what queries and constraints need.

    The rest is left alone: whoever writes a column rewrites every index that it stands in.
    """
    return {
        "order_id": order.order_id,
        "state": order.state.value,
        "reason": order.reason,
        "amount_fen": order.amount_fen,
        "total_fen": order.total_fen,
        "held_fen": order.held_fen,
        "balance_due_fen": order.balance_due_fen,
        "sequence": order.sequence,
        "due_at": optional_us(order.due_at),
        "wake_at": optional_us(wake_at),
        "document": ORDER_ADAPTER.serializer.to_json(order, exclude_defaults=True).decode(),
        "public_status": public_status(order.state, rated=order.rated).value,
        "ended_at": to_us(order.entered_at) if order.is_final else None,
        "creator_sequence": order.creator_sequence,
        "expected_publish_at": optional_us(order.expected_publish_at),
        "judged_stamp": judged_stamp,
    }


def new_order_row(
    order: Order, wake_at: datetime | None, order_placed: OrderPlaced, judged_stamp: int | None
) -> Row:
    """Write an order for the first time, with what never changes and texts that no rule needs."""
    fixed = {
        "client_id": order.client_id,
        "creator_id": order.creator_id,
        "policy_version": order.policy.version,
        "original_amount_fen": order.original_amount_fen,
        "deposit_fen": order.deposit_fen,
        "placed_at": to_us(order.placed_at),
        "reference_key": reference_key(f"order:{order.order_id}"),
    }
    texts = {
        "name": order_placed.name,
        "task_type": order_placed.task_type,
        "industry": order_placed.industry,
        "brief": order_placed.brief,
    }
    return order_row(order, wake_at, judged_stamp) | fixed | texts


def reference_key(home: str) -> int:
    """Return the number by which an order is found that references are told of in."""
    return int.from_bytes(subject_key(home), "big", signed=True)


def read_order(document: str, policies: dict[str, Policy]) -> Order:
    """Read an order; raise `BrokenInvariant` where that is not possible."""
    try:
        return ORDER_ADAPTER.validate_json(document, context=policies)
    except KeyError as missing:
        message = f"an order names policy version {missing}, which the policies table lacks"
        raise BrokenInvariant(message) from None
    except ValidationError as error:
        message = f"an order's document cannot be read: {error.error_count()} faults"
        raise BrokenInvariant(message) from None


def event_row(event: Event, recorded_at: int, traces: Mapping[str, str]) -> Row:
    """Write an event; it is published from what stands here. `traces` are by what caused it."""
    return {
        "subject": event.subject,
        "sequence": event.sequence,
        "type": event.fact.type,
        "at": to_us(event.at),
        "recorded_at": recorded_at,
        "caused_by": event.caused_by,
        "body": event.text(),
        "trace": traces.get(event.caused_by),
    }


def read_event(row: Any) -> Event:  # noqa: ANN401 - a row of any statement over events
    """Read an event."""
    fact = read_fact(row.type, json.loads(row.body))
    return Event(row.subject, row.sequence, from_us(row.at), row.caused_by, fact)


def posting_rows(uow: UnitOfWork) -> list[Row]:
    """Write the money that moved, in the order in which each event moved it."""
    counts: dict[str, int] = {}
    rows = []
    for event, posting in uow.postings:
        ordinal = counts[event.id] = counts.get(event.id, 0) + 1
        rows.append(
            {
                "subject": event.subject,
                "sequence": event.sequence,
                "ordinal": ordinal,
                "source": posting.source,
                "target": posting.target,
                "amount_fen": posting.amount_fen,
            }
        )
    return rows


def receipt_row(receipt: Receipt, stamp: int, judged_after: int | None) -> Row:
    """Write an outcome; `stamp` tells a redelivery from a sender that asks again."""
    return {
        "command_id": receipt.command_id,
        "sender": receipt.sender,
        "fingerprint": receipt.fingerprint,
        "outcome": receipt.outcome,
        "reason": receipt.reason,
        "received_at": to_us(receipt.received_at),
        "stamp": stamp,
        "about": receipt.about,
        "limits": None
        if receipt.limits is None
        else LIMITS_ADAPTER.dump_json(receipt.limits).decode(),
        "judged_after": judged_after,
    }


def read_receipt(row: Any) -> Receipt:  # noqa: ANN401 - a row of any statement over receipts
    """Read an outcome."""
    return Receipt(
        sender=row.sender,
        command_id=row.command_id,
        fingerprint=bytes(row.fingerprint),
        outcome=row.outcome,
        reason=row.reason,
        received_at=from_us(row.received_at),
        about=row.about,
        limits=None if row.limits is None else LIMITS_ADAPTER.validate_json(row.limits),
    )


@dataclass(frozen=True, slots=True)
class TableMapper:
    """One table of one kind of thing: `name` is the unit of work's attribute, `key` the id's.

    `wake_prefix` is what wake-ups put before the id, where the kind has deadlines of its own;
    `attribute` is the id's name in the models, where that is another.
    """

    name: str
    table: Table
    key: str
    read: Callable[[Any], Any]
    write: Callable[[Any], Row]
    wake_prefix: str | None = None
    attribute: str | None = None

    def key_of(self, entity: Any) -> str:  # noqa: ANN401 - anything of the kind
        """Return the id under which the unit of work holds something."""
        key: str = getattr(entity, self.attribute or self.key)
        return key

    @property
    def subject(self) -> str:
        """Return the kind of its things, as commands name them that are about one."""
        return "suspense" if self.name == "suspended" else self.name.removesuffix("s")


def read_columns(kind: type[T], row: Any) -> T:  # noqa: ANN401 - a row of any statement over its table
    """Read what stands in columns of the same names; `_at` and `_since` end those of instants."""
    return _from_columns(kind, row._mapping)  # noqa: SLF001 - SQLAlchemy's public name for it


def _from_columns(kind: type[T], values: Mapping[str, Any]) -> T:
    body: Any = kind
    return kind(
        **{field.name: _column_value(field.name, values[field.name]) for field in fields(body)}
    )


def _column_value(name: str, value: Any) -> Any:  # noqa: ANN401 - of any column
    is_instant = name.endswith(("_at", "_since"))
    return from_us(value) if is_instant and value is not None else value


def write_columns(entity: Any) -> Row:  # noqa: ANN401 - anything with fields
    """Write each field into the column of its name."""
    values = ((field.name, getattr(entity, field.name)) for field in fields(entity))
    return {name: to_us(value) if isinstance(value, datetime) else value for name, value in values}


def _read_obligation(kind: type[T], row: Any) -> T:  # noqa: ANN401 - a row of what has `due_at`
    # While a wake-up is under way the column `wake_at` runs ahead of what the rules know.
    mapping = row._mapping  # noqa: SLF001 - SQLAlchemy's public name for it
    status = {"status": DebtStatus(mapping["status"])} if "status" in mapping else {}
    return _from_columns(kind, {**mapping, "wake_at": mapping["due_at"], **status})


def _obligation_row(debt: Refund | Payout | SuspenseItem) -> Row:
    return write_columns(debt) | {"due_at": optional_us(debt.wake_at)}


def _debt_row(debt: Refund | Payout) -> Row:
    columns = {"status": debt.status.value, "reference_stem": debt.reference_stem}
    return _obligation_row(debt) | columns


def _refund_row(refund: Refund) -> Row:
    return _debt_row(refund) | {"base_id": strip_refund_number(refund.refund_id)}


def _read_payment(row: Any) -> Payment:  # noqa: ANN401 - a row of any statement over payments
    mapping = row._mapping  # noqa: SLF001 - SQLAlchemy's public name for it
    digests = bytes(row.voided_contents or b"")
    contents = tuple(
        digests[start : start + DIGEST_BYTES] for start in range(0, len(digests), DIGEST_BYTES)
    )
    return _from_columns(Payment, {**mapping, "voided_contents": contents})


def _payment_row(payment: Payment) -> Row:
    return write_columns(payment) | {"voided_contents": b"".join(payment.voided_contents) or None}


DIGEST_BYTES = 16
"""Bytes of the content of a notice of payment."""


def _read_parked(row: Any) -> ParkedCommand:  # noqa: ANN401 - a row of any statement over parked
    return ParkedCommand(
        command=read_command(row.command),
        order_id=row.order_id,
        received_at=from_us(row.received_at),
        number=row.stamp,
        answer_at=from_us(row.answer_at),
    )


def _parked_row(waiting: ParkedCommand) -> Row:
    answer_at = to_us(waiting.answer_at)
    return {
        "stamp": waiting.number,
        "sender": waiting.sender,
        "command_id": waiting.command.id,
        "order_id": waiting.order_id,
        "command": write_command(waiting.command),
        "received_at": to_us(waiting.received_at),
        "answer_at": answer_at,
        "wake_at": answer_at,
    }


def _read_creator(row: Any) -> Creator:  # noqa: ANN401 - a row of any statement over creators
    return CREATOR_ADAPTER.validate_json(row.document)


def _creator_row(creator: Creator) -> Row:
    return {
        "creator_id": creator.creator_id,
        "name": creator.name,
        "mcn_id": creator.agency,
        "sequence": creator.sequence,
        "standing": creator.standing.name,
        "wake_at": optional_us(creator.wake_at),
        "document": CREATOR_ADAPTER.dump_json(creator).decode(),
    }


def _column_mapper(name: str, key: str, kind: type[Any]) -> TableMapper:
    return TableMapper(
        name, schema.metadata.tables[name], key, partial(read_columns, kind), write_columns
    )


CREATORS = TableMapper(
    "creators", schema.creators, "creator_id", _read_creator, _creator_row, "creator"
)


MCNS = _column_mapper("mcns", "mcn_id", RegisteredMcn)


CLIENTS = _column_mapper("clients", "client_id", RegisteredClient)


PROVIDERS = _column_mapper("providers", "provider_id", RegisteredProvider)


VIOLATIONS = _column_mapper("violations", "violation_id", ViolationReport)


PAYMENTS = TableMapper("payments", schema.payments, "payment_id", _read_payment, _payment_row)


SUSPENDED = TableMapper(
    "suspended",
    schema.suspended,
    "share_id",
    partial(_read_obligation, SuspenseItem),
    _obligation_row,
    "suspense",
)


PARKED = TableMapper(
    "parked", schema.parked, "stamp", _read_parked, _parked_row, "parked", attribute="key"
)


REFUNDS = TableMapper(
    "refunds", schema.refunds, "refund_id", partial(_read_obligation, Refund), _refund_row, "refund"
)


PAYOUTS = TableMapper(
    "payouts", schema.payouts, "payout_id", partial(_read_obligation, Payout), _debt_row, "payout"
)


PARTY_MAPPERS = (MCNS, CLIENTS, PROVIDERS)
"""Read as they stand: which of two racing commands came first is anyone's guess."""


MAPPERS = (CREATORS, *PARTY_MAPPERS, VIOLATIONS, PAYMENTS, REFUNDS, PAYOUTS, SUSPENDED, PARKED)
"""Everything but orders and receipts, which have functions of their own."""
