"""Policy change: in the middle of a campaign the rules change, and nobody's order does."""

from __future__ import annotations

from datetime import timedelta

from examples.stage import POLICY
from models.money import total
from models.orders.order import Order
from models.policy import Policy
from models.service.unit_of_work import UnitOfWork
from ops.simulation.replay import MAX_LOOKAHEAD
from ops.simulation.simulate import Simulation
from tests.support.campaign import steps

# Rules under which everything would come out otherwise.
DEARER = POLICY.model_copy(
    update={
        "service_fee_bps": 900,
        "accept_window": timedelta(seconds=1),
        "review_window": timedelta(seconds=1),
        "script_cost_bps": 9_000,
    }
)

CHANGED_AT_STEP = 900
"""The step at which the rules change: some orders are settled by then, most are on their way."""


def replay_with_change(later: Policy) -> tuple[dict[str, Order], dict[str, Order]]:
    """Play the campaign, under other rules from its middle on; return orders before and after."""
    world, all_steps = Simulation(UnitOfWork(policy=POLICY)), steps()
    for number, step in enumerate(all_steps):
        if number == CHANGED_AT_STEP:
            world.state.policy = later
            old = set(world.state.orders)
        list(world.play(step))
    list(world.advance(all_steps[-1].at + MAX_LOOKAHEAD))
    orders = world.state.orders
    before = {name: order for name, order in orders.items() if name in old}
    return before, {name: order for name, order in orders.items() if name not in old}


def test_orders_keep_the_rules_they_were_placed_under() -> None:
    before, after = replay_with_change(DEARER)
    undisturbed, _ = replay_with_change(POLICY)
    assert before == undisturbed
    assert {order.policy for order in before.values()} == {POLICY}
    assert {order.policy for order in after.values()} == {DEARER}
    assert all(order.total_fen == total(order.amount_fen, 900) for order in after.values())


def test_the_policy_changes_while_many_orders_are_open() -> None:
    before, after = replay_with_change(DEARER)
    changed_at = steps()[CHANGED_AT_STEP].at
    still_open = [order for order in before.values() if order.entered_at > changed_at]
    assert len(still_open) > 50
    assert len(after) > 50
