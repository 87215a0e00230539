"""Order: the public status of every state, and when nothing more is to be expected of an order."""

from __future__ import annotations

import json
from dataclasses import MISSING, fields, replace
from datetime import datetime

import pytest

from models.creators import UNRESTRICTED, StandingChange
from models.lifecycle import FINAL_STATES, PublicStatus, State
from models.orders.order import (
    OPEN_STATUSES,
    ORDER_ADAPTER,
    STATES_BY_STATUS,
    Order,
    public_status,
    public_statuses_of,
)
from models.policy import Policy
from tests.support.stories import HISTORIES, MICRO, START, play_step, read_table, span, story_of

PUBLIC_STATUSES = read_table("""
    state              rated  status
    awaiting_deposit   no     pending_payment
    awaiting_balance   no     pending_payment
    balance_overdue    no     pending_payment
    offered            no     pending_acceptance
    in_fulfilment      no     in_progress
    script_review      no     in_progress
    script_revision    no     in_progress
    producing          no     in_progress
    content_review     no     in_progress
    ready_to_publish   no     in_progress
    published          no     in_progress
    accepted_delivery  no     in_progress
    in_arbitration     no     in_progress
    completed          no     pending_review
    completed          yes    finished
    expired            no     cancelled
    declined           no     cancelled
    cancelled          no     cancelled
    forfeited          no     cancelled
""")


@pytest.mark.parametrize("row", PUBLIC_STATUSES, ids=lambda row: f"{row['state']}-{row['rated']}")
def test_every_state_has_the_public_status_that_was_promised(row: dict[str, str]) -> None:
    assert public_status(State(row["state"]), rated=row["rated"] == "yes").value == row["status"]


def test_the_table_of_public_statuses_has_every_state_and_every_status() -> None:
    assert {row["state"] for row in PUBLIC_STATUSES} == {state.value for state in State}
    assert {row["status"] for row in PUBLIC_STATUSES} == {status.value for status in PublicStatus}


@pytest.mark.parametrize("state", State)
def test_a_state_has_one_status_unless_a_rating_tells_two_apart(state: State) -> None:
    statuses = {public_status(state, rated=rated) for rated in (False, True)}
    assert set(public_statuses_of(state)) == statuses
    assert len(statuses) == (2 if state is State.COMPLETED else 1)
    assert all(state in STATES_BY_STATUS[status] for status in statuses)


def test_open_statuses_are_those_of_orders_that_have_not_ended() -> None:
    covered = frozenset[State]().union(*(STATES_BY_STATUS[status] for status in OPEN_STATUSES))
    assert covered == frozenset(State) - FINAL_STATES


@pytest.mark.parametrize("situation", HISTORIES)
def test_an_ended_order_can_be_archived_unless_a_late_notice_may_save_its_deposit(
    situation: str,
) -> None:
    order = story_of(situation).order()
    is_final = order.state in FINAL_STATES
    notices_end_at = order.entered_at + order.policy.late_notice_window
    assert order.is_archivable(order.entered_at) == (is_final and not order.forfeited)
    assert order.is_archivable(notices_end_at) == (is_final and not order.forfeited)
    assert order.is_archivable(notices_end_at + MICRO) == is_final


@pytest.mark.parametrize("situation", HISTORIES)
def test_a_stored_order_is_the_same_again_under_the_policy_that_it_names(situation: str) -> None:
    order = story_of(situation).order()
    text = ORDER_ADAPTER.dump_json(order)
    policies = {order.policy.version: order.policy}
    assert ORDER_ADAPTER.validate_json(text, context=policies) == order
    assert ORDER_ADAPTER.validate_python(order) == order


# What a field says of an order of which nothing has been written down in it.
UNWRITTEN = {
    **dict.fromkeys(("revisions", "nudges", "scripts", "contents", "entry_cost_bps"), 0),
    **dict.fromkeys(("mcn_share_bps", "scripts_rejected", "contents_rejected"), 0),
    **dict.fromkeys(("script_approved", "released", "rated", "deposit_overdue"), False),
    **dict.fromkeys(("held", "forfeited", "lapsed", "lapsed_at", "stoppers"), ()),
    "needs_script": True,
    "counted": "elapsed",
    "creator_sequence": 0,
    "name": "",
}


def test_a_field_of_which_nothing_is_written_down_says_that_nothing_has_happened() -> None:
    defaults = {field.name: field.default for field in fields(Order)}
    assert {
        name: default for name, default in defaults.items() if default not in (None, MISSING)
    } == UNWRITTEN


@pytest.mark.parametrize("situation", HISTORIES)
def test_what_time_has_ended_is_forgotten_with_its_instants(situation: str) -> None:
    story = story_of(situation)
    assert len(story.order().lapsed_at) == len(story.order().lapsed)
    if situation == "producing_silent":
        assert story.order().lapsed == (State.SCRIPT_REVIEW,)
        play_step(story, "content")
        assert (story.order().lapsed, story.order().lapsed_at) == ((), ())


def test_an_order_from_before_it_was_noted_when_time_ended_its_states_knows_the_last() -> None:
    order = story_of("forfeited_late").order()
    ended_at = {
        State.AWAITING_BALANCE: START + span("7d"),
        State.BALANCE_OVERDUE: START + span("7d10m"),
    }
    assert order.lapse_instants() == ended_at
    overdue = {State.BALANCE_OVERDUE: ended_at[State.BALANCE_OVERDUE]}
    assert replace(order, lapsed_at=()).lapse_instants() == overdue
    assert replace(order, lapsed_at=order.lapsed_at[-1:]).lapse_instants() == overdue
    assert story_of("offered").order().lapse_instants() == {}


def test_an_order_stored_before_it_had_some_fields_is_as_one_without_a_history() -> None:
    story = story_of("awaiting_deposit")
    order = replace(story.order(), creator_sequence=0)
    document = json.loads(ORDER_ADAPTER.dump_json(order))
    required = [field.name for field in fields(Order) if field.default is MISSING]
    document = {name: document[name] for name in (*required, "due_at", "pay_by", "name")}
    policies = {order.policy.version: order.policy}
    assert ORDER_ADAPTER.validate_python(document, context=policies) == order


def test_an_order_whose_policy_is_not_at_hand_cannot_be_read() -> None:
    text = ORDER_ADAPTER.dump_json(story_of("offered").order())
    for policies in ({Policy(nudge_limit=1).version: Policy(nudge_limit=1)}, None):
        with pytest.raises(KeyError):
            ORDER_ADAPTER.validate_json(text, context=policies)


@pytest.mark.parametrize(
    ("entered_at", "heeded_at", "has_learned"),
    [
        (START - MICRO, None, False),
        # A ban ends just after its instant: who entered the state at it was still banned.
        (START, None, False),
        (START + MICRO, None, True),
        (START - MICRO, START - MICRO, False),
        (START - MICRO, START, True),
        (START - MICRO, START + MICRO, True),
    ],
)
def test_an_order_has_learned_of_the_end_of_a_ban_that_it_has_noted_or_come_after(
    entered_at: datetime, heeded_at: datetime | None, *, has_learned: bool
) -> None:
    order = replace(story_of("offered").order(), entered_at=entered_at, heeded_at=heeded_at)
    change = StandingChange(START, UNRESTRICTED, by_time=True)
    assert order.has_learned(change) is has_learned


@pytest.mark.parametrize(("sequence", "has_learned"), [(3, True), (4, True), (5, False)])
def test_an_order_has_learned_of_its_creators_events_up_to_one(
    sequence: int, *, has_learned: bool
) -> None:
    order = replace(story_of("offered").order(), creator_sequence=4)
    change = StandingChange(START, UNRESTRICTED, sequence, by_time=False)
    assert order.has_learned(change) is has_learned


def test_an_order_notes_the_end_of_a_ban_and_keeps_the_note_when_it_learns_more() -> None:
    order = replace(story_of("offered").order(), heeded_at=START, creator_sequence=4)
    later = START + MICRO
    after_end = order.after_learning(StandingChange(later, UNRESTRICTED, 0, by_time=True))
    assert (after_end.heeded_at, after_end.creator_sequence) == (later, 4)
    after_event = order.after_learning(StandingChange(later, UNRESTRICTED, 5, by_time=False))
    assert (after_event.heeded_at, after_event.creator_sequence) == (START, 5)
