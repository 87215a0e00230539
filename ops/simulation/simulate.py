"""Simulate: the rules without servers, on simulated time."""

from __future__ import annotations

import heapq
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TextIO

from models import ledger
from models.commands.parsing import Malformed, parse, read_loosely
from models.events.event import Event
from models.events.payments import PayoutRequested, RefundRequested
from models.fields import instant_text, parse_instant
from models.policy import Policy
from models.reasons import Reason
from models.service.handlers import hear
from models.service.unit_of_work import Book
from ops.order_views import Line, describe

INSTANT = timedelta(microseconds=1)

LONGEST_ID = 200
"""Characters of an id worth repeating to whoever wrote it."""


class NotAStep(Exception):
    """A line that `simulate` cannot play; the message says why."""


@dataclass(frozen=True, slots=True)
class Step:
    """One line of input: an instant, and the text of a command unless only time passes."""

    at: datetime
    command: str | None


@dataclass(slots=True)
class World:
    """Everything there is, with the instants at which anything next wants attention."""

    book: Book
    alarms: list[tuple[datetime, bool, str]] = field(default_factory=list)

    def play(self, step: Step) -> Iterator[Line]:
        """Let time pass until a step, then hear its command; yield one line for each."""
        yield from self.advance(step.at)
        if step.command is not None:
            yield self.ask(step.command, step.at)

    def advance(self, until: datetime) -> Iterator[Line]:
        """Let deadlines before `until`, and reminders up to it, take effect in turn."""
        while self.alarms and self._rings(until):
            at, lapses, subject = heapq.heappop(self.alarms)
            if (at, lapses) != self.book.alarm(subject):
                continue
            # Time ends a state only after its deadline; what follows still bears that instant.
            events = self.book.wake(subject, at + INSTANT if lapses else at)
            self._set_alarms([subject, *stirred(events)])
            name = subject.removeprefix("order:")
            yield {"at": instant_text(at), "timeout" if lapses else "reminder": name} | told(events)

    def ask(self, text: str, at: datetime) -> Line:
        """Hear one command and describe its outcome."""
        try:
            command = parse(text)
        except Malformed as error:
            refusal = {"outcome": "rejected", "reason": Reason.MALFORMED.value, "events": []}
            head = {"at": instant_text(at), "id": error.command_id or written_id(text)}
            return head | refusal | {"detail": error.detail}
        outcome = hear(self.book, command, at)
        self._set_alarms(stirred(outcome.events))
        line: Line = {"at": instant_text(at), "id": command.id, "outcome": outcome.outcome}
        line |= {"reason": outcome.reason} | told(outcome.events)
        details = {"detail": outcome.detail, "cost_fen": outcome.cost_fen}
        return line | {name: value for name, value in details.items() if value is not None}

    def summary(self) -> Line:
        """Describe where every order and every fen is now."""
        orders = {order_id: describe(order) for order_id, order in self.book.orders.items()}
        accounts = ledger.balances(posting for _, posting in self.book.postings)
        return {"orders": orders, "ledger": ledger.by_family(accounts)}

    def _rings(self, until: datetime) -> bool:
        at, lapses, _ = self.alarms[0]
        return at < until if lapses else at <= until

    def _set_alarms(self, subjects: Iterable[str]) -> None:
        for subject in dict.fromkeys(subjects):
            alarm = self.book.alarm(subject)
            if alarm is not None:
                heapq.heappush(self.alarms, (*alarm, subject))


def stirred(events: Iterable[Event]) -> Iterator[str]:
    """Name what some events are about, and the debts they speak of."""
    for event in events:
        yield event.subject
        if isinstance(event.fact, RefundRequested):
            yield f"refund:{event.fact.refund_id}"
        elif isinstance(event.fact, PayoutRequested):
            yield f"payout:{event.fact.payout_id}"


def written_id(text: str) -> str | None:
    """Return the id that a malformed command gives itself, if a person can read it at all.

    Here it may be longer, and in any script: no stream and no table has to hold it.
    """
    outer = read_loosely(text)
    command_id = outer.get("id") if isinstance(outer, dict) else None
    fits = (
        isinstance(command_id, str)
        and 0 < len(command_id) <= LONGEST_ID
        and command_id.isprintable()
    )
    return str(command_id) if fits else None


def told(events: Iterable[Event]) -> Line:
    """List events as consumers see them."""
    return {"events": [event.published() for event in events]}


def read_step(text: str, previous_at: datetime | None) -> Step:
    """Read one line of input; raise `NotAStep` that says what is wrong with it."""
    line = read_loosely(text)
    if not isinstance(line, dict) or not {"at"} <= line.keys() <= {"at", "command"}:
        message = 'a step is {"at": "<ISO 8601 with offset>", "command": {…}} or {"at": …} alone'
        raise NotAStep(message)
    try:
        at = parse_instant(line["at"])
    except ValueError as error:
        message = f"at: {error}"
        raise NotAStep(message) from None
    if previous_at is not None and at < previous_at:
        message = f"at: earlier than the step before it ({instant_text(previous_at)})"
        raise NotAStep(message)
    command = line.get("command", {})
    if not isinstance(command, dict):
        message = "command: an object is wanted"
        raise NotAStep(message)
    return Step(at, json.dumps(command, ensure_ascii=False) if "command" in line else None)


def simulate(lines: Iterable[str], policy: Policy, out: TextIO, err: TextIO) -> int:
    """Play steps and print what happens, one JSON object a line; return the exit status.

    Lines that are not steps are reported on `err` as `{"line": N, "error": …}`, the rest still
    runs, and the status is 1.
    """
    world, previous_at, status = World(Book(policy=policy)), None, 0
    for number, text in enumerate(lines, start=1):
        if not text.strip():
            continue
        try:
            step = read_step(text, previous_at)
        except NotAStep as error:
            print(json.dumps({"line": number, "error": str(error)}), file=err)
            status = 1
            continue
        previous_at = step.at
        for line in world.play(step):
            _print(line, out)
    _print(world.summary(), out)
    return status


def _print(line: Line, out: TextIO) -> None:
    print(json.dumps(line, ensure_ascii=False), file=out)
