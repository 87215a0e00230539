"""Order: the public status of every state, and when nothing more is to be expected of an order."""

from __future__ import annotations

import pytest

from models.lifecycle import FINAL_STATES, PublicStatus, State
from models.orders.order import OPEN_STATUSES, STATES_BY_STATUS, public_status, public_statuses_of
from tests.support.stories import HISTORIES, MICRO, read_table, story_of

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
