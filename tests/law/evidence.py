"""Evidence: what was sent, and what the database says that became of it."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from sqlalchemy import Connection, Engine, select

from models import ledger
from models.ledger import Posting
from tests.law.formats import SETTLED, CommandKey, key_of_subject, read_outcome
from workers.database import schema
from workers.database.engine import reading


@dataclass(slots=True)
class LoggedCommand:
    """One submission: what was sent, in which message and exchange, and what was acknowledged.

    What is sent again has neither number. Redis acknowledges with a stamp, the gateway with the
    instant of receipt.
    """

    sender: str
    command_id: str
    text: str
    message: int
    exchange: int
    stamp: int | None = None
    received_us: int | None = None

    @property
    def is_acknowledged(self) -> bool:
        return self.stamp is not None or self.received_us is not None


class StoredEvent(NamedTuple):
    """One event as the database has it; `text` is what consumers read."""

    sequence: int
    caused_by: str
    text: str


@dataclass(frozen=True, slots=True)
class StampedOutcome:
    """One outcome as the database has it: whose, received when, and what it says."""

    key: CommandKey
    stamp: int
    at_us: int
    outcome: dict[str, Any]


@dataclass(slots=True)
class PipelineRecord:
    """What the pipeline made of a run, up to an instant at which nothing was about to happen."""

    outcomes: list[StampedOutcome] = field(default_factory=list)
    events: dict[str, list[StoredEvent]] = field(default_factory=dict)
    endings: dict[str, tuple[str, str | None]] = field(default_factory=dict)
    balances: dict[str, int] = field(default_factory=dict)
    dead_ids: set[str] = field(default_factory=set)
    until_us: int = 0
    wiped_us: Sequence[int] = ()


def read_record(engine: Engine, until_us: int, wiped_us: Sequence[int] = ()) -> PipelineRecord:
    """Read everything in one view of the database."""
    record, events = PipelineRecord(until_us=until_us, wiped_us=wiped_us), schema.events.c
    postings, orders = schema.postings.c, schema.orders.c
    events_by_subject: dict[str, list[StoredEvent]] = defaultdict(list)
    with reading(engine) as connection:
        columns = (events.subject, events.sequence, events.type, events.at)
        query = select(*columns, events.caused_by, events.body)
        for subject, sequence, event_type, at_us, caused_by, body in connection.execute(query):
            if event_type == SETTLED:
                outcome = read_outcome(json.loads(body))
                record.outcomes.append(
                    StampedOutcome(key_of_subject(subject), sequence, at_us, outcome)
                )
            else:
                events_by_subject[subject].append(StoredEvent(sequence, caused_by, body))
        endings = select(orders.order_id, orders.state, orders.reason)
        record.endings = {
            order_id: (state, reason) for order_id, state, reason in connection.execute(endings)
        }
        moves = connection.execute(select(postings.source, postings.target, postings.amount_fen))
        record.balances = ledger.balances(Posting(*move) for move in moves)
        record.dead_ids = _read_dead_ids(connection)
    for stored_events in events_by_subject.values():
        stored_events.sort()
    record.events = dict(events_by_subject)
    record.outcomes.sort(key=lambda outcome: outcome.stamp)
    return record


def read_answered(engine: Engine) -> set[CommandKey]:
    """Name the commands that have an outcome, and those that are dead letters: of no sender."""
    events = schema.events.c
    with reading(engine) as connection:
        subjects = connection.execute(select(events.subject).where(events.type == SETTLED))
        answered = {key_of_subject(subject) for subject in subjects.scalars()}
        return answered | {(None, command_id) for command_id in _read_dead_ids(connection)}


def _read_dead_ids(connection: Connection) -> set[str]:
    dead_letters = connection.execute(select(schema.dead_letters.c.command))
    return {json.loads(text)["id"] for text in dead_letters.scalars()}
