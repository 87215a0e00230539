"""Batch: commands handled in one transaction, by order of receipt, and which must wait."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

from models.commands import AnyCommand
from models.commands.command import Dependencies
from models.commands.parsing import MalformedCommand, parse_command
from models.commands.payments import ConfirmPayment
from models.events.event import Event
from models.events.payments import PaymentUnapplied
from models.lifecycle import CLOSED_STATES
from models.reasons import RejectionReason
from models.service.dependencies import (
    blocked_by,
    blocks,
    dependencies_of,
    must_wait_until,
    names_unknown_order,
)
from models.service.handlers import describe_outcome, handle, order_id_of
from models.service.outcome import Outcome, rejected
from models.service.unit_of_work import UnitOfWork
from workers.database.repository import LoadedState
from workers.inbox import PREFIX
from workers.queue.messages import Received

PATIENCE = timedelta(seconds=2)
"""How long a command waits for the order it names: its sender may be about to place it."""


class Door(Protocol):
    """The clock that commands are stamped by: the only one that decides anything."""

    def now(self) -> datetime:
        """Return the present."""

    def excuse(self, message_ids: Collection[str]) -> None:
        """Let these messages hold no deadline back: they concern no order that exists."""

    def watermark(self, without: Collection[str]) -> datetime:
        """Return an instant before which all is settled but what these messages carry."""


@dataclass(slots=True)
class Deferred:
    """Commands not handled yet: behind another one, or for an order that does not exist yet.

    Only the former hold deadlines back, and only they are counted by `since`.
    """

    behind: list[Received] = field(default_factory=list)
    orphans: list[Received] = field(default_factory=list)
    since: datetime | None = None

    def hold(self, submission: Received) -> None:
        """Hold a command until its turn has come."""
        self.behind.append(submission)
        self.since = min(self.since or submission.at, submission.at)

    def add(self, deferred: Deferred) -> None:
        """Hold what another holds, too."""
        for submission in deferred.behind:
            self.hold(submission)
        self.orphans += deferred.orphans

    def everything(self) -> list[Received]:
        """Return every command held, in the order of their receipt."""
        return sorted(
            self.behind + self.orphans, key=lambda submission: (submission.at, submission.stamp)
        )

    def excused(self) -> set[str]:
        """Name the messages that hold nothing but orphans."""
        blocking_ids = {submission.message_id for submission in self.behind}
        return {submission.message_id for submission in self.orphans} - blocking_ids


@dataclass(slots=True)
class ArrivalOrder:
    """What is still to be handled elsewhere, asked of the clock once and only if it matters.

    The messages at hand do not count: their commands are handled in the order of receipt. What
    is held back of them does.
    """

    clock: Door
    messages: Collection[str]
    held: Deferred = field(default_factory=Deferred)
    _others: datetime | None = None
    _present: datetime | None = None

    def watermark(self, deferred: Deferred) -> datetime:
        """Return an instant before which everything received is settled."""
        if self._others is None:
            self._others = self.clock.watermark(without=self.messages)
        return min(
            instant for instant in (self._others, self.held.since, deferred.since) if instant
        )

    def is_early(self, submission: Received) -> bool:
        """Tell whether a command came so lately that an order may yet be placed for it."""
        if self._present is None:
            self._present = self.clock.now()
        return self._present - submission.at < PATIENCE


FOR_GOOD = frozenset({RejectionReason.MALFORMED, RejectionReason.ID_REUSED})
"""Refusals that nothing received earlier could turn into anything else."""


@dataclass(frozen=True, slots=True)
class ParsedCommand:
    """A submission and the command that its text says, or what is wrong with it."""

    received: Received
    command: AnyCommand | None
    fault: MalformedCommand | None


def read(submission: Received) -> ParsedCommand:
    """Read a submission's text."""
    try:
        return ParsedCommand(submission, parse_command(submission.text), None)
    except MalformedCommand as fault:
        return ParsedCommand(submission, None, fault)


@dataclass(slots=True)
class Batch:
    """One batch at work: `page` has what was handled, and what must wait is `held`."""

    page: LoadedState
    turns: ArrivalOrder
    held: Deferred = field(default_factory=Deferred)
    _blocked: set[str] = field(default_factory=set)
    _outcomes: Counter[str] = field(default_factory=Counter)

    def judge(self, request: ParsedCommand) -> None:
        """Handle one command, or hold it back until its moment has come."""
        submission, command = request.received, request.command
        if command is None:
            detail = request.fault.detail if request.fault else None
            self._answer(request, rejected(RejectionReason.MALFORMED, detail=detail))
        elif self.page.stamps.get(command.id) != submission.stamp:
            dependencies = dependencies_of([command])
            if command.id in self.page.uow.receipts:
                self._settle(request, command)
            elif self._is_for_nobody(submission, dependencies):
                self.held.orphans.append(submission)
            elif self._would_overtake(submission, dependencies) or not self._settle(
                request, command
            ):
                self.held.hold(submission)
                self._blocked.update(blocks(self.page.uow, dependencies))

    def wake(self, subjects: Collection[str]) -> None:
        """Tell orders, creators and debts that time has passed, as far as it has for everybody.

        Not past what we have heard: a command still on its way may have come in time. What has
        nothing to do is written all the same, so that its lease ends now.
        """
        if not subjects:
            return
        now = self.turns.watermark(self.held)
        for subject in subjects:
            self.page.events.extend(self.page.uow.wake(subject, now))
            self.page.woken.add(subject)

    def counts(self) -> dict[str, int]:
        """Count what was settled, for the log."""
        deferred_count = len(self.held.everything())
        return dict(self._outcomes) | {"held": deferred_count, "events": len(self.page.events)}

    def _answer(self, request: ParsedCommand, outcome: Outcome) -> None:
        submission, command = request.received, request.command
        name = command.id if command else request.fault.command_id if request.fault else None
        fact = describe_outcome(name, command, outcome)
        subject, caused_by = f"command:{name or '-'}", f"command:{name or '-'}"
        self.page.outcomes.append(Event(subject, submission.stamp, submission.at, caused_by, fact))
        self._outcomes[outcome.outcome] += 1
        if submission.trace:
            self.page.traces.setdefault(caused_by, submission.trace)
        if name and submission.message_id.startswith(PREFIX):
            self.page.settled_inbox_keys.append((name, submission.stamp))

    def _settle(self, request: ParsedCommand, command: AnyCommand) -> bool:
        """Handle a command and note its outcome; False if an earlier one might change it."""
        submission, uow = request.received, self.page.uow
        uow.savepoint()
        outcome = handle(uow, command, submission.at)
        if _may_be_premature(uow, command, outcome) and self._is_overtaking(submission):
            uow.rollback()
            return False
        if command.id in uow.receipts and command.id not in self.page.stamps:
            self.page.stamps[command.id] = self.page.new_stamps[command.id] = submission.stamp
            self.page.asked_by[command.id] = command.sender
        self.page.events.extend(outcome.events)
        self._answer(request, outcome)
        return True

    def _is_for_nobody(self, submission: Received, dependencies: Dependencies) -> bool:
        """Tell whether a command names only orders that do not exist, or not yet."""
        orders = self.page.uow.orders
        if not names_unknown_order(dependencies, orders) or any(
            order_id in orders for order_id in dependencies.orders
        ):
            return False
        return self.turns.is_early(submission) or self._is_overtaking(submission)

    def _would_overtake(self, submission: Received, dependencies: Dependencies) -> bool:
        """Tell whether deciding now would wrong somebody who was received earlier.

        That is so behind a held command about the same order or creator, where an order is still
        missing, and where this command would end a wait before all who came in time were heard.
        """
        # Rarely is anything held: what a command stands behind need not be named until then.
        if self._blocked and not self._blocked.isdisjoint(blocked_by(self.page.uow, dependencies)):
            return True
        if names_unknown_order(dependencies, self.page.uow.orders):
            return self.turns.is_early(submission) or self._is_overtaking(submission)
        heard_up_to = must_wait_until(self.page.uow, dependencies, submission.at)
        return heard_up_to is not None and self.turns.watermark(self.held) <= heard_up_to

    def _is_overtaking(self, submission: Received) -> bool:
        return self.turns.watermark(self.held) < submission.at


def _may_be_premature(uow: UnitOfWork, command: AnyCommand, outcome: Outcome) -> bool:
    """Tell whether an answer might have been another, had everybody earlier been heard."""
    if isinstance(command, ConfirmPayment):
        return any(isinstance(event.fact, PaymentUnapplied) for event in outcome.events)
    refusal = outcome.outcome == "rejected" and outcome.reason not in FOR_GOOD
    order = uow.orders.get(order_id_of(command) or "")
    return refusal and not (order is not None and order.state in CLOSED_STATES)
