"""Ledger checks: invariants of the money, recomputed from the events by other code."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

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
    PayoutConfirmed,
    PayoutRequested,
    RefundConfirmed,
    RefundRequested,
    SuspenseResolved,
)
from models.ledger import Posting
from models.obligations import Payout, Refund
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
    arrivals = Counter(
        fact.payment_id for fact in facts if isinstance(fact, PaymentApplied | PaymentUnapplied)
    )
    yield from (
        Finding("came_once", subject, payment_id)
        for payment_id, count in arrivals.items()
        if count > 1
    )
    unapplied_payments = Counter(
        (fact.payment_id, fact.amount_fen) for fact in facts if isinstance(fact, PaymentUnapplied)
    )
    applied_payments = Counter(
        (fact.payment_id, fact.amount_fen) for fact in facts if isinstance(fact, PaymentApplied)
    )
    refund_facts = [fact for fact in facts if isinstance(fact, RefundRequested)]
    unapplied_refunds = Counter(
        (fact.payment_id, fact.amount_fen) for fact in refund_facts if fact.source == "unapplied"
    )
    escrow_refunds = Counter(
        (fact.payment_id, fact.amount_fen) for fact in refund_facts if fact.source == "escrow"
    )
    applied_fen = dict(applied_payments.keys())
    for payment_id, _ in [
        *(unapplied_payments - unapplied_refunds),
        *(unapplied_refunds - unapplied_payments),
    ]:
        yield Finding("unused_goes_back", subject, f"{payment_id} was not sent back as it came")
    for payment_id, _ in escrow_refunds - applied_payments:
        yield Finding("back_as_it_came", subject, f"{payment_id} went back otherwise than it came")
    for fact in refund_facts:
        is_partial = fact.source in ("cancellation", "forfeit")
        if is_partial and fact.amount_fen > applied_fen.get(fact.payment_id, 0):
            yield Finding("back_as_it_came", subject, f"more of {fact.payment_id} than came")
    if sum(isinstance(fact, OrderFunded) for fact in facts) > 1:
        yield Finding("funded_once", subject, "order.funded happened again")


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
    """Hold that what is owed to the creator's side and what has left is what the events say."""
    confirmations = {
        event.fact.payout_id: event.at
        for event in events
        if isinstance(event.fact, PayoutConfirmed)
    }
    requests = [
        (event.at, event.fact) for event in events if isinstance(event.fact, PayoutRequested)
    ]
    expected = Counter(
        (fact.payout_id, fact.party, fact.amount_fen, at, confirmations.get(fact.payout_id))
        for at, fact in requests
    )
    recorded = Counter(
        (
            payout.payout_id,
            payout.party,
            payout.amount_fen,
            payout.requested_at,
            payout.confirmed_at,
        )
        for payout in payouts
    )
    for payout_id, *_ in (expected - recorded) + (recorded - expected):
        yield Finding("payouts", subject, f"{payout_id} is not what the events say")
    for payout_id in confirmations.keys() - {fact.payout_id for _, fact in requests}:
        yield Finding("payouts", subject, f"{payout_id} left and was never owed")


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
        case SuspenseResolved(amount_fen=amount, by=by) if by != "placement":
            moves = [("suspense", "refunds_payable:unknown", amount)]
    return [move for move in moves if move[2]]


def check_refunds(
    subject: str, events: Sequence[Event], refunds: Sequence[Refund]
) -> Iterator[Finding]:
    """Hold that what is owed and what has left is what the events say, each once."""
    requests = [
        (event.at, event.fact) for event in events if isinstance(event.fact, RefundRequested)
    ]
    confirmations = [
        (event.at, event.fact) for event in events if isinstance(event.fact, RefundConfirmed)
    ]
    confirmed_counts = Counter(fact.refund_id for _, fact in confirmations)
    yield from (
        Finding("left_once", subject, refund_id)
        for refund_id, count in confirmed_counts.items()
        if count > 1
    )
    request_counts = Counter((fact.payment_id, fact.for_order_id) for _, fact in requests)
    yield from (
        Finding("owed_once", subject, payment_id)
        for (payment_id, _), count in request_counts.items()
        if count > 1
    )
    confirmed_at = {fact.refund_id: at for at, fact in confirmations}
    expected = {
        fact.refund_id: (
            fact.payment_id,
            fact.client_id,
            fact.amount_fen,
            at,
            confirmed_at.get(fact.refund_id),
        )
        for at, fact in requests
    }
    recorded = {
        refund.refund_id: (
            refund.payment_id,
            refund.client_id,
            refund.amount_fen,
            refund.requested_at,
            refund.confirmed_at,
        )
        for refund in refunds
    }
    for refund_id in sorted(expected.keys() | recorded.keys() | confirmed_at.keys()):
        if expected.get(refund_id) != recorded.get(refund_id) or refund_id not in expected:
            yield Finding("refunds", subject, f"{refund_id} is not what the events say")
