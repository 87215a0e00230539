"""Schedules: both sides move the day of publication, or an operator does, and what follows it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

from models.audit.order_checks import check_schedules
from models.commands.parsing import MalformedCommand
from models.fields import format_instant
from models.lifecycle import RESCHEDULABLE_STATES, State
from models.orders.order import Order
from models.policy import Policy
from tests.support.stories import (
    HISTORIES,
    MICRO,
    OrderStory,
    audit,
    place,
    play_step,
    read_table,
    span,
    story_of,
    story_with_parties,
)


def day(story: OrderStory, ahead: str) -> dict[str, Any]:
    """Name the order and an instant so far ahead of the story's."""
    return {"order_id": "o1", "expected_publish_at": format_instant(story.now + span(ahead))}


def reschedule(story: OrderStory, ahead: str) -> None:
    """Let an operator set the publication so far ahead."""
    outcome = story.ask("reschedule_order", "operator", **day(story, ahead), reason="by telephone")
    assert outcome.outcome == "applied"


IN_TIME = [name for name in HISTORIES if story_of(name).order().state in RESCHEDULABLE_STATES]


@pytest.mark.parametrize("situation", IN_TIME)
@pytest.mark.parametrize(("proposing", "agreeing"), [("client", "mcn"), ("creator", "client")])
def test_both_sides_move_the_day_as_long_as_nothing_is_out(
    situation: str, proposing: str, agreeing: str
) -> None:
    story = story_of(situation)
    before, at = story.order(), story.now + span("20d")
    fields = {"order_id": "o1", "expected_publish_at": format_instant(at)}
    assert story.ask("propose_schedule", proposing, **fields).outcome == "applied"
    assert story.order().expected_publish_at == before.expected_publish_at
    assert story.ask("agree_schedule", agreeing, **fields).outcome == "applied"
    assert (story.order().expected_publish_at, story.order().proposal) == (at, None)
    (event,) = [event.published() for event in story.events_of("order.rescheduled")][-1:]
    expected_before = before.expected_publish_at and format_instant(before.expected_publish_at)
    assert (event["before"], event["after"]) == (expected_before, format_instant(at))
    assert event["note"] is None
    assert story.ask("agree_schedule", agreeing, **fields).reason == "nothing_proposed"
    assert audit(story) == []


def test_a_proposal_names_its_side_and_until_when_the_other_may_agree() -> None:
    story = story_of("producing")
    story.ask("propose_schedule", "mcn", **day(story, "9d"))
    (event,) = [event.published() for event in story.events_of("schedule.proposed")]
    assert (event["side"], event["by"]) == ("creator", "mcn:m1")
    assert event["open_until"] == format_instant(story.now + span("2d"))
    story.ask("propose_schedule", "client", **day(story, "1d"))
    event = story.events_of("schedule.proposed")[-1].published()
    assert (event["side"], event["open_until"]) == ("client", event["expected_publish_at"])


AGREEMENTS = read_table("""
    proposed by  asked by  names  after   because
    creator      client    9d     2d      -
    creator      client    9d     2d+1us  nothing_proposed
    creator      client    9d+1s  1h      schedule_mismatch
    creator      creator   9d     1h      not_allowed
    creator      mcn       9d     1h      not_allowed
    mcn          creator   9d     1h      not_allowed
    client       client    9d     1h      not_allowed
    client       creator   9d     1h      -
    client       creator   9d+1s  2d+1us  nothing_proposed
    creator      client    9d     9d+1us  malformed
""")


@pytest.mark.parametrize("row", AGREEMENTS, ids=lambda row: "  ".join(row.values()))
def test_the_other_side_agrees_to_what_was_proposed_while_it_is_open(row: dict[str, str]) -> None:
    story = story_of("producing")
    story.ask("propose_schedule", row["proposed by"], **day(story, "9d"))
    fields = day(story, row["names"])
    at = story.now + span(row["after"])
    outcome = story.ask("agree_schedule", row["asked by"], at, **fields)
    assert (outcome.reason or "-") == row["because"]
    assert len(story.events_of("order.rescheduled")) == (row["because"] == "-")


def test_a_proposal_for_tomorrow_is_open_until_then() -> None:
    story = story_of("producing")
    fields = day(story, "1d")
    story.ask("propose_schedule", "creator", **fields)
    at = story.now + span("1d")
    assert story.ask("agree_schedule", "client", at, **fields).outcome == "applied"


def test_a_newer_proposal_takes_the_place_of_the_one_before() -> None:
    story = story_of("producing")
    first, second = day(story, "9d"), day(story, "12d")
    story.ask("propose_schedule", "creator", **first)
    story.ask("propose_schedule", "client", **second)
    assert story.ask("agree_schedule", "client", **first).reason == "not_allowed"
    assert story.ask("agree_schedule", "creator", **first).reason == "schedule_mismatch"
    assert story.ask("agree_schedule", "creator", **second).outcome == "applied"


def test_a_proposal_ends_with_the_state_in_which_it_was_made() -> None:
    story = story_of("producing")
    fields = day(story, "9d")
    story.ask("propose_schedule", "creator", **fields)
    play_step(story, "content")
    assert story.order().proposal is None
    assert story.ask("agree_schedule", "client", **fields).reason == "nothing_proposed"


OUT_OF_RANGE = ["-1us", "366d+1us"]


@pytest.mark.parametrize("ahead", [*OUT_OF_RANGE, "0s", "366d"])
@pytest.mark.parametrize(
    ("kind", "by"),
    [
        ("propose_schedule", "client"),
        ("agree_schedule", "client"),
        ("reschedule_order", "operator"),
    ],
)
def test_a_day_is_within_a_year_from_now_or_malformed(ahead: str, kind: str, by: str) -> None:
    story = story_of("producing")
    reason = {"reason": "by telephone"} if by == "operator" else {}
    outcome = story.ask(kind, by, **day(story, ahead), **reason)
    assert (outcome.reason == "malformed") is (ahead in OUT_OF_RANGE)


def test_neither_a_provider_nor_an_operator_in_a_sides_stead_moves_the_day() -> None:
    story = story_of("producing")
    story.ask("register_provider", "platform", provider_id="v1", name="V1")
    story.ask("appoint_provider", "creator", order_id="o1", provider_id="v1")
    fields = day(story, "9d")
    assert story.ask("propose_schedule", "provider:v1", **fields).reason == "not_allowed"
    command = fields | {"kind": "propose_schedule"}
    with pytest.raises(MalformedCommand):
        story.ask("operator_act", "operator", command=command, reason="by telephone")


# What is due on the day, and how that moves with it: from the day on, or not at all.
DEADLINES = read_table("""
    situation         moved to  due after
    producing         5d        10d
    producing         7d        10d
    producing         9d        12d
    ready_to_publish  9d        12d
    ready_to_publish  1h        3d1h
    content_review    9d        3d
    in_fulfilment     30d       14d
    awaiting_balance  30d       7d
""")


@pytest.mark.parametrize("row", DEADLINES, ids=lambda row: "  ".join(row.values()))
def test_a_deadline_that_hangs_on_the_day_is_counted_anew_and_never_becomes_earlier(
    row: dict[str, str],
) -> None:
    story = story_of(row["situation"])
    entered_at = story.order().entered_at
    assert story.now == entered_at
    reschedule(story, row["moved to"])
    assert story.order().due_at == entered_at + span(row["due after"])
    reschedule(story, "0s")
    assert story.order().due_at == entered_at + span(row["due after"])
    assert audit(story) == []


def test_a_deadline_that_an_operator_has_put_off_further_stays() -> None:
    story = story_of("producing")
    until = story.now + span("20d")
    fields = {"order_id": "o1", "until": format_instant(until), "reason": "ill"}
    assert story.ask("extend_deadline", "operator", **fields).outcome == "applied"
    reschedule(story, "9d")
    assert story.order().due_at == until
    reschedule(story, "18d")
    assert story.order().due_at == story.now + span("21d")


def test_more_time_than_an_operator_gave_is_not_to_be_had_by_an_earlier_day() -> None:
    story = story_of("forfeited_late")
    until = story.now + span("1d")
    fields = {"order_id": "o1", "until": format_instant(until), "reason": "the bank was down"}
    assert story.ask("reinstate_order", "operator", **fields).outcome == "applied"
    reschedule(story, "30d")
    assert story.order().due_at == until


@pytest.mark.parametrize("paused_after", ["0s", "1d"])
def test_with_a_stopped_clock_what_is_left_grows_as_the_deadline_would(paused_after: str) -> None:
    def later(order: Order) -> datetime:
        assert order.due_at is not None
        return order.due_at

    running, paused = story_of("producing"), story_of("producing")
    for story in (running, paused):
        story.now += span(paused_after)
    play_step(paused, "pause")
    for story in (running, paused):
        reschedule(story, "15d")
    left = paused.order().left
    assert left is not None
    assert paused.order().due_at is None
    assert left == later(running.order()) - running.now
    assert paused.events_of("order.rescheduled")[0].published()["left"] == f"P{left.days}D"
    paused.now += span("3d")
    play_step(paused, "resume")
    assert later(paused.order()) == later(running.order()) + span("3d")
    assert audit(paused) == []


def test_only_reminders_still_ahead_of_a_new_deadline_are_sent() -> None:
    story = story_of("ready_to_publish")
    story.wake("o1", story.now + span("2d"))
    story.now += span("2d")
    reschedule(story, "5d")
    due_at = story.order().due_at
    assert due_at == story.now + span("8d")
    story.wake("o1", due_at - span("1d"))
    story.wake("o1", due_at)
    reminders = [event.published() for event in story.events_of("creator.reminded")]
    leads = [reminder["lead"] for reminder in reminders if reminder["state"] == "ready_to_publish"]
    assert leads == ["P1D", "P1D", "PT4H"]


def test_the_price_of_a_broadcasts_day_falls_with_the_day_and_no_other_price_does() -> None:
    story = story_with_parties()
    place(story, task_type="douyin_live", expected_publish_at="2026-03-02T20:00:00+08:00")
    for step in ("pay", "accept", "pay", "script", "agree"):
        play_step(story, step)
    assert story.ask("cancel_order", "client", order_id="o1").limits == {"cost_fen": 105_000}
    reschedule(story, "5d")
    assert story.ask("cancel_order", "client", order_id="o1").limits == {"cost_fen": 52_500}


def test_what_comes_later_is_due_by_the_day_agreed_on() -> None:
    story = story_of("in_fulfilment")
    reschedule(story, "30d")
    expected_at = story.now + span("30d")
    for step in ("script", "agree"):
        play_step(story, step)
    assert story.order().due_at == expected_at + span("3d")
    for step in ("content", "approve"):
        play_step(story, step)
    assert story.order().due_at == expected_at + span("3d")


def test_in_civil_days_the_deadline_is_counted_in_working_days_anew() -> None:
    story = story_with_parties(Policy(day_count="civil_cn"))
    place(story)
    for step in ("pay", "accept", "pay", "script", "agree", "content", "approve"):
        play_step(story, step)
    # A Friday: three days later is a Monday.
    reschedule(story, "4d")
    assert story.order().due_at == datetime.fromisoformat("2026-03-10T00:00:00+08:00")
    assert story.order().counted == "civil_cn"
    assert audit(story) == []


@pytest.mark.parametrize("is_paused", [False, True])
def test_an_operator_is_told_that_the_new_deadline_lies_beyond_the_calendar(
    *, is_paused: bool
) -> None:
    story = story_with_parties(Policy(day_count="civil_cn"))
    place(story)
    for step in ("pay", "accept", "pay", "script", "agree", "content", "approve"):
        play_step(story, step)
    if is_paused:
        story.ask("pause_clock", "operator", order_id="o1", reason="the studio is flooded")
    reschedule(story, "366d")
    assert story.order().counted == "unknown_year"
    (alert,) = [event.published() for event in story.events_of("operator.alerted")]
    assert alert["alert"] == "calendar_unknown"


def test_an_operator_who_sets_another_day_is_on_record_with_before_and_after() -> None:
    story = story_of("producing")
    reschedule(story, "9d")
    (act,) = [event.published() for event in story.events_of("operator.acted")]
    assert (act["act"], act["note"], act["by"]) == (
        "reschedule_order",
        "by telephone",
        "operator:op",
    )
    assert act["before"]["expected_publish_at"] is None
    assert act["after"]["expected_publish_at"] == format_instant(story.now + span("9d"))


def test_what_an_operator_sets_leaves_a_proposal_open() -> None:
    story = story_of("producing")
    fields = day(story, "9d")
    story.ask("propose_schedule", "creator", **fields)
    reschedule(story, "12d")
    assert story.ask("agree_schedule", "client", **fields).outcome == "applied"


def test_too_late_it_is_where_time_has_ended_the_state() -> None:
    story = story_of("ready_live")
    due_at = story.order().due_at
    assert due_at is not None
    fields = day(story, "30d")
    outcome = story.ask("propose_schedule", "client", due_at + MICRO, **fields)
    assert (outcome.reason, story.order().state) == ("late", State.IN_ARBITRATION)


def test_the_audit_finds_a_day_that_nobody_agreed_to() -> None:
    story = story_of("rescheduled")
    events = [event for event in story.events if event.order_id == "o1"]
    assert list(check_schedules(story.order(), events)) == []
    without_proposal = [event for event in events if event.fact.type != "schedule.proposed"]
    (finding,) = check_schedules(story.order(), without_proposal)
    assert (finding.law, finding.where) == ("schedule", "order:o1")
