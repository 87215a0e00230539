"""Creators: the ladder of bans for advertising outside, and what it does to orders."""

from __future__ import annotations

from dataclasses import replace

import pytest

from models.calendar import months_after
from models.creators import CREATOR_ADAPTER, Violation
from models.events.parties import Ban
from models.fields import format_instant, parse_instant
from models.lifecycle import State
from models.reasons import RejectionReason
from tests.support.command_fields import creator_command
from tests.support.stories import (
    BALANCE,
    DEPOSIT,
    MICRO,
    START,
    OrderStory,
    as_stored_before,
    audit,
    place,
    play_step,
    read_table,
    span,
    story_of,
    story_with_parties,
)

WEEK = span("7d")


def report_violation_at(story: OrderStory, name: str, at: str = "0s") -> str | None:
    """Report a violation some time after the beginning."""
    story.now = START + span(at)
    kind, by, fields = creator_command("violation", name, 0, START)
    return story.ask(kind, by, **fields).reason


def bans(story: OrderStory) -> list[tuple[int, str, str | None]]:
    return [
        (ban.step, format_instant(ban.since), format_instant(ban.until) if ban.until else None)
        for ban in story.uow.creators["k1"].bans
    ]


def test_after_a_first_violation_only_the_removal_of_the_post_is_requested() -> None:
    story = story_with_parties()
    assert report_violation_at(story, "v1") is None
    assert [event.fact.type for event in story.events[-2:]] == [
        "violation.reported",
        "post.removal_requested",
    ]
    assert (bans(story), place(story).outcome) == ([], "applied")


def test_bans_last_a_week_then_three_months_one_after_the_other_and_then_for_good_at_once() -> None:
    story = story_with_parties()
    for name in ("v1", "v2", "v3"):
        report_violation_at(story, name)
    assert bans(story) == [
        (2, "2026-03-02T02:00:00Z", "2026-03-09T02:00:00Z"),
        (3, "2026-03-09T02:00:00Z", "2026-06-09T02:00:00Z"),
    ]
    for name in ("v4", "v5"):
        report_violation_at(story, name, "1d")
        assert bans(story) == [(4, "2026-03-03T02:00:00Z", None)]
    assert len(story.events_of("creator.banned")) == 3
    assert audit(story) == []


@pytest.mark.parametrize(
    ("begins", "ends"),
    [
        ("2026-11-30T10:00:00+08:00", "2027-02-28T02:00:00Z"),
        ("2027-11-30T10:00:00+08:00", "2028-02-29T02:00:00Z"),
        ("2026-12-31T23:30:00+08:00", "2027-03-31T15:30:00Z"),
        ("2026-05-31T00:30:00+08:00", "2026-08-30T16:30:00Z"),
    ],
)
def test_months_are_counted_in_shanghai_and_end_with_a_short_month(begins: str, ends: str) -> None:
    assert format_instant(months_after(parse_instant(begins), 3)) == ends


def test_a_ban_begins_with_the_report_and_is_over_just_after_its_end() -> None:
    story = story_of("awaiting_balance")
    report_violation_at(story, "v1")
    report_violation_at(story, "v2", "1h")
    until = START + span("1h") + WEEK
    story.now = until
    assert place(story, "o2").reason == RejectionReason.CREATOR_BANNED
    story.now = until + MICRO
    assert place(story, "o2").outcome == "applied"
    # Nobody has woken the creator yet: the order was placed by the rules, not by a scheduler.
    assert story.events_of("creator.ban_lifted") == []
    assert [event.fact.type for event in story.wake("creator:k1", until + MICRO)] == [
        "creator.ban_lifted",
        "clock.resumed",
    ]
    assert {event.at for event in story.events[-2:]} == {until}
    assert audit(story) == []


EFFECTS = read_table("""
    situation          second             for good
    awaiting_deposit   cancelled          cancelled
    offered            declined           declined
    awaiting_balance   awaiting_balance   cancelled
    balance_overdue    balance_overdue    balance_overdue
    in_fulfilment      in_fulfilment      cancelled
    script_review      script_review      in_arbitration
    script_revision    script_revision    in_arbitration
    producing          producing          in_arbitration
    content_review     content_review     in_arbitration
    ready_to_publish   ready_to_publish   in_arbitration
    published          published          published
    accepted_delivery  accepted_delivery  accepted_delivery
    disputed_work      in_arbitration     in_arbitration
    completed          completed          completed
    forfeited_asked    forfeited          forfeited
""")


@pytest.mark.parametrize("row", EFFECTS, ids=lambda row: row["situation"])
def test_a_ban_does_to_an_order_what_the_domain_says(row: dict[str, str]) -> None:
    for step, becomes in ((2, row["second"]), (4, row["for good"])):
        story = story_of(row["situation"])
        # As if the earlier ones had been punished long ago.
        old = START - span("900d")
        past_violations = tuple(
            Violation(f"old{n}", old + n * span("200d")) for n in range(step - 1)
        )
        k1 = story.uow.creators["k1"]
        story.uow.creators["k1"] = replace(k1, violations=past_violations)
        play_step(story, "violation:last")
        assert story.order().state == becomes
        is_final = story.order().state in (State.CANCELLED, State.DECLINED)
        if is_final:
            assert story.order().reason == "creator_banned"
            assert story.accounts().get("refunds_payable:c1", 0) == sum(
                refund.amount_fen for refund in story.uow.refunds.values()
            )


def test_a_ban_reaches_every_open_order_of_its_creator_at_once_and_no_other() -> None:
    story = story_with_parties()
    for order_id, creator in (("o1", "k1"), ("o2", "k1"), ("o3", "k2")):
        place(story, order_id, creator_id=creator)
    story.pay("p1", dict.fromkeys(("o1", "o2", "o3"), DEPOSIT))
    story.ask("accept_order", "creator", order_id="o2")
    report_violation_at(story, "v1")
    event_count = len(story.events)
    report_violation_at(story, "v2")
    types = [event.fact.type for event in story.events[event_count:]]
    assert types == [
        "violation.reported",
        "creator.banned",
        "order.declined",
        "refund.requested",
        "clock.stopped",
    ]
    states = [story.order(order_id).state for order_id in ("o1", "o2", "o3")]
    assert states == [State.DECLINED, State.AWAITING_BALANCE, State.OFFERED]
    assert story.ask("accept_order", "creator", order_id="o1").reason == RejectionReason.WRONG_STATE


def banned_balance() -> OrderStory:
    """Stop the clock of a balance two days after acceptance, with five days left."""
    story = story_of("awaiting_balance")
    report_violation_at(story, "v1", "2d")
    report_violation_at(story, "v2", "2d")
    return story


def test_a_stopped_clock_keeps_its_time_and_runs_on_when_the_ban_is_over() -> None:
    story = banned_balance()
    assert (story.order().due_at, story.order().left) == (None, span("5d"))
    story.wake("creator:k1", START + span("9d") + MICRO)
    assert story.order().due_at == START + span("14d")
    assert story.order().pay_by == START + span("14d")


def test_a_clock_stopped_by_a_ban_runs_on_at_its_end_even_if_nobody_notices() -> None:
    story = banned_balance()
    story.pay("late", {"o1": BALANCE}, START + span("14d"))
    assert story.order().state is State.IN_FULFILMENT
    story = banned_balance()
    story.pay("late", {"o1": BALANCE}, START + span("14d") + MICRO)
    assert story.order().state is State.BALANCE_OVERDUE
    (resumed,) = story.events_of("clock.resumed")
    assert (resumed.at, resumed.caused_by) == (START + span("9d"), "ban:v2")
    assert story.wake("creator:k1", story.now)[0].at == START + span("9d")
    assert audit(story) == []


def test_while_the_clock_is_stopped_the_client_may_pay_or_leave_free() -> None:
    story = banned_balance()
    story.pay("p1", {"o1": BALANCE}, START + span("8d"))
    assert story.order().state is State.IN_FULFILMENT
    story = banned_balance()
    assert story.ask("cancel_order", "client", order_id="o1").reason is None
    assert (story.order().state, story.order().reason) == (State.CANCELLED, "creator_banned")
    assert story.accounts() == {"psp": -DEPOSIT, "refunds_payable:c1": DEPOSIT}


def test_a_banned_creator_moves_no_quote() -> None:
    story = story_of("awaiting_balance")
    report_violation_at(story, "v1")
    report_violation_at(story, "v2")
    fields = {"order_id": "o1", "amount_fen": 110_000}
    assert story.ask("revise_quote", "creator", **fields).reason == RejectionReason.CREATOR_BANNED


def test_a_ban_for_good_reaches_orders_as_of_its_report_while_another_ban_runs() -> None:
    story = story_of("awaiting_balance")
    for name in ("v1", "v2", "v3"):
        report_violation_at(story, name)
    assert story.order().stoppers == ("ban",)
    report_violation_at(story, "v4", "1d")
    (cancelled,) = story.events_of("order.cancelled")
    assert (cancelled.at, cancelled.caused_by) == (START + span("1d"), "ban:v4")
    assert (story.order().state, story.order().reason) == (State.CANCELLED, "creator_banned")
    overturn_violation_at(story, "v4", "2d")
    assert [step for step, _, _ in bans(story)] == [2, 3]
    assert audit(story) == []


def test_a_ban_for_good_that_a_former_version_put_behind_another_begins_when_that_ends() -> None:
    story = story_of("awaiting_balance")
    for name in ("v1", "v2", "v3"):
        report_violation_at(story, name)
    k1 = story.uow.creators["k1"]
    begins = START + WEEK + span("92d")
    queued = replace(k1, bans=(*k1.bans, Ban("v4", 4, begins, None)), history=())
    story.uow.creators["k1"] = CREATOR_ADAPTER.validate_json(as_stored_before(queued))
    story.ask("cancel_order", "client:c2", begins + MICRO, order_id="o1")
    assert (story.order().state, story.order().entered_at) == (State.CANCELLED, begins)
    assert story.order().reason == "creator_banned"


def test_a_ban_for_good_that_is_only_to_come_keeps_no_other_from_beginning_at_once() -> None:
    story = story_with_parties()
    for name in ("v1", "v2", "v3"):
        report_violation_at(story, name)
    k1 = story.uow.creators["k1"]
    queued = replace(k1, bans=(*k1.bans, Ban("v4", 4, START + span("99d"), None)), history=())
    story.uow.creators["k1"] = CREATOR_ADAPTER.validate_json(as_stored_before(queued))
    report_violation_at(story, "v5", "1d")
    assert bans(story) == [(4, "2026-03-03T02:00:00Z", None)]


def test_an_operators_decision_after_a_ban_for_good_stands() -> None:
    story = story_of("banned_for_good")
    play_step(story, "resolve:approve")
    assert story.order().state is State.PRODUCING
    story.wake("creator:k1", story.now + span("1d"))
    story.wake("o1", story.now + span("2d"))
    assert story.order().state is State.PRODUCING
    play_step(story, "content")
    assert story.order().state is State.CONTENT_REVIEW


def test_the_same_report_again_is_a_duplicate_and_another_under_its_id_a_conflict() -> None:
    story = story_with_parties()
    report_violation_at(story, "v1")
    kind, by, fields = creator_command("violation", "v1", 0, START)
    duplicate = story.ask(kind, by, **fields)
    assert (duplicate.outcome, duplicate.events) == ("duplicate", ())
    conflict = story.ask(kind, by, **(fields | {"url": "https://elsewhere.example/2"}))
    assert conflict.reason == RejectionReason.VIOLATION_CONFLICT
    assert len(story.uow.creators["k1"].violations) == 1
    assert story.ask(kind, "client", **fields).reason == RejectionReason.NOT_ALLOWED
    unknown = story.ask(kind, by, **(fields | {"creator_id": "k9"}))
    assert unknown.reason == RejectionReason.UNKNOWN_CREATOR


def overturn_violation_at(story: OrderStory, name: str, at: str) -> str | None:
    fields = {"violation_id": name, "reason": "it was somebody else"}
    return story.ask("overturn_violation", "operator", START + span(at), **fields).reason


def test_overturning_the_first_makes_the_second_a_warning_and_lifts_its_ban() -> None:
    story = banned_balance()
    assert overturn_violation_at(story, "v1", "4d") is None
    assert bans(story) == []
    assert story.order().due_at == START + span("9d")
    lifted = story.events_of("creator.ban_lifted")[0].published()
    assert (lifted["violation_id"], lifted["still_banned"]) == ("v2", False)
    assert place(story, "o2").outcome == "applied"
    assert overturn_violation_at(story, "v1", "4d") == RejectionReason.ALREADY_OVERTURNED
    assert overturn_violation_at(story, "v9", "4d") == RejectionReason.UNKNOWN_VIOLATION
    assert audit(story) == []


def test_overturning_replays_the_ladder_with_what_is_left() -> None:
    story = story_with_parties()
    for name, at in (("v1", "0d"), ("v2", "1d"), ("v3", "2d")):
        report_violation_at(story, name, at)
    assert bans(story)[1][2] == "2026-06-10T02:00:00Z"
    overturn_violation_at(story, "v1", "3d")
    # v2 is the first now, v3 the second: a week from its report.
    assert bans(story) == [(2, "2026-03-04T02:00:00Z", "2026-03-11T02:00:00Z")]
    assert story.events_of("creator.ban_lifted") == []
    overturn_violation_at(story, "v2", "9d")
    assert bans(story) == []
    acted = story.events_of("operator.acted")[-1].published()
    assert (acted["act"], acted["note"]) == ("overturn_violation", "it was somebody else")
    assert audit(story) == []


@pytest.mark.parametrize(("at", "stands"), [("9d", True), ("9d1us", False)])
def test_a_ban_that_replaying_leaves_stands_up_to_its_last_instant(
    at: str, *, stands: bool
) -> None:
    story = story_with_parties()
    for name, reported_at in (("v1", "0d"), ("v2", "1d"), ("v3", "2d")):
        report_violation_at(story, name, reported_at)
    overturn_violation_at(story, "v1", at)
    assert bans(story) == ([(2, "2026-03-04T02:00:00Z", "2026-03-11T02:00:00Z")] if stands else [])
    assert len(story.events_of("creator.ban_lifted")) == (1 if stands else 2)
    assert audit(story) == []


def test_a_ban_that_nobody_saw_end_ends_before_the_creator_is_registered_again() -> None:
    story = story_with_parties()
    for name in ("v1", "v2"):
        report_violation_at(story, name)
    story.now = START + WEEK + MICRO
    fields = {"creator_id": "k1", "name": "K", "contract": "direct"}
    events = story.ask("register_creator", "platform", **fields).events
    assert [event.fact.type for event in events] == ["creator.ban_lifted", "creator.registered"]
    assert audit(story) == []


def test_a_ban_that_is_over_is_not_lifted_again() -> None:
    story = banned_balance()
    overturn_violation_at(story, "v1", "20d")
    assert len(story.events_of("creator.ban_lifted")) == 1
    assert audit(story) == []


def test_whoever_is_waited_for_by_an_operators_pause_and_a_ban_waits_for_both() -> None:
    story = story_of("balance_banned_paused")
    assert story.order().stoppers == ("ban", "operator")
    play_step(story, "resume")
    assert (story.order().stoppers, story.order().due_at) == (("ban",), None)
    story.wake("creator:k1", START + WEEK + MICRO)
    assert (story.order().stoppers, story.order().due_at) == ((), START + WEEK + WEEK)
    assert audit(story) == []
