"""Money laws: what is always true of the money, recomputed from the facts by other code."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from models.debts import Payout
from models.events import Event, Fact
from models.laws import Finding, part
from models.ledger import Posting
from models.money_events import (
    PaymentApplied,
    PaymentUnapplied,
    PayoutConfirmed,
    PayoutRequested,
    RefundConfirmed,
    RefundRequested,
    SuspenseResolved,
)
from models.order import Order
from models.order_events import (
    ForfeitReleased,
    OrderCancelled,
    OrderCompleted,
    OrderForfeited,
    OrderFunded,
    OrderReinstated,
)
from models.refunds import Refund

Posted = tuple[str, Posting]
"""A posting with the id of the event that made it."""


def escrow(order: Order, posted: Sequence[Posted]) -> Iterator[Finding]:
    """Hold that the order's own account is what it holds, was never in debt, and ends empty."""
    own, balance = f"escrow:{order.order_id}", 0
    for event_id, one in posted:
        balance += one.amount_fen * ((one.target == own) - (one.source == own))
        if balance < 0:
            yield Finding("no_debts", own, f"{balance} fen after {event_id}")
    if balance != order.held_fen:
        yield Finding("escrow", own, f"{balance} fen, and the order holds {order.held_fen}")
    if order.is_final and balance:
        yield Finding("final_escrow", own, f"{balance} fen, and the order is {order.state}")


def fates(subject: str, events: Sequence[Event]) -> Iterator[Finding]:
    """Hold that a payment comes and goes back once, as it came, and that work begins once."""
    facts = [one.fact for one in events]
    came = Counter(
        one.payment_id for one in facts if isinstance(one, PaymentApplied | PaymentUnapplied)
    )
    yield from (Finding("came_once", subject, pay) for pay, times in came.items() if times > 1)
    unused = Counter((f.payment_id, f.amount_fen) for f in facts if isinstance(f, PaymentUnapplied))
    used = Counter((f.payment_id, f.amount_fen) for f in facts if isinstance(f, PaymentApplied))
    back = [one for one in facts if isinstance(one, RefundRequested)]
    owed = Counter((f.payment_id, f.amount_fen) for f in back if f.source == "unapplied")
    freed = Counter((f.payment_id, f.amount_fen) for f in back if f.source == "escrow")
    shares = dict(used.keys())
    for pay, _ in [*(unused - owed), *(owed - unused)]:
        yield Finding("unused_goes_back", subject, f"{pay} was not sent back as it came")
    for pay, _ in freed - used:
        yield Finding("back_as_it_came", subject, f"{pay} went back otherwise than it came")
    for fact in back:
        rest = fact.source in ("cancellation", "forfeit")
        if rest and fact.amount_fen > shares.get(fact.payment_id, 0):
            yield Finding("back_as_it_came", subject, f"more of {fact.payment_id} than came")
    if sum(isinstance(one, OrderFunded) for one in facts) > 1:
        yield Finding("funded_once", subject, "order.funded happened again")


def settlements(order: Order, events: Sequence[Event]) -> Iterator[Finding]:
    """Hold that an ending at a price shares out all that was held, and each side its share."""
    where, share = f"order:{order.order_id}", order.mcn_share_bps if order.mcn_id else 0
    total = order.amount_fen + part(order.amount_fen, order.policy.service_fee_bps)
    for event in events:
        match event.fact:
            case OrderCompleted() as fact:
                side, rest = fact.creator_fen + fact.mcn_fen, fact.fee_fen
                right = (side, side + rest) == (order.amount_fen, total)
            case OrderCancelled() as fact if fact.cost_fen:
                side, rest = fact.creator_part_fen, fact.fee_part_fen
                right = side + rest == fact.cost_fen == total - fact.refund_fen
            case ForfeitReleased() as fact:
                side = fact.creator_fen + fact.mcn_fen
                lost = side + fact.platform_fen + fact.client_fen
                right = lost == (order.deposit_fen if order.prepay_deposit else 0)
            case _:
                continue
        if not right:
            yield Finding("shared_out", where, f"{event.fact.type} does not add up")
        if fact.mcn_fen != part(side, share):
            yield Finding("agency_share", where, f"the agency has {fact.mcn_fen} of {side} fen")


def payouts(subject: str, events: Sequence[Event], payouts: Sequence[Payout]) -> Iterator[Finding]:
    """Hold that what is owed to the creator's side and what has left is what the events say."""
    left = {f.fact.payout_id: f.at for f in events if isinstance(f.fact, PayoutConfirmed)}
    asked = [(one.at, one.fact) for one in events if isinstance(one.fact, PayoutRequested)]
    wanted = Counter(
        (f.payout_id, f.party, f.amount_fen, at, left.get(f.payout_id)) for at, f in asked
    )
    written = Counter(
        (one.payout_id, one.party, one.amount_fen, one.requested_at, one.confirmed_at)
        for one in payouts
    )
    for name, *_ in (wanted - written) + (written - wanted):
        yield Finding("payouts", subject, f"{name} is not what the events say")
    for name in left.keys() - {fact.payout_id for _, fact in asked}:
        yield Finding("payouts", subject, f"{name} left and was never owed")


def postings(subject: str, events: Sequence[Event], posted: Sequence[Posted]) -> Iterator[Finding]:
    """Hold that every event moved exactly the money that it tells of, and nothing else did."""
    wanted = Counter((event.id, one) for event in events for one in _moved(event))
    written = Counter(posted)
    for event_id, one in wanted - written:
        yield Finding("posted", subject, f"{event_id} lacks {one}")
    for event_id, one in written - wanted:
        yield Finding("posted", subject, f"{event_id} has no ground for {one}")


def _moved(event: Event) -> list[Posting]:
    """Say what an event moves: the ledger's rules once more, from the domain and not the code."""
    own, moves = f"escrow:{event.order_id}", []
    match event.fact:
        case PaymentApplied(amount_fen=amount):
            moves = [("psp", own, amount)]
        case PaymentUnapplied(amount_fen=amount, client_id=None):
            moves = [("psp", "suspense", amount)]
        case PaymentUnapplied(amount_fen=amount, client_id=client):
            to = f"refunds_payable:{client}"
            moves = [("psp", "suspense", amount), ("suspense", to, amount)]
        case RefundRequested(amount_fen=amount, client_id=client, source="escrow"):
            moves = [(own, f"refunds_payable:{client}", amount)]
        case RefundConfirmed(amount_fen=amount, client_id=client):
            moves = [(f"refunds_payable:{client}", "psp", amount)]
        case OrderForfeited(amount_fen=amount):
            moves = [(own, "forfeited_deposits", amount)]
        case OrderReinstated(amount_fen=amount):
            moves = [("forfeited_deposits", own, amount)]
        case _:
            moves = _settled(event.fact, own)
    return [Posting(*one) for one in moves]


def _settled(fact: Fact, own: str) -> list[tuple[str, str, int]]:
    """Say what a settlement moves, to the agency, the creator, the platform and the client."""
    moves: list[tuple[str, str, int]] = []
    match fact:
        case OrderCompleted(mcn_id=mcn, mcn_fen=agency, creator_id=who, creator_fen=rest):
            moves = [(own, f"payable:mcn:{mcn}", agency), (own, f"payable:creator:{who}", rest)]
            moves.append((own, "service_fees", fact.fee_fen))
        case OrderCancelled(mcn_id=mcn, mcn_fen=agency, creator_id=who) if fact.cost_fen:
            rest = fact.creator_part_fen - agency
            moves = [(own, f"payable:mcn:{mcn}", agency), (own, f"payable:creator:{who}", rest)]
            moves.append((own, "service_fees", fact.fee_part_fen))
            moves.append((own, f"refunds_payable:{fact.client_id}", fact.refund_fen))
        case ForfeitReleased(mcn_id=mcn, mcn_fen=agency, creator_id=who, creator_fen=rest):
            source = "forfeited_deposits"
            moves = [(source, "platform_income", fact.platform_fen)]
            moves.append((source, f"payable:mcn:{mcn}", agency))
            moves.append((source, f"payable:creator:{who}", rest))
            moves.append((source, f"refunds_payable:{fact.client_id}", fact.client_fen))
        case PayoutConfirmed(party=party, amount_fen=amount):
            moves = [(f"payable:{party}", "psp", amount)]
        case SuspenseResolved(amount_fen=amount):
            moves = [("suspense", "refunds_payable:unknown", amount)]
    return [one for one in moves if one[2]]


def refunds(subject: str, events: Sequence[Event], refunds: Sequence[Refund]) -> Iterator[Finding]:
    """Hold that what is owed and what has left is what the events say, each once."""
    asked = [(one.at, one.fact) for one in events if isinstance(one.fact, RefundRequested)]
    left = [(one.at, one.fact) for one in events if isinstance(one.fact, RefundConfirmed)]
    names = Counter(fact.refund_id for _, fact in left)
    yield from (Finding("left_once", subject, name) for name, times in names.items() if times > 1)
    pairs = Counter((fact.payment_id, fact.for_order_id) for _, fact in asked)
    yield from (
        Finding("owed_once", subject, pay) for (pay, _), times in pairs.items() if times > 1
    )
    gone = {fact.refund_id: at for at, fact in left}
    wanted = {
        fact.refund_id: (
            fact.payment_id,
            fact.client_id,
            fact.amount_fen,
            at,
            gone.get(fact.refund_id),
        )
        for at, fact in asked
    }
    written = {
        one.refund_id: (
            one.payment_id,
            one.client_id,
            one.amount_fen,
            one.requested_at,
            one.confirmed_at,
        )
        for one in refunds
    }
    for name in sorted(wanted.keys() | written.keys() | gone.keys()):
        if wanted.get(name) != written.get(name) or name not in wanted:
            yield Finding("refunds", subject, f"{name} is not what the events say")
