"""Demo campaign, delayed: whatever delays there are on arrival, the same comes of it."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from itertools import pairwise
from random import Random
from typing import Any

import pytest

from examples.stage import POLICY
from ops.simulation.replay import delay_steps, expect
from tests.support.campaign import forecast, steps

GAP = timedelta(seconds=1)


LONGEST_DELAY = 0.8


def orders_of(command: dict[str, Any]) -> set[str]:
    """Name the orders that a command is about; payouts of one order may leave at once."""
    shares = [share["order_id"] for share in command.get("shares", ())]
    inner = command.get("command", {})
    return {*shares, *(body["order_id"] for body in (command, inner) if "order_id" in body)}


def test_commands_about_one_order_are_a_second_apart() -> None:
    submitted_at: dict[str, list[datetime]] = {}
    for step in steps():
        command = json.loads(step.command or "{}")
        for order_id in orders_of(command):
            submitted_at.setdefault(order_id, []).append(step.at)
    close_order_ids = {
        order_id
        for order_id, instants in submitted_at.items()
        if any(later - sooner < GAP for sooner, later in pairwise(instants))
    }
    # What is about no order at all may come at any time.
    assert {order_id for order_id in close_order_ids if order_id in forecast().orders} == set()


def _delay(chance: Random, *, worst: bool) -> timedelta:
    """Draw a delay, or one of the two extremes."""
    seconds = chance.choice((0, LONGEST_DELAY)) if worst else chance.uniform(0, LONGEST_DELAY)
    return timedelta(seconds=seconds)


def check_same_outcomes(seed: int) -> None:
    chance = Random(seed)  # noqa: S311 - a reproducible test, no secret
    worst = seed % 2 == 0
    delayed = delay_steps(steps(), [_delay(chance, worst=worst) for _ in steps()])
    outcome = expect(delayed, POLICY)
    assert outcome.outcomes == forecast().outcomes
    assert outcome.answers == forecast().answers
    assert outcome.orders == forecast().orders
    assert outcome.balances == forecast().balances
    assert outcome.flows == forecast().flows
    assert outcome.reminders == forecast().reminders


@pytest.mark.parametrize("seed", range(4))
def test_delays_on_arrival_change_nothing(seed: int) -> None:
    check_same_outcomes(seed)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_no_random_delays_on_arrival_change_anything() -> None:
    for seed in range(4, 34):
        check_same_outcomes(seed)
