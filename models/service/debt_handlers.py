"""Debt handlers: refunds and payouts that leave, fail or come back, are held or reversed.

Before any of them is heard, time is enforced: for the order, since a deadline may owe what is
named, and for the debt, whose wait for a confirmation ends or begins anew.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any

from models.commands.command import Command
from models.commands.operators import HoldPayout, ReleasePayout, ReversePayout
from models.commands.payments import (
    ConfirmPayout,
    ConfirmRefund,
    FailPayout,
    FailRefund,
    PayoutCommand,
    RefundCommand,
)
from models.events.event import Fact
from models.events.parties import OperatorActed, PayoutSnapshot
from models.events.payments import (
    PayoutConfirmed,
    PayoutFailed,
    PayoutHeld,
    PayoutReleased,
    PayoutReversed,
    RefundConfirmed,
    RefundFailed,
    RefundRequested,
)
from models.ids import (
    make_transfer_id,
    parse_payout_order_id,
    parse_reference,
    parse_refund_order_ids,
    subject_key,
)
from models.lifecycle import ENDED_STATUSES, OWED_STATUSES, DebtStatus
from models.obligations import Debt, Payout, Refund, find_debt, make_debt_alert
from models.orders.decision import Decision
from models.reasons import Alert, RejectionReason
from models.service.outcome import Outcome, applied, cause_of, rejected
from models.service.unit_of_work import RecordedEvents, UnitOfWork

DebtResult = RejectionReason | tuple[Fact, ...]
"""What a handler answers: why it refuses, or the facts that follow."""


def handle_refund(uow: UnitOfWork, command: RefundCommand, at: datetime) -> Outcome:
    """Handle a command about one refund."""
    if command.by.role not in command.roles:
        return rejected(RejectionReason.NOT_ALLOWED)
    order_ids: tuple[str | None, ...] = parse_refund_order_ids(command.refund_id)
    early_refund, _ = find_debt(uow.refunds, command.refund_id)
    if early_refund is not None:
        order_ids = (*order_ids, early_refund.order_id, early_refund.for_order_id)
    events, refund, attempt = _find_in_time(
        uow, "refund", uow.refunds, command.refund_id, order_ids, at
    )
    if refund is None:
        return rejected(RejectionReason.UNKNOWN_REFUND, events)
    result = _REFUND_HANDLERS[type(command)](command, refund, attempt)
    return _conclude(uow, command, refund, result, events, at)


def handle_payout(uow: UnitOfWork, command: PayoutCommand, at: datetime) -> Outcome:
    """Handle a command about one payout."""
    if command.by.role not in command.roles:
        return rejected(RejectionReason.NOT_ALLOWED)
    order_ids = [parse_payout_order_id(command.payout_id)]
    events, payout, attempt = _find_in_time(
        uow, "payout", uow.payouts, command.payout_id, order_ids, at
    )
    if payout is None:
        return rejected(RejectionReason.UNKNOWN_PAYOUT, events)
    result = _PAYOUT_HANDLERS[type(command)](command, payout, attempt, uow)
    return _conclude(uow, command, payout, result, events, at)


def _find_in_time(
    uow: UnitOfWork,
    kind: str,
    debts: Mapping[str, Debt],
    name: str,
    order_ids: Iterable[str | None],
    at: datetime,
) -> tuple[RecordedEvents, Debt | None, int | None]:
    """Enforce time, then find what a command names, and the attempt if it names one."""
    events = uow.elapse_orders((*order_ids, *_orders_of_reference(uow, name)), at)
    debt, attempt = find_debt(debts, name)
    if debt is None:
        return events, None, None
    events += uow.alert_overdue(kind, debt.debt_id, at)
    return events, debts[debt.debt_id], attempt


def _orders_of_reference(uow: UnitOfWork, name: str) -> list[str]:
    """Return the order in whose events a reference is told of, if it is one and that is at hand.

    What it names may only be owed once time has passed for that order.
    """
    reference = parse_reference(name)
    if reference is None:
        return []
    key = subject_key(reference.home)
    return [order_id for order_id in uow.orders if subject_key(f"order:{order_id}") == key]


def _conclude(
    uow: UnitOfWork,
    command: RefundCommand | PayoutCommand,
    debt: Refund | Payout,
    result: DebtResult,
    events: RecordedEvents,
    at: datetime,
) -> Outcome:
    """Record what follows; tell an operator of money that moved although it was never to leave."""
    if not isinstance(result, RejectionReason):
        return applied(events + record_debt_facts(uow, debt, result, at, command))
    if debt.status in ENDED_STATUSES and isinstance(command, ConfirmRefund | ConfirmPayout):
        alert = make_debt_alert(debt, Alert.MOVED_AFTER_END)
        events += record_debt_facts(uow, debt, (alert,), at, command)
    is_wrong_state = result is RejectionReason.WRONG_STATE
    return rejected(result, events, limits={"state": debt.status.value} if is_wrong_state else None)


def record_debt_facts(
    uow: UnitOfWork, debt: Refund | Payout, facts: Iterable[Fact], at: datetime, command: Command
) -> RecordedEvents:
    """Record facts about a refund or payout among the events of its order, or of its payment."""
    caused_by = cause_of(command)
    if isinstance(debt, Refund) and debt.order_id is None:
        return uow.record_payment_facts(debt.payment_id or "", tuple(facts), at, caused_by)
    decision = Decision(uow.orders[debt.order_id or ""])
    return uow.record_decision(decision.then(facts, at, caused_by))


def _confirm_refund(_: ConfirmRefund, refund: Refund, attempt: int | None) -> DebtResult:
    """Record that a refund has left."""
    refusal = _refuse_confirmation(refund, attempt)
    if refusal is not None:
        return refusal
    return (RefundConfirmed(**refund_fields(refund), **_attempt_fields(refund)),)


def _fail_refund(command: FailRefund, refund: Refund, attempt: int | None) -> DebtResult:
    """Record that a refund did not arrive, and open its next attempt."""
    refusal = _refuse_failure(refund, attempt)
    if refusal is not None:
        return refusal
    failed = RefundFailed(**refund_fields(refund), **_failure_fields(refund, command))
    return (failed, make_debt_alert(refund, Alert.REFUND_FAILED))


def _confirm_payout(
    _: ConfirmPayout, payout: Payout, attempt: int | None, __: UnitOfWork
) -> DebtResult:
    """Record that a payout has left; money that moved although it was held has moved all the same.

    An operator is told of that.
    """
    refusal = _refuse_confirmation(payout, attempt)
    if refusal is not None:
        return refusal
    confirmed = PayoutConfirmed(**_payout_fields(payout), **_attempt_fields(payout))
    if payout.held_at is None:
        return (confirmed,)
    return (confirmed, make_debt_alert(payout, Alert.PAID_WHILE_HELD))


def _fail_payout(
    command: FailPayout, payout: Payout, attempt: int | None, _: UnitOfWork
) -> DebtResult:
    """Record that a payout did not arrive, and open its next attempt."""
    refusal = _refuse_failure(payout, attempt)
    if refusal is not None:
        return refusal
    failed = PayoutFailed(**_payout_fields(payout), **_failure_fields(payout, command))
    return (failed, make_debt_alert(payout, Alert.PAYOUT_FAILED))


def _hold_payout(command: HoldPayout, payout: Payout, _: int | None, __: UnitOfWork) -> DebtResult:
    """Keep a payout that has not left from being sent."""
    if payout.status not in OWED_STATUSES or payout.held_at is not None:
        return RejectionReason.WRONG_STATE
    held = PayoutHeld(**_payout_fields(payout), by=command.sender, note=command.reason)
    return (held, _make_audit_entry(command, payout, payout.status, held=True))


def _release_payout(
    command: ReleasePayout, payout: Payout, _: int | None, __: UnitOfWork
) -> DebtResult:
    """Let a payout that is held, and has not left, be sent after all."""
    if payout.status not in OWED_STATUSES or payout.held_at is None:
        return RejectionReason.WRONG_STATE
    released = PayoutReleased(
        **_payout_fields(payout),
        **_attempt_fields(payout),
        by=command.sender,
        note=command.reason,
    )
    return (released, _make_audit_entry(command, payout, payout.status, held=False))


def _reverse_payout(
    command: ReversePayout, payout: Payout, _: int | None, uow: UnitOfWork
) -> DebtResult:
    """End a payout that is held and has not left: its client is owed it, or the platform has it."""
    if payout.status not in OWED_STATUSES or payout.held_at is None:
        return RejectionReason.WRONG_STATE
    client_id = uow.orders[payout.order_id].client_id
    reversal = PayoutReversed(
        **_payout_fields(payout),
        to=command.to,
        client_id=client_id,
        by=command.sender,
        note=command.reason,
    )
    entry = _make_audit_entry(command, payout, DebtStatus.REVERSED, held=True)
    if command.to == "platform":
        return (reversal, entry)
    transfer = RefundRequested(
        refund_id=make_transfer_id(payout.payout_id),
        payment_id=None,
        client_id=client_id,
        amount_fen=payout.amount_fen,
        source="payout",
    )
    return (reversal, transfer, entry)


def _refuse_confirmation(debt: Refund | Payout, attempt: int | None) -> RejectionReason | None:
    if debt.status is DebtStatus.CONFIRMED:
        return RejectionReason.ALREADY_CONFIRMED
    return _refuse_failure(debt, attempt)


def _refuse_failure(debt: Refund | Payout, attempt: int | None) -> RejectionReason | None:
    """Refuse what has ended, and a reference to an attempt of which all is known."""
    if debt.status in ENDED_STATUSES:
        return RejectionReason.WRONG_STATE
    is_over = attempt is not None and attempt < debt.attempt
    return RejectionReason.ALREADY_CONFIRMED if is_over else None


def refund_fields(refund: Refund) -> dict[str, Any]:
    """Name a refund, as its events do."""
    return {
        "refund_id": refund.refund_id,
        "payment_id": refund.payment_id,
        "client_id": refund.client_id,
        "amount_fen": refund.amount_fen,
    }


def _payout_fields(payout: Payout) -> dict[str, Any]:
    """Name a payout, as its events do."""
    return {
        "payout_id": payout.payout_id,
        "party": payout.party,
        "amount_fen": payout.amount_fen,
    }


def _attempt_fields(debt: Refund | Payout) -> dict[str, Any]:
    """Name the present attempt."""
    return {"reference": debt.reference, "attempt": debt.attempt}


def _failure_fields(debt: Refund | Payout, command: FailRefund | FailPayout) -> dict[str, Any]:
    """Name the attempt that failed, and the next."""
    return {
        "came_back": debt.status is DebtStatus.CONFIRMED,
        "note": command.reason,
        "failed_reference": debt.reference,
        "reference": debt.next_reference,
        "attempt": debt.attempt + 1,
    }


def _make_audit_entry(
    command: HoldPayout | ReleasePayout | ReversePayout,
    before: Payout,
    status: DebtStatus,
    *,
    held: bool,
) -> OperatorActed:
    amount_fen = before.amount_fen
    return OperatorActed(
        by=command.sender,
        note=command.reason,
        act=command.kind,
        before=PayoutSnapshot(before.status.value, before.held_at is not None, amount_fen),
        after=PayoutSnapshot(status.value, held, amount_fen),
    )


_REFUND_HANDLERS: dict[type, Callable[[Any, Refund, int | None], DebtResult]] = {
    ConfirmRefund: _confirm_refund,
    FailRefund: _fail_refund,
}

_PAYOUT_HANDLERS: dict[type, Callable[[Any, Payout, int | None, UnitOfWork], DebtResult]] = {
    ConfirmPayout: _confirm_payout,
    FailPayout: _fail_payout,
    HoldPayout: _hold_payout,
    ReleasePayout: _release_payout,
    ReversePayout: _reverse_payout,
}
