"""Unit of work: everything loaded that a command may concern, and what was changed.

The same class serves `simulate`, where it holds the whole world, and the workers, where it holds
what one batch needs.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from models import creators
from models.creators import Client, Creator, Mcn, Provider, Report, Turn, evolve_creator
from models.events.event import Event, Fact
from models.events.orders import OrderPlaced
from models.obligations import Payment, Till
from models.orders.decide import elapse, heeding, wake
from models.orders.decision import Verdict
from models.orders.evolve import begin
from models.orders.order import Order
from models.policy import Policy
from models.service.outcome import Receipt
from models.tracked_dict import Journal, Kept

Events = tuple[Event, ...]


@dataclass(slots=True, kw_only=True)
class Book(Till):
    """The orders, parties, payments, debts and receipts at hand, and the policy in force."""

    policy: Policy
    orders: Kept[Order] = field(default_factory=Kept)
    creators: Kept[Creator] = field(default_factory=Kept)
    mcns: Kept[Mcn] = field(default_factory=Kept)
    clients: Kept[Client] = field(default_factory=Kept)
    providers: Kept[Provider] = field(default_factory=Kept)
    violations: Kept[Report] = field(default_factory=Kept)
    payments: Kept[Payment] = field(default_factory=Kept)
    receipts: Kept[Receipt] = field(default_factory=Kept)
    journal: Journal | None = None
    posted: int = 0

    def begin(self, order_id: str, fact: OrderPlaced, at: datetime, caused_by: str) -> Events:
        """Write down a new order."""
        event = Event(f"order:{order_id}", 1, at, caused_by, fact)
        self.orders[order_id] = begin(event, self.policy)
        return (event,)

    def adopt(self, decision: Verdict) -> Events:
        """Write down what became of an order; return the events, refunds named."""
        if decision.events:
            self.orders[decision.order.order_id] = decision.order
        return tuple(map(self.enter, decision.events))

    def tell(self, subject: str, sequence: int, at: datetime, caused_by: str, fact: Fact) -> Event:
        """Write down a fact that is about no order; `sequence` counts the subject's facts."""
        return self.enter(Event(subject, sequence, at, caused_by, fact))

    def tell_creator(
        self, creator_id: str, facts: tuple[Fact, ...], at: datetime, caused_by: str
    ) -> Events:
        """Write down facts about a creator."""
        events: Events = ()
        for fact in facts:
            creator = self.creators.get(creator_id)
            sequence = creator.sequence + 1 if creator else 1
            event = Event(f"creator:{creator_id}", sequence, at, caused_by, fact)
            self.creators[creator_id] = evolve_creator(creator, event)
            events += (self.enter(event),)
        return events

    def tell_payment(
        self, payment_id: str, facts: tuple[Fact, ...], at: datetime, caused_by: str
    ) -> Events:
        """Write down facts about a payment that belong to no order."""
        payment = self.payments[payment_id]
        sequences = range(payment.sequence + 1, payment.sequence + 1 + len(facts))
        self.payments[payment_id] = replace(payment, sequence=payment.sequence + len(facts))
        subject = f"payment:{payment_id}"
        return tuple(
            self.tell(subject, sequence, at, caused_by, fact)
            for sequence, fact in zip(sequences, facts, strict=True)
        )

    def mark(self) -> None:
        """Remember how everything stands, before a command is heard."""
        if self.journal is None:
            self.journal = []
            for index, tracked_dict in enumerate(self.shelves()):
                tracked_dict.note(self.journal, index)
        self.journal.clear()
        self.posted = len(self.postings)

    def back(self) -> None:
        """Forget whatever was written down since the mark: the command is to be heard again."""
        tracked_dicts = self.shelves()
        for index, key, previous in reversed(self.journal or []):
            tracked_dicts[index].put_back(key, previous)
        del self.postings[self.posted :]
        self.mark()

    def shelves(self) -> tuple[Kept[Any], ...]:
        """Return everything that a command may change, but for the postings."""
        return (
            *(self.orders, self.creators, self.mcns, self.clients, self.providers),
            *(self.violations, self.payments, self.receipts),
            *(self.refunds, self.payouts, self.suspended),
        )

    def turns(self, order: Order, until: datetime) -> tuple[Turn, ...]:
        """Return what time changes in the standing of an order's creator before `until`."""
        creator = self.creators.get(order.creator_id)
        return creator.turns(until) if creator else ()

    def elapsed(self, order: Order, until: datetime) -> Verdict:
        """Let time pass for one order."""
        return elapse(order, until, self.turns(order, until))

    def heeding(self, decision: Verdict, at: datetime) -> Verdict:
        """Let an order that has moved learn what its creator's standing means for it now."""
        creator = self.creators.get(decision.order.creator_id)
        return heeding(decision, creator.at(at), at) if creator else decision

    def elapse_creator(self, creator_id: str, until: datetime) -> Events:
        """Let bans that end before `until` do so, and every order of the creator learn of it."""
        events: Events = ()
        for change in self.creators[creator_id].turns(until):
            creator = self.creators[creator_id]
            ended_ban, still_banned = creator.bans[0], len(creator.bans) > 1
            fact = creators.lifted(creator, ended_ban, still_banned=still_banned)
            events += self.tell_creator(creator_id, (fact,), change.at, "deadline:ban")
            events += self._pass_on(creator_id, change)
        return events

    def spread(self, creator_id: str, change: Turn, *, begins: bool) -> Events:
        """Let every open order of a creator learn of a change; `begins`: a ban does, just now."""
        events: Events = ()
        for order in self._roster(creator_id):
            # Deadlines that passed before the change come first, as they would have alone.
            decision = elapse(order, change.at)
            # What somebody received later has moved already learns of it where it is now.
            at = max(change.at, decision.order.entered_at)
            events += self.adopt(heeding(decision, change.standing, at, begins=begins))
        return events

    def _pass_on(self, creator_id: str, change: Turn) -> Events:
        """Let open orders learn of what time has changed, those to whom it is news."""
        events: Events = ()
        for order in self._roster(creator_id):
            events += self.adopt(elapse(order, change.at, (change,)))
        return events

    def _roster(self, creator_id: str) -> list[Order]:
        orders = (order for order in self.orders.values() if order.creator_id == creator_id)
        return [order for order in orders if not order.is_final]

    def wake(self, subject: str, now: datetime) -> Events:
        """Tell an order, or `creator:`, `refund:` or `payout:` and its id, that time has passed."""
        kind, _, name = subject.rpartition(":")
        if kind == "creator":
            return self.elapse_creator(name, now) if name in self.creators else ()
        if kind in ("refund", "payout"):
            return self.complain(kind, name, now)
        order = self.orders.get(name)
        return () if order is None else self.adopt(wake(order, now, self.turns(order, now)))

    def alarm(self, subject: str) -> tuple[datetime, bool] | None:
        """Return when something next wants attention, and whether a wait ends then.

        What ends a wait takes effect just after that instant, all else at it.
        """
        kind, _, name = subject.rpartition(":")
        if kind in ("refund", "payout"):
            debt = self.refunds.get(name) if kind == "refund" else self.payouts.get(name)
            return None if debt is None or debt.wake_at is None else (debt.wake_at, False)
        if kind == "creator":
            ends_at = self.creators[name].wake_at
            return None if ends_at is None else (ends_at, True)
        order = self.orders.get(name) if kind in ("", "order") else None
        if order is None or order.wake_at is None:
            return None
        return order.wake_at, order.wake_at == order.lapses_at

    def patience(self, event: Event) -> timedelta:
        """Return how long what an event owes may stay unconfirmed: the order's policy says."""
        order = self.orders.get(event.order_id or "")
        return (order.policy if order else self.policy).unconfirmed_window
