"""Demo campaign, delayed: whatever the delays on arrival, the outcomes are the same."""

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


def test_commands_of_the_campaign_about_one_order_are_a_second_apart() -> None:
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


def draw_delay(rng: Random, *, worst: bool) -> timedelta:
    """Draw a delay, or one of the two extremes."""
    seconds = rng.choice((0, LONGEST_DELAY)) if worst else rng.uniform(0, LONGEST_DELAY)
    return timedelta(seconds=seconds)


def check_same_outcomes(seed: int) -> None:
    rng = Random(seed)  # noqa: S311 - a reproducible test, no secret
    worst = seed % 2 == 0
    delayed = delay_steps(steps(), [draw_delay(rng, worst=worst) for _ in steps()])
    delayed_forecast = expect(delayed, POLICY)
    assert delayed_forecast.outcomes == forecast().outcomes
    assert delayed_forecast.answers == forecast().answers
    assert delayed_forecast.orders == forecast().orders
    assert delayed_forecast.balances == forecast().balances
    assert delayed_forecast.flows == forecast().flows
    assert delayed_forecast.reminders == forecast().reminders


@pytest.mark.parametrize("seed", range(4))
def test_delays_on_arrival_change_nothing_in_the_campaign(seed: int) -> None:
    check_same_outcomes(seed)


@pytest.mark.slow
def test_no_random_delays_on_arrival_change_anything_in_the_campaign() -> None:
    for seed in range(4, 34):
        check_same_outcomes(seed)
