"""Payments: money that has arrived is a fact; each share is applied, sent back or suspended."""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta
from typing import Literal

from models.commands.payments import ConfirmPayment, PaymentShare
from models.events.event import Fact
from models.events.notifications import OperatorAlerted
from models.events.orders import OrderFunded, OrderOffered, OrderReinstated
from models.events.payments import PaymentApplied, PaymentUnapplied, RefundRequested
from models.fields import PaymentPurpose
from models.ids import make_refund_base_id
from models.lifecycle import EndReason, State
from models.orders.decision import deadline_fields, party_fields
from models.orders.order import Order
from models.reasons import Alert, UnappliedReason


def find_whole_payment_fault(
    command: ConfirmPayment, orders: list[Order], limit: int
) -> UnappliedReason | None:
    """Say why a payment must go back whole, or None.

    `orders` are those of its shares that exist; `limit` is how many shares make sense. Nobody
    else's order gets a client's money.
    """
    shares_by_order = Counter(share.order_id for share in command.shares)
    adds_up = sum(share.amount_fen for share in command.shares) == command.amount_fen
    if (
        not 1 <= len(command.shares) <= limit
        or not adds_up
        or len(shares_by_order) != len(command.shares)
    ):
        return UnappliedReason.SHARES_MISMATCH
    clients = {order.client_id for order in orders} | {command.client_id} - {None}
    return UnappliedReason.MIXED_CLIENTS if len(clients) > 1 else None


def refund_whole_payment(
    command: ConfirmPayment, reason: UnappliedReason, client_id: str
) -> tuple[Fact, ...]:
    """Owe the whole payment to `client_id`: to whoever paid, or may have."""
    refund = RefundRequested(
        refund_id=make_refund_base_id(command.payment_id, None),
        payment_id=command.payment_id,
        client_id=client_id,
        amount_fen=command.amount_fen,
        source="unapplied",
    )
    return (_payment_unapplied(command, command.amount_fen, reason, client_id), refund)


def hold_in_suspense(command: ConfirmPayment, share: PaymentShare) -> tuple[Fact, ...]:
    """Hold a share for an order that nobody knows in suspense: it may yet be placed."""
    reason = UnappliedReason.UNKNOWN_ORDER
    return (_payment_unapplied(command, share.amount_fen, reason, None, share.order_id),)


def apply_or_refund_share(
    order: Order, command: ConfirmPayment, share: PaymentShare, at: datetime
) -> tuple[Fact, ...]:
    """Apply a share if it is exactly what the order waits for; otherwise it alone goes back.

    `at` is when the notice was received. Whether the client was in time is a matter of `paid_at`,
    which is never later.
    """
    paid_at = min(command.paid_at, at)
    reason = find_unapplied_reason(order, share.amount_fen, paid_at, at, share.due)
    if reason is None:
        return apply_share(order, command.payment_id, share.amount_fen, at)
    refund = RefundRequested(
        refund_id=make_refund_base_id(command.payment_id, order.order_id),
        payment_id=command.payment_id,
        client_id=order.client_id,
        amount_fen=share.amount_fen,
        source="unapplied",
    )
    alert = _find_late_payment_alert(order, paid_at, at)
    alerts = () if alert is None else (_alert_about_payment(alert, command, share.amount_fen),)
    return (_payment_unapplied(command, share.amount_fen, reason, order.client_id), refund, *alerts)


def find_unapplied_reason(
    order: Order,
    amount_fen: int,
    paid_at: datetime,
    at: datetime,
    due: PaymentPurpose | None = None,
) -> UnappliedReason | None:
    """Say why the order has no use for a payment, in order of precedence, or None.

    `due` is what it was meant for: of what was meant for another nothing is due.
    """
    meant_for_this = due in (None, order.awaited_purpose)
    if meant_for_this and reinstates_order(order, amount_fen, paid_at, at):
        return None
    awaits_payment = order.state in (State.AWAITING_DEPOSIT, State.BALANCE_OVERDUE)
    # A stopped clock has no deadline, so nothing is late.
    deadline_runs = awaits_payment and not order.stoppers
    ended_unpaid = order.reason in (EndReason.DEPOSIT_NOT_PAID, EndReason.BALANCE_NOT_PAID)
    if (deadline_runs or ended_unpaid) and paid_at > order.pay_by:
        return UnappliedReason.LATE
    if order.is_final:
        return UnappliedReason.ORDER_CLOSED
    if order.balance_due_fen == 0 or not meant_for_this:
        return UnappliedReason.NOTHING_DUE
    return None if amount_fen == order.balance_due_fen else UnappliedReason.AMOUNT_MISMATCH


def reinstates_order(order: Order, amount_fen: int, paid_at: datetime, at: datetime) -> bool:
    """Tell whether a payment, made in time and noticed after the forfeiture, undoes it."""
    if order.reason != EndReason.BALANCE_NOT_PAID or paid_at > order.pay_by:
        return False
    forfeited_fen = sum(holding.amount_fen for holding in order.forfeited)
    noticed_by = order.entered_at + order.policy.late_notice_window
    return at <= noticed_by and forfeited_fen > 0 and amount_fen == order.total_fen - forfeited_fen


def apply_share(
    order: Order,
    payment_id: str,
    amount_fen: int,
    at: datetime,
    source: Literal["psp", "suspense"] = "psp",
) -> tuple[Fact, ...]:
    """Hold a share that is exactly what the order waits for, and let the order go on."""
    party_ids = party_fields(order)
    payment_applied = PaymentApplied(
        payment_id=payment_id, client_id=order.client_id, amount_fen=amount_fen, source=source
    )
    order_funded = fund_order(order, order.total_fen, at)
    if order.state is State.AWAITING_DEPOSIT:
        # The offer begins when we hear of the money: the creator loses nothing to a slow notice.
        return (payment_applied, OrderOffered(due_at=at + order.policy.accept_window, **party_ids))
    if order.state is State.OFFERED:
        return (payment_applied,)
    if order.state is State.FORFEITED:
        forfeited_fen = sum(holding.amount_fen for holding in order.forfeited)
        return (
            OrderReinstated(amount_fen=forfeited_fen, **party_ids),
            payment_applied,
            order_funded,
        )
    return (payment_applied, order_funded)


def fund_order(order: Order, held_fen: int, at: datetime) -> OrderFunded:
    """Say that everything is paid: `held_fen` in all, and the work may begin."""
    terms = deadline_fields(order, State.IN_FULFILMENT, at)
    return OrderFunded(held_fen=held_fen, **terms, **party_fields(order))


def _find_late_payment_alert(order: Order, paid_at: datetime, at: datetime) -> Alert | None:
    """Say what an operator should know of money that came for a forfeited order in good faith."""
    if order.state is not State.FORFEITED:
        return None
    noticed_by = order.entered_at + order.policy.late_notice_window
    if order.reason == EndReason.BALANCE_NOT_PAID and paid_at <= order.pay_by and at > noticed_by:
        return Alert.NOTICE_TOO_LATE
    client_left = order.reason == EndReason.CLIENT_CANCELLED and paid_at <= order.entered_at
    return Alert.PAID_BEFORE_FORFEIT if client_left else None


def find_paid_at_alert(
    command: ConfirmPayment, orders: list[Order], at: datetime, tolerance: timedelta
) -> tuple[OperatorAlerted, ...]:
    """Tell an operator of a payment made after `at`, or before one of its orders was placed.

    By more than clocks differ: it is usually a wrong time zone, and the next one may be late by it.
    """
    if command.paid_at - at > tolerance:
        return (_alert_about_payment(Alert.PAID_AT_IMPLAUSIBLE, command, command.amount_fen),)
    later_order_ids = [
        order.order_id for order in orders if order.placed_at - command.paid_at > tolerance
    ]
    return tuple(
        _alert_about_payment(Alert.PAID_AT_IMPLAUSIBLE, command, command.amount_fen, order_id)
        for order_id in later_order_ids[:1]
    )


def alert_payment_conflict(command: ConfirmPayment) -> OperatorAlerted:
    """Tell an operator that one payment id was reported with two contents."""
    return _alert_about_payment(Alert.PAYMENT_CONFLICT, command, command.amount_fen)


def _alert_about_payment(
    alert: Alert, command: ConfirmPayment, amount_fen: int, for_order_id: str | None = None
) -> OperatorAlerted:
    payment_id = command.payment_id
    return OperatorAlerted(
        alert=alert, payment_id=payment_id, amount_fen=amount_fen, for_order_id=for_order_id
    )


def _payment_unapplied(
    command: ConfirmPayment,
    amount_fen: int,
    reason: UnappliedReason,
    client_id: str | None,
    for_order_id: str | None = None,
) -> PaymentUnapplied:
    return PaymentUnapplied(
        payment_id=command.payment_id,
        client_id=client_id,
        amount_fen=amount_fen,
        reason=reason,
        for_order_id=for_order_id,
    )
