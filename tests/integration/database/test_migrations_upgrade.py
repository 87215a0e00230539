"""Upgrade: a database of the version before can still be used, with orders in every state."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from sqlalchemy import Engine, MetaData, select, text

from models.ids import make_reference, make_reference_stem
from models.lifecycle import FINAL_STATES, State
from tests.support.store_harness import StoreHarness
from tests.support.stories import POLICY, span
from workers.database import schema
from workers.database.archive_schema import with_archive
from workers.database.engine import open_database, reading, writing
from workers.database.mappers import PAYOUTS, REFUNDS
from workers.database.migrations import alembic_config, migrate
from workers.timestamps import from_us, now_us, to_us

HISTORY = Path(__file__).with_name("deposit_phase.jsonl")

# One line for each situation of the deposit phase: every row that version 0.1.0 had written.
OLD_TABLES = {
    record["situation"]: record["tables"]
    for record in map(json.loads, HISTORY.read_text("utf-8").splitlines())
}

IN_FULFILMENT = [name for name in OLD_TABLES if name in ("in_fulfilment", "full_at_work")]


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    """Give an empty database of the version before."""
    old_engine = open_database(database_url)
    with writing(old_engine) as connection:
        config = alembic_config()
        config.attributes["connection"] = connection
        command.upgrade(config, "0002")
    yield old_engine
    old_engine.dispose()


def upgrade_from(engine: Engine, situation: str) -> StoreHarness:
    """Fill a database as the version before had left it, and bring it up to date."""
    with writing(engine) as connection:
        old_schema = MetaData()
        old_schema.reflect(connection)
        for name, rows in OLD_TABLES[situation].items():
            for row in rows:
                connection.execute(old_schema.tables[name].insert(), plain_row(row))
        if engine.dialect.name == "postgresql":
            set_sequence = (
                "SELECT setval('events_position_seq', (SELECT max(position) FROM events))"
            )
            connection.execute(text(set_sequence))
    migrate(engine)
    return StoreHarness(POLICY, engine=engine, now=from_us(now_us()))


def plain_row(row: dict[str, Any]) -> dict[str, Any]:
    """Read bytes, which travel as hexadecimal digits."""
    binary = ("fingerprint", "content")
    return {k: bytes.fromhex(v) if k in binary else v for k, v in row.items()}


def read_order(harness: StoreHarness) -> Any:  # noqa: ANN401 - an order
    stored_order = harness.reader.order("o1")
    assert stored_order is not None
    return stored_order


@pytest.mark.parametrize("situation", OLD_TABLES)
def test_an_upgraded_database_passes_the_audit_before_and_after_its_orders_end(
    engine: Engine, situation: str
) -> None:
    harness = upgrade_from(engine, situation)
    assert harness.reader.audit().findings == []
    harness.advance(harness.now + timedelta(days=30))
    assert harness.reader.audit().findings == []
    assert read_order(harness).state in FINAL_STATES


@pytest.mark.parametrize("situation", OLD_TABLES)
def test_an_upgrade_keeps_when_orders_ended(engine: Engine, situation: str) -> None:
    harness = upgrade_from(engine, situation)
    (row,), stored_order = harness.rows("orders"), read_order(harness)
    assert row.ended_at == (to_us(stored_order.entered_at) if stored_order.is_final else None)


@pytest.mark.parametrize("situation", IN_FULFILMENT)
def test_an_upgrade_gives_orders_in_fulfilment_a_whole_window_for_the_first_work(
    engine: Engine, situation: str
) -> None:
    harness = upgrade_from(engine, situation)
    (extension,) = harness.published("deadline.extended")
    due_at = datetime.fromisoformat(extension["due_at"])
    assert read_order(harness).due_at == due_at
    assert timedelta(0) <= harness.now + POLICY.first_work_window - due_at < timedelta(minutes=1)
    harness.advance(due_at)
    assert read_order(harness).state is State.IN_FULFILMENT
    leads = [
        reminder["lead"]
        for reminder in harness.published("creator.reminded")
        if reminder["at"] > extension["at"]
    ]
    assert leads == ["P1D", "PT4H"]
    harness.advance(due_at + span("1us"))
    assert (read_order(harness).state, read_order(harness).reason) == (State.CANCELLED, "no_work")


def test_after_an_upgrade_a_script_can_be_submitted_for_an_order_in_fulfilment(
    engine: Engine,
) -> None:
    harness = upgrade_from(engine, "in_fulfilment")
    body: dict[str, Any] = {"id": "the_first_script", "kind": "submit_script", "order_id": "o1"}
    body |= {"by": {"role": "mcn", "id": "m1"}, "links": ["https://example.com/1"]}
    assert harness.outcome_of(harness.settle_alone(body, harness.now))[:2] == ("applied", None)
    assert read_order(harness).state is State.SCRIPT_REVIEW
    assert harness.reader.audit().findings == []


def test_after_an_upgrade_reminders_name_their_order(engine: Engine) -> None:
    harness = upgrade_from(engine, "in_fulfilment")
    name = harness.published("order.placed")[0]["name"]
    due_at = read_order(harness).due_at
    assert due_at is not None
    harness.advance(due_at)
    reminders = [
        reminder for reminder in harness.published("creator.reminded") if "order_name" in reminder
    ]
    assert {reminder["order_name"] for reminder in reminders} == {name}


def test_an_upgrade_keeps_the_costs_that_refusals_told(engine: Engine) -> None:
    with writing(engine) as connection:
        config = alembic_config()
        config.attributes["connection"] = connection
        command.upgrade(config, "0010")
        columns = "sender, command_id, fingerprint, outcome, reason, received_at, stamp, cost_fen"
        values = "'client:c1', 'cancel-0001', :content, 'rejected', 'cost_mismatch', 1, 1, 10500"
        insertion = text(f"INSERT INTO receipts ({columns}) VALUES ({values})")  # noqa: S608 - ours
        connection.execute(insertion, {"content": b""})
    migrate(engine)
    outcomes = StoreHarness(POLICY, engine=engine, now=from_us(now_us())).reader.outcomes(
        ["client:c1:cancel-0001"]
    )
    assert outcomes["client:c1:cancel-0001"].limits == {"cost_fen": 10_500}


def test_after_an_upgrade_money_owed_has_its_whole_time_to_leave(engine: Engine) -> None:
    harness = upgrade_from(engine, "cancelled_offered")
    (refund,) = [row for row in harness.rows("refunds") if row.order_id == "o1"]
    harness.advance(from_us(refund.due_at) - span("1us"))
    alerts = [event["alert"] for event in harness.published("operator.alerted")]
    assert alerts == ["unknown_order"]
    harness.advance(from_us(refund.due_at))
    alert = harness.published("operator.alerted")[-1]
    assert (alert["alert"], alert["refund_id"]) == ("refund_overdue", refund.refund_id)


def test_after_an_upgrade_money_in_suspense_can_be_sent_back(engine: Engine) -> None:
    harness = upgrade_from(engine, "cancelled_offered")
    body: dict[str, Any] = {
        "id": "send_the_stray_back",
        "kind": "resolve_suspense",
        "order_id": "nobodys",
    }
    body |= {"by": {"role": "operator", "id": "ops"}, "payment_id": "stray"}
    body |= {"to": "refund", "reason": "nobody knows the order"}
    assert harness.outcome_of(harness.settle_alone(body, harness.now))[:2] == ("applied", None)
    assert harness.reader.balances()["suspense"] == 0
    assert harness.reader.audit().findings == []


def payments_in_use(harness: StoreHarness) -> dict[str, str | None]:
    """Void every payment; say of each why it cannot be, or None."""
    reasons: dict[str, str | None] = {}
    for row in harness.rows("payments"):
        body: dict[str, Any] = {"id": f"void_{row.payment_id:0>9}", "kind": "void_payment"}
        body |= {"by": {"role": "operator", "id": "ops"}, "payment_id": row.payment_id}
        submission = harness.settle_alone(body | {"reason": "another merchant's"}, harness.now)
        reasons[row.payment_id] = harness.outcome_of(submission)[1]
    return reasons


@pytest.mark.parametrize("situation", OLD_TABLES)
def test_after_an_upgrade_a_payment_is_in_use_exactly_if_an_order_has_taken_it(
    engine: Engine, situation: str
) -> None:
    harness = upgrade_from(engine, situation)
    applied = {event["payment_id"]: event for event in harness.published("payment.applied")}
    for row in harness.rows("payments"):
        taken = applied.get(row.payment_id)
        assert row.applied_at == (
            None if taken is None else to_us(datetime.fromisoformat(taken["at"]))
        )
        assert taken is None or row.client_id == taken["client_id"]
    reasons = payments_in_use(harness)
    in_use = {name for name, reason in reasons.items() if reason == "payment_in_use"}
    left = {event["payment_id"] for event in harness.published("refund.confirmed")}
    assert in_use == applied.keys() | (left & reasons.keys())
    assert set(reasons.values()) <= {None, "payment_in_use"}
    assert harness.reader.audit().findings == []


def test_after_an_upgrade_the_grace_of_a_deposit_begins_when_its_window_ends(
    engine: Engine,
) -> None:
    harness = upgrade_from(engine, "awaiting_deposit")
    row = next(row for row in harness.rows("orders") if row.state == "awaiting_deposit")
    assert row.wake_at == row.due_at


def test_after_an_upgrade_refunds_are_named_by_references_and_may_fail(engine: Engine) -> None:
    harness = upgrade_from(engine, "cancelled_offered")
    for number, row in enumerate(harness.rows("refunds")):
        assert (row.status, row.attempt, row.waits_since) == ("requested", 1, row.requested_at)
        body: dict[str, Any] = {"id": f"did_not_arrive_{number}", "kind": "fail_refund"}
        body |= {"by": {"role": "payments", "id": "psp"}, "reason": "card closed"}
        body |= {"refund_id": REFUNDS.read(row).reference}
        assert harness.outcome_of(harness.settle_alone(body, harness.now))[:2] == ("applied", None)
    assert {row.status for row in harness.rows("refunds")} == {"failed"}
    assert harness.reader.audit().findings == []


def test_an_upgrade_leaves_what_was_confirmed_confirmed_at_rest_or_not(
    engine: Engine,
) -> None:
    with writing(engine) as connection:
        config = alembic_config()
        config.attributes["connection"] = connection
        command.upgrade(config, "0010")
        # As the version before 0012 wrote them: two that have left, one of them at rest.
        for table, confirmed_at in (("refunds", 7), ("archived_refunds", 7), ("refunds", None)):
            place = f"{table}{confirmed_at}"
            connection.execute(
                text(
                    f"INSERT INTO {table} (refund_id, base_id, payment_id, order_id, client_id,"  # noqa: S608
                    " amount_fen, requested_at, confirmed_at) VALUES"
                    " (:id, :id, :place, :place, 'c1', 5, 3, :confirmed_at)"
                ),
                {"id": f"rf_{place}_{place}", "place": place, "confirmed_at": confirmed_at},
            )
            connection.execute(
                text(
                    f"INSERT INTO {table.replace('refunds', 'payouts')} (payout_id, order_id,"  # noqa: S608
                    " party, amount_fen, requested_at, confirmed_at) VALUES"
                    " (:id, :place, 'creator:k1', 5, 3, :confirmed_at)"
                ),
                {"id": f"po_{place}_creator", "place": place, "confirmed_at": confirmed_at},
            )
    migrate(engine)
    for kind, mapper in (("refunds", REFUNDS), ("payouts", PAYOUTS)):
        with reading(engine) as connection:
            rows = list(connection.execute(select(with_archive(schema.metadata.tables[kind]))))
        assert sorted((row.status, row.waits_since) for row in rows) == [
            ("confirmed", None),
            ("confirmed", None),
            ("requested", 3),
        ]
        assert all(row.reference_stem == mapper.read(row).reference_stem for row in rows)


def test_after_an_upgrade_an_open_order_is_found_by_what_it_will_owe(engine: Engine) -> None:
    harness = upgrade_from(engine, "offered")
    (payment,) = harness.rows("payments")
    refund_id = f"rf_{payment.payment_id}_o1"
    lapses_at = read_order(harness).lapses_at
    body: dict[str, Any] = {"id": "found_by_reference", "kind": "confirm_refund"}
    body |= {"by": {"role": "payments", "id": "psp"}}
    body |= {"refund_id": make_reference(make_reference_stem(refund_id, "order:o1"), 1)}
    at = lapses_at + span("1us")
    assert harness.outcome_of(harness.settle_alone(body, at))[:2] == ("applied", None)
    assert read_order(harness).reason == "not_accepted"
