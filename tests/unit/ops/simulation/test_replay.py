"""Replay: a file of steps means the same whenever it is replayed."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from examples.stage import POLICY
from ops.simulation.replay import INSTANT_FIELDS, expect, shift_steps
from ops.simulation.simulate import SimulationStep
from tests.support.campaign import commands, forecast, steps
from tests.support.stories import START

DAY = timedelta(days=1)


@pytest.mark.parametrize("name", INSTANT_FIELDS)
def test_the_instants_in_a_command_are_shifted_with_it(name: str) -> None:
    step = SimulationStep(START, json.dumps({name: "2026-03-02T10:00:00+08:00", "n": 1}))
    (shifted_step,) = shift_steps([step], START + DAY)
    assert json.loads(shifted_step.command or "") == {name: "2026-03-03T02:00:00Z", "n": 1}


def test_the_instants_of_a_command_within_a_command_are_shifted_too() -> None:
    inner = {"kind": "publish_work", "published_at": "2026-03-02T10:00:00+08:00"}
    (shifted_step,) = shift_steps(
        [SimulationStep(START, json.dumps({"command": inner}))], START + DAY
    )
    assert (
        json.loads(shifted_step.command or "")["command"]["published_at"] == "2026-03-03T02:00:00Z"
    )


@pytest.mark.parametrize("wrong", ["yesterday", 7, None, {}])
def test_what_is_no_instant_is_not_shifted(wrong: object) -> None:
    (shifted_step,) = shift_steps(
        [SimulationStep(START, json.dumps({"until": wrong}))], START + DAY
    )
    assert json.loads(shifted_step.command or "") == {"until": wrong}


def test_no_command_of_the_campaign_speaks_of_a_time_that_stays_behind() -> None:
    for step in shift_steps(steps(), steps()[0].at + 1000 * DAY):
        assert "2026-03" not in (step.command or ""), step.command


def test_a_forecast_can_be_moved_with_its_steps() -> None:
    shifted_steps = shift_steps(steps(), START + 30 * DAY)
    new_forecast = expect(shifted_steps, POLICY)
    moved_forecast = forecast().shifted(shifted_steps[0].at - steps()[0].at)
    assert (moved_forecast.ends_at, moved_forecast.deadlines) == (
        new_forecast.ends_at,
        new_forecast.deadlines,
    )
    assert moved_forecast.outcomes == new_forecast.outcomes
    assert len(commands()) == len(steps()) - 1
