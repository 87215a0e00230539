"""Play: a file of steps at its own pace, and what the rules say must come of it."""

from __future__ import annotations

import json
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from models import ledger
from models.book import Book
from models.fields import instant_text, parse_instant
from models.order import Order
from models.policy import Policy
from models.text import read_loosely
from ops.simulate import Line, Step, World, read_step
from ops.whereabouts import Flow, flows

INSTANT_FIELDS = ("paid_at", "expected_publish_at", "published_at", "seen_at", "until")
"""What a command says of instants, besides the one at which it is given."""

LONG_AFTER = timedelta(hours=1)
"""How far ahead a play is foreseen: work that takes days is not waited for."""

Ending = tuple[str, str | None]
"""A state and its reason, an outcome and its reason, or who is reminded and of what."""


@dataclass(slots=True)
class Forecast:
    """What the rules alone make of steps, when every deadline has passed."""

    outcomes: dict[str, Ending] = field(default_factory=dict)
    endings: Counter[Ending] = field(default_factory=Counter)
    orders: dict[str, Ending] = field(default_factory=dict)
    balances: dict[str, int] = field(default_factory=dict)
    flows: Counter[Flow] = field(default_factory=Counter)
    reminders: Counter[Ending] = field(default_factory=Counter)
    answers: Counter[Ending] = field(default_factory=Counter)
    deadlines: list[datetime] = field(default_factory=list)
    over_at: datetime | None = None

    def moved(self, by: timedelta) -> Forecast:
        """Return what comes of the same steps at another time."""
        over_at = self.over_at and self.over_at + by
        return replace(self, deadlines=[one + by for one in self.deadlines], over_at=over_at)

    def note(self, line: Line) -> None:
        """Count one line of the simulation."""
        for event in line["events"]:
            if event["type"].endswith(".reminded"):
                self.reminders[reminder(event["type"], event["caused_by"])] += 1
        if "timeout" in line:
            self.deadlines.append(parse_instant(line["at"]))
        if "outcome" in line:
            # More than there are receipts: what is malformed, or said again, leaves none.
            self.answers[line["outcome"], line["reason"] and str(line["reason"])] += 1
        if "outcome" in line or "timeout" in line:
            self.over_at = parse_instant(line["at"])


def ending(order: Order) -> Ending:
    """Return where an order is, and why."""
    return order.state.value, order.reason


def reminder(kind: str, caused_by: str) -> Ending:
    """Name a kind of reminder: who is reminded, and of which state's end, or by a nudge."""
    why, _, state = caused_by.partition(":")
    return kind.partition(".")[0], state if why == "reminder" else "nudge"


def read_steps(lines: Iterable[str]) -> list[Step]:
    """Read a file of steps; raise `simulate.NotAStep` at the first line that is none."""
    steps: list[Step] = []
    for text in lines:
        if text.strip():
            steps.append(read_step(text, steps[-1].at if steps else None))
    return steps


def shifted(steps: Sequence[Step], start: datetime) -> list[Step]:
    """Move steps so that the first is at `start`, with every instant that they speak of."""
    by = start - steps[0].at
    return [
        Step(one.at + by, None if one.command is None else _shift_command(one.command, by))
        for one in steps
    ]


def _shift_command(text: str, by: timedelta) -> str:
    body = read_loosely(text)
    # Escaped, so that half a character travels as it was written.
    return json.dumps(shift(body, by)) if isinstance(body, dict) else text


def shift(
    body: dict[str, Any], by: timedelta, spell: Callable[[datetime], str] = instant_text
) -> dict[str, Any]:
    """Move every instant that a command speaks of; `spell` writes it."""
    moved = dict(body)
    for name in INSTANT_FIELDS:
        try:
            moved[name] = spell(parse_instant(body[name]) + by)
        except (KeyError, ValueError, OverflowError):
            # Absent, or no instant at all: it is as wrong a day later.
            continue
    # Who stands in for somebody says a command within the command.
    inner = body.get("command")
    return moved | {"command": shift(inner, by, spell)} if isinstance(inner, dict) else moved


def foresee(steps: Sequence[Step], policy: Policy) -> Forecast:
    """Play steps through the rules alone, to the last deadline that is worth waiting for."""
    world, forecast = World(Book(policy=policy)), Forecast()
    for step in steps:
        for line in world.play(step):
            forecast.note(line)
    for line in world.advance(steps[-1].at + LONG_AFTER):
        forecast.note(line)
    book = world.book
    forecast.outcomes = {
        one.command_id: (one.outcome, one.reason and str(one.reason))
        for one in book.receipts.values()
    }
    forecast.orders = {one.order_id: ending(one) for one in book.orders.values()}
    forecast.endings = Counter(forecast.orders.values())
    moved = [posting for _, posting in book.postings]
    forecast.balances, forecast.flows = ledger.balances(moved), flows(moved)
    return forecast


def late(steps: Sequence[Step], delays: Iterable[timedelta]) -> list[Step]:
    """Give every step its own delay: what a real door would make of a file."""
    moved = [replace(one, at=one.at + delay) for one, delay in zip(steps, delays, strict=True)]
    return sorted(moved, key=lambda one: one.at)


def play(
    steps: Sequence[Step],
    submit: Callable[[Sequence[str]], None],
    now: Callable[[], datetime],
    wait: Callable[[float], object],
) -> None:
    """Submit each command at its instant, those that are due together in one go.

    `wait` is given the seconds until the next one; it may return earlier.
    """
    waiting = [one for one in steps if one.command is not None]
    while waiting:
        due = bisect_right(waiting, now(), key=lambda one: one.at)
        if due:
            submit([one.command for one in waiting[:due] if one.command is not None])
            waiting = waiting[due:]
        if waiting:
            wait(max(0.0, (waiting[0].at - now()).total_seconds()))
