"""Replay: a file of steps at its own pace, and what the rules say must come of it."""

from __future__ import annotations

import json
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from models import ledger
from models.commands.parsing import read_json_leniently
from models.fields import format_instant, parse_instant
from models.ledger import Posting
from models.orders.order import Order
from models.policy import Policy
from models.service.unit_of_work import UnitOfWork
from ops.json_schema import JsonObject
from ops.simulation.simulate import Simulation, SimulationStep, read_step

INSTANT_FIELDS = ("paid_at", "expected_publish_at", "published_at", "seen_at", "until")
"""What a command says of instants, besides the one at which it is given."""

MAX_LOOKAHEAD = timedelta(hours=1)
"""How far past its last step a replay is expected: work that takes days is not waited for."""

StateAndReason = tuple[str, str | None]
"""A state and its reason, an outcome and its reason, or who is reminded and of what."""

AccountFlow = tuple[str, str]
"""From which kind of account to which."""


@dataclass(slots=True)
class Expectation:
    """What the rules alone make of steps, when every deadline has passed."""

    outcomes: dict[str, StateAndReason] = field(default_factory=dict)
    endings: Counter[StateAndReason] = field(default_factory=Counter)
    orders: dict[str, StateAndReason] = field(default_factory=dict)
    balances: dict[str, int] = field(default_factory=dict)
    flows: Counter[AccountFlow] = field(default_factory=Counter)
    reminders: Counter[StateAndReason] = field(default_factory=Counter)
    answers: Counter[StateAndReason] = field(default_factory=Counter)
    deadlines: list[datetime] = field(default_factory=list)
    ends_at: datetime | None = None

    def shifted(self, offset: timedelta) -> Expectation:
        """Return what comes of the same steps at another time."""
        ends_at = self.ends_at and self.ends_at + offset
        return replace(
            self, deadlines=[due_at + offset for due_at in self.deadlines], ends_at=ends_at
        )

    def add(self, line: JsonObject) -> None:
        """Count one line of the simulation."""
        for event in line["events"]:
            if event["type"].endswith(".reminded"):
                self.reminders[reminder_kind(event["type"], event["caused_by"])] += 1
        if "timeout" in line:
            self.deadlines.append(parse_instant(line["at"]))
        if "outcome" in line:
            # More than there are receipts: what is malformed, or said again, leaves none.
            self.answers[line["outcome"], line["reason"] and str(line["reason"])] += 1
        if "outcome" in line or "timeout" in line:
            self.ends_at = parse_instant(line["at"])


def order_state_and_reason(order: Order) -> StateAndReason:
    """Return where an order is, and why."""
    return order.state.value, order.reason


def reminder_kind(kind: str, caused_by: str) -> StateAndReason:
    """Name a kind of reminder: who is reminded, and of which state's end, or by a nudge."""
    cause, _, state = caused_by.partition(":")
    return kind.partition(".")[0], state if cause == "reminder" else "nudge"


def read_steps(lines: Iterable[str]) -> list[SimulationStep]:
    """Read a file of steps; raise `InvalidStep` at the first line that is none."""
    steps: list[SimulationStep] = []
    for text in lines:
        if text.strip():
            steps.append(read_step(text, steps[-1].at if steps else None))
    return steps


def shift_steps(steps: Sequence[SimulationStep], starts_at: datetime) -> list[SimulationStep]:
    """Move steps so that the first is at `starts_at`, with every instant that they speak of."""
    offset = starts_at - steps[0].at
    return [
        SimulationStep(
            step.at + offset,
            None if step.command is None else _shift_command_text(step.command, offset),
        )
        for step in steps
    ]


def _shift_command_text(text: str, offset: timedelta) -> str:
    body = read_json_leniently(text)
    # Escaped, so that half a character travels as it was written.
    return json.dumps(shift_command(body, offset)) if isinstance(body, dict) else text


def shift_command(
    body: dict[str, Any],
    offset: timedelta,
    format_instant: Callable[[datetime], str] = format_instant,
) -> dict[str, Any]:
    """Move every instant that a command speaks of; `format_instant` writes it."""
    shifted_body = dict(body)
    for name in INSTANT_FIELDS:
        try:
            shifted_body[name] = format_instant(parse_instant(body[name]) + offset)
        except (KeyError, ValueError, OverflowError):
            # Absent, or no instant at all: it is as wrong a day later.
            continue
    # Who stands in for somebody says a command within the command.
    inner_command = body.get("command")
    return (
        shifted_body | {"command": shift_command(inner_command, offset, format_instant)}
        if isinstance(inner_command, dict)
        else shifted_body
    )


def expect(steps: Sequence[SimulationStep], policy: Policy) -> Expectation:
    """Play steps through the rules alone, to the last deadline that is worth waiting for."""
    simulation, expectation = Simulation(UnitOfWork(policy=policy)), Expectation()
    for step in steps:
        for line in simulation.play(step):
            expectation.add(line)
    for line in simulation.advance(steps[-1].at + MAX_LOOKAHEAD):
        expectation.add(line)
    uow = simulation.state
    expectation.outcomes = {
        key: (receipt.outcome, receipt.reason and str(receipt.reason))
        for key, receipt in uow.receipts.items()
    }
    expectation.orders = {
        order.order_id: order_state_and_reason(order) for order in uow.orders.values()
    }
    expectation.endings = Counter(expectation.orders.values())
    postings = [posting for _, posting in uow.postings]
    expectation.balances, expectation.flows = ledger.balances(postings), sum_flows(postings)
    return expectation


def delay_steps(
    steps: Sequence[SimulationStep], delays: Iterable[timedelta]
) -> list[SimulationStep]:
    """Give every step its own delay: what a real queue would make of a file."""
    delayed_steps = [
        replace(step, at=step.at + delay) for step, delay in zip(steps, delays, strict=True)
    ]
    return sorted(delayed_steps, key=lambda step: step.at)


def replay(
    steps: Sequence[SimulationStep],
    submit: Callable[[Sequence[str]], None],
    now: Callable[[], datetime],
    wait: Callable[[float], object],
) -> None:
    """Submit each command at its instant, those that are due together in one go.

    `wait` is given the seconds until the next one; it may return earlier.
    """
    pending_steps = [step for step in steps if step.command is not None]
    while pending_steps:
        due_count = bisect_right(pending_steps, now(), key=lambda step: step.at)
        if due_count:
            submit([step.command for step in pending_steps[:due_count] if step.command is not None])
            pending_steps = pending_steps[due_count:]
        if pending_steps:
            wait(max(0.0, (pending_steps[0].at - now()).total_seconds()))


def sum_flows(postings: Iterable[Posting]) -> Counter[AccountFlow]:
    """Add up postings by the kinds of account that they move money between, in fen."""
    fen_by_flow: Counter[AccountFlow] = Counter()
    for posting in postings:
        fen_by_flow[_account_kind(posting.source), _account_kind(posting.target)] += (
            posting.amount_fen
        )
    return fen_by_flow


def _account_kind(account: str) -> str:
    """Name the kind of an account; of what is owed, with the side to which it is."""
    family, _, owner = account.partition(":")
    return f"{family}:{owner.partition(':')[0]}" if family == "payable" else family
