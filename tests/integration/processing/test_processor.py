"""Processor: each id is settled once, each submission answered, and a bad one harms no other."""

from __future__ import annotations

import json
from typing import Any

import pytest
from sqlalchemy import Engine, text

from tests.support import sample_commands
from tests.support.store_harness import StoreHarness
from tests.support.stories import DEPOSIT, MICRO, span
from workers.database import schema
from workers.database.engine import writing
from workers.queue.messages import Received


def published_outcomes(harness: StoreHarness) -> list[tuple[str | None, str, str | None]]:
    """List all outcomes published to senders, in order."""
    events = harness.published("command.settled")
    return [(event["command_id"], event["outcome"], event["reason"]) for event in events]


def stored_state(harness: StoreHarness) -> list[Any]:
    """Return everything stored but the outcomes published to senders."""
    table_rows = [harness.rows(name) for name in sorted(schema.metadata.tables) if name != "events"]
    return [
        *table_rows,
        [event for event in harness.published() if event["type"] != "command.settled"],
    ]


@pytest.fixture
def offered(harness: StoreHarness) -> StoreHarness:
    """Give a store harness with one order that waits for its creator."""
    harness.admit().offer("o1")
    return harness


def test_the_same_submission_again_says_and_does_nothing(offered: StoreHarness) -> None:
    submission = offered.settle_alone(sample_commands.accept(), offered.now)
    state_before, answers_before = stored_state(offered), published_outcomes(offered)
    for _ in range(2):
        assert offered.settle(submission) == []
    assert stored_state(offered) == state_before
    assert published_outcomes(offered) == answers_before


def test_a_batch_redelivered_with_a_new_command_settles_only_that_command(
    offered: StoreHarness,
) -> None:
    first = offered.settle_alone(sample_commands.accept(), offered.now)
    news = offered.receive(sample_commands.command("cancel_order", "operator", "o1"))
    assert offered.settle(first, news, news) == []
    assert offered.outcome_of(news)[:2] == ("applied", None)
    assert len(published_outcomes(offered)) == offered.command_count + 2
    assert offered.reader.audit().findings == []


@pytest.mark.parametrize("by", ["creator", "client"])
def test_a_sender_who_asks_again_hears_the_first_outcome_as_a_duplicate(
    offered: StoreHarness, by: str
) -> None:
    command = sample_commands.accept(by=by)
    first = offered.settle_alone(command, offered.now)
    before = stored_state(offered)
    for later in ("1us", "8d"):
        again = offered.settle_alone(command, offered.now + span(later))
        assert offered.outcome_of(again) == (
            "duplicate",
            offered.outcome_of(first)[1],
            command["id"],
        )
    assert stored_state(offered) == before
    assert [answer[0] for answer in published_outcomes(offered)].count(command["id"]) == 3


def test_a_repeat_within_one_batch_is_a_duplicate_too(offered: StoreHarness) -> None:
    command = sample_commands.accept()
    submissions = [offered.receive(command) for _ in range(3)]
    assert offered.settle(*submissions) == []
    outcomes = [offered.outcome_of(submission)[0] for submission in submissions]
    assert outcomes == ["applied", "duplicate", "duplicate"]


def test_an_id_that_was_used_for_something_else_is_refused_and_changes_nothing(
    offered: StoreHarness,
) -> None:
    command = sample_commands.command("nudge_creator", "client", "o1")
    offered.settle_alone(command, offered.now)
    before = stored_state(offered)
    conflicting = offered.settle_alone(command | {"kind": "cancel_order"}, offered.now)
    assert offered.outcome_of(conflicting) == ("rejected", "id_reused", command["id"])
    assert offered.settle(conflicting) == []
    assert stored_state(offered) == before
    assert published_outcomes(offered)[-1] == (command["id"], "rejected", "id_reused")
    assert published_outcomes(offered)[-2] == (command["id"], "applied", None)


def test_a_command_spelt_differently_under_the_same_id_is_a_duplicate(
    offered: StoreHarness,
) -> None:
    command = sample_commands.command("cancel_order", "client", "o1")
    offered.settle_alone(command, offered.now)
    respelt_command = json.dumps({"accept_forfeit": False, **command}, indent=3)
    again = offered.settle_alone(respelt_command, offered.now)
    assert offered.outcome_of(again)[0] == "duplicate"


MALFORMED = {
    "wrong type": json.dumps(sample_commands.place() | {"amount_fen": "100"}),
    "unknown field": json.dumps(sample_commands.accept() | {"hurry": True}),
    "a timeout of a sender's own": json.dumps(
        sample_commands.command("enforce_deadline", "client", "o1")
    ),
    "no JSON": "{",
    "NUL": json.dumps(sample_commands.place() | {"brief": "a\0b"}),
    "half a character": json.dumps(sample_commands.place() | {"brief": "\ud800"}),
    "half a character, not escaped": '{"id": "half_a_character", "kind": "\udc80"}',
    "a brief of 1 MB": json.dumps(sample_commands.place() | {"brief": "x" * 1_000_000}),
    "100 000 deep": '{"id":' + "[" * 100_000 + "]" * 100_000 + "}",
    "nothing": "",
}


@pytest.mark.parametrize("kind", MALFORMED)
def test_a_malformed_command_is_answered_once_and_claims_nothing(
    offered: StoreHarness, kind: str
) -> None:
    before, answer_count = stored_state(offered), len(published_outcomes(offered))
    submission = offered.settle_alone(MALFORMED[kind], offered.now)
    assert offered.outcome_of(submission)[:2] == ("rejected", "malformed")
    assert offered.settle(submission) == []
    assert len(published_outcomes(offered)) == answer_count + 1
    assert stored_state(offered) == before


def test_a_malformed_command_may_be_corrected_under_the_same_id(offered: StoreHarness) -> None:
    command = sample_commands.accept()
    bad = offered.settle_alone(command | {"revised_amount_fen": 1.5}, offered.now)
    good = offered.settle_alone(command, offered.now)
    assert offered.outcome_of(bad) == ("rejected", "malformed", command["id"])
    assert offered.outcome_of(good) == ("applied", None, command["id"])


def test_a_date_too_far_ahead_is_malformed_and_claims_no_id(offered: StoreHarness) -> None:
    command = sample_commands.place("o2", expected_publish_at="2035-01-01T00:00:00Z")
    bad = offered.settle_alone(command, offered.now)
    good = offered.settle_alone(command | {"expected_publish_at": None}, offered.now)
    assert [offered.outcome_of(submission)[0] for submission in (bad, good)] == [
        "rejected",
        "applied",
    ]
    assert [row.command_id for row in offered.rows("receipts")].count(command["id"]) == 1


def corrupt_order(engine: Engine, order_id: str, document: str) -> None:
    """Break an order in the database, as no program of ours would."""
    with writing(engine) as connection:
        change = text("UPDATE orders SET document = :document WHERE order_id = :order_id")
        connection.execute(change, {"document": document, "order_id": order_id})


def corrupt_second_order(harness: StoreHarness, defect: str) -> None:
    """Break order `o2`: unreadable, of an unknown policy, or at odds with the rules."""
    harness.offer("o2")
    with writing(harness.engine) as connection:
        query = text("SELECT document FROM orders WHERE order_id = 'o2'")
        document = json.loads(connection.execute(query).scalar_one())
    held_payments = [{"payment_id": "deposits_of_o2", "amount_fen": 10**12}]
    documents = {
        "unreadable": "{}",
        "policy": json.dumps(document | {"policy": "p0"}),
        "rules": json.dumps(document | {"held": held_payments}),
    }
    corrupt_order(harness.engine, "o2", documents[defect])


CORRUPTIONS = ("unreadable", "policy", "rules")


def batch_with_broken_order(harness: StoreHarness) -> tuple[list[Received], Received]:
    """Bring a batch in which one command concerns the broken order."""
    commands = [
        sample_commands.accept("o1"),
        sample_commands.place("o3"),
        sample_commands.command("nudge_creator", "client:c2", "o1"),
    ]
    submissions = [
        harness.receive(command, harness.now + n * MICRO) for n, command in enumerate(commands)
    ]
    bad = harness.receive(sample_commands.accept("o2"), harness.now + MICRO)
    harness.clock.present = harness.now + span("1m")
    return [submissions[0], bad, *submissions[1:]], bad


@pytest.mark.parametrize("defect", CORRUPTIONS)
def test_a_broken_order_costs_its_neighbours_nothing(offered: StoreHarness, defect: str) -> None:
    corrupt_second_order(offered, defect)
    batch, bad = batch_with_broken_order(offered)
    assert offered.settle(*batch) == []
    offered.wake_stored("o1", "o2")
    outcomes = [offered.outcome_of(submission)[:2] for submission in batch if submission is not bad]
    assert outcomes == [("applied", None), ("applied", None), ("rejected", "not_allowed")]
    states = {row.order_id: row.state for row in offered.rows("orders")}
    assert states == {"o1": "awaiting_balance", "o2": "offered", "o3": "awaiting_deposit"}


@pytest.mark.parametrize("defect", CORRUPTIONS)
def test_a_command_that_cannot_be_settled_becomes_one_dead_letter_with_its_error_and_no_outcome(
    offered: StoreHarness, defect: str
) -> None:
    corrupt_second_order(offered, defect)
    before = [rows for rows in stored_state(offered) if rows]
    bad = offered.receive(sample_commands.accept("o2"))
    for _ in range(2):
        assert offered.settle(bad) == []
    (dead_letter,) = offered.rows("dead_letters")
    assert (dead_letter.command, dead_letter.stamp, dead_letter.replayed_at) == (
        bad.text,
        bad.stamp,
        None,
    )
    assert dead_letter.error.startswith("BrokenInvariant: ")
    assert bad.stamp not in [event["sequence"] for event in offered.published("command.settled")]
    assert [rows for rows in stored_state(offered) if rows] != before
    assert offered.rows("receipts") == [
        row for row in offered.rows("receipts") if row.stamp != bad.stamp
    ]


def test_a_dead_letter_is_settled_when_its_cause_is_gone(offered: StoreHarness) -> None:
    with writing(offered.engine) as connection:
        valid_document = connection.execute(text("SELECT document FROM orders")).scalar_one()
    corrupt_order(offered.engine, "o1", "{}")
    bad = offered.receive(sample_commands.accept("o1"))
    offered.settle(bad)
    corrupt_order(offered.engine, "o1", valid_document)
    assert offered.settle(bad) == []
    assert offered.outcome_of(bad)[:2] == ("applied", None)
    assert offered.reader.audit().findings == []


def test_a_broken_order_does_not_hide_the_others_from_the_audit(offered: StoreHarness) -> None:
    corrupt_second_order(offered, "unreadable")
    report = offered.reader.audit()
    assert report.orders == 2
    assert "order:o2" in {finding.where for finding in report.findings}


def test_one_payment_for_a_sound_and_a_broken_order_changes_neither(offered: StoreHarness) -> None:
    corrupt_second_order(offered, "policy")
    offered.settle(offered.receive(sample_commands.pay("both", {"o1": DEPOSIT, "o2": DEPOSIT})))
    assert "both" not in [row.payment_id for row in offered.rows("payments")]
    assert len(offered.rows("dead_letters")) == 1
