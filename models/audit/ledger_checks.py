"""Ledger checks: invariants of the money, recomputed from the events by other code."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from models.audit.order_checks import Finding, bps_of
from models.events.event import Event, Fact
from models.events.orders import (
    ForfeitReleased,
    OrderCancelled,
    OrderCompleted,
    OrderForfeited,
    OrderFunded,
    OrderReinstated,
)
from models.events.payments import (
    PaymentApplied,
    PaymentUnapplied,
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
from models.ledger import Posting
from models.obligations import Payment, Payout, Refund
from models.orders.order import Order

EventPosting = tuple[str, Posting]
"""A posting with the id of the event that made it."""


def check_escrow(order: Order, postings: Sequence[EventPosting]) -> Iterator[Finding]:
    """Hold that the order's own account is what it holds, was never in debt, and ends empty."""
    account, balance = f"escrow:{order.order_id}", 0
    for event_id, posting in postings:
        balance += posting.amount_fen * ((posting.target == account) - (posting.source == account))
        if balance < 0:
            yield Finding("no_debts", account, f"{balance} fen after {event_id}")
    if balance != order.held_fen:
        yield Finding("escrow", account, f"{balance} fen, and the order holds {order.held_fen}")
    if order.is_final and balance:
        yield Finding("final_escrow", account, f"{balance} fen, and the order is {order.state}")


def check_payments(subject: str, events: Sequence[Event]) -> Iterator[Finding]:
    """Hold that a payment comes and goes back once, as it came, and that work begins once."""
    facts = [event.fact for event in events]
    yield from (Finding("came_once", subject, name) for name in _came_again(facts))
    unapplied_payments = Counter(
        (fact.payment_id, fact.amount_fen) for fact in facts if isinstance(fact, PaymentUnapplied)
    )
    applied_fen = Counter[str]()
    for fact in facts:
        if isinstance(fact, PaymentApplied):
            applied_fen[fact.payment_id] += fact.amount_fen
    refund_facts = [fact for fact in facts if isinstance(fact, RefundRequested)]
    unapplied_refunds, escrow_refunds = (
        Counter(
            (fact.payment_id or "", fact.amount_fen)
            for fact in refund_facts
            if fact.source == source
        )
        for source in ("unapplied", "escrow")
    )
    for payment_id, _ in [
        *(unapplied_payments - unapplied_refunds),
        *(unapplied_refunds - unapplied_payments),
    ]:
        yield Finding("unused_goes_back", subject, f"{payment_id} was not sent back as it came")
    for payment_id, _ in escrow_refunds - Counter(applied_fen.items()):
        yield Finding("back_as_it_came", subject, f"{payment_id} went back otherwise than it came")
    for fact in refund_facts:
        is_partial = fact.source in ("cancellation", "forfeit")
        if is_partial and fact.amount_fen > applied_fen[fact.payment_id or ""]:
            yield Finding("back_as_it_came", subject, f"more of {fact.payment_id} than came")
    if sum(isinstance(fact, OrderFunded) for fact in facts) > 1:
        yield Finding("funded_once", subject, "order.funded happened again")


def _came_again(facts: Sequence[Fact]) -> Iterator[str]:
    """Name the payments that came from the provider again, and were not voided in between."""
    came: set[str] = set()
    for fact in facts:
        match fact:
            case RefundVoided(payment_id=payment_id):
                came.discard(payment_id)
            case (
                PaymentUnapplied(payment_id=payment_id)
                | PaymentApplied(payment_id=payment_id, source="psp")
            ):
                if payment_id in came:
                    yield payment_id
                came.add(payment_id)
            case _:
                pass


def check_voids(payment: Payment, events: Sequence[Event]) -> Iterator[Finding]:
    """Hold that each void took back all of a payment, and that the last one stands until a notice.

    No order may use the money of a payment that is void.
    """
    subject = f"payment:{payment.payment_id}"
    voids = [(event.at, event.fact) for event in events if isinstance(event.fact, PaymentVoided)]
    for _, fact in voids:
        parts_fen = sum(part.amount_fen for part in fact.parts)
        if parts_fen != fact.amount_fen:
            yield Finding("voided_whole", subject, f"{parts_fen} of {fact.amount_fen} fen are void")
    if len(payment.voided_contents) != len(voids):
        yield Finding("voided_once", subject, f"{len(voids)} voids are not what is remembered")
    if payment.voided_at is not None and (
        not voids
        or voids[-1][0] != payment.voided_at
        or voids[-1][1].amount_fen != payment.amount_fen
    ):
        yield Finding("voided_once", subject, f"void since {payment.voided_at}: no event says so")
    if payment.voided_at is not None and payment.applied_at is not None:
        yield Finding("voided_unused", subject, f"void, and in use since {payment.applied_at}")


def check_distributions(order: Order, events: Sequence[Event]) -> Iterator[Finding]:
    """Hold that an ending at a price shares out all that was held, and each side its share."""
    subject, share_bps = f"order:{order.order_id}", order.mcn_share_bps if order.mcn_id else 0
    total_fen = order.amount_fen + bps_of(order.amount_fen, order.policy.service_fee_bps)
    for event in events:
        match event.fact:
            case OrderCompleted() as fact:
                side_fen, fee_fen = fact.creator_fen + fact.mcn_fen, fact.fee_fen
                adds_up = (side_fen, side_fen + fee_fen) == (order.amount_fen, total_fen)
            case OrderCancelled() as fact if fact.cost_fen:
                side_fen, fee_fen = fact.creator_part_fen, fact.fee_part_fen
                adds_up = side_fen + fee_fen == fact.cost_fen == total_fen - fact.refund_fen
            case ForfeitReleased() as fact:
                side_fen = fact.creator_fen + fact.mcn_fen
                released_fen = side_fen + fact.platform_fen + fact.client_fen
                adds_up = released_fen == (order.deposit_fen if order.prepay_deposit else 0)
            case _:
                continue
        if not adds_up:
            yield Finding("shared_out", subject, f"{event.fact.type} does not add up")
        if fact.mcn_fen != bps_of(side_fen, share_bps):
            yield Finding(
                "agency_share", subject, f"the agency has {fact.mcn_fen} of {side_fen} fen"
            )


def check_payouts(
    subject: str, events: Sequence[Event], payouts: Sequence[Payout]
) -> Iterator[Finding]:
    """Hold that what is owed to the creator's side, and what has become of it, the events say.

    It leaves once until it comes back, and is reversed only while an operator holds it.
    """
    history = DebtHistory("payouts", subject)
    for event in events:
        match event.fact:
            case PayoutRequested() as fact:
                yield from history.open_debt(fact.payout_id, event)
            case (
                PayoutConfirmed()
                | PayoutFailed()
                | PayoutHeld()
                | PayoutReleased()
                | PayoutReversed()
            ) as fact:
                yield from history.continue_debt(fact.payout_id, event)
    yield from history.compare({payout.payout_id: payout for payout in payouts})
    transfers = Counter(
        (event.fact.refund_id, event.fact.client_id, event.fact.amount_fen)
        for event in events
        if isinstance(event.fact, RefundRequested) and event.fact.source == "payout"
    )
    reversals = Counter(
        (f"rv_{event.fact.payout_id}", event.fact.client_id, event.fact.amount_fen)
        for event in events
        if isinstance(event.fact, PayoutReversed) and event.fact.to == "client"
    )
    for refund_id, *_ in (transfers - reversals) + (reversals - transfers):
        yield Finding("transfers", subject, f"{refund_id} is not what a reversal says")


@dataclass(slots=True)
class DebtRecord:
    """What the events say of a refund or a payout: to whom, how much, and how far it is."""

    payee: tuple[str | None, ...]
    amount_fen: int
    requested_at: datetime
    status: str = "requested"
    attempt: int = 1
    confirmed_at: datetime | None = None
    held_at: datetime | None = None


@dataclass(slots=True)
class DebtHistory:
    """The refunds, or the payouts, that the events of a subject tell of."""

    law: str
    subject: str
    records: dict[str, DebtRecord] = field(default_factory=dict)

    def open_debt(self, debt_id: str, event: Event) -> Iterator[Finding]:
        """Let a refund or payout be owed."""
        fact: Any = event.fact
        if debt_id in self.records:
            yield Finding("owed_once", self.subject, debt_id)
        self.records[debt_id] = DebtRecord(_payee_of(fact), fact.amount_fen, event.at)
        if fact.attempt != 1:
            yield self._finding(debt_id, f"begins with attempt {fact.attempt}")

    def continue_debt(self, debt_id: str, event: Event) -> Iterator[Finding]:
        """Let something happen to a refund or payout, and hold that it could."""
        fact: Any = event.fact
        record = self.records.get(debt_id)
        if record is None:
            yield self._finding(debt_id, "was never owed")
            return
        if (_payee_of(fact), fact.amount_fen) != (record.payee, record.amount_fen):
            yield self._finding(debt_id, f"is another's, or another amount, in {event.id}")
        is_owed, is_held = record.status in ("requested", "failed"), record.held_at is not None
        match fact:
            case RefundConfirmed() | PayoutConfirmed():
                if not is_owed:
                    yield Finding("left_once", self.subject, debt_id)
                possible = fact.attempt == record.attempt
                record.status, record.confirmed_at = "confirmed", event.at
            case RefundFailed() | PayoutFailed():
                possible = is_owed or record.status == "confirmed"
                possible &= fact.came_back == (record.status == "confirmed")
                possible &= fact.attempt == record.attempt + 1
                record.status, record.attempt, record.confirmed_at = "failed", fact.attempt, None
            case RefundVoided():
                possible, record.status = is_owed, "voided"
            case PayoutHeld():
                possible, record.held_at = is_owed and not is_held, event.at
            case PayoutReleased():
                possible, record.held_at = is_owed and is_held, None
            case _:
                possible, record.status = is_owed and is_held, "reversed"
        if not possible:
            yield self._finding(debt_id, f"was not such that {event.id} could happen")

    def compare(self, debts: Mapping[str, Refund | Payout]) -> Iterator[Finding]:
        """Hold that what is recorded of refunds or payouts is what the events say."""
        recorded = {
            debt_id: DebtRecord(
                _payee_of(debt),
                debt.amount_fen,
                debt.requested_at,
                debt.status.value,
                debt.attempt,
                debt.confirmed_at,
                debt.held_at if isinstance(debt, Payout) else None,
            )
            for debt_id, debt in debts.items()
        }
        for debt_id in sorted(self.records.keys() | recorded.keys()):
            if self.records.get(debt_id) != recorded.get(debt_id):
                yield self._finding(debt_id, "is not what the events say")

    def _finding(self, debt_id: str, detail: str) -> Finding:
        return Finding(self.law, self.subject, f"{debt_id} {detail}")


def _payee_of(debt: Any) -> tuple[str | None, ...]:  # noqa: ANN401 - a fact, a refund or a payout
    return (debt.party,) if hasattr(debt, "party") else (debt.payment_id, debt.client_id)


def check_postings(
    subject: str, events: Sequence[Event], postings: Sequence[EventPosting]
) -> Iterator[Finding]:
    """Hold that every event moved exactly the money that it tells of, and nothing else did."""
    expected = Counter(
        (event.id, posting) for event in events for posting in _expected_postings(event)
    )
    recorded = Counter(postings)
    for event_id, posting in expected - recorded:
        yield Finding("posted", subject, f"{event_id} lacks {posting}")
    for event_id, posting in recorded - expected:
        yield Finding("posted", subject, f"{event_id} has no ground for {posting}")


def _expected_postings(event: Event) -> list[Posting]:
    """Say what an event moves: the ledger's rules once more, from the domain and not the code."""
    account, moves = f"escrow:{event.order_id}", list[tuple[str, str, int]]()
    match event.fact:
        case PaymentApplied(amount_fen=amount, source=source):
            moves = [(source, account, amount)]
        case PaymentUnapplied(amount_fen=amount, client_id=None):
            moves = [("psp", "suspense", amount)]
        case PaymentUnapplied(amount_fen=amount, client_id=client):
            target = f"refunds_payable:{client}"
            moves = [("psp", "suspense", amount), ("suspense", target, amount)]
        case RefundRequested(amount_fen=amount, client_id=client, source="escrow"):
            moves = [(account, f"refunds_payable:{client}", amount)]
        case RefundConfirmed(amount_fen=amount, client_id=client):
            moves = [(f"refunds_payable:{client}", "psp", amount)]
        case RefundFailed(amount_fen=amount, client_id=client, came_back=True):
            moves = [("psp", f"refunds_payable:{client}", amount)]
        case OrderForfeited(amount_fen=amount):
            moves = [(account, "forfeited_deposits", amount)]
        case OrderReinstated(amount_fen=amount):
            moves = [("forfeited_deposits", account, amount)]
        case _:
            moves = _expected_distribution(event.fact, account)
    return [Posting(*move) for move in moves]


def _expected_distribution(fact: Fact, account: str) -> list[tuple[str, str, int]]:
    """Say what a settlement moves, to the agency, the creator, the platform and the client."""
    moves: list[tuple[str, str, int]] = []
    match fact:
        case OrderCompleted(
            mcn_id=mcn_id, mcn_fen=mcn_fen, creator_id=creator_id, creator_fen=creator_fen
        ):
            moves = [
                (account, f"payable:mcn:{mcn_id}", mcn_fen),
                (account, f"payable:creator:{creator_id}", creator_fen),
            ]
            moves.append((account, "service_fees", fact.fee_fen))
        case OrderCancelled(mcn_id=mcn_id, mcn_fen=mcn_fen, creator_id=creator_id) if fact.cost_fen:
            creator_fen = fact.creator_part_fen - mcn_fen
            moves = [
                (account, f"payable:mcn:{mcn_id}", mcn_fen),
                (account, f"payable:creator:{creator_id}", creator_fen),
            ]
            moves.append((account, "service_fees", fact.fee_part_fen))
            moves.append((account, f"refunds_payable:{fact.client_id}", fact.refund_fen))
        case ForfeitReleased(
            mcn_id=mcn_id, mcn_fen=mcn_fen, creator_id=creator_id, creator_fen=creator_fen
        ):
            source = "forfeited_deposits"
            moves = [(source, "platform_income", fact.platform_fen)]
            moves.append((source, f"payable:mcn:{mcn_id}", mcn_fen))
            moves.append((source, f"payable:creator:{creator_id}", creator_fen))
            moves.append((source, f"refunds_payable:{fact.client_id}", fact.client_fen))
        case PayoutConfirmed(party=party, amount_fen=amount):
            moves = [(f"payable:{party}", "psp", amount)]
        case PayoutFailed(party=party, amount_fen=amount, came_back=True):
            moves = [("psp", f"payable:{party}", amount)]
        case PayoutReversed(party=party, amount_fen=amount, to="platform"):
            moves = [(f"payable:{party}", "platform_income", amount)]
        case PayoutReversed(party=party, amount_fen=amount, client_id=client):
            moves = [(f"payable:{party}", f"refunds_payable:{client}", amount)]
        case _:
            moves = _expected_decision(fact)
    return [move for move in moves if move[2]]


def _expected_decision(fact: Fact) -> list[tuple[str, str, int]]:
    """Say what an operator's decision on a payment moves: what waits in suspense, or a void."""
    moves: list[tuple[str, str, int]] = []
    match fact:
        case SuspenseResolved(amount_fen=amount, by=by, target_order_id=None) if by != "placement":
            moves = [("suspense", f"refunds_payable:{fact.client_id or 'unknown'}", amount)]
        case PaymentVoided(parts=parts):
            for part in parts:
                if part.client_id is not None:
                    moves.append((f"refunds_payable:{part.client_id}", "suspense", part.amount_fen))
                moves.append(("suspense", "psp", part.amount_fen))
    return moves


def check_refunds(
    subject: str, events: Sequence[Event], refunds: Sequence[Refund]
) -> Iterator[Finding]:
    """Hold that what is owed back, and what has become of it, the events say.

    It is owed once, and leaves once until it comes back.
    """
    history = DebtHistory("refunds", subject)
    requests = [event.fact for event in events if isinstance(event.fact, RefundRequested)]
    voided_ids = {event.fact.refund_id for event in events if isinstance(event.fact, RefundVoided)}
    request_counts = Counter(
        (fact.payment_id, fact.for_order_id, fact.source)
        for fact in requests
        if fact.payment_id is not None and fact.refund_id not in voided_ids
    )
    yield from (
        Finding("owed_once", subject, payment_id)
        for (payment_id, *_), count in request_counts.items()
        if count > 1
    )
    for event in events:
        match event.fact:
            case RefundRequested() as fact:
                yield from history.open_debt(fact.refund_id, event)
            case (RefundConfirmed() | RefundFailed() | RefundVoided()) as fact:
                yield from history.continue_debt(fact.refund_id, event)
    yield from history.compare({refund.refund_id: refund for refund in refunds})
