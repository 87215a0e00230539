"""Waiting: commands that wait a moment, so that the order of receipt decides and not luck."""

from __future__ import annotations

import pytest

from tests.integration import letters
from tests.integration.desk import Desk
from tests.unit.controls import BALANCE, DEPOSIT, MICRO, START, span
from workers.processing.batch import PATIENCE

AFTER = span("1h")


def test_a_command_waits_for_its_order_and_is_applied_when_that_comes(desk: Desk) -> None:
    desk.admit()
    desk.door.present = START + 3 * MICRO
    accept = desk.receive(letters.accept(), START + 2 * MICRO)
    deposit = desk.receive(letters.pay("p1", {"o1": DEPOSIT}), START + MICRO)
    assert desk.settle(accept, deposit) == [deposit, accept]
    desk.say(letters.place(), START)
    assert desk.settle(accept, deposit) == []
    assert [desk.answer(submission)[:2] for submission in (deposit, accept)] == [
        ("applied", None)
    ] * 2
    assert desk.rows("receipts")[-1].received_at
    assert [row.state for row in desk.rows("orders")] == ["awaiting_balance"]


def test_a_command_waits_only_as_long_as_patience_lasts(desk: Desk) -> None:
    desk.door.present = START
    accept = desk.receive(letters.accept(), START)
    desk.door.present = START + PATIENCE - MICRO
    assert desk.settle(accept) == [accept]
    assert desk.published() == []
    desk.door.present = START + PATIENCE
    assert desk.settle(accept) == []
    assert desk.answer(accept)[:2] == ("rejected", "unknown_order")


def test_money_for_an_order_that_never_comes_ends_in_suspense(desk: Desk) -> None:
    payment = desk.receive(letters.pay("p1", {"o1": DEPOSIT}), START)
    assert desk.settle(payment) == [payment]
    assert desk.rows("payments") == []
    desk.door.present = START + PATIENCE
    assert desk.settle(payment) == []
    assert desk.reader.balances()["suspense"] == DEPOSIT


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        (letters.place(), "unknown_creator"),
        (letters.ask("confirm_refund", "payments", refund_id="rf_p1_o1"), "unknown_refund"),
    ],
)
def test_what_needs_no_order_does_not_wait_for_one(
    desk: Desk, command: letters.Letter, reason: str
) -> None:
    submission = desk.receive(command, START)
    assert desk.settle(submission) == []
    assert desk.answer(submission)[:2] == ("rejected", reason)


def test_a_held_command_does_not_hold_its_neighbours(desk: Desk) -> None:
    desk.admit()
    early = desk.receive(letters.accept("o9"), START, message_id="shared")
    placement = desk.receive(letters.place("o1"), START, message_id="shared")
    assert desk.settle(early, placement) == [early]
    assert desk.answer(placement)[0] == "applied"
    desk.door.present = START + PATIENCE
    assert desk.settle(early, placement) == []
    command_ids = [event["command_id"] for event in desk.published("command.settled")]
    assert len(command_ids) == len(set(command_ids)), "the neighbour was answered again"


@pytest.fixture
def offered(desk: Desk) -> Desk:
    """Give a desk with one order, offered now."""
    desk.admit().offer("o1")
    return desk


def test_who_would_end_a_wait_waits_for_those_who_were_heard_in_time(offered: Desk) -> None:
    due_at = offered.order().due_at
    assert due_at
    in_time = offered.receive(letters.accept(), due_at)
    too_late = offered.receive(letters.ask("decline_order", "creator", "o1"), due_at + MICRO)
    offered.door.waiting = {in_time.message_id: in_time.at, too_late.message_id: too_late.at}
    offered.door.present = due_at + AFTER
    assert offered.settle(too_late) == [too_late]
    assert offered.settle(in_time) == []
    offered.door.waiting.pop(in_time.message_id)
    assert offered.settle(too_late) == []
    assert offered.answer(in_time)[:2] == ("applied", None)
    assert offered.answer(too_late)[:2] == ("rejected", "wrong_state")


@pytest.mark.parametrize(
    "command",
    [
        letters.accept(),
        letters.pay("late", {"o1": BALANCE}),
        letters.ask("confirm_refund", "payments", refund_id="rf_deposits_of_o1_o1"),
    ],
    ids=lambda command: command["kind"],
)
def test_whatever_would_end_a_wait_is_held_while_anybody_earlier_is_on_the_way(
    offered: Desk, command: letters.Letter
) -> None:
    due_at = offered.order().due_at
    assert due_at
    submission = offered.receive(command, due_at + MICRO)
    offered.door.present = due_at + AFTER
    offered.door.waiting = {"somebody": due_at, submission.message_id: submission.at}
    assert offered.settle(submission) == [submission]
    assert [row.state for row in offered.rows("orders")] == ["offered"]
    offered.door.waiting["somebody"] = due_at + MICRO
    assert offered.settle(submission) == []
    assert [row.state for row in offered.rows("orders")] == ["expired"]


def test_nobody_waits_for_a_command_that_was_received_too_late_anyway(offered: Desk) -> None:
    due_at = offered.order().due_at
    assert due_at
    offered.door.waiting = {"somebody": due_at + MICRO}
    offered.door.present = due_at + AFTER
    late = offered.receive(letters.accept(), due_at + 2 * MICRO)
    assert offered.settle(late) == []
    assert offered.answer(late)[:2] == ("rejected", "late")


def test_a_command_in_time_is_not_held_by_anybody(offered: Desk) -> None:
    due_at = offered.order().due_at
    assert due_at
    offered.door.waiting = {"somebody": START}
    offered.door.present = due_at + AFTER
    assert offered.settle(offered.receive(letters.accept(), due_at)) == []
    assert [row.state for row in offered.rows("orders")] == ["awaiting_balance"]


def test_one_batch_with_both_sides_of_a_deadline_waits_for_nobody(offered: Desk) -> None:
    due_at = offered.order().due_at
    assert due_at
    in_time = offered.receive(letters.accept(), due_at)
    too_late = offered.receive(letters.ask("decline_order", "creator", "o1"), due_at + MICRO)
    offered.door.waiting = {in_time.message_id: in_time.at, too_late.message_id: too_late.at}
    offered.door.present = due_at + AFTER
    assert offered.settle(too_late, in_time, wakes=["o1"]) == []
    assert [offered.answer(submission)[0] for submission in (in_time, too_late)] == [
        "applied",
        "rejected",
    ]


def test_time_does_not_pass_while_somebody_in_time_is_on_the_way(offered: Desk) -> None:
    due_at = offered.order().due_at
    assert due_at
    offered.door.present = due_at + AFTER
    offered.door.waiting = {"somebody": due_at}
    offered.settle(wakes=["o1"])
    assert [row.state for row in offered.rows("orders")] == ["offered"]
    offered.door.waiting = {}
    offered.settle(wakes=["o1"])
    assert [row.state for row in offered.rows("orders")] == ["expired"]


def test_what_waits_for_an_order_that_does_not_exist_holds_no_deadline_back(offered: Desk) -> None:
    nobodys_acceptance = offered.receive(letters.accept("o9"), START)
    split_payment = offered.receive(letters.pay("p9", {"o1": BALANCE, "o9": 1}), START)
    waiting = {nobodys_acceptance.message_id: START, split_payment.message_id: START}
    offered.door.present, offered.door.waiting = START, dict(waiting)
    assert offered.settle(nobodys_acceptance, split_payment) == [nobodys_acceptance, split_payment]
    assert offered.door.waiting == {split_payment.message_id: START}
