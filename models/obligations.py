"""Obligations: payments received, refunds and payouts owed, and money in suspense."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, TypeVar

from models.errors import BrokenInvariant
from models.events.event import Event
from models.events.notifications import OperatorAlerted
from models.events.payments import (
    PaymentVoided,
    PayoutConfirmed,
    PayoutFailed,
    PayoutHeld,
    PayoutReleased,
    PayoutRequested,
    PayoutReversed,
    RefundConfirmed,
    RefundFailed,
    RefundRequested,
    RefundVoided,
    SuspenseResolved,
)
from models.fields import PaymentPurpose
from models.ids import make_reference, make_reference_stem, parse_reference, share_id
from models.ledger import Posting, postings
from models.lifecycle import DebtStatus
from models.reasons import Alert
from models.tracked_dict import TrackedDict


@dataclass(frozen=True, slots=True, kw_only=True)
class Payment:
    """A payment as reported, anew after each void; `sequence` counts the events about itself.

    `client_id` is who paid: whom the notice named, else the client of its orders, None while nobody
    is known. `applied_at` is when an order first took a share of it. `voided_contents` are those of
    the notices that were wrong, also of the present one once it is void.
    """

    payment_id: str
    content: bytes
    amount_fen: int
    paid_at: datetime
    received_at: datetime
    command_id: str
    sequence: int = 0
    client_id: str | None = None
    applied_at: datetime | None = None
    voided_at: datetime | None = None
    voided_contents: tuple[bytes, ...] = ()

    def was_reported_as(self, content: bytes) -> bool:
        """Tell whether a notice says again what one before it said, were it void by now."""
        return content == self.content or content in self.voided_contents


class HasReference:
    """What a refund and a payout have in common: what payment rails are given for each attempt."""

    __slots__ = ()
    attempt: int

    @property
    def debt_id(self) -> str:
        """Return its id."""
        raise NotImplementedError

    @property
    def home(self) -> str:
        """Name the subject in whose events it is told of."""
        raise NotImplementedError

    @property
    def reference_stem(self) -> str:
        """Return what the references of all its attempts begin with."""
        return make_reference_stem(self.debt_id, self.home)

    @property
    def reference(self) -> str:
        """Return what to send it under at its present attempt."""
        return make_reference(self.reference_stem, self.attempt)

    @property
    def next_reference(self) -> str:
        """Return what to send it under if the present attempt fails."""
        return make_reference(self.reference_stem, self.attempt + 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Refund(HasReference):
    """Money owed back.

    `order_id` None: a whole payment, or a share of one for an order that nobody knew, which
    `for_order_id` names. `payment_id` None: a payout that was reversed in the client's favour.
    `confirmed_at` is when the present attempt left; until then it waits to do so, since
    `waits_since`. At `wake_at` an operator is told that it has not, for the next of `alerts`.
    """

    refund_id: str
    payment_id: str | None
    order_id: str | None
    client_id: str
    amount_fen: int
    requested_at: datetime
    confirmed_at: datetime | None = None
    for_order_id: str | None = None
    status: DebtStatus = DebtStatus.REQUESTED
    attempt: int = 1
    waits_since: datetime | None = None
    alerts: int = 0
    wake_at: datetime | None = None

    @property
    def debt_id(self) -> str:
        """Return its id."""
        return self.refund_id

    @property
    def home(self) -> str:
        """Name the subject in whose events it is told of."""
        return f"order:{self.order_id}" if self.order_id else f"payment:{self.payment_id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Payout(HasReference):
    """Money owed to one of the creator's side; see `Refund`.

    `held_at`: since when it is not to be sent, nor waits to. That stands beside the status: it
    outlives a failure and even a confirmation, so that money which comes back is held again.
    """

    payout_id: str
    order_id: str
    party: str
    amount_fen: int
    requested_at: datetime
    confirmed_at: datetime | None = None
    status: DebtStatus = DebtStatus.REQUESTED
    attempt: int = 1
    held_at: datetime | None = None
    waits_since: datetime | None = None
    alerts: int = 0
    wake_at: datetime | None = None

    @property
    def debt_id(self) -> str:
        """Return its id."""
        return self.payout_id

    @property
    def home(self) -> str:
        """Name the subject in whose events it is told of."""
        return f"order:{self.order_id}"


Debt = TypeVar("Debt", Refund, Payout)


def find_debt(debts: Mapping[str, Debt], name: str) -> tuple[Debt | None, int | None]:
    """Find a refund or payout by its id or a reference; and the attempt that a reference names.

    A reference of an attempt that there has not been yet is nobody's.
    """
    reference = parse_reference(name)
    if reference is None:
        return debts.get(name), None
    for debt in debts.values():
        if debt.reference_stem == reference.stem and reference.attempt <= debt.attempt:
            return debt, reference.attempt
    return None, None


@dataclass(frozen=True, slots=True, kw_only=True)
class SuspenseItem:
    """A share of a payment for an order that nobody knew when the money came.

    `number` is the payment's number of receipt, `due` what the share was meant for. Whoever places
    its order until `expires_at`, and may, gets it without being asked. After `wake_at` an operator
    is told that the money still waits.
    """

    share_id: str
    payment_id: str
    order_id: str
    amount_fen: int
    suspended_at: datetime
    number: int = 0
    resolved_at: datetime | None = None
    wake_at: datetime | None = None
    due: PaymentPurpose | None = None
    expires_at: datetime | None = None

    @property
    def receipt_order(self) -> tuple[datetime, int]:
        """Return where its payment stands among all that was received."""
        return self.suspended_at, self.number


def make_debt_alert(
    debt: Refund | Payout, alert: Alert, due_at: datetime | None = None
) -> OperatorAlerted:
    """Tell an operator of a refund or a payout, and of the money at stake."""
    if isinstance(debt, Payout):
        return OperatorAlerted(
            alert=alert,
            payment_id="",
            amount_fen=debt.amount_fen,
            for_order_id=debt.order_id,
            payout_id=debt.payout_id,
            due_at=due_at,
        )
    return OperatorAlerted(
        alert=alert,
        payment_id=debt.payment_id or "",
        amount_fen=debt.amount_fen,
        for_order_id=debt.order_id or debt.for_order_id,
        refund_id=debt.refund_id,
        due_at=due_at,
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
    *(RefundRequested, RefundConfirmed, RefundFailed, RefundVoided),
    *(PayoutRequested, PayoutConfirmed, PayoutFailed, PayoutHeld, PayoutReleased, PayoutReversed),
    *(SuspenseResolved, PaymentVoided),
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
            refund_id = self._refund_id(fact)
            reference = _first_reference(refund_id, event)
            fact = replace(fact, refund_id=refund_id, reference=reference)
            event = replace(event, fact=fact)
        elif isinstance(fact, PayoutRequested):
            fact = replace(fact, reference=_first_reference(fact.payout_id, event))
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
        alert = Alert.REFUND_OVERDUE if kind == "refund" else Alert.PAYOUT_OVERDUE
        number, at = debt.alerts + 1, debt.wake_at
        fact = make_debt_alert(debt, alert, at)
        if isinstance(debt, Payout):
            self.payouts[debt_id] = replace(debt, alerts=number, wake_at=None)
        else:
            self.refunds[debt_id] = replace(debt, alerts=number, wake_at=None)
        return (self.record(Event(f"{kind}:{debt_id}", number, at, f"reminder:{kind}", fact)),)

    def _update(self, event: Event) -> None:
        match event.fact:
            case RefundRequested() as fact:
                refund = _make_refund(event, fact)
                self.refunds[fact.refund_id] = replace(refund, **self._waiting(event))
            case RefundConfirmed(refund_id=refund_id):
                refund = self.refunds[refund_id]
                self.refunds[refund_id] = replace(refund, **_confirmed(event))
            case RefundFailed(refund_id=refund_id, attempt=attempt):
                refund = replace(self.refunds[refund_id], **_failed(attempt))
                self.refunds[refund_id] = replace(refund, **self._waiting(event))
            case RefundVoided(refund_id=refund_id):
                changes = NOT_WAITING | {"status": DebtStatus.VOIDED}
                self.refunds[refund_id] = replace(self.refunds[refund_id], **changes)
            case SuspenseResolved(payment_id=payment_id, for_order_id=for_order_id):
                self._end_suspense(self.suspended[share_id(payment_id, for_order_id)], event.at)
            case PaymentVoided(payment_id=payment_id):
                for item in self.suspended_of(payment_id):
                    self._end_suspense(item, event.at)
            case PayoutRequested() as fact:
                if fact.payout_id in self.payouts:
                    raise BrokenInvariant(f"{fact.payout_id} would be owed twice")
                payout = _make_payout(event, fact)
                self.payouts[fact.payout_id] = replace(payout, **self._waiting(event))
            case fact:
                self._update_payout(event, fact)

    def suspended_of(self, payment_id: str) -> list[SuspenseItem]:
        """Return the shares of a payment that wait in suspense, in the order of their ids."""
        items = (item for item in self.suspended.values() if item.payment_id == payment_id)
        waiting = [item for item in items if item.resolved_at is None]
        return sorted(waiting, key=lambda item: item.share_id)

    def refunds_of(self, payment_id: str) -> list[Refund]:
        """Return the refunds of a payment that are not void, in the order of their ids."""
        refunds = (refund for refund in self.refunds.values() if refund.payment_id == payment_id)
        valid = [refund for refund in refunds if refund.status is not DebtStatus.VOIDED]
        return sorted(valid, key=lambda refund: refund.refund_id)

    def _end_suspense(self, item: SuspenseItem, at: datetime) -> None:
        self.suspended[item.share_id] = replace(item, resolved_at=at, wake_at=None)

    def _update_payout(self, event: Event, fact: Any) -> None:  # noqa: ANN401 - a payout's fact
        payout, changes = self.payouts[fact.payout_id], dict[str, Any]()
        match fact:
            case PayoutConfirmed():
                changes = _confirmed(event)
            case PayoutFailed():
                waiting = {} if payout.held_at is not None else self._waiting(event)
                changes = _failed(fact.attempt) | waiting
            case PayoutHeld():
                changes = NOT_WAITING | {"held_at": event.at}
            case PayoutReleased():
                changes = self._waiting(event) | {"held_at": None}
            case PayoutReversed():
                changes = NOT_WAITING | {"status": DebtStatus.REVERSED}
        self.payouts[payout.payout_id] = replace(payout, **changes)

    def _waiting(self, event: Event) -> dict[str, Any]:
        """Let something wait from now on to be confirmed."""
        return {"waits_since": event.at, "wake_at": event.at + self.confirmation_window(event)}

    def _refund_id(self, fact: RefundRequested) -> str:
        """Name a refund; where its id is taken, the later one ends in a number.

        Another pair may spell the same, and one pair may owe again: after its payment was voided,
        or once money that went back from the order has come to it out of suspense.
        """
        base = refund_id = fact.refund_id
        suffix = 1
        while refund_id in self.refunds:
            suffix += 1
            refund_id = f"{base}~{suffix}"
        return refund_id


def _first_reference(debt_id: str, event: Event) -> str:
    """Return what the first attempt at a refund or payout goes by, which an event asks for."""
    return make_reference(make_reference_stem(debt_id, event.subject), 1)


def _make_refund(event: Event, fact: RefundRequested) -> Refund:
    return Refund(
        refund_id=fact.refund_id,
        payment_id=fact.payment_id,
        order_id=event.order_id,
        client_id=fact.client_id,
        amount_fen=fact.amount_fen,
        requested_at=event.at,
        for_order_id=fact.for_order_id,
    )


def _make_payout(event: Event, fact: PayoutRequested) -> Payout:
    if event.order_id is None:
        raise BrokenInvariant(f"{fact.payout_id} is of no order")
    return Payout(
        payout_id=fact.payout_id,
        order_id=event.order_id,
        party=fact.party,
        amount_fen=fact.amount_fen,
        requested_at=event.at,
    )


NOT_WAITING: dict[str, Any] = {"waits_since": None, "wake_at": None}


def _confirmed(event: Event) -> dict[str, Any]:
    return NOT_WAITING | {"status": DebtStatus.CONFIRMED, "confirmed_at": event.at}


def _failed(next_attempt: int) -> dict[str, Any]:
    return {"status": DebtStatus.FAILED, "attempt": next_attempt, "confirmed_at": None}
