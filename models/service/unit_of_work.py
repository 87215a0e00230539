"""Unit of work: everything loaded that a command may concern, and what was changed.

The same class serves `simulate`, where it holds the whole world, and the workers, where it holds
what one batch needs.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from models import creators
from models.creators import (
    Creator,
    RegisteredClient,
    RegisteredMcn,
    RegisteredProvider,
    StandingChange,
    ViolationReport,
    evolve_creator,
)
from models.events.event import Event, Fact
from models.events.orders import OrderPlaced
from models.obligations import Obligations, Payment
from models.orders.decide import apply_standing, elapse, wake
from models.orders.decision import Decision
from models.orders.evolve import begin_order
from models.orders.order import Order
from models.policy import Policy
from models.service.outcome import Receipt
from models.tracked_dict import Journal, TrackedDict

RecordedEvents = tuple[Event, ...]
"""Events as recorded: each refund among them has its final id."""


@dataclass(slots=True, kw_only=True)
class UnitOfWork(Obligations):
    """The orders, parties, payments, debts and receipts at hand, and the policy in force."""

    policy: Policy
    orders: TrackedDict[Order] = field(default_factory=TrackedDict)
    creators: TrackedDict[Creator] = field(default_factory=TrackedDict)
    mcns: TrackedDict[RegisteredMcn] = field(default_factory=TrackedDict)
    clients: TrackedDict[RegisteredClient] = field(default_factory=TrackedDict)
    providers: TrackedDict[RegisteredProvider] = field(default_factory=TrackedDict)
    violations: TrackedDict[ViolationReport] = field(default_factory=TrackedDict)
    payments: TrackedDict[Payment] = field(default_factory=TrackedDict)
    receipts: TrackedDict[Receipt] = field(default_factory=TrackedDict)
    journal: Journal | None = None
    postings_at_savepoint: int = 0

    def add_order(
        self, order_id: str, fact: OrderPlaced, at: datetime, caused_by: str
    ) -> RecordedEvents:
        """Record a new order, placed under the policy in force."""
        event = Event(f"order:{order_id}", 1, at, caused_by, fact)
        self.orders[order_id] = begin_order(event, self.policy)
        return (event,)

    def record_decision(self, decision: Decision) -> RecordedEvents:
        """Record what became of an order."""
        if decision.events:
            self.orders[decision.order.order_id] = decision.order
        return tuple(map(self.record, decision.events))

    def record_fact(
        self, subject: str, sequence: int, at: datetime, caused_by: str, fact: Fact
    ) -> Event:
        """Record a fact that is about no order; `sequence` counts the subject's facts."""
        return self.record(Event(subject, sequence, at, caused_by, fact))

    def record_creator_facts(
        self, creator_id: str, facts: tuple[Fact, ...], at: datetime, caused_by: str
    ) -> RecordedEvents:
        """Record facts about a creator, and what they change."""
        events: RecordedEvents = ()
        for fact in facts:
            creator = self.creators.get(creator_id)
            sequence = creator.sequence + 1 if creator else 1
            event = Event(f"creator:{creator_id}", sequence, at, caused_by, fact)
            self.creators[creator_id] = evolve_creator(creator, event)
            events += (self.record(event),)
        return events

    def record_payment_facts(
        self, payment_id: str, facts: tuple[Fact, ...], at: datetime, caused_by: str
    ) -> RecordedEvents:
        """Record facts about a payment that belong to no order."""
        payment = self.payments[payment_id]
        sequences = range(payment.sequence + 1, payment.sequence + 1 + len(facts))
        self.payments[payment_id] = replace(payment, sequence=payment.sequence + len(facts))
        subject = f"payment:{payment_id}"
        return tuple(
            self.record_fact(subject, sequence, at, caused_by, fact)
            for sequence, fact in zip(sequences, facts, strict=True)
        )

    def savepoint(self) -> None:
        """Remember how everything stands, before a command is handled."""
        if self.journal is None:
            self.journal = []
            for index, tracked_dict in enumerate(self.tracked_dicts()):
                tracked_dict.track(self.journal, index)
        self.journal.clear()
        self.postings_at_savepoint = len(self.postings)

    def rollback(self) -> None:
        """Undo whatever was recorded since the savepoint: the command is to be handled again."""
        tracked_dicts = self.tracked_dicts()
        for index, key, previous in reversed(self.journal or []):
            tracked_dicts[index].restore(key, previous)
        del self.postings[self.postings_at_savepoint :]
        self.savepoint()

    def tracked_dicts(self) -> tuple[TrackedDict[Any], ...]:
        """Return everything that a command may change, but for the postings."""
        return (
            *(self.orders, self.creators, self.mcns, self.clients, self.providers),
            *(self.violations, self.payments, self.receipts),
            *(self.refunds, self.payouts, self.suspended),
        )

    def standing_changes(self, order: Order, until: datetime) -> tuple[StandingChange, ...]:
        """Return what time changes in the standing of an order's creator before `until`."""
        creator = self.creators.get(order.creator_id)
        return creator.standing_changes(until) if creator else ()

    def elapse_order(self, order: Order, until: datetime) -> Decision:
        """Let time pass for one order."""
        return elapse(order, until, self.standing_changes(order, until))

    def apply_standing(self, decision: Decision, at: datetime) -> Decision:
        """Let an order that has moved learn what its creator's standing means for it now."""
        creator = self.creators.get(decision.order.creator_id)
        return apply_standing(decision, creator.standing_at(at), at) if creator else decision

    def elapse_creator(self, creator_id: str, until: datetime) -> RecordedEvents:
        """Let bans that end before `until` do so, and every order of the creator learn of it."""
        events: RecordedEvents = ()
        for change in self.creators[creator_id].standing_changes(until):
            creator = self.creators[creator_id]
            ended_ban, still_banned = creator.bans[0], len(creator.bans) > 1
            fact = creators.lift_ban(creator, ended_ban, still_banned=still_banned)
            events += self.record_creator_facts(creator_id, (fact,), change.at, "deadline:ban")
            events += self._elapse_open_orders(creator_id, change)
        return events

    def apply_standing_to_orders(
        self, creator_id: str, change: StandingChange, *, begins: bool
    ) -> RecordedEvents:
        """Let every open order of a creator learn of a change; `begins`: a ban does, just now."""
        events: RecordedEvents = ()
        for order in self._open_orders_of(creator_id):
            # Deadlines that passed before the change come first, as they would have alone.
            decision = elapse(order, change.at)
            # What somebody received later has moved already learns of it where it is now.
            at = max(change.at, decision.order.entered_at)
            events += self.record_decision(
                apply_standing(decision, change.standing, at, begins=begins)
            )
        return events

    def _elapse_open_orders(self, creator_id: str, change: StandingChange) -> RecordedEvents:
        """Let open orders learn of what time has changed, those to whom it is news."""
        events: RecordedEvents = ()
        for order in self._open_orders_of(creator_id):
            events += self.record_decision(elapse(order, change.at, (change,)))
        return events

    def _open_orders_of(self, creator_id: str) -> list[Order]:
        orders = (order for order in self.orders.values() if order.creator_id == creator_id)
        return [order for order in orders if not order.is_final]

    def wake(self, subject: str, now: datetime) -> RecordedEvents:
        """Tell an order, or `creator:`, `refund:` or `payout:` and its id, that time has passed."""
        kind, _, subject_id = subject.rpartition(":")
        if kind == "creator":
            return self.elapse_creator(subject_id, now) if subject_id in self.creators else ()
        if kind in ("refund", "payout"):
            return self.alert_overdue(kind, subject_id, now)
        order = self.orders.get(subject_id)
        return (
            ()
            if order is None
            else self.record_decision(wake(order, now, self.standing_changes(order, now)))
        )

    def next_wakeup(self, subject: str) -> tuple[datetime, bool] | None:
        """Return when something next wants attention, and whether a wait ends then.

        What ends a wait takes effect just after that instant, all else at it.
        """
        kind, _, subject_id = subject.rpartition(":")
        if kind in ("refund", "payout"):
            debt = (
                self.refunds.get(subject_id) if kind == "refund" else self.payouts.get(subject_id)
            )
            return None if debt is None or debt.wake_at is None else (debt.wake_at, False)
        if kind == "creator":
            ends_at = self.creators[subject_id].wake_at
            return None if ends_at is None else (ends_at, True)
        order = self.orders.get(subject_id) if kind in ("", "order") else None
        if order is None or order.wake_at is None:
            return None
        return order.wake_at, order.wake_at == order.lapses_at

    def confirmation_window(self, event: Event) -> timedelta:
        """Return how long what an event owes may stay unconfirmed: the order's policy says."""
        order = self.orders.get(event.order_id or "")
        return (order.policy if order else self.policy).unconfirmed_window
