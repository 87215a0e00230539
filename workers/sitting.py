"""Sitting: one batch before the judges, on one page of the book."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field

from models.answer import Settlement, refused
from models.book import Book
from models.commands import AnyCommand, ConfirmPayment
from models.events import Event
from models.hear import about, hear, settled
from models.lifecycle import CLOSED
from models.money_events import PaymentUnapplied
from models.needs import concerned, holds_up, missing, overtakes, stands_behind
from models.parse import Malformed, parse
from models.reasons import Reason
from workers.inbox import PREFIX
from workers.store import Page
from workers.turns import Held, Received, Turns

FOR_GOOD = frozenset({Reason.MALFORMED, Reason.ID_REUSED})
"""Refusals that nothing received earlier could turn into anything else."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A submission and the command that its text says, or what is wrong with it."""

    received: Received
    command: AnyCommand | None
    fault: Malformed | None


def read(received: Received) -> Asked:
    """Read a submission's text."""
    try:
        return Asked(received, parse(received.text), None)
    except Malformed as fault:
        return Asked(received, None, fault)


@dataclass(slots=True)
class Sitting:
    """One batch at work: what was judged stands on the page, what must wait is `held`."""

    page: Page
    turns: Turns
    held: Held = field(default_factory=Held)
    _blocked: set[str] = field(default_factory=set)
    _outcomes: Counter[str] = field(default_factory=Counter)

    def judge(self, asked: Asked) -> None:
        """Judge one command, or hold it back until its moment has come."""
        received, command = asked.received, asked.command
        if command is None:
            detail = asked.fault.detail if asked.fault else None
            self._answer(asked, refused(Reason.MALFORMED, detail=detail))
        elif self.page.stamps.get(command.id) != received.stamp:
            if command.id in self.page.book.receipts:
                self._settle(asked, command)
            elif self._is_for_nobody(received, command):
                self.held.orphans.append(received)
            elif self._would_overtake(received, command) or not self._settle(asked, command):
                self.held.hold(received)
                self._blocked.update(holds_up(self.page.book, command))

    def wake(self, subjects: Collection[str]) -> None:
        """Tell orders, creators and debts that time has passed, as far as it has for everybody.

        Not past what we have heard: a command still on its way may have come in time. What has
        nothing to do is written all the same, so that its lease ends now.
        """
        if not subjects:
            return
        now = self.turns.watermark(self.held)
        for subject in subjects:
            self.page.events.extend(self.page.book.wake(subject, now))
            self.page.touched.add(subject)

    def counts(self) -> dict[str, int]:
        """Count what was settled, for the log."""
        held = len(self.held.everything())
        return dict(self._outcomes) | {"held": held, "events": len(self.page.events)}

    def _answer(self, asked: Asked, settlement: Settlement) -> None:
        received, command = asked.received, asked.command
        name = command.id if command else asked.fault.command_id if asked.fault else None
        fact = settled(name, command, settlement)
        subject, why = f"command:{name or '-'}", f"command:{name or '-'}"
        self.page.outcomes.append(Event(subject, received.stamp, received.at, why, fact))
        self._outcomes[settlement.outcome] += 1
        if received.trace:
            self.page.traces.setdefault(why, received.trace)
        if name and received.message_id.startswith(PREFIX):
            self.page.answered.append((name, received.stamp))

    def _settle(self, asked: Asked, command: AnyCommand) -> bool:
        """Judge and note the outcome; False if somebody received earlier might change it."""
        received, book = asked.received, self.page.book
        book.mark()
        settlement = hear(book, command, received.at)
        if _may_be_premature(book, command, settlement) and self._is_overtaking(received):
            book.back()
            return False
        if command.id in book.receipts and command.id not in self.page.stamps:
            self.page.stamps[command.id] = self.page.new_stamps[command.id] = received.stamp
            self.page.asked_by[command.id] = f"{command.by.role}:{command.by.id}"
        self.page.events.extend(settlement.events)
        self._answer(asked, settlement)
        return True

    def _is_for_nobody(self, received: Received, command: AnyCommand) -> bool:
        """Tell whether a command names only orders that do not exist, or not yet."""
        orders = self.page.book.orders
        if not missing(command, orders) or any(one in orders for one in concerned(command)):
            return False
        return self.turns.is_early(received) or self._is_overtaking(received)

    def _would_overtake(self, received: Received, command: AnyCommand) -> bool:
        """Tell whether judging now would wrong somebody who was received earlier.

        That is so behind a held command about the same order or creator, where an order is still
        missing, and where this command would end a wait before all who came in time were heard.
        """
        # Rarely is anything held: what a command stands behind need not be named until then.
        if self._blocked and not self._blocked.isdisjoint(stands_behind(self.page.book, command)):
            return True
        if missing(command, self.page.book.orders):
            return self.turns.is_early(received) or self._is_overtaking(received)
        heard_up_to = overtakes(self.page.book, command, received.at)
        return heard_up_to is not None and self.turns.watermark(self.held) <= heard_up_to

    def _is_overtaking(self, received: Received) -> bool:
        return self.turns.watermark(self.held) < received.at


def _may_be_premature(book: Book, command: AnyCommand, settlement: Settlement) -> bool:
    """Tell whether an answer might have been another, had everybody earlier been judged."""
    if isinstance(command, ConfirmPayment):
        return any(isinstance(one.fact, PaymentUnapplied) for one in settlement.events)
    refusal = settlement.outcome == "rejected" and settlement.reason not in FOR_GOOD
    order = book.orders.get(about(command) or "")
    return refusal and not (order is not None and order.state in CLOSED)
