"""Deposit grace: the payment side is told once when the window for the first payment has closed."""

from __future__ import annotations

import pytest

from models.fields import format_instant
from models.lifecycle import State
from models.policy import Policy
from tests.support.stories import (
    DEPOSIT,
    MICRO,
    TOTAL,
    OrderStory,
    audit,
    span,
    story_of,
)

OVERDUE = "order.deposit_overdue"


def told(story: OrderStory) -> list[dict[str, object]]:
    return [event.published() for event in story.events_of(OVERDUE)]


@pytest.mark.parametrize(
    ("situation", "amount_fen"), [("awaiting_deposit", DEPOSIT), ("awaiting_total", TOTAL)]
)
def test_the_payment_side_is_told_when_the_window_has_closed_and_what_it_may_ask_for(
    situation: str, amount_fen: int
) -> None:
    story = story_of(situation)
    due_at = story.order().due_at
    assert due_at is not None
    assert story.uow.next_wakeup("o1") == (due_at, True)
    assert story.wake("o1", due_at) == ()
    (event,) = story.wake("o1", due_at + MICRO)
    assert (event.at, event.caused_by) == (due_at, "deadline:awaiting_deposit")
    body = event.published()
    assert (body["amount_fen"], body["due_at"]) == (
        amount_fen,
        format_instant(due_at + span("10m")),
    )
    assert (body["client_id"], body["creator_id"]) == ("c1", "k1")
    assert story.order().state is State.AWAITING_DEPOSIT
    assert story.uow.next_wakeup("o1") == (due_at + span("10m"), True)
    assert story.wake("o1", due_at + span("9m")) == ()
    story.wake("o1", due_at + span("10m") + MICRO)
    assert (story.order().reason, len(told(story))) == ("deposit_not_paid", 1)
    assert audit(story) == []


def test_the_grace_begins_before_anyone_is_heard_however_late_the_scheduler_is() -> None:
    story = story_of("awaiting_deposit")
    due_at = story.order().pay_by
    outcome = story.pay("p1", {"o1": DEPOSIT}, due_at + span("5m"), paid_at=format_instant(due_at))
    assert [event.fact.type for event in outcome.events] == [
        OVERDUE,
        "payment.applied",
        "order.offered",
    ]
    late = story_of("awaiting_deposit")
    outcome = late.ask("cancel_order", "client", due_at + span("2h"), order_id="o1")
    assert [event.fact.type for event in outcome.events] == [OVERDUE, "order.expired"]
    assert outcome.reason == "late"


def test_nobody_is_told_of_a_deposit_that_came_in_time_or_was_no_longer_wanted() -> None:
    for situation in ("offered", "cancelled_unpaid", "cancelled_left"):
        story = story_of(situation)
        story.wake("o1", story.now + span("30d"))
        assert told(story) == []


def test_without_a_grace_there_is_nothing_to_tell() -> None:
    story = story_of(
        "awaiting_deposit", Policy().model_copy(update={"payment_notice_grace": "PT0S"})
    )
    due_at = story.order().pay_by
    assert story.uow.next_wakeup("o1") == (due_at, True)
    (event,) = story.wake("o1", due_at + MICRO)
    assert event.fact.type == "order.expired"


def test_an_extended_or_paused_order_is_overdue_when_its_own_window_ends() -> None:
    story = story_of("awaiting_deposit")
    until = story.order().pay_by + span("1h")
    fields = {"order_id": "o1", "reason": "the bank is closed"}
    story.ask("extend_deadline", "operator", until=format_instant(until), **fields)
    story.ask("pause_clock", "operator", **fields)
    story.wake("o1", until + span("1d"))
    assert told(story) == []
    resumed_at = until + span("2d")
    story.ask("resume_clock", "operator", resumed_at, **fields)
    due_at = story.order().due_at
    assert due_at is not None
    story.wake("o1", due_at + MICRO)
    assert [event["at"] for event in told(story)] == [format_instant(due_at)]
