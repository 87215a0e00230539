"""First come: an answer that somebody received earlier might change waits for him."""

from __future__ import annotations

import pytest

from tests.integration import letters
from tests.integration.desk import Desk
from tests.unit.controls import BALANCE, DEPOSIT, MICRO, START, span

LONG_AGO = span("10s")


@pytest.fixture
def backlogged(desk: Desk) -> Desk:
    """Give a desk with an order placed, ten seconds behind, and something received before."""
    desk.admit()
    desk.say(letters.place(), START)
    desk.door.present = START + LONG_AGO
    desk.door.waiting["elsewhere"] = START + MICRO
    return desk


def test_an_acceptance_waits_for_the_deposit_that_another_worker_has(backlogged: Desk) -> None:
    desk = backlogged
    accept = desk.receive(letters.accept(), START + 2 * MICRO)
    receipt_count = len(desk.rows("receipts"))
    assert desk.settle(accept) == [accept]
    assert len(desk.rows("receipts")) == receipt_count
    del desk.door.waiting["elsewhere"]
    desk.say(letters.pay("p1", {"o1": DEPOSIT}), START + MICRO)
    assert desk.settle(accept) == []
    assert desk.answer(accept)[:2] == ("applied", None)


def test_a_refusal_stands_once_everybody_earlier_is_settled(backlogged: Desk) -> None:
    desk = backlogged
    accept = desk.receive(letters.accept(), START + 2 * MICRO)
    assert desk.settle(accept) == [accept]
    del desk.door.waiting["elsewhere"]
    assert desk.settle(accept) == []
    assert desk.answer(accept)[:2] == ("rejected", "wrong_state")


def test_a_refusal_waits_though_it_would_end_a_wait_that_is_over(desk: Desk) -> None:
    desk.bring("script_review")
    silent_until = desk.order().lapses_at
    assert silent_until is not None
    desk.door.present = silent_until + LONG_AGO
    desk.door.waiting["elsewhere"] = silent_until + 2 * MICRO
    approve = desk.receive(letters.ask("approve_content", "client", "o1"), silent_until + 3 * MICRO)
    assert desk.settle(approve) == [approve]
    del desk.door.waiting["elsewhere"]
    links = ["https://pan.example/film.mp4"]
    content = letters.ask("submit_content", "creator", "o1", links=links)
    desk.say(content, silent_until + 2 * MICRO)
    assert desk.settle(approve) == []
    assert desk.answer(approve)[:2] == ("applied", None)


def test_money_is_not_sent_back_while_what_it_pays_for_may_be_on_its_way(backlogged: Desk) -> None:
    desk = backlogged
    balance = desk.receive(letters.pay("p2", {"o1": BALANCE}), START + 2 * MICRO)
    assert desk.settle(balance) == [balance]
    assert (desk.rows("payments"), desk.rows("refunds"), desk.rows("postings")) == ([], [], [])
    del desk.door.waiting["elsewhere"]
    desk.say(letters.pay("p1", {"o1": DEPOSIT}), START + MICRO)
    assert desk.settle(balance) == []
    assert desk.rows("orders")[0].held_fen == DEPOSIT + BALANCE


def test_nobody_slips_in_front_of_a_held_command_about_the_same_order(backlogged: Desk) -> None:
    desk = backlogged
    accept = desk.receive(letters.accept(), START + 2 * MICRO)
    cancel = desk.receive(letters.ask("cancel_order", "client", "o1"), START + 3 * MICRO)
    assert desk.settle(accept, cancel) == [accept, cancel]
    del desk.door.waiting["elsewhere"]
    desk.say(letters.pay("p1", {"o1": DEPOSIT}), START + MICRO)
    assert desk.settle(accept, cancel) == []
    assert desk.answer(accept)[0] == "applied"
    assert desk.answer(cancel)[:2] == ("rejected", "would_forfeit")


def test_what_can_be_applied_waits_for_nobody(backlogged: Desk) -> None:
    deposit = backlogged.receive(letters.pay("p1", {"o1": DEPOSIT}), START + 2 * MICRO)
    assert backlogged.settle(deposit) == []
    assert backlogged.answer(deposit)[0] == "applied"


@pytest.fixture
def warned(backlogged: Desk) -> Desk:
    """Give the desk with the backlog, and a creator whose next violation means a ban."""
    backlogged.say(letters.report("x1"), START)
    return backlogged


def test_a_ban_waits_for_everybody_received_before_it(warned: Desk) -> None:
    desk = warned
    ban = desk.receive(letters.report("x2"), START + 2 * MICRO)
    assert desk.settle(ban) == [ban]
    del desk.door.waiting["elsewhere"]
    desk.say(letters.pay("p1", {"o1": DEPOSIT}), START + MICRO)
    assert desk.settle(ban) == []
    assert [event["type"] for event in desk.published() if event.get("order_id") == "o1"][-2:] == [
        "order.declined",
        "refund.requested",
    ]


def test_nobody_slips_in_front_of_a_held_ban(warned: Desk) -> None:
    desk = warned
    ban = desk.receive(letters.report("x2"), START + 2 * MICRO)
    placement = desk.receive(letters.place("o2"), START + 3 * MICRO)
    cancel = desk.receive(letters.ask("cancel_order", "client", "o1"), START + 3 * MICRO)
    unrelated_placement = desk.receive(letters.place("o3", creator_id="k2"), START + 3 * MICRO)
    assert desk.settle(ban, placement, cancel, unrelated_placement) == [ban, placement, cancel]
    assert desk.answer(unrelated_placement)[0] == "applied"
    del desk.door.waiting["elsewhere"]
    assert desk.settle(ban, placement, cancel) == []
    answers = [desk.answer(submission)[1] for submission in (ban, placement, cancel)]
    assert answers == [None, "creator_banned", "wrong_state"]


def test_what_was_settled_before_a_ban_that_came_first_keeps_its_time(warned: Desk) -> None:
    desk = warned
    desk.say(letters.place("o2"), START + 3 * MICRO)
    del desk.door.waiting["elsewhere"]
    desk.say(letters.report("x2"), START + 2 * MICRO)
    last = desk.reader.timeline("o2")[-1]
    assert (last.fact.type, last.at) == ("order.cancelled", START + 3 * MICRO)
    assert desk.reader.audit().findings == []
