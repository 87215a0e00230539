"""Simulate: the rules without servers, on simulated time."""

from __future__ import annotations

import heapq
import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import TextIO

from models import ledger
from models.commands.parsing import MalformedCommand, parse_command, read_json_leniently
from models.events.event import Event
from models.events.notifications import serialize_limits
from models.events.payments import (
    PaymentUnapplied,
    PayoutFailed,
    PayoutReleased,
    PayoutRequested,
    RefundFailed,
    RefundRequested,
)
from models.fields import MICROSECOND, format_instant, parse_instant
from models.ids import parse_wake_subject, share_id
from models.policy import Policy
from models.reasons import RejectionReason
from models.service.handlers import expire_parked, handle
from models.service.outcome import JudgedCommand, recorded_events
from models.service.unit_of_work import RecordedEvents, UnitOfWork, up_to
from ops import terminal
from ops.json_schema import JsonObject
from ops.order_views import serialize_order

Timer = tuple[datetime, bool, int, str]
"""When something wants attention, whether a wait ends then, its number of receipt if it is a parked
command, and how wake-ups name it; in the order in which they take effect."""

MAX_ID_CHARACTERS = 200
"""Characters of an id worth repeating to whoever wrote it."""


class InvalidStep(Exception):
    """A line that `simulate` cannot play; the message says why."""


@dataclass(frozen=True, slots=True)
class SimulationStep:
    """One line of input: an instant, and the text of a command unless only time passes."""

    at: datetime
    command: str | None


@dataclass(slots=True)
class Simulation:
    """All orders, parties and money, with the instants at which time next changes anything."""

    state: UnitOfWork
    timers: list[Timer] = field(default_factory=list)
    command_count: int = 0

    def play(self, step: SimulationStep) -> Iterator[JsonObject]:
        """Let time pass until a step, then handle its command; yield a line for each judged."""
        yield from self.advance(step.at)
        if step.command is not None:
            yield from self.handle(step.command, step.at)

    def finish(self) -> Iterator[JsonObject]:
        """Answer what still waits for an order: no more will be placed."""
        waiting = sorted(self.state.parked.values(), key=lambda w: (w.answer_at, w.number))
        for parked in waiting:
            yield from self._answer_parked(parked.key, parked.answer_at)

    def advance(self, until: datetime) -> Iterator[JsonObject]:
        """Let deadlines before `until`, and reminders up to it, take effect in turn."""
        while self.timers and self._is_due(until):
            at, lapses, _, subject = heapq.heappop(self.timers)
            if (at, lapses) != self.state.next_wakeup(subject):
                continue
            kind, subject_id = parse_wake_subject(subject)
            if kind == "parked":
                yield from self._answer_parked(subject_id, at)
                continue
            # Time ends a state only after its deadline; what follows still bears that instant.
            now = at + MICROSECOND if lapses else at
            events = self.state.wake(subject, up_to(now))
            self._set_timers([subject, *subjects_of(events)])
            # What waits in suspense goes on waiting: an operator is told.
            label = "timeout" if lapses and kind != "suspense" else "reminder"
            name = subject.removeprefix("order:")
            yield {"at": format_instant(at), label: name} | published_events(events)

    def handle(self, text: str, at: datetime) -> Iterator[JsonObject]:
        """Handle one command; describe its outcome and those of what it released, as judged."""
        self.command_count += 1
        try:
            command = parse_command(text)
        except MalformedCommand as error:
            refusal = {
                "outcome": "rejected",
                "reason": RejectionReason.MALFORMED.value,
                "events": [],
            }
            name = {"id": error.command_id or written_id(text), "sender": error.sender}
            yield {"at": format_instant(at)} | name | refusal | {"detail": error.detail}
            return
        judged = handle(self.state, command, at, self.command_count)
        events = recorded_events(judged)
        learned = spread(self.state, events, at)
        self._set_timers([f"parked:{self.command_count}", *subjects_of([*events, *learned])])
        for number, item in enumerate(judged):
            # What a change of a creator means for its orders stands in the change's line.
            yield outcome_line(item, learned if number == 0 else ())

    def summary(self) -> JsonObject:
        """Describe where every order and every fen is now."""
        orders = {order_id: serialize_order(order) for order_id, order in self.state.orders.items()}
        accounts = ledger.balances(posting for _, posting in self.state.postings)
        return {"orders": orders, "ledger": ledger.sum_by_family(accounts)}

    def _answer_parked(self, key: str, answer_at: datetime) -> Iterator[JsonObject]:
        yield from map(outcome_line, expire_parked(self.state, key, answer_at + MICROSECOND))

    def _is_due(self, until: datetime) -> bool:
        at, lapses, *_ = self.timers[0]
        return at < until if lapses else at <= until

    def _set_timers(self, subjects: Iterable[str]) -> None:
        for subject in dict.fromkeys(subjects):
            wakeup = self.state.next_wakeup(subject)
            if wakeup is not None:
                kind, subject_id = parse_wake_subject(subject)
                number = int(subject_id) if kind == "parked" else 0
                heapq.heappush(self.timers, (*wakeup, number, subject))


def outcome_line(judged: JudgedCommand, learned: RecordedEvents = ()) -> JsonObject:
    """Describe what a command came to, as of the instant at which it was judged."""
    outcome = judged.outcome
    name = {"id": judged.command.id, "sender": judged.command.sender}
    line: JsonObject = {"at": format_instant(judged.at)} | name
    line |= {"outcome": outcome.outcome, "reason": outcome.reason}
    line |= published_events((*outcome.events, *learned))
    first = None if outcome.first is None else asdict(outcome.first)
    shares = None if outcome.shares is None else list(map(asdict, outcome.shares))
    details: JsonObject = {"detail": outcome.detail, "cost_fen": outcome.cost_fen, "first": first}
    details |= {"limits": serialize_limits(outcome.limits), "shares": shares}
    return line | {name: value for name, value in details.items() if value is not None}


def spread(state: UnitOfWork, events: Iterable[Event], at: datetime) -> RecordedEvents:
    """Let all orders learn at once of what events up to `at` have changed about creators."""
    subjects = dict.fromkeys(event.subject for event in events)
    creators = [subject for subject in subjects if subject.startswith("creator:")]
    return tuple(event for subject in creators for event in state.wake(subject, up_to(at)))


def subjects_of(events: Iterable[Event]) -> Iterator[str]:
    """Name what some events are about, and the debts they speak of."""
    for event in events:
        yield event.subject
        if isinstance(event.fact, RefundRequested | RefundFailed):
            yield f"refund:{event.fact.refund_id}"
        elif isinstance(event.fact, PayoutRequested | PayoutFailed | PayoutReleased):
            yield f"payout:{event.fact.payout_id}"
        elif isinstance(event.fact, PaymentUnapplied) and event.fact.for_order_id:
            yield f"suspense:{share_id(event.fact.payment_id, event.fact.for_order_id)}"


def written_id(text: str) -> str | None:
    """Return the id that a malformed command gives itself, if a person can read it at all.

    Here it may be longer, and in any script: no stream and no table has to hold it.
    """
    outer = read_json_leniently(text)
    command_id = outer.get("id") if isinstance(outer, dict) else None
    fits = (
        isinstance(command_id, str)
        and 0 < len(command_id) <= MAX_ID_CHARACTERS
        and command_id.isprintable()
    )
    return str(command_id) if fits else None


def published_events(events: Iterable[Event]) -> JsonObject:
    """List events as consumers see them."""
    return {"events": [event.published() for event in events]}


def read_step(text: str, previous_at: datetime | None) -> SimulationStep:
    """Read one line of input; raise `InvalidStep` that says what is wrong with it."""
    line = read_json_leniently(text)
    if not isinstance(line, dict) or not {"at"} <= line.keys() <= {"at", "command"}:
        message = 'a step is {"at": "<ISO 8601 with offset>", "command": {…}} or {"at": …} alone'
        raise InvalidStep(message)
    try:
        at = parse_instant(line["at"])
    except ValueError as error:
        message = f"at: {error}"
        raise InvalidStep(message) from None
    if previous_at is not None and at < previous_at:
        message = f"at: earlier than the step before it ({format_instant(previous_at)})"
        raise InvalidStep(message)
    command = line.get("command", {})
    if not isinstance(command, dict):
        message = "command: an object is wanted"
        raise InvalidStep(message)
    return SimulationStep(
        at, json.dumps(command, ensure_ascii=False) if "command" in line else None
    )


def simulate(lines: Iterable[str], policy: Policy, out: TextIO, err: TextIO) -> int:
    """Play steps and print what happens, one JSON object a line; return the exit status.

    Lines that are not steps are reported on `err` as `{"line": N, "error": …}`, the rest still
    runs, and the status is 1.
    """
    simulation, previous_at, status = Simulation(UnitOfWork(policy=policy)), None, 0
    for number, text in enumerate(lines, start=1):
        if not text.strip():
            continue
        try:
            step = read_step(text, previous_at)
        except InvalidStep as error:
            print(json.dumps({"line": number, "error": str(error)}), file=err)
            status = 1
            continue
        previous_at = step.at
        for line in simulation.play(step):
            _print_line(line, out)
    for line in simulation.finish():
        _print_line(line, out)
    _print_line(simulation.summary(), out)
    return status


def _print_line(line: JsonObject, out: TextIO) -> None:
    print(terminal.format_json(line), file=out)
