"""Checker tests: a good run has no fault, and every corruption planted in it is named."""

# ruff: noqa: S608 - the statements here are ours, and corrupt a database on purpose.

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from models.commands.parsing import parse_command
from models.fields import MICROSECOND
from models.policy import Policy
from ops.simulation.replay import read_steps, shift_steps
from ops.simulation.simulate import SimulationStep
from tests.fault.calls.in_process_pipeline import SCENARIOS
from tests.fault.checks.checker import CheckerFinding, check
from tests.fault.checks.collected import ReadEvent, SentCommand, collect_run
from tests.fault.checks.model import audit_findings, model_findings
from tests.support.clocks import FixedArrivalClock, pass_time
from workers.database.engine import open_database
from workers.database.migrations import migrate
from workers.database.repository import Store
from workers.processing.processor import BatchProcessor
from workers.queue.messages import Received
from workers.timestamps import to_us

pytestmark = pytest.mark.fault

POLICY = Policy()
BEGIN = datetime.now(UTC) - timedelta(days=90)

SCENARIO_NAMES = (
    *("merged_one_forfeited", "reinstated", "nobody_accepts", "declined"),
    "settled_with_agency",
)


@dataclass
class RecordedRun:
    """A run on record: a database, what was sent, what was read."""

    engine: Engine
    sent: list[SentCommand]
    delivered: list[ReadEvent]

    def findings(self) -> list[CheckerFinding]:
        until_us = to_us(datetime.now(UTC))
        evidence = collect_run(self.engine, self.sent, self.delivered, until_us)
        faults = [*check(evidence), *audit_findings(self.engine, POLICY)]
        return [*faults, *model_findings(self.engine, evidence, POLICY)]

    def sql(self, *statements: str) -> None:
        """Change the database behind everybody's back, constraints or not."""
        with self.engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA ignore_check_constraints = ON")
            for statement in statements:
                assert connection.execute(text(statement)).rowcount, statement
            connection.commit()


def run_scenario(engine: Engine, name: str, number: int) -> list[SentCommand]:
    """Settle a worked example in the past; its ids get a number of their own."""
    lines = (SCENARIOS / f"{name}.steps.jsonl").read_text("utf-8")
    lines = re.sub(r'"(id|(?:order|payment|creator|mcn)_id)": "(cmd_)?', rf"\g<0>s{number}-", lines)
    steps = shift_steps(read_steps(lines.splitlines()), BEGIN + timedelta(days=12 * number))
    clock = FixedArrivalClock(steps[0].at)
    store = Store(engine, POLICY)
    store.adopt_policy()
    processor = BatchProcessor(store, clock, lambda: None)
    submissions = []
    for n, step in enumerate([*steps, SimulationStep(steps[-1].at + timedelta(days=11), None)]):
        pass_time(processor, clock, step.at)
        clock.present = step.at + MICROSECOND
        if step.command is not None:
            command = Received(step.command, step.at, to_us(step.at) + n, f"m{number}-{n}")
            assert processor.settle([command]) == []
            key = parse_command(step.command).key
            submissions.append(SentCommand(key, step.command, command.stamp, command.stamp))
    return submissions


SENT_COMMANDS: dict[Path, list[SentCommand]] = {}
"""What was sent in a good run, by the path of its database."""


@pytest.fixture(scope="module")
def good_run_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a database in which five scenarios have come to their ends."""
    path = tmp_path_factory.mktemp("good") / "earnest.db"
    engine = open_database(f"sqlite:///{path}")
    migrate(engine)
    submissions = [
        submission
        for n, name in enumerate(SCENARIO_NAMES)
        for submission in run_scenario(engine, name, n)
    ]
    SENT_COMMANDS[path] = submissions
    engine.dispose()
    return path


@pytest.fixture
def recorded_run(good_run_path: Path, tmp_path: Path) -> Iterator[RecordedRun]:
    """Give a copy of the good run, its events delivered."""
    copy_path = tmp_path / "earnest.db"
    shutil.copy(good_run_path, copy_path)
    engine = open_database(f"sqlite:///{copy_path}")
    evidence = collect_run(engine, (), (), 0)
    delivered = [ReadEvent(event.recorded_us // 1000, event.sent_as) for event in evidence.events]
    yield RecordedRun(engine, list(SENT_COMMANDS[good_run_path]), delivered)
    engine.dispose()


Corruption = Callable[[RecordedRun], object]
ONE_ORDER = "(SELECT order_id FROM orders ORDER BY order_id LIMIT 1)"
FORFEIT = "(SELECT position FROM events WHERE type = 'order.forfeited' ORDER BY position LIMIT 1)"
DEADLINE = "caused_by LIKE 'deadline:%' AND type = 'order.expired'"


def duplicate_event_sql(condition: str, *changes: str) -> str:
    """Write an event a second time, as the next of its subject."""
    columns = "subject, sequence, type, at, recorded_at, caused_by, body, published_at"
    select_list = columns.replace(
        "sequence", "(SELECT max(sequence) + 1 FROM events o WHERE o.subject = e.subject)"
    )
    for change in changes:
        name, value = change.split("=", 1)
        select_list = select_list.replace(name, value)
    return (
        f"INSERT INTO events ({columns})"
        f" SELECT {select_list} FROM events e WHERE {condition} LIMIT 1"
    )


def swap_events(case: RecordedRun) -> None:
    """Let a consumer read an order's second event before its first."""
    first, second = (
        next(
            n
            for n, delivery in enumerate(case.delivered)
            if delivery.event_id.startswith("order:") and delivery.event_id.endswith(f"/{number}")
        )
        for number in (1, 2)
    )
    case.delivered[first], case.delivered[second] = case.delivered[second], case.delivered[first]


def forged_event(delivery: ReadEvent) -> dict[str, object]:
    return delivery.event | {"type": "order.paid"}


CORRUPTIONS: dict[str, tuple[Corruption, str]] = {
    "an outcome is lost": (
        lambda c: c.sql("DELETE FROM receipts WHERE command_id LIKE 'cmd_s0-%3'"),
        "receipted",
    ),
    "an answer is lost": (
        lambda c: c.sql(
            "DELETE FROM events WHERE position = (SELECT min(position) FROM events"
            " WHERE type = 'command.settled')"
        ),
        "answered",
    ),
    "an answer says something else": (
        lambda c: c.sql(
            "UPDATE receipts SET outcome = 'rejected', reason = 'late'"
            " WHERE rowid = (SELECT min(rowid) FROM receipts)"
        ),
        "same_answer",
    ),
    "a command is answered as new again": (
        lambda c: c.sql(duplicate_event_sql("type = 'command.settled'")),
        "judged_once",
    ),
    "an outcome has no sender": (lambda c: c.sent.pop(0), "invented"),
    "an event is lost": (
        lambda c: c.sql(
            "DELETE FROM events WHERE type = 'order.accepted' AND position ="
            " (SELECT min(position) FROM events WHERE type = 'order.accepted')"
        ),
        "contiguous",
    ),
    "a deadline takes effect again": (
        lambda c: c.sql(duplicate_event_sql(DEADLINE)),
        "deadline_once",
    ),
    "an acceptance takes effect again": (
        lambda c: c.sql(duplicate_event_sql("type = 'order.accepted'", "at=at + 1")),
        "effect_once",
    ),
    "a refusal has an effect": (
        lambda c: c.sql(
            "UPDATE receipts SET outcome = 'rejected', reason = 'late' WHERE"
            " sender || ':' || command_id = (SELECT substr(caused_by, 9) FROM events WHERE"
            " type = 'order.accepted' LIMIT 1)"
        ),
        "caused",
    ),
    "a deadline is early": (
        lambda c: c.sql(f"UPDATE events SET recorded_at = at - 1 WHERE {DEADLINE}"),
        "not_early",
    ),
    "an event is never delivered": (lambda c: c.delivered.pop(), "delivered"),
    "an event is delivered and not committed": (
        lambda c: c.delivered.append(ReadEvent(0, {"id": "order:x/1"})),
        "phantom",
    ),
    "an event is delivered otherwise": (
        lambda c: c.delivered.insert(
            0, replace(c.delivered[0], event=forged_event(c.delivered[0]))
        ),
        "altered",
    ),
    "events are delivered out of order": (swap_events, "ordered"),
    "a posting is lost": (
        lambda c: c.sql(
            "DELETE FROM postings WHERE rowid = (SELECT min(rowid) FROM postings"
            " WHERE target LIKE 'escrow:%')"
        ),
        "escrow",
    ),
    "a posting has no event": (
        lambda c: c.sql(
            "UPDATE postings SET sequence = 99 WHERE rowid = (SELECT min(rowid) FROM postings)"
        ),
        "balanced",
    ),
    "an order is stuck": (
        lambda c: c.sql(
            f"UPDATE orders SET document = json_set(document, '$.due_at', '2026-01-01T00:00:00Z',"
            f" '$.state', 'offered'), state = 'offered', reason = NULL, due_at = 1, wake_at = 1"
            f" WHERE order_id = {ONE_ORDER}"
        ),
        "stuck",
    ),
    "an order waits and nobody will wake it": (
        lambda c: c.sql(
            f"UPDATE orders SET document = json_set(document, '$.due_at', '2026-01-01T00:00:00Z',"
            f" '$.state', 'offered') WHERE order_id = {ONE_ORDER}"
        ),
        "armed",
    ),
    "an order is not what its events say": (
        lambda c: c.sql(
            f"UPDATE orders SET document = json_set(document, '$.nudges', 7)"
            f" WHERE order_id = {ONE_ORDER}"
        ),
        "books.replay",
    ),
    "a payout is not what is owed": (
        lambda c: c.sql("UPDATE payouts SET amount_fen = amount_fen + 1"),
        "books.payouts",
    ),
    "a payout is forgotten": (
        lambda c: c.sql("DELETE FROM payouts WHERE party LIKE 'mcn:%'"),
        "books.payouts",
    ),
    "a creator is not what the events say": (
        lambda c: c.sql("UPDATE creators SET document = json_set(document, '$.mcn_share_bps', 1)"),
        "books.replay",
    ),
    "somebody in time was called late": (
        lambda c: c.sql(
            "UPDATE receipts SET outcome = 'rejected', reason = 'late' WHERE"
            " sender || ':' || command_id = (SELECT substr(caused_by, 9) FROM events WHERE"
            " type = 'order.accepted' LIMIT 1)"
        ),
        "rules",
    ),
    "a command was dead-lettered": (
        lambda c: c.sql(
            "INSERT INTO dead_letters (command, received_at, stamp, error, died_at)"
            " VALUES ('{}', 1, 1, 'x', 1)"
        ),
        "set_aside",
    ),
}


def test_the_checker_finds_nothing_in_a_good_run(recorded_run: RecordedRun) -> None:
    assert recorded_run.findings() == []


@pytest.mark.parametrize("corruption", CORRUPTIONS)
def test_the_checker_names_a_planted_corruption(recorded_run: RecordedRun, corruption: str) -> None:
    plant, law = CORRUPTIONS[corruption]
    plant(recorded_run)
    assert law in {fault.law for fault in recorded_run.findings()}
