"""Demo reader: its look into the books counts every fen, reminder and deadline once."""

from __future__ import annotations

from ops.simulation.demo import CloseReader
from ops.simulation.replay import flows
from tests.support.store_harness import Desk
from tests.support.stories import BALANCE, DEPOSIT, MICRO, span


def test_money_is_added_up_by_where_it_came_from_and_went(desk: Desk) -> None:
    desk.bring("completed_agency")
    postings = CloseReader(desk.store).moved()
    assert flows(postings) == flows(posting for _, posting in desk.book.postings)
    assert (
        sum(posting.amount_fen for posting in postings if posting.source == "psp")
        == DEPOSIT + BALANCE
    )


def test_reminders_are_counted_by_whom_they_reach_and_of_what(desk: Desk) -> None:
    desk.bring("script_review")
    due_at = desk.order().due_at
    assert due_at is not None
    for time_left in ("1d", "4h"):
        desk.wake("o1", due_at - span(time_left))
    assert CloseReader(desk.store).reminded() == {("client", "script_review"): 2}


def test_a_nudge_is_no_deadline(desk: Desk) -> None:
    desk.bring("offered_nudged")
    assert CloseReader(desk.store).reminded() == {("creator", "nudge"): 1}


def test_a_settlement_is_one_deadline_however_much_follows_from_it(desk: Desk) -> None:
    desk.bring("accepted_delivery")
    due_at = desk.order().due_at
    assert due_at is not None
    events = desk.wake("o1", due_at + MICRO)
    assert len(events) > 1
    assert len(desk.reader.lateness()) == 1


def test_approval_by_silence_is_a_deadline_too(desk: Desk) -> None:
    desk.bring("script_review")
    due_at = desk.order().due_at
    assert due_at is not None
    assert desk.reader.lateness() == []
    desk.wake("o1", due_at + span("1s"))
    assert desk.order().state == "producing"
    assert len(desk.reader.lateness()) == 1
