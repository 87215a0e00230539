"""Receipts: each id is settled once, each submission is answered, and nobody pays for another."""

from __future__ import annotations

import json
from typing import Any

import pytest
from sqlalchemy import Engine, text

from tests.integration import letters
from tests.integration.desk import Desk
from tests.unit.controls import DEPOSIT, MICRO, span
from workers import tables
from workers.database import writing
from workers.turns import Received


def answers(desk: Desk) -> list[tuple[str | None, str, str | None]]:
    """List everything that senders were told."""
    told = desk.published("command.settled")
    return [(one["command_id"], one["outcome"], one["reason"]) for one in told]


def state(desk: Desk) -> list[Any]:
    """Return everything stored but what senders were told."""
    kept = [desk.rows(name) for name in sorted(tables.metadata.tables) if name != "events"]
    return [*kept, [one for one in desk.published() if one["type"] != "command.settled"]]


@pytest.fixture
def offered(desk: Desk) -> Desk:
    """Give a desk with one order that waits for its creator."""
    desk.admit().offer("o1")
    return desk


def test_the_same_submission_again_says_and_does_nothing(offered: Desk) -> None:
    received = offered.say(letters.accept(), offered.now)
    before, told = state(offered), answers(offered)
    for _ in range(2):
        assert offered.settle(received) == []
    assert state(offered) == before
    assert answers(offered) == told


def test_a_batch_that_comes_again_with_news_settles_only_the_news(offered: Desk) -> None:
    first = offered.say(letters.accept(), offered.now)
    news = offered.receive(letters.ask("cancel_order", "operator", "o1"))
    assert offered.settle(first, news, news) == []
    assert offered.answer(news)[:2] == ("applied", None)
    assert len(answers(offered)) == offered.asked + 2
    assert offered.reader.audit().findings == []


@pytest.mark.parametrize("by", ["creator", "client"])
def test_a_sender_who_asks_again_hears_the_first_outcome_as_a_duplicate(
    offered: Desk, by: str
) -> None:
    letter = letters.accept(by=by)
    first = offered.say(letter, offered.now)
    before = state(offered)
    for later in ("1us", "8d"):
        again = offered.say(letter, offered.now + span(later))
        assert offered.answer(again) == ("duplicate", offered.answer(first)[1], letter["id"])
    assert state(offered) == before
    assert [one[0] for one in answers(offered)].count(letter["id"]) == 3


def test_a_repeat_within_one_batch_is_a_duplicate_too(offered: Desk) -> None:
    letter = letters.accept()
    received = [offered.receive(letter) for _ in range(3)]
    assert offered.settle(*received) == []
    outcomes = [offered.answer(one)[0] for one in received]
    assert outcomes == ["applied", "duplicate", "duplicate"]


def test_an_id_that_was_used_for_something_else_is_refused_and_changes_nothing(
    offered: Desk,
) -> None:
    letter = letters.ask("nudge_creator", "client", "o1")
    offered.say(letter, offered.now)
    before = state(offered)
    other = offered.say(letter | {"kind": "cancel_order"}, offered.now)
    assert offered.answer(other) == ("rejected", "id_reused", letter["id"])
    assert offered.settle(other) == []
    assert state(offered) == before
    assert answers(offered)[-1] == (letter["id"], "rejected", "id_reused")
    assert answers(offered)[-2] == (letter["id"], "applied", None)


def test_bodies_are_compared_as_read_and_not_as_written(offered: Desk) -> None:
    letter = letters.ask("cancel_order", "client", "o1")
    offered.say(letter, offered.now)
    spelt = json.dumps({"accept_forfeit": False, **letter}, indent=3)
    again = offered.say(spelt, offered.now)
    assert offered.answer(again)[0] == "duplicate"


MALFORMED = {
    "wrong type": json.dumps(letters.place() | {"amount_fen": "100"}),
    "unknown field": json.dumps(letters.accept() | {"hurry": True}),
    "a timeout of a sender's own": json.dumps(letters.ask("enforce_deadline", "client", "o1")),
    "no JSON": "{",
    "NUL": json.dumps(letters.place() | {"brief": "a\0b"}),
    "half a character": json.dumps(letters.place() | {"brief": "\ud800"}),
    "half a character, not escaped": '{"id": "half_a_character", "kind": "\udc80"}',
    "a brief of 1 MB": json.dumps(letters.place() | {"brief": "x" * 1_000_000}),
    "100 000 deep": '{"id":' + "[" * 100_000 + "]" * 100_000 + "}",
    "nothing": "",
}


@pytest.mark.parametrize("kind", MALFORMED)
def test_a_malformed_command_is_answered_once_and_claims_nothing(offered: Desk, kind: str) -> None:
    before, number = state(offered), len(answers(offered))
    received = offered.say(MALFORMED[kind], offered.now)
    assert offered.answer(received)[:2] == ("rejected", "malformed")
    assert offered.settle(received) == []
    assert len(answers(offered)) == number + 1
    assert state(offered) == before


def test_a_malformed_command_may_be_corrected_under_the_same_id(offered: Desk) -> None:
    letter = letters.accept()
    bad = offered.say(letter | {"revised_amount_fen": 1.5}, offered.now)
    good = offered.say(letter, offered.now)
    assert offered.answer(bad) == ("rejected", "malformed", letter["id"])
    assert offered.answer(good) == ("applied", None, letter["id"])


def test_a_date_too_far_ahead_is_malformed_and_claims_no_id(offered: Desk) -> None:
    letter = letters.place("o2", expected_publish_at="2035-01-01T00:00:00Z")
    bad = offered.say(letter, offered.now)
    good = offered.say(letter | {"expected_publish_at": None}, offered.now)
    assert [offered.answer(one)[0] for one in (bad, good)] == ["rejected", "applied"]
    assert [row.command_id for row in offered.rows("receipts")].count(letter["id"]) == 1


def plant(engine: Engine, order_id: str, document: str) -> None:
    """Break an order in the database, as no program of ours would."""
    with writing(engine) as connection:
        change = text("UPDATE orders SET document = :document WHERE order_id = :order_id")
        connection.execute(change, {"document": document, "order_id": order_id})


def broken(desk: Desk, how: str) -> None:
    """Break order `o2`: unreadable, of an unknown policy, or at odds with the rules."""
    desk.offer("o2")
    with writing(desk.engine) as connection:
        found = text("SELECT document FROM orders WHERE order_id = 'o2'")
        document = json.loads(connection.execute(found).scalar_one())
    held = [{"payment_id": "deposits_of_o2", "amount_fen": 10**12}]
    documents = {
        "unreadable": "{}",
        "policy": json.dumps(document | {"policy": "p0"}),
        "rules": json.dumps(document | {"held": held}),
    }
    plant(desk.engine, "o2", documents[how])


BREAKS = ("unreadable", "policy", "rules")


def neighbourhood(desk: Desk) -> tuple[list[Received], Received]:
    """Bring a batch in which one command concerns the broken order."""
    good = [letters.accept("o1"), letters.place("o3"), letters.ask("nudge_creator", "client", "o0")]
    received = [desk.receive(one, desk.now + n * MICRO) for n, one in enumerate(good)]
    bad = desk.receive(letters.accept("o2"), desk.now + MICRO)
    desk.door.present = desk.now + span("1m")
    return [received[0], bad, *received[1:]], bad


@pytest.mark.parametrize("how", BREAKS)
def test_a_broken_order_costs_its_neighbours_nothing(offered: Desk, how: str) -> None:
    broken(offered, how)
    batch, bad = neighbourhood(offered)
    assert offered.settle(*batch, wakes=["o1", "o2"]) == []
    good = [offered.answer(one)[:2] for one in batch if one is not bad]
    assert good == [("applied", None), ("applied", None), ("rejected", "unknown_order")]
    states = {row.order_id: row.state for row in offered.rows("orders")}
    assert states == {"o1": "awaiting_balance", "o2": "offered", "o3": "awaiting_deposit"}


@pytest.mark.parametrize("how", BREAKS)
def test_what_cannot_be_settled_is_buried_once_with_its_error_and_not_answered(
    offered: Desk, how: str
) -> None:
    broken(offered, how)
    before = [one for one in state(offered) if one]
    bad = offered.receive(letters.accept("o2"))
    for _ in range(2):
        assert offered.settle(bad) == []
    (letter,) = offered.rows("dead_letters")
    assert (letter.command, letter.stamp, letter.replayed_at) == (bad.text, bad.stamp, None)
    assert letter.error.startswith("BrokenInvariant: ")
    assert bad.stamp not in [one["sequence"] for one in offered.published("command.settled")]
    assert [one for one in state(offered) if one] != before
    assert offered.rows("receipts") == [
        row for row in offered.rows("receipts") if row.stamp != bad.stamp
    ]


def test_a_dead_letter_is_settled_when_its_cause_is_gone(offered: Desk) -> None:
    with writing(offered.engine) as connection:
        sound = connection.execute(text("SELECT document FROM orders")).scalar_one()
    plant(offered.engine, "o1", "{}")
    bad = offered.receive(letters.accept("o1"))
    offered.settle(bad)
    plant(offered.engine, "o1", sound)
    assert offered.settle(bad) == []
    assert offered.answer(bad)[:2] == ("applied", None)
    assert offered.reader.audit().findings == []


def test_a_broken_order_does_not_hide_the_others_from_the_audit(offered: Desk) -> None:
    broken(offered, "unreadable")
    report = offered.reader.audit()
    assert report.orders == 2
    assert "order:o2" in {one.where for one in report.findings}


def test_one_payment_for_a_sound_and_a_broken_order_changes_neither(offered: Desk) -> None:
    broken(offered, "policy")
    offered.settle(offered.receive(letters.pay("both", {"o1": DEPOSIT, "o2": DEPOSIT})))
    assert "both" not in [row.payment_id for row in offered.rows("payments")]
    assert len(offered.rows("dead_letters")) == 1
