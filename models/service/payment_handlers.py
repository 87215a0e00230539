"""Payment handlers: payments, refunds and payouts confirmed, suspense resolved."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from models.commands.operators import ResolveSuspense
from models.commands.payments import ConfirmPayment, ConfirmPayout, ConfirmRefund
from models.events.parties import OperatorActed
from models.events.payments import (
    PayoutConfirmed,
    RefundConfirmed,
    RefundRequested,
    SuspenseResolved,
)
from models.ledger import UNKNOWN_CLIENT
from models.obligations import Payment, base_id, order_paid_out, orders_spelt, share_id
from models.orders import payments as order_payments
from models.orders.decision import Verdict, conclude, said_by
from models.reasons import Reason
from models.service.outcome import Settlement, applied, refused, why
from models.service.unit_of_work import Book, Events


def confirm_payment(book: Book, command: ConfirmPayment, at: datetime) -> Settlement:
    """Record money that has arrived, once; what becomes of each share its events say."""
    if command.by.role not in command.roles:
        return refused(Reason.NOT_ALLOWED)
    payment = book.payments.get(command.payment_id)
    if payment is not None:
        if payment.content == command.content():
            return applied((), outcome="duplicate")
        facts = (order_payments.conflict(command),)
        events = book.tell_payment(command.payment_id, facts, at, why(command))
        return refused(Reason.PAYMENT_CONFLICT, events)
    book.payments[command.payment_id] = Payment(
        payment_id=command.payment_id,
        content=command.content(),
        amount_fen=command.amount_fen,
        paid_at=min(command.paid_at, at),
        received_at=at,
        command_id=command.id,
    )
    return applied(_apply(book, command, at))


def _apply(book: Book, command: ConfirmPayment, at: datetime) -> Events:
    orders = [book.orders[s.order_id] for s in command.shares if s.order_id in book.orders]
    fault = order_payments.whole_fault(command, orders, book.policy.merged_payment_limit)
    if fault is not None:
        client_id = orders[0].client_id if orders else UNKNOWN_CLIENT
        facts = order_payments.send_back_whole(command, fault, client_id)
        return book.tell_payment(command.payment_id, facts, at, why(command))
    events: Events = ()
    for share in command.shares:
        order = book.orders.get(share.order_id)
        if order is None:
            facts = order_payments.keep_in_suspense(command, share)
            events += book.tell_payment(command.payment_id, facts, at, why(command))
            continue
        elapsed = book.elapsed(order, at)
        facts = order_payments.judge_share(elapsed.order, command, share, at)
        decision = conclude(elapsed, command.kind, facts, at, why(command))
        events += book.adopt(book.heeding(decision, at))
    return events


def _elapse(book: Book, order_ids: Iterable[str | None], at: datetime) -> Events:
    """Let time pass for orders first, as for everybody: a deadline may owe what is confirmed."""
    candidates = (book.orders.get(order_id) for order_id in order_ids if order_id is not None)
    orders = [order for order in candidates if order is not None]
    events: Events = ()
    for order in sorted(orders, key=lambda order: (order.lapses_at or at, order.order_id)):
        events += book.adopt(book.elapsed(order, at))
    return events


def confirm_refund(book: Book, command: ConfirmRefund, at: datetime) -> Settlement:
    """Record that a refund has left."""
    if command.by.role not in command.roles:
        return refused(Reason.NOT_ALLOWED)
    events = _elapse(book, orders_spelt(command.refund_id), at)
    refund = book.refunds.get(command.refund_id)
    if refund is None:
        return refused(Reason.UNKNOWN_REFUND, events)
    if refund.confirmed_at is not None:
        return refused(Reason.ALREADY_CONFIRMED, events)
    fact = RefundConfirmed(
        refund_id=refund.refund_id,
        payment_id=refund.payment_id,
        client_id=refund.client_id,
        amount_fen=refund.amount_fen,
    )
    if refund.order_id is None:
        return applied(events + book.tell_payment(refund.payment_id, (fact,), at, why(command)))
    decision = Verdict(book.orders[refund.order_id])
    return applied(events + book.adopt(decision.then([fact], at, why(command))))


def confirm_payout(book: Book, command: ConfirmPayout, at: datetime) -> Settlement:
    """Record that a payout has left."""
    if command.by.role not in command.roles:
        return refused(Reason.NOT_ALLOWED)
    events = _elapse(book, [order_paid_out(command.payout_id)], at)
    payout = book.payouts.get(command.payout_id)
    if payout is None:
        return refused(Reason.UNKNOWN_PAYOUT, events)
    if payout.confirmed_at is not None:
        return refused(Reason.ALREADY_CONFIRMED, events)
    fact = PayoutConfirmed(
        payout_id=payout.payout_id, party=payout.party, amount_fen=payout.amount_fen
    )
    decision = Verdict(book.orders[payout.order_id])
    return applied(events + book.adopt(decision.then([fact], at, why(command))))


def resolve_suspense(book: Book, command: ResolveSuspense, at: datetime) -> Settlement:
    """Let an operator send back a share for an order that nobody knew when it came."""
    if command.by.role not in command.roles:
        return refused(Reason.NOT_ALLOWED)
    share = book.suspended.get(share_id(command.payment_id, command.order_id))
    if share is None or share.resolved_at is not None:
        return refused(Reason.UNKNOWN_SUSPENSE)
    by, for_order_id = said_by(command), command.order_id
    resolved = SuspenseResolved(
        payment_id=share.payment_id,
        for_order_id=for_order_id,
        amount_fen=share.amount_fen,
        to=command.to,
        by=by,
        note=command.reason,
    )
    refund = RefundRequested(
        refund_id=base_id(share.payment_id, for_order_id),
        payment_id=share.payment_id,
        client_id=UNKNOWN_CLIENT,
        amount_fen=share.amount_fen,
        source="suspense",
        for_order_id=for_order_id,
    )
    acted = OperatorActed(by=by, note=command.reason, act=command.kind, before=None, after=None)
    facts = (resolved, refund, acted)
    return applied(book.tell_payment(share.payment_id, facts, at, why(command)))
