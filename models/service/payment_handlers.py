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
from models.ids import make_refund_base_id, parse_payout_order_id, parse_refund_order_ids, share_id
from models.ledger import UNKNOWN_CLIENT
from models.obligations import Payment
from models.orders import payments as order_payments
from models.orders.decision import Decision, conclude
from models.reasons import RejectionReason
from models.service.outcome import Outcome, applied, cause_of, rejected
from models.service.unit_of_work import RecordedEvents, UnitOfWork


def confirm_payment(uow: UnitOfWork, command: ConfirmPayment, at: datetime) -> Outcome:
    """Record money that has arrived, once; what becomes of each share its events say."""
    if command.by.role not in command.roles:
        return rejected(RejectionReason.NOT_ALLOWED)
    payment = uow.payments.get(command.payment_id)
    if payment is not None:
        if payment.content == command.content():
            return applied((), outcome="duplicate")
        facts = (order_payments.alert_payment_conflict(command),)
        events = uow.record_payment_facts(command.payment_id, facts, at, cause_of(command))
        return rejected(RejectionReason.PAYMENT_CONFLICT, events)
    uow.payments[command.payment_id] = Payment(
        payment_id=command.payment_id,
        content=command.content(),
        amount_fen=command.amount_fen,
        paid_at=min(command.paid_at, at),
        received_at=at,
        command_id=command.id,
    )
    return applied(_apply_payment(uow, command, at))


def _apply_payment(uow: UnitOfWork, command: ConfirmPayment, at: datetime) -> RecordedEvents:
    order_ids = [share.order_id for share in command.shares if share.order_id in uow.orders]
    orders = [uow.orders[order_id] for order_id in order_ids]
    reason = order_payments.find_whole_payment_fault(
        command, orders, uow.policy.merged_payment_limit
    )
    if reason is not None:
        client_id = orders[0].client_id if orders else UNKNOWN_CLIENT
        facts = order_payments.refund_whole_payment(command, reason, client_id)
        return uow.record_payment_facts(command.payment_id, facts, at, cause_of(command))
    events: RecordedEvents = ()
    for share in command.shares:
        order = uow.orders.get(share.order_id)
        if order is None:
            facts = order_payments.hold_in_suspense(command, share)
            events += uow.record_payment_facts(command.payment_id, facts, at, cause_of(command))
            continue
        elapsed = uow.elapse_order(order, at)
        facts = order_payments.apply_or_refund_share(elapsed.order, command, share, at)
        decision = conclude(elapsed, command.kind, facts, at, cause_of(command))
        events += uow.record_decision(uow.apply_standing(decision, at))
    return events


def confirm_refund(uow: UnitOfWork, command: ConfirmRefund, at: datetime) -> Outcome:
    """Record that a refund has left."""
    if command.by.role not in command.roles:
        return rejected(RejectionReason.NOT_ALLOWED)
    events = _elapse_orders(uow, parse_refund_order_ids(command.refund_id), at)
    refund = uow.refunds.get(command.refund_id)
    if refund is None:
        return rejected(RejectionReason.UNKNOWN_REFUND, events)
    if refund.confirmed_at is not None:
        return rejected(RejectionReason.ALREADY_CONFIRMED, events)
    fact = RefundConfirmed(
        refund_id=refund.refund_id,
        payment_id=refund.payment_id,
        client_id=refund.client_id,
        amount_fen=refund.amount_fen,
    )
    if refund.order_id is None:
        return applied(
            events + uow.record_payment_facts(refund.payment_id, (fact,), at, cause_of(command))
        )
    decision = Decision(uow.orders[refund.order_id])
    return applied(events + uow.record_decision(decision.then([fact], at, cause_of(command))))


def confirm_payout(uow: UnitOfWork, command: ConfirmPayout, at: datetime) -> Outcome:
    """Record that a payout has left."""
    if command.by.role not in command.roles:
        return rejected(RejectionReason.NOT_ALLOWED)
    events = _elapse_orders(uow, [parse_payout_order_id(command.payout_id)], at)
    payout = uow.payouts.get(command.payout_id)
    if payout is None:
        return rejected(RejectionReason.UNKNOWN_PAYOUT, events)
    if payout.confirmed_at is not None:
        return rejected(RejectionReason.ALREADY_CONFIRMED, events)
    fact = PayoutConfirmed(
        payout_id=payout.payout_id, party=payout.party, amount_fen=payout.amount_fen
    )
    decision = Decision(uow.orders[payout.order_id])
    return applied(events + uow.record_decision(decision.then([fact], at, cause_of(command))))


def _elapse_orders(
    uow: UnitOfWork, order_ids: Iterable[str | None], at: datetime
) -> RecordedEvents:
    """Let time pass for orders first: a deadline that passed may owe what is confirmed."""
    candidates = (uow.orders.get(order_id) for order_id in order_ids if order_id is not None)
    orders = [order for order in candidates if order is not None]
    events: RecordedEvents = ()
    for order in sorted(orders, key=lambda order: (order.lapses_at or at, order.order_id)):
        events += uow.record_decision(uow.elapse_order(order, at))
    return events


def resolve_suspense(uow: UnitOfWork, command: ResolveSuspense, at: datetime) -> Outcome:
    """Let an operator send back a share for an order that nobody knew when it came."""
    if command.by.role not in command.roles:
        return rejected(RejectionReason.NOT_ALLOWED)
    item = uow.suspended.get(share_id(command.payment_id, command.order_id))
    if item is None or item.resolved_at is not None:
        return rejected(RejectionReason.UNKNOWN_SUSPENSE)
    by, for_order_id = command.sender, command.order_id
    resolved = SuspenseResolved(
        payment_id=item.payment_id,
        for_order_id=for_order_id,
        amount_fen=item.amount_fen,
        to=command.to,
        by=by,
        note=command.reason,
    )
    refund = RefundRequested(
        refund_id=make_refund_base_id(item.payment_id, for_order_id),
        payment_id=item.payment_id,
        client_id=UNKNOWN_CLIENT,
        amount_fen=item.amount_fen,
        source="suspense",
        for_order_id=for_order_id,
    )
    operator_acted = OperatorActed(
        by=by, note=command.reason, act=command.kind, before=None, after=None
    )
    facts = (resolved, refund, operator_acted)
    return applied(uow.record_payment_facts(item.payment_id, facts, at, cause_of(command)))
