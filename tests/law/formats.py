"""Formats: how outcomes are spelled in events and in the lines of a simulation.

All that depends on the spelling of subjects, of causes and of `simulate`'s lines stands here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

from models.events.event import Event
from models.policy import Policy
from models.service.unit_of_work import UnitOfWork
from ops.simulation.simulate import Simulation

CommandKey = tuple[str | None, str | None]
"""Who sent a command, where outcomes say it, and its id, where it has one."""

OUTCOME_FIELDS = ("outcome", "reason", "detail", "cost_fen", "limits", "shares", "first")
"""What an outcome may say, in events and in lines alike."""

SETTLED = "command.settled"

REMINDER_CAUSE = "reminder:"
"""How the cause of what is sent when the scheduler happens to look begins."""

ALERT_TYPE = "operator.alerted"


def key_of_subject(subject: str) -> CommandKey:
    """Read the subject of an outcome: `command:<id>`, or `command:<role>:<sender>:<id>`."""
    _, *sender, command_id = subject.split(":")
    return ":".join(sender) or None, None if command_id == "-" else command_id


def key_of_line(line: Mapping[str, Any]) -> CommandKey:
    """Read whose outcome a line of a simulation is."""
    return line["sender"], line["id"]


def outcomes_of(lines: Iterable[Mapping[str, Any]]) -> Iterator[tuple[CommandKey, dict[str, Any]]]:
    """Find the outcomes among the lines of a simulation, in the order of judging."""
    for line in lines:
        if "outcome" in line:
            yield key_of_line(line), read_outcome(line)


def read_outcome(body: Mapping[str, Any]) -> dict[str, Any]:
    """Take from an event or a line what it says of an outcome."""
    return {name: body[name] for name in OUTCOME_FIELDS if body.get(name) is not None}


class RecordingUnitOfWork(UnitOfWork):
    """The world of a simulation, which remembers every event in its place."""

    def __init__(self, policy: Policy) -> None:
        super().__init__(policy=policy)
        self.events: dict[str, list[Event]] = {}

    def add_order(self, *arguments: Any, **keywords: Any) -> tuple[Event, ...]:  # noqa: ANN401
        events = super().add_order(*arguments, **keywords)
        for event in events:
            self._remember(event)
        return events

    def record(self, event: Event) -> Event:
        recorded_event = super().record(event)
        self._remember(recorded_event)
        return recorded_event

    def _remember(self, event: Event) -> None:
        self.events.setdefault(event.subject, []).append(event)


def finish(simulation: Simulation, until: datetime) -> Iterator[Mapping[str, Any]]:
    """Let time pass to the end of the run."""
    yield from simulation.advance(until)
