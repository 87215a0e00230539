"""Demo reader: its totals count every fen, reminder and deadline once."""

from __future__ import annotations

from ops.simulation.demo import DetailedReader
from ops.simulation.replay import sum_flows
from tests.support.store_harness import StoreHarness
from tests.support.stories import BALANCE, DEPOSIT, MICRO, span


def test_the_demo_adds_money_up_by_where_it_came_from_and_went(harness: StoreHarness) -> None:
    harness.bring_to("completed_agency")
    postings = DetailedReader(harness.store).posting_totals()
    assert sum_flows(postings) == sum_flows(posting for _, posting in harness.uow.postings)
    assert (
        sum(posting.amount_fen for posting in postings if posting.source == "psp")
        == DEPOSIT + BALANCE
    )


def test_the_demo_counts_reminders_by_recipient_and_deadline(harness: StoreHarness) -> None:
    harness.bring_to("script_review")
    due_at = harness.order().due_at
    assert due_at is not None
    for time_left in ("1d", "4h"):
        harness.wake("o1", due_at - span(time_left))
    assert DetailedReader(harness.store).reminder_counts() == {("client", "script_review"): 2}


def test_the_demo_counts_a_nudge_as_no_deadline(harness: StoreHarness) -> None:
    harness.bring_to("offered_nudged")
    assert DetailedReader(harness.store).reminder_counts() == {("creator", "nudge"): 1}


def test_a_deadline_is_counted_once_however_many_events_follow_from_it(
    harness: StoreHarness,
) -> None:
    harness.bring_to("accepted_delivery")
    due_at = harness.order().due_at
    assert due_at is not None
    events = harness.wake("o1", due_at + MICRO)
    assert len(events) > 1
    assert len(harness.reader.lateness()) == 1


def test_the_demo_counts_approval_by_silence_as_a_deadline(harness: StoreHarness) -> None:
    harness.bring_to("script_review")
    due_at = harness.order().due_at
    assert due_at is not None
    assert harness.reader.lateness() == []
    harness.wake("o1", due_at + span("1s"))
    assert harness.order().state == "producing"
    assert len(harness.reader.lateness()) == 1
