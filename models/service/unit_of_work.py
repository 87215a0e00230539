"""Unit of work: everything loaded that a command may concern, and what was changed.

The same class serves `simulate`, where it holds the whole world, and the workers, where it holds
what one batch needs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from models import creators
from models.commands import AnyCommand
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
from models.ids import parse_wake_subject
from models.lifecycle import State
from models.obligations import Obligations, Payment, SuspenseItem, make_suspense_alert
from models.orders.decide import apply_standing, elapse, wake
from models.orders.decision import Decision
from models.orders.evolve import begin_order
from models.orders.order import Order
from models.policy import Policy
from models.service.outcome import Receipt
from models.service.parked import ParkedCommand, group_repeats
from models.tracked_dict import Journal, TrackedDict

RecordedEvents = tuple[Event, ...]
"""Events as recorded: each refund among them has its final id."""

Horizon = Callable[[str], datetime]
"""Says up to when time may pass for a subject: all that was received earlier is settled."""


def up_to(now: datetime) -> Horizon:
    """Return the horizon that is the same for everybody."""
    return lambda _: now


@dataclass(slots=True, kw_only=True)
class UnitOfWork(Obligations):
    """The orders, parties, payments, debts and receipts at hand, and the policy in force.

    `spread_complete` names creators of whom every open order is at hand that has something to
    learn of them; None where all orders that there are are at hand. `parked` are commands that wait
    for an order, `parked_until` until when each sender's may. `unpaid_counts` are how many
    orders of a client wait for its first payment, as far as that is on record; where these are
    near the limit, `unpaid_orders` are those of them that nobody named, to be looked at only.
    """

    policy: Policy
    orders: TrackedDict[Order] = field(default_factory=TrackedDict)
    creators: TrackedDict[Creator] = field(default_factory=TrackedDict)
    mcns: TrackedDict[RegisteredMcn] = field(default_factory=TrackedDict)
    clients: TrackedDict[RegisteredClient] = field(default_factory=TrackedDict)
    providers: TrackedDict[RegisteredProvider] = field(default_factory=TrackedDict)
    violations: TrackedDict[ViolationReport] = field(default_factory=TrackedDict)
    payments: TrackedDict[Payment] = field(default_factory=TrackedDict)
    receipts: TrackedDict[Receipt] = field(default_factory=TrackedDict)
    spread_complete: set[str] | None = None
    parked: TrackedDict[ParkedCommand] = field(default_factory=TrackedDict)
    parked_until: TrackedDict[tuple[datetime, ...]] = field(default_factory=TrackedDict)
    unpaid_counts: TrackedDict[int] = field(default_factory=TrackedDict)
    unpaid_orders: dict[str, Order] = field(default_factory=dict)
    journal: Journal | None = None
    postings_at_savepoint: int = 0

    def add_order(
        self, order_id: str, fact: OrderPlaced, at: datetime, caused_by: str
    ) -> RecordedEvents:
        """Record a new order, placed under the policy in force."""
        event = Event(f"order:{order_id}", 1, at, caused_by, fact)
        creator = self.creator_at(fact.creator_id, at)
        seen = {"creator_sequence": creator.last_change if creator else 0}
        self.orders[order_id] = begin_order(event, self.policy).with_changes(seen)
        self.unpaid_counts[fact.client_id] = self.unpaid_counts.get(fact.client_id, 0) + 1
        return (event,)

    def record_decision(self, decision: Decision) -> RecordedEvents:
        """Record what became of an order, if only that it has learned of its creator's standing."""
        order, before = decision.order, self.orders.get(decision.order.order_id)
        if order is not before:
            self.orders[order.order_id] = order
            was_unpaid = before is not None and before.state is State.AWAITING_DEPOSIT
            if was_unpaid and order.state is not State.AWAITING_DEPOSIT:
                self.unpaid_counts[order.client_id] = self.unpaid_counts.get(order.client_id, 0) - 1
        return tuple(map(self.record, decision.events))

    def may_reach_unpaid_limit(self, client_id: str, in_flight_count: int = 0) -> bool:
        """Tell whether unpaid orders, with so many placements in flight, may reach the limit."""
        return (
            self.unpaid_counts.get(client_id, 0) + in_flight_count
            >= self.policy.unpaid_orders_limit
        )

    def has_room_for_unpaid(self, client_id: str, at: datetime) -> bool:
        """Tell whether a client may have one more order that waits for its first payment."""
        if not self.may_reach_unpaid_limit(client_id):
            return True
        # What time, or a ban, has ended by then may not be on record yet.
        unpaid_count = sum(self._is_unpaid(order, at) for order in self.unpaid_of(client_id))
        return unpaid_count < self.policy.unpaid_orders_limit

    def unpaid_of(self, client_id: str) -> Iterator[Order]:
        """Give a client's orders that wait for its first payment, as far as that is on record."""
        other_orders = (
            order for key, order in self.unpaid_orders.items() if key not in self.orders
        )
        for order in (*self.orders.values(), *other_orders):
            if order.client_id == client_id and order.state is State.AWAITING_DEPOSIT:
                yield order

    def _is_unpaid(self, order: Order, at: datetime) -> bool:
        elapsed_order = self.elapse_order(order, at).order
        return order.placed_at <= at and elapsed_order.state is State.AWAITING_DEPOSIT

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
        if not facts:
            return ()
        payment = self.payments[payment_id]
        sequences = range(payment.sequence + 1, payment.sequence + 1 + len(facts))
        self.payments[payment_id] = replace(payment, sequence=payment.sequence + len(facts))
        subject = f"payment:{payment_id}"
        return tuple(
            self.record_fact(subject, sequence, at, caused_by, fact)
            for sequence, fact in zip(sequences, facts, strict=True)
        )

    def has_room_to_park(self, sender: str, at: datetime) -> bool:
        """Tell whether one more of a sender's commands may wait.

        What waited in vain does not count, whether or not it has been answered yet.
        """
        waiting_count = sum(until >= at for until in self.parked_until.get(sender, ()))
        return waiting_count < self.policy.parked_limit

    def park(self, waiting: ParkedCommand) -> None:
        """Let a command wait for its order."""
        self.parked[waiting.key] = waiting
        until = self.parked_until.get(waiting.sender, ())
        self.parked_until[waiting.sender] = (*until, waiting.answer_at)

    def unpark(self, waiting: ParkedCommand) -> None:
        """Let a command wait no longer: it is judged now."""
        del self.parked[waiting.key]
        until = list(self.parked_until.get(waiting.sender, ()))
        if waiting.answer_at in until:
            until.remove(waiting.answer_at)
            self.parked_until[waiting.sender] = tuple(until)

    def parked_for(self, order_id: str) -> list[list[ParkedCommand]]:
        """Return what waits for an order: each command with its repeats behind it, in order."""
        return group_repeats(
            waiting for waiting in self.parked.values() if waiting.order_id == order_id
        )

    def parked_under_id(self, command: AnyCommand) -> list[ParkedCommand]:
        """Return what waits under a command's id, of the same sender, in order."""
        if not self.parked:
            return []
        sender_and_id = command.sender, command.id
        parked = (
            waiting
            for waiting in self.parked.values()
            if (waiting.sender, waiting.command.id) == sender_and_id
        )
        return sorted(parked, key=lambda waiting: waiting.receipt_order)

    def suspended_for(self, order_id: str) -> list[SuspenseItem]:
        """Return the shares in suspense that were meant for an order."""
        items = (item for item in self.suspended.values() if item.order_id == order_id)
        return [item for item in items if item.resolved_at is None]

    def alert_suspense(self, share: str, now: datetime) -> RecordedEvents:
        """Tell an operator, once, of a share that waits although its order's grace is over."""
        item = self.suspended.get(share)
        if item is None or item.wake_at is None or now <= item.wake_at:
            return ()
        self.suspended[share] = replace(item, wake_at=None)
        facts, caused_by = (make_suspense_alert(item),), "reminder:suspense"
        return self.record_payment_facts(item.payment_id, facts, item.wake_at, caused_by)

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

    def tracked_dicts(self) -> tuple[TrackedDict[Any], ...]:
        """Return everything that a command may change, but for the postings."""
        return (
            *(self.orders, self.creators, self.mcns, self.clients, self.providers),
            *(self.violations, self.payments, self.receipts, self.parked, self.parked_until),
            *(self.refunds, self.payouts, self.suspended, self.unpaid_counts),
        )

    def creator_at(self, creator_id: str, at: datetime) -> Creator | None:
        """Return a creator as it was at an instant: None if it was not registered then."""
        creator = self.creators.get(creator_id)
        return creator.as_of(at) if creator else None

    def standing_changes(self, order: Order, until: datetime) -> tuple[StandingChange, ...]:
        """Return what an order has to learn of its creator's standing at an instant."""
        creator = self.creators.get(order.creator_id)
        return creator.standing_changes(order.creator_sequence, until) if creator else ()

    def elapse_order(self, order: Order, until: datetime) -> Decision:
        """Let time pass for one order."""
        return elapse(order, until, self.standing_changes(order, until))

    def elapse_orders(self, order_ids: Iterable[str | None], until: datetime) -> RecordedEvents:
        """Let time pass for those orders that are at hand, in the order in which it tells."""
        candidates = (self.orders.get(order_id or "") for order_id in order_ids)
        orders = {order.order_id: order for order in candidates if order is not None}
        events: RecordedEvents = ()
        for order in sorted(
            orders.values(), key=lambda o: (o.next_timeout_at or until, o.order_id)
        ):
            events += self.record_decision(self.elapse_order(order, until))
        return events

    def apply_standing(self, decision: Decision, at: datetime) -> Decision:
        """Let an order that has moved learn what its creator's standing means for it now."""
        creator = self.creator_at(decision.order.creator_id, at)
        return apply_standing(decision, creator.standing_at(at), at) if creator else decision

    def elapse_creator(self, creator_id: str, until: datetime) -> RecordedEvents:
        """Let bans that end before `until` do so; its orders learn of it as of any change."""
        events: RecordedEvents = ()
        for change in self.creators[creator_id].ban_ends(until):
            creator = self.creators[creator_id]
            ended_ban, still_banned = creator.bans[0], len(creator.bans) > 1
            fact = creators.lift_ban(creator, ended_ban, still_banned=still_banned)
            events += self.record_creator_facts(creator_id, (fact,), change.at, "deadline:ban")
        return events

    def wake(self, subject: str, horizon: Horizon) -> RecordedEvents:
        """Tell an order, or `creator:`, `refund:` and the like and its id, that time has passed.

        A parked command is answered instead: `handlers.expire_parked`.
        """
        kind, subject_id = parse_wake_subject(subject)
        if kind == "creator":
            return self._wake_creator(subject_id, horizon)
        if kind in ("refund", "payout"):
            return self.alert_overdue(kind, subject_id, horizon(subject))
        if kind == "suspense":
            return self.alert_suspense(subject_id, horizon(subject))
        order = self.orders.get(subject_id) if kind == "order" else None
        if order is None:
            return ()
        now = _order_horizon(order, horizon)
        return self.record_decision(wake(order, now, self.standing_changes(order, now)))

    def _wake_creator(self, creator_id: str, horizon: Horizon) -> RecordedEvents:
        """Let bans end, and the orders at hand learn of what has changed.

        Once none is left that has not, there is nothing more to spread. Of what only now is on
        record, whoever loaded the orders could not know.
        """
        if creator_id not in self.creators:
            return ()
        until = horizon(f"creator:{creator_id}")
        events = self.elapse_creator(creator_id, until)
        everybody_at_hand = self.spread_complete is None or (
            creator_id in self.spread_complete and not events
        )
        creator = self.creators[creator_id]
        if creator.spread_from is None:
            return events
        for order in self._orders_to_tell(creator):
            # The creator's is asked for once: it depends on all of its orders.
            changes = self.standing_changes(order, min(until, horizon(f"order:{order.order_id}")))
            if changes:
                events += self.record_decision(elapse(order, changes[-1].at, changes))
        if everybody_at_hand and not self._orders_to_tell(creator):
            self.creators[creator_id] = replace(creator, spread_from=None)
        return events

    def _orders_to_tell(self, creator: Creator) -> list[Order]:
        last_change = creator.last_change
        return [
            order
            for order in self.orders.values()
            if order.creator_id == creator.creator_id
            and order.creator_sequence < last_change
            and not order.is_final
        ]

    def wake_at(self, order: Order) -> datetime | None:
        """Return when an order wants attention: at once, if it has to learn of its creator."""
        wake_at, change = order.wake_at, self._change_to_learn(order)
        if change is None or (wake_at is not None and wake_at < change.at):
            return wake_at
        return change.at

    def _order_wakeup(self, order: Order) -> tuple[datetime, bool] | None:
        wakeups = []
        wake_at, change = order.wake_at, self._change_to_learn(order)
        if wake_at is not None:
            wakeups.append((wake_at, wake_at == order.next_timeout_at))
        if change is not None:
            wakeups.append((change.at, change.by_time))
        return min(wakeups, default=None)

    def _change_to_learn(self, order: Order) -> StandingChange | None:
        """Return the first change of its creator's standing that an open order has not learned."""
        creator = None if order.is_final else self.creators.get(order.creator_id)
        return creator.first_change_after(order.creator_sequence) if creator else None

    def next_wakeup(self, subject: str) -> tuple[datetime, bool] | None:
        """Return when something next wants attention, and whether a wait ends then.

        What ends a wait takes effect just after that instant, all else at it.
        """
        kind, subject_id = parse_wake_subject(subject)
        if kind in ("refund", "payout"):
            debt = (
                self.refunds.get(subject_id) if kind == "refund" else self.payouts.get(subject_id)
            )
            return None if debt is None or debt.wake_at is None else (debt.wake_at, False)
        if kind == "suspense":
            item = self.suspended.get(subject_id)
            return None if item is None or item.wake_at is None else (item.wake_at, True)
        if kind == "parked":
            waiting = self.parked.get(subject_id)
            return None if waiting is None else (waiting.answer_at, True)
        if kind == "creator":
            return self.creators[subject_id].wakeup
        order = self.orders.get(subject_id) if kind == "order" else None
        return None if order is None else self._order_wakeup(order)

    def confirmation_window(self, event: Event) -> timedelta:
        """Return how long what an event owes may stay unconfirmed: the order's policy says."""
        order = self.orders.get(event.order_id or "")
        return (order.policy if order else self.policy).unconfirmed_window


def _order_horizon(order: Order, horizon: Horizon) -> datetime:
    """Return up to when time may pass for an order: not past that of its creator."""
    return min(horizon(f"order:{order.order_id}"), horizon(f"creator:{order.creator_id}"))
