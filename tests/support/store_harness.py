"""Store harness: one story handled in memory and over a database, which must agree."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Engine, select
from sqlalchemy.event import listen, remove

from models.audit.order_checks import Finding
from models.events.event import Event
from models.fields import MICROSECOND
from models.service.outcome import Outcome
from tests.support.clocks import MAX_ROUNDS, FixedArrivalClock, pass_time
from tests.support.stories import (
    DEPOSIT,
    HISTORIES,
    START,
    OrderStory,
    place,
    play_step,
    register_parties,
)
from workers.database import mappers, schema
from workers.database.archive_schema import ARCHIVED, with_archive
from workers.database.engine import reading
from workers.database.repository import Store
from workers.processing.processor import BatchProcessor
from workers.queries import audit
from workers.queries.reader import Reader
from workers.queue.messages import HeldCommand, Received, announce
from workers.timestamps import to_us


@dataclass(kw_only=True)
class StoreHarness(OrderStory):
    """A story handled in memory and in a database; `check_database` compares the two.

    `clock` is the arrival clock of the processor; `stamps` are those that were given.
    """

    engine: Engine
    clock: FixedArrivalClock = field(default_factory=lambda: FixedArrivalClock(START))
    stamps: set[int] = field(default_factory=set)
    notifications: int = 0
    store: Store = field(init=False)
    processor: BatchProcessor = field(init=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.store = Store(self.engine, self.policy)
        self.store.adopt_policy()
        self.processor = BatchProcessor(self.store, self.clock, self.notify)

    def notify(self) -> None:
        self.notifications += 1

    def admit(self) -> StoreHarness:
        """Register two agencies, a signed creator and a direct one."""
        register_parties(self)
        return self

    def bring_to(self, situation: str) -> StoreHarness:
        """Play the history that leads order `o1` to a situation."""
        self.admit()
        for step in HISTORIES[situation]:
            play_step(self, step)
        return self

    def offer(self, *order_ids: str) -> None:
        """Place orders and pay their deposits in one payment."""
        for order_id in order_ids:
            place(self, order_id)
        self.pay(f"deposits_of_{order_ids[0]}", dict.fromkeys(order_ids, DEPOSIT))

    @property
    def reader(self) -> Reader:
        return Reader(self.store)

    def handle(self, body: dict[str, Any], at: datetime) -> Outcome:
        """Handle a command in memory and in the database; the outcomes must be the same."""
        number = self.next_number(at)
        expected = super().handle(body, at)
        submission = self.settle_alone(body, at, stamp=number)
        assert self.outcome_of(submission)[:2] == (expected.outcome, expected.reason)
        return expected

    def spread(self, at: datetime) -> None:
        """Let orders learn of what has changed of their creators, as a scheduler would."""
        present = self.clock.present
        self.clock.present = at
        for _ in range(MAX_ROUNDS):
            creators = map(mappers.CREATORS.read, self.rows("creators"))
            waiting = [f"creator:{c.creator_id}" for c in creators if c.spread_from is not None]
            if not waiting:
                break
            self.wake_stored(*waiting)
        self.clock.present = present

    def next_number(self, at: datetime) -> int:
        """Return a stamp that nothing has: the instant in microseconds, or the next one free."""
        stamp = to_us(at)
        while stamp in self.stamps:
            stamp += 1
        return stamp

    def wake(self, subject: str, at: datetime) -> tuple[Event, ...]:
        """Tell an order, a creator or a debt what time it is, in memory and in the database."""
        self.clock.present = at
        self.wake_stored(subject)
        if self.spreads:
            self.spread(at)
        return super().wake(subject, at)

    def wake_stored(self, *subjects: str) -> None:
        """Tell orders, creators and debts what time it is, in the database alone."""
        self.processor.wake(subjects)

    def settle_alone(self, text: dict[str, Any] | str, at: datetime, *, stamp: int = 0) -> Received:
        """Settle one command alone; where it would wait for its order, that never comes."""
        submission = self.receive(text, at, stamp=stamp)
        self.clock.present = max(self.clock.present, at)
        assert self.settle(submission) == []
        if not self.is_answered(submission):
            self.clock.present = at + self.policy.placement_grace + MICROSECOND
            self.wake_stored(f"parked:{submission.stamp}")
        if self.spreads:
            self.spread(at)
        return submission

    def receive(
        self,
        text: dict[str, Any] | str,
        at: datetime | None = None,
        *,
        stamp: int = 0,
        message_id: str = "",
    ) -> Received:
        """Stamp a command as on its arrival, in a message of its own unless one is named."""
        at = at or self.now
        number = stamp or self.next_number(at)
        self.stamps.add(number)
        text = text if isinstance(text, str) else json.dumps(text)
        return Received(text, at, number, message_id or f"message-{number}")

    def settle(self, *submissions: Received) -> list[Received]:
        """Settle commands as one batch; return those that must wait, in the order of receipt."""
        return held_commands(self.processor.settle(submissions, announcements_of(submissions)))

    def elsewhere(
        self, text: dict[str, Any] | str, at: datetime | None = None, *, unread: bool = False
    ) -> Received:
        """Let another worker have a command that it has not settled yet, nor even read."""
        submission = self.receive(text, at)
        self.clock.waiting[submission.message_id] = submission
        if unread:
            self.clock.unread.add(submission.message_id)
        return submission

    def settle_elsewhere(self, submission: Received) -> None:
        """Let the other worker settle what it has."""
        del self.clock.waiting[submission.message_id]
        assert self.settle(submission) == []

    def advance(self, until: datetime) -> None:
        """Let time pass as a scheduler would: claim what wants attention, and wake it."""
        pass_time(self.processor, self.clock, until)

    def outcome_of(self, submission: Received) -> tuple[str, str | None, str | None]:
        """Return what was published for one submission: outcome, reason, and how it names it."""
        for event in self.published("command.settled"):
            if event["sequence"] == submission.stamp:
                return event["outcome"], event["reason"], event["command_id"]
        raise AssertionError(f"no outcome for {submission}")

    def is_answered(self, submission: Received) -> bool:
        """Tell whether an outcome was published for one submission."""
        outcomes = self.published("command.settled")
        return submission.stamp in {outcome["sequence"] for outcome in outcomes}

    def published(self, kind: str | None = None) -> list[dict[str, Any]]:
        """Return what consumers will see, in the order of recording."""
        table = with_archive(schema.events)
        query = select(table.c.body).order_by(table.c.position)
        query = query.where(table.c.type == kind) if kind else query
        with reading(self.engine) as connection:
            return [json.loads(body) for body in connection.execute(query).scalars()]

    def findings_of_a_race(self) -> list[Finding]:
        """Audit the books of workers that raced without announcing what they had.

        They judged in the order of their locks, not of receipt, and that is no fault of theirs.
        """
        findings = self.reader.audit().findings
        return [finding for finding in findings if finding.law != "judged_in_order"]

    def rows(self, name: str) -> list[Any]:
        """Return a whole table, wherever its rows are."""
        table = schema.metadata.tables[name]
        query = select(with_archive(table) if table in ARCHIVED else table)
        with reading(self.engine) as connection:
            return list(connection.execute(query))

    def check_database(self) -> None:
        """Hold the database to the unit of work, row by row, and to the checks of the audit."""
        assert {order.order_id: order for order in self.reader.orders()} == self.uow.orders
        receipts = [mappers.read_receipt(row) for row in self.rows("receipts")]
        assert {receipt.key: receipt for receipt in receipts} == self.uow.receipts
        for mapper in mappers.MAPPERS:
            records = map(mapper.read, self.rows(mapper.name))
            assert {getattr(record, mapper.key): record for record in records} == getattr(
                self.uow, mapper.name
            )
        assert self._stored_events() == by_subject(self.events)
        with reading(self.engine) as connection:
            assert audit.balances(connection) == self.accounts()
        assert audit.audit(self.store).findings == []

    def _stored_events(self) -> dict[str, list[Event]]:
        event_rows = sorted(self.rows("events"), key=lambda row: (row.subject, row.sequence))
        events = map(mappers.read_event, event_rows)
        return by_subject([event for event in events if event.fact.type != "command.settled"])


def by_subject(events: list[Event]) -> dict[str, list[Event]]:
    events_by_subject: dict[str, list[Event]] = defaultdict(list)
    for event in events:
        events_by_subject[event.subject].append(event)
    return dict(events_by_subject)


def announcements_of(submissions: Sequence[Received]) -> dict[str, bytes]:
    """Say what the messages that commands came in are about."""
    messages: dict[str, list[Received]] = defaultdict(list)
    for submission in submissions:
        messages[submission.message_id].append(submission)
    return {
        message_id: announce(min(command.stamp for command in commands), commands)
        for message_id, commands in messages.items()
    }


def held_commands(held: Sequence[HeldCommand]) -> list[Received]:
    """Return commands that must wait, in the order of receipt."""
    return sorted((item.received for item in held), key=lambda received: received.stamp)


@contextmanager
def recorded_commits(engine: Engine) -> Iterator[list[object]]:
    """Note every commit while the block lasts."""
    commits: list[object] = []
    note = commits.append
    listen(engine, "commit", note)
    yield commits
    remove(engine, "commit", note)


def settle_all(processor: BatchProcessor, submissions: Sequence[Received]) -> None:
    """Settle commands, and again those whose rows somebody else has locked."""
    while submissions:
        announcements = announcements_of(submissions)
        held = processor.settle(submissions, announcements)
        assert all(
            item.blocker is None or item.blocker.message_id in announcements for item in held
        )
        submissions = held_commands(held)


HarnessAndProcessors = tuple[StoreHarness, list[BatchProcessor]]
