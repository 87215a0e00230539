"""Stories: the situations that tests share are what their names say."""

from __future__ import annotations

from datetime import timedelta

import pytest

from models.lifecycle import END_REASONS, DisputeReason, State
from tests.support.stories import HISTORIES, audit, read_table, span, story_of

STATE_BY_SITUATION = {
    "awaiting_total": "awaiting_deposit",
    "offered_paid": "offered",
    "offered_full": "offered",
    "offered_nudged": "offered",
    "revised": "awaiting_balance",
    "restored": "awaiting_balance",
    "full_at_work": "in_fulfilment",
    "withdrawn": "cancelled",
    "balance_paused": "awaiting_balance",
    "balance_banned": "awaiting_balance",
    "balance_banned_paused": "awaiting_balance",
    "at_work_agency": "in_fulfilment",
    "at_work_noscript": "in_fulfilment",
    "at_work_live": "in_fulfilment",
    "scripts_exhausted": "script_review",
    "content_unscripted": "content_review",
    "rejected_twice": "producing",
    "rejected_enough": "content_review",
    "ready_live": "ready_to_publish",
    "rated": "completed",
    "released": "forfeited",
    "proposed": "producing",
    "rescheduled": "producing",
    "moved_live": "ready_to_publish",
    **dict.fromkeys(
        (
            *("disputed_script", "disputed_content", "disputed_work", "script_overdue"),
            *("content_overdue", "not_published", "banned_for_good"),
        ),
        "in_arbitration",
    ),
}


@pytest.mark.parametrize("situation", HISTORIES)
def test_a_situation_is_what_its_name_says_and_passes_the_audit(situation: str) -> None:
    story = story_of(situation)
    stem = next((s for s in State if situation.startswith(s)), None)
    assert story.order().state == STATE_BY_SITUATION.get(situation, stem)
    assert audit(story) == []


def test_the_situations_know_every_state_and_ending_of_an_orders_life() -> None:
    orders = [story_of(situation).order() for situation in HISTORIES]
    assert {order.state for order in orders} == set(State)
    disputes = {order.reason for order in orders if order.state is State.IN_ARBITRATION}
    assert disputes == set(DisputeReason)
    endings = {(state, reason) for state, reasons in END_REASONS.items() for reason in reasons}
    assert {(order.state, order.reason) for order in orders if order.is_final} == endings


def test_lengths_of_time_in_tables_add_and_subtract() -> None:
    assert span("7d10m-1us") == timedelta(days=7, minutes=10) - timedelta(microseconds=1)
    assert span("-") == timedelta(0)


def test_a_table_with_a_missing_column_is_refused() -> None:
    with pytest.raises(ValueError, match="zip"):
        read_table("one  two\n1")
