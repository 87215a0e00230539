"""Collected run: what the database, the sender and the consumer each say happened."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Engine, select

from models.ids import make_command_key
from models.policy import Policy
from workers.database import mappers, schema
from workers.database.engine import reading
from workers.database.repository import Store
from workers.outbox.streams import cloud_event
from workers.timestamps import optional_us


@dataclass(frozen=True, slots=True)
class SentCommand:
    """One command a sender submitted; `key` names it, `stamp` is None unless acknowledged."""

    key: str
    text: str
    sent_us: int
    stamp: int | None


@dataclass(frozen=True, slots=True)
class ReadEvent:
    """One event as a consumer read it; `read_ms` is Redis' own clock."""

    read_ms: int
    event: dict[str, Any]

    @property
    def event_id(self) -> str:
        return str(self.event["id"])


@dataclass(frozen=True, slots=True)
class DatabaseOutcome:
    """What a command came to, as the database has it."""

    key: str
    outcome: str
    reason: str | None
    received_us: int


@dataclass(frozen=True, slots=True)
class RecordedEvent:
    """One event as the database has it."""

    subject: str
    sequence: int
    type: str
    at_us: int
    recorded_us: int
    caused_by: str
    body: dict[str, Any]
    sent_as: dict[str, Any]

    @property
    def event_id(self) -> str:
        return f"{self.subject}/{self.sequence}"


@dataclass(frozen=True, slots=True)
class PostingSide:
    """One side of a posting: what one account gained, or lost, by one event."""

    event_id: str
    account: str
    amount_fen: int


@dataclass(frozen=True, slots=True)
class FinalOrder:
    """One order as the database has it in the end."""

    order_id: str
    state: str
    reason: str | None
    held_fen: int
    sequence: int
    lapses_us: int | None
    wake_us: int | None


@dataclass(slots=True, kw_only=True)
class CollectedRun:
    """What all three say, and the instant up to which deadlines must have taken effect.

    `wiped_us` are the instants at which Redis lost everything on purpose: what was
    acknowledged before them may be lost until its sender sends again. `answers_every_submission`
    tells whether every submission is answered by an event of its own.
    """

    outcomes: list[DatabaseOutcome]
    events: list[RecordedEvent]
    posting_sides: list[PostingSide]
    final_orders: list[FinalOrder]
    sent: Sequence[SentCommand]
    delivered: Sequence[ReadEvent]
    until_us: int
    failed_messages: list[str] = field(default_factory=list)
    wiped_us: Sequence[int] = ()
    answers_every_submission: bool = True


def collect_run(
    engine: Engine,
    submissions: Sequence[SentCommand],
    deliveries: Sequence[ReadEvent],
    until_us: int,
) -> CollectedRun:
    """Read the database's side, in one view of it."""
    policies = Store(engine, Policy()).known_policies()
    with reading(engine) as connection:
        table = schema.receipts
        receipts = connection.execute(select(table)).all()
        table = schema.events
        events = connection.execute(select(table).order_by(table.c.subject, table.c.sequence)).all()
        postings = connection.execute(select(schema.postings)).all()
        orders = connection.execute(select(schema.orders)).all()
        dead_letter_stamps = connection.execute(select(schema.dead_letters.c.stamp)).scalars().all()
        quarantined_ids = connection.execute(select(schema.quarantine.c.message_id)).scalars().all()
    return CollectedRun(
        outcomes=[
            DatabaseOutcome(
                make_command_key(receipt.sender, receipt.command_id),
                receipt.outcome,
                receipt.reason,
                receipt.received_at,
            )
            for receipt in receipts
        ],
        events=[_recorded_event(row) for row in events],
        posting_sides=[side for row in postings for side in _posting_sides(row)],
        final_orders=[_final_order(row, policies) for row in orders],
        sent=submissions,
        delivered=deliveries,
        until_us=until_us,
        failed_messages=[
            *(f"dead letter {n}" for n in dead_letter_stamps),
            *(f"quarantined {n}" for n in quarantined_ids),
        ],
    )


def _recorded_event(row: Any) -> RecordedEvent:  # noqa: ANN401 - a row of the events table
    return RecordedEvent(
        row.subject,
        row.sequence,
        row.type,
        row.at,
        row.recorded_at,
        row.caused_by,
        json.loads(row.body),
        json.loads(cloud_event(row)),
    )


def _posting_sides(row: Any) -> tuple[PostingSide, PostingSide]:  # noqa: ANN401 - a row of the postings table
    event_id = f"{row.subject}/{row.sequence}"
    return PostingSide(event_id, row.source, -row.amount_fen), PostingSide(
        event_id, row.target, row.amount_fen
    )


def _final_order(row: Any, policies: dict[str, Policy]) -> FinalOrder:  # noqa: ANN401 - a row of orders
    lapses_at = mappers.read_order(row.document, policies).lapses_at
    return FinalOrder(
        row.order_id,
        row.state,
        row.reason,
        row.held_fen,
        row.sequence,
        optional_us(lapses_at),
        row.wake_at,
    )
