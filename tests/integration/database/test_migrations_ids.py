"""Ids by sender: after an upgrade nothing takes effect twice, and an id is its sender's."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from alembic import command
from sqlalchemy import Engine, MetaData

from models.commands.parsing import parse_command
from scheduler.auditor import check_delivery
from tests.support.clocks import FixedReservations
from tests.support.sample_commands import SampleCommand
from tests.support.store_harness import StoreHarness
from tests.support.stories import POLICY, sender
from workers import inbox
from workers.database import receipts
from workers.database.engine import open_database, reading, writing
from workers.database.migrations import alembic_config, migrate
from workers.inbox import Submission
from workers.timestamps import from_us

STAMP, RECEIVED_US = 5, 1_000_000
UNKNOWN, KNOWN, WAITING = "cmd_unknown", "cmd_known", "cmd_waiting"


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    """Give a database of the version before, with a receipt of each kind and a full inbox."""
    old_engine = open_database(database_url)
    with writing(old_engine) as connection:
        config = alembic_config()
        config.attributes["connection"] = connection
        command.upgrade(config, "0006")
        old_schema = MetaData()
        old_schema.reflect(connection)
        for command_id, asked_by in ((UNKNOWN, None), (KNOWN, "platform:one")):
            connection.execute(
                old_schema.tables["receipts"].insert(), old_receipt(command_id, asked_by)
            )
            connection.execute(old_schema.tables["events"].insert(), old_outcome(command_id))
        connection.execute(old_schema.tables["inbox"].insert(), old_inbox_row())
    migrate(old_engine)
    yield old_engine
    old_engine.dispose()


@pytest.fixture
def harness(engine: Engine) -> StoreHarness:
    """Give a store harness over the upgraded database."""
    return StoreHarness(POLICY, engine=engine)


def registration(command_id: str, by: str = "platform:one") -> SampleCommand:
    fields = {"mcn_id": "m1", "name": "青梧传媒"}
    return {"id": command_id, "kind": "register_mcn", "by": sender(by), **fields}


def fingerprint(body: SampleCommand) -> bytes:
    return parse_command(json.dumps(body)).fingerprint()


def old_receipt(command_id: str, asked_by: str | None) -> dict[str, Any]:
    row: dict[str, Any] = {"command_id": command_id, "asked_by": asked_by}
    row |= {"fingerprint": fingerprint(registration(command_id)), "stamp": STAMP}
    return row | {"outcome": "applied", "received_at": RECEIVED_US}


def old_outcome(command_id: str) -> dict[str, Any]:
    cause = f"command:{command_id}"
    body: dict[str, Any] = {"type": "command.settled", "sequence": STAMP, "caused_by": cause}
    body |= {"command_id": command_id, "outcome": "applied", "reason": None}
    row = {"subject": cause, "sequence": STAMP, "type": "command.settled", "caused_by": cause}
    return row | {"at": RECEIVED_US, "recorded_at": RECEIVED_US, "body": json.dumps(body)}


def old_inbox_row() -> dict[str, Any]:
    body = registration(WAITING)
    row = {"command_id": WAITING, "fingerprint": fingerprint(body), "command": json.dumps(body)}
    return row | {"received_at": 9, "stamp": 9, "message_id": "inbox-x", "excused": 0}


def outcome_of(harness: StoreHarness, body: SampleCommand) -> tuple[str, str | None]:
    return harness.outcome_of(harness.settle_alone(body, harness.now))[:2]


def submission(body: SampleCommand) -> Submission:
    by = body["by"]
    return Submission(f"{by['role']}:{by['id']}", body["id"], fingerprint(body), json.dumps(body))


@pytest.mark.parametrize("command_id", [UNKNOWN, KNOWN])
def test_a_command_from_before_the_upgrade_takes_effect_no_second_time(
    harness: StoreHarness, command_id: str
) -> None:
    assert outcome_of(harness, registration(command_id)) == ("duplicate", None)
    (answer,) = [
        event for event in harness.published("command.settled") if event["sequence"] != STAMP
    ]
    assert answer["first"] == {"outcome": "applied", "reason": None}
    assert harness.rows("mcns") == []


@pytest.mark.parametrize("command_id", [UNKNOWN, KNOWN])
def test_a_redelivery_from_before_the_upgrade_says_nothing(
    harness: StoreHarness, command_id: str
) -> None:
    redelivered = harness.receive(registration(command_id), from_us(RECEIVED_US), stamp=STAMP)
    told_before = harness.published()
    assert harness.settle(redelivered) == []
    assert harness.published() == told_before


@pytest.mark.parametrize("command_id", [UNKNOWN, KNOWN])
def test_after_the_upgrade_another_sender_may_use_an_id(
    harness: StoreHarness, command_id: str
) -> None:
    assert outcome_of(harness, registration(command_id, "platform:two")) == ("applied", None)
    assert [row.mcn_id for row in harness.rows("mcns")] == ["m1"]
    assert outcome_of(harness, registration(command_id)) == ("duplicate", None)


@pytest.mark.parametrize("command_id", [UNKNOWN, KNOWN])
def test_the_inbox_knows_what_was_settled_before_the_upgrade(
    engine: Engine, command_id: str
) -> None:
    own, foreign = registration(command_id), registration(command_id, "platform:two")
    admissions, rows = inbox.admit(
        engine, FixedReservations(77), [[submission(own)], [submission(foreign)]]
    )
    assert [admission.stamps for admission in admissions] == [[RECEIVED_US], [77]]
    assert [row["sender"] for row in rows] == ["platform:two"]


def test_what_waited_in_the_inbox_has_its_sender_and_is_settled_once(
    harness: StoreHarness,
) -> None:
    (row,) = harness.rows("inbox")
    assert row.sender == "platform:one"
    again = submission(registration(WAITING))
    (admission,), rows = inbox.admit(harness.engine, FixedReservations(77), [[again]])
    assert (admission.stamps, rows) == ([9], [])
    received = harness.receive(row.command, from_us(9), stamp=9, message_id="inbox-x")
    assert harness.settle(received) == []
    assert harness.outcome_of(received)[:2] == ("applied", None)
    assert harness.rows("inbox") == []
    assert [event["at"] for event in harness.published("mcn.registered")] == [
        from_us(9).isoformat().replace("+00:00", "Z")
    ]


def test_the_outcomes_of_before_the_upgrade_count_as_told(harness: StoreHarness) -> None:
    delivery, findings = check_delivery(harness.store)
    assert delivery.unanswered == 0
    assert [finding for finding in findings if finding.law == "answered"] == []


def test_whether_any_sender_is_unknown_is_found_without_reading_the_receipts(
    migrated_sqlite_url: str,
) -> None:
    sqlite_engine = open_database(migrated_sqlite_url)
    with reading(sqlite_engine) as connection:
        plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {receipts.ANY_UNATTRIBUTED}").all()
    sqlite_engine.dispose()
    assert "SEARCH receipts USING COVERING INDEX ix_receipts_unattributed" in plan[0][-1]
