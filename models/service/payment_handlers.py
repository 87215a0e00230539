"""Payment handlers: payments confirmed, suspense resolved."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from models.commands.operators import ResolveSuspense
from models.commands.orders import PlaceOrder
from models.commands.payments import ConfirmPayment, PaymentShare
from models.events.parties import OperatorActed
from models.events.payments import (
    BY_PLACEMENT,
    TO_ORDER,
    RefundRequested,
    SuspenseResolved,
)
from models.ids import make_refund_base_id, share_id
from models.ledger import UNKNOWN_CLIENT
from models.obligations import Payment, SuspenseItem
from models.orders import payments as order_payments
from models.orders.decision import conclude
from models.orders.order import Order
from models.reasons import RejectionReason
from models.service.outcome import Outcome, applied, cause_of, rejected
from models.service.unit_of_work import RecordedEvents, UnitOfWork


def confirm_payment(uow: UnitOfWork, command: ConfirmPayment, at: datetime, number: int) -> Outcome:
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
    orders = _known_orders(uow, command)
    uow.payments[command.payment_id] = Payment(
        payment_id=command.payment_id,
        content=command.content(),
        amount_fen=command.amount_fen,
        paid_at=min(command.paid_at, at),
        received_at=at,
        command_id=command.id,
        client_id=orders[0].client_id if orders else None,
    )
    return applied(_apply_payment(uow, command, orders, at, number))


def _known_orders(uow: UnitOfWork, command: ConfirmPayment) -> list[Order]:
    order_ids = [share.order_id for share in command.shares if share.order_id in uow.orders]
    return [uow.orders[order_id] for order_id in order_ids]


def _apply_payment(
    uow: UnitOfWork, command: ConfirmPayment, orders: list[Order], at: datetime, number: int
) -> RecordedEvents:
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
            _suspend(uow, command.payment_id, share, at, number)
            continue
        elapsed = uow.elapse_order(order, at)
        facts = order_payments.apply_or_refund_share(elapsed.order, command, share, at)
        decision = conclude(elapsed, command.kind, facts, at, cause_of(command))
        events += uow.record_decision(uow.apply_standing(decision, at))
    return events


def _suspend(
    uow: UnitOfWork, payment_id: str, share: PaymentShare, at: datetime, number: int
) -> None:
    key = share_id(payment_id, share.order_id)
    uow.suspended[key] = SuspenseItem(
        share_id=key,
        payment_id=payment_id,
        order_id=share.order_id,
        amount_fen=share.amount_fen,
        suspended_at=at,
        number=number,
        wake_at=at + uow.policy.placement_grace,
    )


def apply_suspended_share(
    uow: UnitOfWork, item: SuspenseItem, placement: PlaceOrder, at: datetime
) -> RecordedEvents:
    """Judge a share once more, now that its order was placed at `at`: it is applied, or waits on.

    Nobody's order gets the money of another client. Where none is known yet, it is whoever places
    in time.
    """
    payment, order = uow.payments[item.payment_id], uow.orders[item.order_id]
    is_in_time = at <= item.suspended_at + uow.policy.placement_grace
    if not is_in_time or payment.client_id not in (None, order.client_id):
        return ()
    uow.payments[item.payment_id] = replace(payment, client_id=order.client_id)
    elapsed, cause = uow.elapse_order(order, at), cause_of(placement)
    amount_fen = item.amount_fen
    if order_payments.find_unapplied_reason(elapsed.order, amount_fen, payment.paid_at, at):
        return ()
    resolved = SuspenseResolved(
        payment_id=item.payment_id,
        for_order_id=item.order_id,
        amount_fen=amount_fen,
        to=TO_ORDER,
        by=BY_PLACEMENT,
        note="",
    )
    events = uow.record_payment_facts(item.payment_id, (resolved,), at, cause)
    facts = order_payments.apply_share(elapsed.order, item.payment_id, amount_fen, at, "suspense")
    decision = conclude(elapsed, "confirm_payment", facts, at, cause)
    return events + uow.record_decision(uow.apply_standing(decision, at))


def resolve_suspense(uow: UnitOfWork, command: ResolveSuspense, at: datetime) -> Outcome:
    """Let an operator send back a share for an order that nobody knew when it came."""
    if command.by.role not in command.roles:
        return rejected(RejectionReason.NOT_ALLOWED)
    events = uow.elapse_orders([command.order_id], at)
    item = uow.suspended.get(share_id(command.payment_id, command.order_id))
    if item is None or item.resolved_at is not None:
        return rejected(RejectionReason.UNKNOWN_SUSPENSE, events)
    # Whoever was not told in time that the money waits is told first.
    events += uow.alert_suspense(item.share_id, at)
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
    return applied(events + uow.record_payment_facts(item.payment_id, facts, at, cause_of(command)))
