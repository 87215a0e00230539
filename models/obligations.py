"""Obligations: payments received, refunds and payouts owed, and money in suspense."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from models.errors import BrokenInvariant
from models.events.event import Event
from models.events.notifications import OperatorAlerted
from models.events.payments import (
    PayoutConfirmed,
    PayoutRequested,
    RefundConfirmed,
    RefundRequested,
    SuspenseResolved,
)
from models.ids import make_refund_base_id, share_id
from models.ledger import Posting, postings
from models.reasons import Alert
from models.tracked_dict import TrackedDict


@dataclass(frozen=True, slots=True, kw_only=True)
class Payment:
    """A payment as first reported; `sequence` counts the events about the payment itself.

    `client_id` is the client of its orders, None while none of them is known.
    """

    payment_id: str
    content: bytes
    amount_fen: int
    paid_at: datetime
    received_at: datetime
    command_id: str
    sequence: int = 0
    client_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Refund:
    """Money owed back: `requested` until it is confirmed.

    `order_id` None: a whole payment, or a share of one for an order that nobody knew, which
    `for_order_id` names. At `wake_at` an operator is told that it has not left.
    """

    refund_id: str
    payment_id: str
    order_id: str | None
    client_id: str
    amount_fen: int
    requested_at: datetime
    confirmed_at: datetime | None = None
    for_order_id: str | None = None
    wake_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Payout:
    """Money owed to one of the creator's side: `requested` until it is confirmed."""

    payout_id: str
    order_id: str
    party: str
    amount_fen: int
    requested_at: datetime
    confirmed_at: datetime | None = None
    wake_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SuspenseItem:
    """A share of a payment for an order that nobody knew when the money came.

    `number` is the payment's number of receipt. After `wake_at` an operator is told that the money
    still waits.
    """

    share_id: str
    payment_id: str
    order_id: str
    amount_fen: int
    suspended_at: datetime
    number: int = 0
    resolved_at: datetime | None = None
    wake_at: datetime | None = None

    @property
    def receipt_order(self) -> tuple[datetime, int]:
        """Return where its payment stands among all that was received."""
        return self.suspended_at, self.number


def make_overdue_alert(debt: Refund | Payout) -> OperatorAlerted:
    """Tell an operator that money owed has not left."""
    if isinstance(debt, Payout):
        return OperatorAlerted(
            alert=Alert.PAYOUT_OVERDUE,
            payment_id="",
            amount_fen=debt.amount_fen,
            for_order_id=debt.order_id,
            payout_id=debt.payout_id,
            due_at=debt.wake_at,
        )
    return OperatorAlerted(
        alert=Alert.REFUND_OVERDUE,
        payment_id=debt.payment_id,
        amount_fen=debt.amount_fen,
        for_order_id=debt.order_id or debt.for_order_id,
        refund_id=debt.refund_id,
        due_at=debt.wake_at,
    )


def make_suspense_alert(item: SuspenseItem) -> OperatorAlerted:
    """Tell an operator of money whose order was not placed in time."""
    return OperatorAlerted(
        alert=Alert.UNKNOWN_ORDER,
        payment_id=item.payment_id,
        amount_fen=item.amount_fen,
        for_order_id=item.order_id,
    )


OBLIGATION_EVENTS = (
    *(RefundRequested, RefundConfirmed, PayoutRequested, PayoutConfirmed),
    SuspenseResolved,
)
"""The events that change something that is owed, or end a wait in suspense."""


@dataclass(slots=True, kw_only=True)
class Obligations:
    """Every debt at hand, and every posting made; an event is recorded once."""

    refunds: TrackedDict[Refund] = field(default_factory=TrackedDict)
    payouts: TrackedDict[Payout] = field(default_factory=TrackedDict)
    suspended: TrackedDict[SuspenseItem] = field(default_factory=TrackedDict)
    postings: list[tuple[Event, Posting]] = field(default_factory=list)

    def confirmation_window(self, event: Event) -> timedelta:
        """Return how long a debt may stay unconfirmed before an operator is told."""
        raise NotImplementedError(event.id)

    def record(self, event: Event) -> Event:
        """Record an event: name the refund it asks for, note the debt, post the money."""
        fact = event.fact
        if isinstance(fact, RefundRequested):
            fact = replace(fact, refund_id=self._refund_id(fact, event.order_id))
            event = replace(event, fact=fact)
        if isinstance(fact, OBLIGATION_EVENTS):
            self._update(event)
        for posting in postings(event):
            self.postings.append((event, posting))
        return event

    def alert_overdue(self, kind: str, debt_id: str, now: datetime) -> tuple[Event, ...]:
        """Tell an operator, once, of money owed that has not left in time."""
        debt = (self.refunds if kind == "refund" else self.payouts).get(debt_id)
        if debt is None or debt.wake_at is None or now < debt.wake_at:
            return ()
        fact = make_overdue_alert(debt)
        if isinstance(debt, Payout):
            self.payouts[debt_id] = replace(debt, wake_at=None)
        else:
            self.refunds[debt_id] = replace(debt, wake_at=None)
        return (self.record(Event(f"{kind}:{debt_id}", 1, now, f"reminder:{kind}", fact)),)

    def _update(self, event: Event) -> None:
        match event.fact:
            case RefundRequested() as fact:
                self._add_refund(event, fact)
            case PayoutRequested() as fact:
                self._add_payout(event, fact)
            case RefundConfirmed(refund_id=refund_id):
                refund = self.refunds[refund_id]
                self.refunds[refund_id] = replace(refund, confirmed_at=event.at, wake_at=None)
            case PayoutConfirmed(payout_id=payout_id):
                payout = self.payouts[payout_id]
                self.payouts[payout_id] = replace(payout, confirmed_at=event.at, wake_at=None)
            case SuspenseResolved(payment_id=payment_id, for_order_id=for_order_id):
                key = share_id(payment_id, for_order_id)
                item = self.suspended[key]
                self.suspended[key] = replace(item, resolved_at=event.at, wake_at=None)
            case _:
                pass

    def _add_refund(self, event: Event, fact: RefundRequested) -> None:
        self.refunds[fact.refund_id] = Refund(
            refund_id=fact.refund_id,
            payment_id=fact.payment_id,
            order_id=event.order_id,
            client_id=fact.client_id,
            amount_fen=fact.amount_fen,
            requested_at=event.at,
            for_order_id=fact.for_order_id,
            wake_at=event.at + self.confirmation_window(event),
        )

    def _add_payout(self, event: Event, fact: PayoutRequested) -> None:
        if fact.payout_id in self.payouts or event.order_id is None:
            raise BrokenInvariant(f"{fact.payout_id} would be owed twice")
        self.payouts[fact.payout_id] = Payout(
            payout_id=fact.payout_id,
            order_id=event.order_id,
            party=fact.party,
            amount_fen=fact.amount_fen,
            requested_at=event.at,
            wake_at=event.at + self.confirmation_window(event),
        )

    def _refund_id(self, fact: RefundRequested, order_id: str | None) -> str:
        """Name a refund; where another pair spells the same, the later one ends in a number."""
        pair = (fact.payment_id, order_id, fact.for_order_id)
        base = refund_id = make_refund_base_id(fact.payment_id, order_id or fact.for_order_id)
        suffix = 1
        while (existing := self.refunds.get(refund_id)) is not None:
            if (existing.payment_id, existing.order_id, existing.for_order_id) == pair:
                message = f"{refund_id} would be owed twice"
                raise BrokenInvariant(message)
            suffix += 1
            refund_id = f"{base}~{suffix}"
        return refund_id
