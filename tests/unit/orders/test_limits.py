"""Limits: a refusal tells its sender what would not be refused, and asking for that works."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

from models.events.notifications import Limits
from models.fields import format_instant
from models.orders.decision import AWAITED_COMMANDS, reminder_fields
from models.orders.offers import quote_range
from models.policy import REMINDER_SETTINGS, Policy
from tests.support.command_fields import fields_for
from tests.support.stories import (
    HISTORIES,
    MICRO,
    MOVES,
    OrderStory,
    place,
    play_step,
    read_table,
    span,
    story_of,
    story_with_parties,
)


def refuse(story: OrderStory, kind: str, by: str, at: str = "0s", **fields: object) -> Limits:
    """Ask something so long after the present state began, and return the limits of its refusal."""
    order = story.order()
    outcome = story.ask(kind, by, order.entered_at + span(at), order_id="o1", **fields)
    assert outcome.outcome == "rejected"
    assert outcome.limits is not None, outcome
    return outcome.limits


WRONG_STATES = read_table("""
    while              asked             by        may ask
    awaiting_deposit   accept_order      creator   appoint_provider
    awaiting_deposit   nudge_creator     client    appoint_provider cancel_order
    offered            rate_order        client    appoint_provider cancel_order nudge_creator
    offered            submit_script     mcn       accept_order appoint_provider decline_order
    in_fulfilment      confirm_unpaid    payments  confirm_payment
    in_fulfilment      submit_content    creator   SCHEDULE appoint_provider submit_script WITHDRAW
    declined           cancel_order      client    -
    rated              rate_order        client    -
    completed_agency   confirm_delivery  client    rate_order
    cancelled_left     cancel_order      operator  -
    forfeited_asked    reinstate_order   operator  release_forfeit
    script_review      cancel_order      operator  extend_deadline operator_act CLOCK
""")


ABBREVIATIONS = {
    "SCHEDULE": "agree_schedule propose_schedule",
    "WITHDRAW": "withdraw_order",
    "CLOCK": "pause_clock reschedule_order resume_clock",
}


@pytest.mark.parametrize("row", WRONG_STATES, ids=lambda row: f"{row['while']}-{row['asked']}")
def test_who_asks_the_wrong_thing_learns_the_state_and_what_may_be_asked(
    row: dict[str, str],
) -> None:
    story = story_of(row["while"])
    fields = fields_for(row["asked"], story.order(), story.now)
    limits = refuse(story, row["asked"], row["by"], "1s", **fields)
    text = row["may ask"].strip("-")
    for word, kinds in ABBREVIATIONS.items():
        text = text.replace(word, kinds)
    assert (limits["state"], limits["allowed"]) == (story.order().state.value, sorted(text.split()))
    assert "ended_at" not in limits or row["while"] == "completed_agency"


def test_a_provider_is_told_what_it_may_do_for_its_own_side() -> None:
    story = story_of("script_review")
    story.ask("register_provider", "platform", provider_id="v1", name="V1")
    story.ask("appoint_provider", "client", order_id="o1", provider_id="v1")
    limits = refuse(story, "confirm_delivery", "provider:v1")
    assert limits["allowed"] == ["approve_script", "reject_script"]


def test_an_operator_acting_for_a_side_is_told_what_may_be_asked_in_its_stead() -> None:
    story = story_of("published")
    outcome = story.ask("operator_act", "operator", command=ON_BEHALF, **WHY)
    assert outcome.limits is not None
    assert outcome.limits["allowed"] == ["appoint_provider", "confirm_delivery", "dispute_order"]


ON_BEHALF = {"kind": "approve_script", "order_id": "o1"}


LATE = read_table("""
    while             asked             by        after   ended after
    offered           accept_order      creator   24h+1s  24h
    awaiting_deposit  cancel_order      client    31m     30m
    awaiting_deposit  cancel_order      client    41m     40m
    awaiting_balance  cancel_order      client    7d+1s   7d
    awaiting_balance  withdraw_order    creator   7d11m   7d
    awaiting_balance  confirm_unpaid    payments  7d11m   7d10m
    script_revision   submit_script     creator   8d      7d
    published         dispute_order     client    20d     10d
""")


@pytest.mark.parametrize("row", LATE, ids=lambda row: f"{row['while']}-{row['asked']}")
def test_a_latecomer_learns_when_time_ended_what_was_meant(row: dict[str, str]) -> None:
    story = story_of(row["while"])
    entered_at = story.order().entered_at
    fields = fields_for(row["asked"], story.order(), story.now)
    limits = refuse(story, row["asked"], row["by"], row["after"], **fields)
    assert limits["ended_at"] == entered_at + span(row["ended after"])
    assert limits["state"] == story.order().state.value
    assert row["asked"] not in limits["allowed"]


def test_a_quote_moved_too_late_was_possible_until_the_end_of_the_offer() -> None:
    story = story_of("awaiting_balance")
    accept_by = story.order().accept_by
    limits = refuse(story, "revise_quote", "creator", "2d", amount_fen=110_000)
    assert limits["ended_at"] == accept_by
    assert "revise_quote" not in limits["allowed"]


def test_in_the_grace_for_notices_only_payments_are_named() -> None:
    story = story_of("awaiting_deposit")
    limits = refuse(story, "cancel_order", "client", "31m")
    assert limits["allowed"] == ["appoint_provider"]


@pytest.mark.parametrize("amount_fen", [2, 4, 5, 95, 999, 100_000])
def test_both_ends_of_the_range_of_a_quote_are_accepted_and_nothing_beyond(
    amount_fen: int,
) -> None:
    for end, outwards in ((0, -1), (1, 1)):
        story = story_with_parties()
        place(story, amount_fen=amount_fen)
        story.pay("p", {"o1": story.order().balance_due_fen})
        bounds = quote_range(story.order())
        beyond = story.ask(
            "accept_order", "creator", order_id="o1", revised_amount_fen=bounds[end] + outwards
        )
        assert beyond.reason == "out_of_range"
        assert beyond.limits == {"min_fen": bounds[0], "max_fen": bounds[1]}
        fields = {"order_id": "o1", "revised_amount_fen": bounds[end]}
        assert story.ask("accept_order", "creator", **fields).outcome == "applied"


def test_who_nudges_too_soon_or_too_often_is_told_so() -> None:
    story = story_of("offered_nudged")
    nudged_at = story.order().nudged_at
    assert nudged_at is not None
    limits = refuse(story, "nudge_creator", "client", "1m")
    assert limits == {"not_before": nudged_at + story.policy.nudge_interval}
    for _ in range(2):
        outcome = story.ask("nudge_creator", "client", story.now + span("3h"), order_id="o1")
        assert outcome.outcome == "applied"
    assert refuse(story, "nudge_creator", "client", "20h") == {"limit": 3}


def test_who_would_lose_the_deposit_is_told_how_much_that_is() -> None:
    story = story_of("awaiting_balance")
    outcome = story.ask("cancel_order", "client", order_id="o1")
    assert (outcome.reason, outcome.limits) == ("would_forfeit", {"cost_fen": 10_500})
    assert outcome.cost_fen == 10_500


def test_the_first_price_is_named_to_whoever_has_moved_the_quote_before() -> None:
    story = story_of("revised")
    assert refuse(story, "revise_quote", "creator", amount_fen=90_000) == {"amount_fen": 120_000}
    assert refuse(story, "revise_quote", "creator", amount_fen=100_000) == {"amount_fen": 120_000}


def test_who_has_no_rejections_left_is_told_how_many_there_were() -> None:
    assert refuse(story_of("scripts_exhausted"), "reject_script", "client", comment="no") == {
        "limit": 3
    }
    assert refuse(story_of("rejected_enough"), "reject_content", "client", comment="no") == {
        "limit": 2
    }


def test_parts_of_a_forfeit_that_do_not_add_up_are_answered_with_the_sum() -> None:
    parts = [{"to": "client", "amount_fen": 1}]
    limits = refuse(story_of("forfeited_asked"), "release_forfeit", "operator", parts=parts, **WHY)
    assert limits == {"total_fen": 10_500}


WHY = {"reason": "as agreed by telephone"}


@pytest.mark.parametrize(
    ("situation", "kind", "fields"),
    [
        ("offered", "extend_deadline", {}),
        ("forfeited_late", "reinstate_order", {}),
        ("disputed_script", "resolve_dispute", {"outcome": "extend"}),
    ],
)
def test_both_ends_of_the_range_of_a_new_deadline_are_accepted_and_nothing_beyond(
    situation: str, kind: str, fields: dict[str, Any]
) -> None:
    def ask(until: datetime) -> Any:  # noqa: ANN401 - an outcome
        story = story_of(situation)
        story.now += span("1m")
        until_text = {"until": format_instant(until)}
        return story.ask(kind, "operator", order_id="o1", **until_text, **fields, **WHY)

    limits = ask(story_of(situation).now).limits
    assert limits.keys() == {"min", "max"}
    for bound, outwards in ((limits["min"], -MICRO), (limits["max"], MICRO)):
        assert ask(bound).outcome == "applied"
        assert ask(bound + outwards).limits == limits


def test_a_repeat_is_told_the_same_limits() -> None:
    story = story_of("awaiting_balance")
    body: dict[str, Any] = {"id": "cancel_it_all", "kind": "cancel_order", "order_id": "o1"}
    body |= {"by": {"role": "client", "id": "c1"}}
    first, again = (story.handle(body, story.now) for _ in range(2))
    assert again.outcome == "duplicate"
    assert again.limits == first.limits == {"cost_fen": 10_500}


@pytest.mark.parametrize("situation", HISTORIES)
def test_what_a_refusal_says_may_be_asked_is_never_refused_for_the_state(situation: str) -> None:
    for by in ("client", "creator", "operator"):
        story = story_of(situation)
        outcome = story.ask(SELDOM_POSSIBLE[by], by, order_id="o1", **SELDOM_FIELDS[by])
        if outcome.reason not in ("wrong_state", "late"):
            continue
        limits = outcome.limits or {}
        for kind in limits["allowed"]:
            if kind not in KINDS_OF_MOVES:
                continue
            retry = story_of(situation)
            fields = fields_for(kind, retry.order(), retry.now)
            reason = retry.ask(kind, by, order_id="o1", **fields).reason
            depends_on_order = kind in ("submit_script", "submit_content", "rate_order")
            own_proposal = (kind, reason) == ("agree_schedule", "not_allowed")
            refused = reason in ("late", "wrong_state", "not_allowed") and not own_proposal
            assert not refused or depends_on_order, kind


KINDS_OF_MOVES = {kind for kind, _ in MOVES.values()}
SELDOM_POSSIBLE = {
    "client": "nudge_creator",
    "creator": "decline_order",
    "operator": "reinstate_order",
}
SELDOM_FIELDS: dict[str, dict[str, Any]] = {
    "client": {},
    "creator": {},
    "operator": {"until": "2026-06-01T00:00:00Z", "reason": "-"},
}


REMINDED = [name for name in HISTORIES if name in {state.value for state in REMINDER_SETTINGS}]


@pytest.mark.parametrize("situation", REMINDED)
def test_a_reminder_names_the_order_and_the_commands_that_answer_it(situation: str) -> None:
    story = story_of(situation)
    state, due_at = story.order().state, story.order().due_at
    assert due_at is not None
    (event,) = story.wake("o1", due_at - span("1h"))
    reminder = event.published()
    assert (reminder["order_name"], reminder["state"]) == ("春季新品推广", state.value)
    assert reminder["awaited"]
    assert set(reminder["awaited"]) <= set(AWAITED_COMMANDS[state])
    for kind in reminder["awaited"]:
        retry = story_of(situation)
        if kind == "confirm_payment":
            play_step(retry, "pay")
        else:
            by = next(by for move, by in MOVES.values() if move == kind)
            fields = fields_for(kind, retry.order(), retry.now)
            assert retry.ask(kind, by, order_id="o1", **fields).outcome == "applied"
        assert retry.order().state is not state


def test_a_nudge_names_the_order_and_the_answers_too() -> None:
    story = story_of("offered_nudged")
    (nudge,) = [event.published() for event in story.events_of("creator.reminded")]
    assert nudge["order_name"] == "春季新品推广"
    assert (nudge["state"], nudge["awaited"]) == ("offered", ["accept_order", "decline_order"])


def test_a_reminder_does_not_name_an_answer_that_would_be_refused() -> None:
    story = story_of("scripts_exhausted")
    due_at = story.order().due_at
    assert due_at is not None
    (event,) = story.wake("o1", due_at - span("1h"))
    assert event.published()["awaited"] == ["approve_script"]
    assert Policy().script_rejections == 3


@pytest.mark.parametrize(
    ("situation", "awaited"),
    [
        ("in_fulfilment", ("submit_script",)),
        ("at_work_noscript", ("submit_content",)),
        ("script_review", ("approve_script", "reject_script")),
        ("scripts_exhausted", ("approve_script",)),
        ("content_review", ("approve_content", "reject_content")),
        ("producing", ("submit_content",)),
        ("published", ("confirm_delivery", "dispute_order")),
    ],
)
def test_a_reminder_asks_for_what_would_be_heard_and_for_nothing_else(
    situation: str, awaited: tuple[str, ...]
) -> None:
    assert reminder_fields(story_of(situation).order())["awaited"] == awaited
