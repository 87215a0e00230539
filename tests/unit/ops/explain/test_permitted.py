"""Permitted actions: what is said to be allowed is allowed, what is said to cost costs that."""

from __future__ import annotations

from copy import deepcopy
from itertools import product
from typing import Any

import pytest

from models.events.event import EVENT_TYPES
from models.fields import parse_instant
from models.lifecycle import SYSTEM_REQUESTS, TRANSITIONS, Role
from models.policy import Policy
from ops.explain.account import account_for
from ops.explain.render import LIMIT_TEXTS, render_text
from ops.explain.texts import EVENT_TEXTS, PARTY_TEXTS
from tests.support.command_fields import fields_for
from tests.support.explanations import account_of, explanation_text, history_of
from tests.support.stories import (
    HISTORIES,
    MICRO,
    ORDER_PARTIES,
    OrderStory,
    play_step,
    span,
    story_of,
)
from workers.queries.reader import STANDING_EVENTS

PermittedAction = dict[str, Any]

SITUATIONS = (
    *("awaiting_deposit", "offered", "offered_nudged", "offered_paused", "awaiting_balance"),
    *("revised", "balance_banned", "in_fulfilment", "at_work_live", "script_review"),
    *("scripts_exhausted", "script_revision", "producing", "rejected_enough", "ready_live"),
    *("published", "accepted_delivery", "disputed_script", "content_overdue", "forfeited_late"),
    *("forfeited_asked", "released", "completed", "rated", "declined"),
)

COMMANDS_ASKED = sorted(
    {transition.command for transition in TRANSITIONS} - {*SYSTEM_REQUESTS, "confirm_payment"}
)


def actions_of(story: OrderStory) -> dict[tuple[str, str], PermittedAction]:
    """Return, by command and role, what the explanation says of it."""
    return {
        (row["command"], party["role"]): row
        for row in account_of(story)["may"]
        for party in row["who"]
    }


LIMITS_THAT_DECIDE = {"outcomes", "parts_fen"}
"""Limits of commands that themselves say what becomes of the money."""


def sample_fields(kind: str, story: OrderStory) -> PermittedAction:
    """Fill in the fields of a command; an operator decides what is possible in every situation."""
    if kind == "appoint_provider":
        return {"provider_id": None}
    argument = "cancel=0" if kind == "resolve_dispute" else ""
    return fields_for(kind, story.order(), story.now, argument)


def consent_fields(row: PermittedAction) -> PermittedAction:
    terms = row["terms"]
    return {key: terms[key] for key in ("accept_cost_fen", "accept_forfeit") if key in terms}


@pytest.mark.parametrize("situation", SITUATIONS)
def test_the_actions_that_an_explanation_permits_are_applied_and_no_others(situation: str) -> None:
    story = story_of(situation)
    rows = actions_of(story)
    for kind, role in product(COMMANDS_ASKED, ORDER_PARTIES):
        row = rows.get((kind, role), {"refused": "not said", "terms": {}})
        trial_story = deepcopy(story)
        outcome = trial_story.ask(
            kind, role, order_id="o1", **sample_fields(kind, story) | consent_fields(row)
        )
        assert (outcome.reason is None) is (row["refused"] is None), (kind, role, outcome.reason)
        if row["refused"] not in (None, "not said"):
            assert outcome.reason == row["refused"]
        if outcome.reason is None and not LIMITS_THAT_DECIDE & row["terms"].keys():
            assert row["becomes"] == [trial_story.order().state]
            refund_events = [
                event for event in outcome.events if event.fact.type == "refund.requested"
            ]
            refunded_fen = sum(event.published()["amount_fen"] for event in refund_events)
            assert refunded_fen == row["terms"].get("back_fen", 0)


@pytest.mark.parametrize("situation", HISTORIES)
def test_the_payment_that_an_explanation_asks_for_is_applied(situation: str) -> None:
    story = story_of(situation)
    row = actions_of(story)["confirm_payment", "payments"]
    if row["refused"] is None:
        story.pay("wanted", {"o1": row["terms"]["amount_fen"]}, paid_at="2026-03-02T02:00:00Z")
        assert story.unapplied_reasons() == []
        assert row["becomes"] == [story.order().state]
    else:
        story.pay("unwanted", {"o1": 105_000}, paid_at="2026-03-02T02:00:00Z")
        assert story.unapplied_reasons() == [row["refused"]]


@pytest.mark.parametrize("situation", HISTORIES)
def test_what_an_explanation_says_comes_next_comes(situation: str) -> None:
    story = story_of(situation)
    next_change = account_of(story)["next"]
    if next_change is None:
        assert story.order().is_final
    elif "alert_at" in next_change:
        assert next_change["becomes"] == []
    else:
        over = parse_instant(next_change.get("due_then") or next_change["lapses_at"]) + MICRO
        after = story.uow.elapse_order(story.order(), over).order
        assert after.state in next_change["becomes"]


@pytest.mark.parametrize("situation", HISTORIES)
def test_every_limit_of_a_permitted_action_has_a_text(situation: str) -> None:
    explanation = account_of(story_of(situation))
    terms = {name for row in explanation["may"] for name in row["terms"]}
    assert terms <= LIMIT_TEXTS.keys()


def test_every_event_of_an_order_or_of_a_creators_standing_has_a_text() -> None:
    kinds = {fact.type for fact in (*EVENT_TEXTS, *PARTY_TEXTS)}
    elsewhere = {"suspense.resolved", "payment.voided", "command.settled"}
    elsewhere |= {"post.removal_requested", "stream.timeline_began"}
    parties = {"mcn.registered", "client.registered", "provider.registered"}
    assert kinds == EVENT_TYPES.keys() - elsewhere - parties
    assert {fact.type for fact in PARTY_TEXTS} == set(STANDING_EVENTS)


def test_a_provider_is_named_for_the_work_of_its_side_and_for_nothing_else() -> None:
    story = story_of("in_fulfilment")
    for name, side in (("v1", "creator"), ("v2", "client")):
        story.ask("register_provider", "platform", provider_id=name, name=name)
        story.ask("appoint_provider", side, order_id="o1", provider_id=name)
    served = {kind for kind, role in actions_of(story) if role == Role.PROVIDER}
    assert served == {"submit_script"}
    play_step(story, "script")
    served = {kind for kind, role in actions_of(story) if role == Role.PROVIDER}
    assert served == {"approve_script", "reject_script"}
    text = explanation_text(story)
    assert "provider v1 acts for the creator's side" in text
    assert "client c1, provider v2:\n    approve_script → producing" in text


def test_civil_days_are_shown_beside_what_elapsed_time_would_give() -> None:
    story = story_of("awaiting_balance", Policy(day_count="civil_cn"))
    text = explanation_text(story)
    assert "until 2026-03-09T16:00:00Z (24:00 in Shanghai of a working day)" in text
    assert "Counted as civil_cn: 24:00 in Shanghai of a working day;" in text
    assert "elapsed time alone would give 2026-03-09T02:00:00Z." in text


def test_an_explanation_says_what_time_has_made_of_an_overdue_order() -> None:
    story = story_of("script_review")
    late = story.now + span("3d1s")
    text = render_text(account_for(history_of(story), at=late, watermark=story.now))
    assert "OVERDUE by 1 s: commands received earlier are heard first." in text
    assert "Time has moved it on: whoever asks now finds it producing." in text
    assert "submit_content → content_review" in text
    assert "approve_script →" not in text


def test_in_the_grace_only_payments_and_providers_are_heard() -> None:
    story = story_of("awaiting_deposit")
    explanation = account_for(history_of(story), at=story.now + span("35m"))
    assert {row["command"] for row in explanation["may"] if row["refused"] is None} == {
        *("appoint_provider", "confirm_payment", "operator_act"),
    }


def test_an_operators_extension_is_explained_with_its_reason() -> None:
    story = story_of("in_fulfilment")
    play_step(story, "extend")
    text = explanation_text(story)
    assert "the deadline is 2026-03-16T03:00:00Z, not 2026-03-16T02:00:00Z; done with an" in text
    assert "operator's power, extend_deadline, saying “as agreed by telephone”" in text
    assert "until 2026-03-16T03:00:00Z;" in text
