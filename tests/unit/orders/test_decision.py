"""Decision: what a handler answers is held against the table, and time without a limit is none."""

from __future__ import annotations

import pytest

from models.errors import BrokenInvariant
from models.events.orders import OrderDeclined
from models.lifecycle import WAITING_STATES, State
from models.orders.decision import Decision, conclude, deadline_fields, refund_all_held
from tests.support.stories import START, story_of


def declined(*, keeps_money: bool = False) -> Decision:
    """Conclude that an offer is declined, by a handler that may forget to give money back."""
    order = story_of("offered").order()
    fact = OrderDeclined(
        client_id="c1", creator_id="k1", by="creator:k1", reason="creator_declined", note=None
    )
    refunds = () if keeps_money else refund_all_held(order)
    return conclude(Decision(order), "decline_order", (fact, *refunds), START, "command:x")


def test_a_handler_may_do_what_the_table_says() -> None:
    assert declined().order.state is State.DECLINED


@pytest.mark.parametrize("kind", ["nudge_creator", "submit_script"])
def test_a_handler_that_contradicts_the_table_is_a_fault_of_ours(kind: str) -> None:
    order = story_of("offered").order()
    (fact,) = (event.fact for event in declined().events[:1])
    with pytest.raises(BrokenInvariant, match="not in the table"):
        conclude(Decision(order), kind, (fact, *refund_all_held(order)), START, "command:x")


def test_an_end_that_keeps_money_is_a_fault_of_ours() -> None:
    with pytest.raises(BrokenInvariant, match="with money still held"):
        declined(keeps_money=True)


@pytest.mark.parametrize("state", State)
def test_only_a_state_that_waits_has_a_deadline(state: State) -> None:
    order = story_of("offered").order()
    if state in WAITING_STATES or state is State.IN_ARBITRATION:
        assert deadline_fields(order, state, START)["due_at"] > START
    else:
        with pytest.raises(BrokenInvariant, match="waits for nobody"):
            deadline_fields(order, state, START)
