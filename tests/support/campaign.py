"""Campaign: the demo's file as tests read it, and what the rules make of it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from functools import cache
from typing import Any

from examples.make_campaign import CAMPAIGN
from examples.stage import POLICY
from models.commands.parsing import MalformedCommand, find_command_name
from models.ids import make_command_key
from models.service.unit_of_work import UnitOfWork
from ops.simulation.replay import Expectation, expect, read_steps
from ops.simulation.simulate import Simulation, SimulationStep
from tests.support.stories import OrderStory

LONG_AFTER = timedelta(hours=1)


@cache
def steps() -> list[SimulationStep]:
    return read_steps(CAMPAIGN.read_text(encoding="utf-8").splitlines())


@cache
def commands() -> list[dict[str, Any]]:
    return [json.loads(step.command) for step in steps() if step.command]


@cache
def forecast() -> Expectation:
    return expect(steps(), POLICY)


@cache
def events() -> list[dict[str, Any]]:
    world = Simulation(UnitOfWork(policy=POLICY))
    return [event for step in steps() for line in world.play(step) for event in line["events"]]


@cache
def played_without_wakeups() -> OrderStory:
    """Play the campaign without wake-ups: orders learn of the time when asked, and at the end."""
    story = OrderStory(POLICY)
    for step in steps():
        with suppress(MalformedCommand):
            story.handle(json.loads(step.command or "{}"), step.at)
    for order_id in list(story.uow.orders):
        story.wake(order_id, steps()[-1].at + LONG_AFTER)
    return story


def applied_commands(kind: str) -> Iterator[dict[str, Any]]:
    """Give the commands of one kind that were applied."""
    for command in commands():
        key = make_command_key(*find_command_name(json.dumps(command)))
        if command["kind"] == kind and forecast().outcomes.get(key, ("", None))[0] == "applied":
            yield command


def events_of(type_: str) -> list[dict[str, Any]]:
    """Return the events of one type."""
    return [event for event in events() if event["type"] == type_]


def count_by(type_: str, field: str) -> Counter[Any]:
    return Counter(event[field] for event in events_of(type_))
