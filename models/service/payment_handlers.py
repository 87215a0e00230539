"""Payment handlers: payments confirmed, suspense resolved, wrong notices voided."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Literal, TypeGuard

from models.commands.operators import ResolveSuspense, VoidPayment
from models.commands.orders import PlaceOrder
from models.commands.payments import ConfirmPayment, PaymentShare
from models.errors import BrokenInvariant
from models.events.event import Fact
from models.events.notifications import Limits, ShareOutcome
from models.events.parties import OperatorActed
from models.events.payments import (
    BY_PLACEMENT,
    PaymentApplied,
    PaymentUnapplied,
    PaymentVoided,
    RefundRequested,
    RefundVoided,
    SuspenseResolved,
    VoidedPart,
)
from models.ids import make_refund_base_id, share_id
from models.ledger import UNKNOWN_CLIENT
from models.lifecycle import DebtStatus
from models.obligations import Payment, SuspenseItem
from models.orders import payments as order_payments
from models.orders.decide import late_share_limits
from models.orders.decision import Decision, conclude
from models.orders.order import Order
from models.reasons import RejectionReason, UnappliedReason
from models.service.debt_handlers import record_debt_facts, refund_fields
from models.service.outcome import Outcome, applied, cause_of, rejected
from models.service.unit_of_work import RecordedEvents, UnitOfWork


def confirm_payment(uow: UnitOfWork, command: ConfirmPayment, at: datetime, number: int) -> Outcome:
    """Record money that has arrived, once; what becomes of each share its events say."""
    if command.by.role not in command.roles:
        return rejected(RejectionReason.NOT_ALLOWED)
    previous = uow.payments.get(command.payment_id)
    if previous is not None and previous.was_reported_as(command.content()):
        return applied((), outcome="duplicate")
    if previous is not None and previous.voided_at is None:
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
        sequence=previous.sequence if previous else 0,
        client_id=command.client_id or (orders[0].client_id if orders else None),
        voided_contents=previous.voided_contents if previous else (),
    )
    events, shares = _use_payment(uow, command, orders, at, number)
    alerts = order_payments.find_paid_at_alert(command, orders, at, uow.policy.paid_at_tolerance)
    events += uow.record_payment_facts(command.payment_id, alerts, at, cause_of(command))
    return applied(events, shares=shares)


def _known_orders(uow: UnitOfWork, command: ConfirmPayment) -> list[Order]:
    order_ids = [share.order_id for share in command.shares if share.order_id in uow.orders]
    return [uow.orders[order_id] for order_id in order_ids]


def _use_payment(
    uow: UnitOfWork, command: ConfirmPayment, orders: list[Order], at: datetime, number: int
) -> tuple[RecordedEvents, tuple[ShareOutcome, ...]]:
    """Use each share of a payment, or send it back, or the whole; say what became of each."""
    reason = order_payments.find_whole_payment_fault(
        command, orders, uow.policy.merged_payment_limit
    )
    events: RecordedEvents = ()
    outcomes: list[ShareOutcome] = []
    if reason is not None:
        client_id = uow.payments[command.payment_id].client_id or UNKNOWN_CLIENT
        facts = order_payments.refund_whole_payment(command, reason, client_id)
        events = uow.record_payment_facts(command.payment_id, facts, at, cause_of(command))
        return events, tuple(_share_outcome(share, events) for share in command.shares)
    for share in command.shares:
        share_events = _use_share(uow, command, share, at, number)
        events += share_events
        outcomes.append(_share_outcome(share, share_events))
    return events, tuple(outcomes)


def _use_share(
    uow: UnitOfWork, command: ConfirmPayment, share: PaymentShare, at: datetime, number: int
) -> RecordedEvents:
    order, cause = uow.orders.get(share.order_id), cause_of(command)
    if order is None:
        facts = order_payments.hold_in_suspense(command, share)
        _suspend(uow, command, share, at, number)
        return uow.record_payment_facts(command.payment_id, facts, at, cause)
    elapsed = uow.elapse_order(order, at)
    facts = order_payments.apply_or_refund_share(elapsed.order, command, share, at)
    if any(isinstance(fact, PaymentApplied) for fact in facts):
        _note_applied(uow, command.payment_id, order.client_id, at)
    decision = conclude(elapsed, command.kind, facts, at, cause)
    return uow.record_decision(uow.apply_standing(decision, at))


def _share_outcome(share: PaymentShare, events: RecordedEvents) -> ShareOutcome:
    """Say what became of a share, given the events that its payment's notice made of it."""
    facts = [event.fact for event in events]
    unapplied = next((fact for fact in facts if isinstance(fact, PaymentUnapplied)), None)
    if unapplied is None:
        return ShareOutcome(order_id=share.order_id, outcome="applied")
    refund = next((fact for fact in facts if _sends_back(fact)), None)
    if refund is None:
        reason = unapplied.reason
        return ShareOutcome(order_id=share.order_id, outcome="suspense", reason=reason)
    return ShareOutcome(
        order_id=share.order_id,
        outcome="refunded",
        reason=unapplied.reason,
        refund_id=refund.refund_id,
        reference=refund.reference,
    )


def _sends_back(fact: Fact) -> TypeGuard[RefundRequested]:
    return isinstance(fact, RefundRequested) and fact.source == "unapplied"


def _note_applied(uow: UnitOfWork, payment_id: str, client_id: str, at: datetime) -> None:
    """Note that an order uses a payment's money: it is that client's, and can be voided no more."""
    payment = uow.payments[payment_id]
    applied_at = payment.applied_at or at
    uow.payments[payment_id] = replace(payment, client_id=client_id, applied_at=applied_at)


def _suspend(
    uow: UnitOfWork, command: ConfirmPayment, share: PaymentShare, at: datetime, number: int
) -> None:
    """Let a share wait: for whoever places its order in a moment, longer for whom it names."""
    key, policy = share_id(command.payment_id, share.order_id), uow.policy
    windows = [policy.placement_grace]
    if command.client_id is not None:
        windows.append(policy.late_notice_window)
    uow.suspended[key] = SuspenseItem(
        share_id=key,
        payment_id=command.payment_id,
        order_id=share.order_id,
        amount_fen=share.amount_fen,
        suspended_at=at,
        number=number,
        wake_at=at + policy.placement_grace,
        due=share.due,
        expires_at=at + max(windows),
    )


def apply_suspended_share(
    uow: UnitOfWork, item: SuspenseItem, placement: PlaceOrder, at: datetime
) -> RecordedEvents:
    """Judge a share once more, now that its order was placed at `at`: it is applied, or waits on.

    Nobody's order gets the money of another client. Where none is known yet, it is whoever places
    in time.
    """
    # Whoever was not told in time that the money waits is told first.
    events = uow.alert_suspense(item.share_id, at)
    payment, order = uow.payments[item.payment_id], uow.orders[item.order_id]
    is_in_time = item.expires_at is not None and at <= item.expires_at
    if not is_in_time or payment.client_id not in (None, order.client_id):
        return events
    uow.payments[item.payment_id] = replace(payment, client_id=order.client_id)
    elapsed = uow.elapse_order(order, at)
    if _suspended_share_fault(item, payment, elapsed.order, at) is not None:
        return events
    resolved = _suspense_resolved(item, "order", by=BY_PLACEMENT, note="", order=order)
    return events + _apply_from_suspense(uow, elapsed, resolved, at, cause_of(placement))


def _suspended_share_fault(
    item: SuspenseItem, payment: Payment, order: Order, at: datetime
) -> UnappliedReason | None:
    return order_payments.find_unapplied_reason(
        order, item.amount_fen, payment.paid_at, at, item.due
    )


def _suspense_resolved(
    item: SuspenseItem,
    to: Literal["refund", "order"],
    *,
    by: str,
    note: str,
    order: Order | None = None,
    client_id: str | None = None,
) -> SuspenseResolved:
    return SuspenseResolved(
        payment_id=item.payment_id,
        for_order_id=item.order_id,
        amount_fen=item.amount_fen,
        to=to,
        by=by,
        note=note,
        client_id=client_id if order is None else order.client_id,
        target_order_id=None if order is None else order.order_id,
    )


def _apply_from_suspense(
    uow: UnitOfWork, elapsed: Decision, resolved: SuspenseResolved, at: datetime, cause: str
) -> RecordedEvents:
    """Apply a share that leaves suspense to an order on which time has been enforced."""
    order, payment_id = elapsed.order, resolved.payment_id
    events = uow.record_payment_facts(payment_id, (resolved,), at, cause)
    _note_applied(uow, payment_id, order.client_id, at)
    facts = order_payments.apply_share(order, payment_id, resolved.amount_fen, at, "suspense")
    decision = conclude(elapsed, "confirm_payment", facts, at, cause)
    return events + uow.record_decision(uow.apply_standing(decision, at))


def resolve_suspense(uow: UnitOfWork, command: ResolveSuspense, at: datetime) -> Outcome:
    """Let an operator send back a share for an order that nobody knew, or give it to another."""
    target_id = command.target_order_id
    if target_id is not None and target_id not in uow.orders:
        return rejected(RejectionReason.UNKNOWN_ORDER)
    if command.by.role not in command.roles:
        return rejected(RejectionReason.NOT_ALLOWED)
    events = uow.elapse_orders((command.order_id, target_id), at)
    item = uow.suspended.get(share_id(command.payment_id, command.order_id))
    if item is None or item.resolved_at is not None:
        return rejected(RejectionReason.UNKNOWN_SUSPENSE, events)
    if target_id is not None:
        target = uow.orders[target_id]
        refusal = _transfer_refusal(uow, item, target, at)
        if refusal is RejectionReason.LATE:
            limits = late_share_limits(target, command.by.role, at)
            return rejected(refusal, events, limits=limits)
        if refusal is not None:
            return rejected(refusal, events)
    # Whoever was not told in time that the money waits is told first.
    events += uow.alert_suspense(item.share_id, at)
    events += (
        _refund_suspended(uow, item, command, at)
        if target_id is None
        else _transfer_suspended(uow, item, command, uow.orders[target_id], at)
    )
    return applied(events + _record_operator_act(uow, command, at))


def _transfer_refusal(
    uow: UnitOfWork, item: SuspenseItem, order: Order, at: datetime
) -> RejectionReason | None:
    """Say why a share cannot go to an order as if it were received now, in order of precedence."""
    payment, reasons = uow.payments[item.payment_id], list[RejectionReason]()
    if payment.client_id not in (None, order.client_id):
        reasons.append(RejectionReason.MIXED_CLIENTS)
    fault = _suspended_share_fault(item, payment, order, at)
    if fault is not None:
        reasons.append(RejectionReason(fault.value))
    return min(reasons, key=list(RejectionReason).index, default=None)


def _transfer_suspended(
    uow: UnitOfWork, item: SuspenseItem, command: ResolveSuspense, order: Order, at: datetime
) -> RecordedEvents:
    resolved = _suspense_resolved(
        item, command.to, by=command.sender, note=command.reason, order=order
    )
    return _apply_from_suspense(uow, Decision(order), resolved, at, cause_of(command))


def _refund_suspended(
    uow: UnitOfWork, item: SuspenseItem, command: ResolveSuspense, at: datetime
) -> RecordedEvents:
    client_id = uow.payments[item.payment_id].client_id or UNKNOWN_CLIENT
    resolved = _suspense_resolved(
        item, command.to, by=command.sender, note=command.reason, client_id=client_id
    )
    refund = RefundRequested(
        refund_id=make_refund_base_id(item.payment_id, item.order_id),
        payment_id=item.payment_id,
        client_id=client_id,
        amount_fen=item.amount_fen,
        source="suspense",
        for_order_id=item.order_id,
    )
    return uow.record_payment_facts(item.payment_id, (resolved, refund), at, cause_of(command))


def void_payment(uow: UnitOfWork, command: VoidPayment, at: datetime) -> Outcome:
    """Let an operator undo a notice that was wrong, as if its money had never come."""
    if command.by.role not in command.roles:
        return rejected(RejectionReason.NOT_ALLOWED)
    payment = uow.payments.get(command.payment_id)
    if payment is None:
        return rejected(RejectionReason.UNKNOWN_PAYMENT)
    refunds = uow.refunds_of(payment.payment_id)
    events = uow.elapse_orders([refund.order_id for refund in refunds], at)
    if payment.voided_at is not None:
        limits: Limits = {"state": DebtStatus.VOIDED.value}
        return rejected(RejectionReason.WRONG_STATE, events, limits=limits)
    if payment.applied_at is not None or any(
        refund.status is DebtStatus.CONFIRMED for refund in refunds
    ):
        return rejected(RejectionReason.PAYMENT_IN_USE, events)
    # Whoever was to be told by now that the money waits would have been.
    for refund in refunds:
        events += uow.alert_overdue("refund", refund.refund_id, at)
    for item in uow.suspended_of(payment.payment_id):
        events += uow.alert_suspense(item.share_id, at)
    events += _record_void(uow, payment.payment_id, command, at)
    for refund in refunds:
        fact = RefundVoided(**refund_fields(refund))
        events += record_debt_facts(uow, refund, (fact,), at, command)
    return applied(events + _record_operator_act(uow, command, at))


def _record_void(
    uow: UnitOfWork, payment_id: str, command: VoidPayment, at: datetime
) -> RecordedEvents:
    """Take back all that a payment's notice moved: what is owed of it, and what is in suspense.

    Raise `BrokenInvariant` if that is not the whole payment.
    """
    payment = uow.payments[payment_id]
    parts = tuple(
        VoidedPart(client_id=client_id, amount_fen=amount_fen)
        for client_id, amount_fen in (
            *((refund.client_id, refund.amount_fen) for refund in uow.refunds_of(payment_id)),
            *((None, item.amount_fen) for item in uow.suspended_of(payment_id)),
        )
    )
    if sum(part.amount_fen for part in parts) != payment.amount_fen:
        raise BrokenInvariant(f"not all of payment {payment_id} is owed back or in suspense")
    uow.payments[payment_id] = replace(
        payment, voided_at=at, voided_contents=(*payment.voided_contents, payment.content)
    )
    fact = PaymentVoided(
        payment_id=payment_id,
        amount_fen=payment.amount_fen,
        parts=parts,
        by=command.sender,
        note=command.reason,
    )
    return uow.record_payment_facts(payment_id, (fact,), at, cause_of(command))


def _record_operator_act(
    uow: UnitOfWork, command: ResolveSuspense | VoidPayment, at: datetime
) -> RecordedEvents:
    """Write into the operators' log what one has done to a payment."""
    acted = OperatorActed(
        by=command.sender, note=command.reason, act=command.kind, before=None, after=None
    )
    return uow.record_payment_facts(command.payment_id, (acted,), at, cause_of(command))
