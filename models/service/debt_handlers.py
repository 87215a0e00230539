"""Debt handlers: refunds and payouts that leave, fail or come back, are held or reversed.

Before any of them is heard, time is enforced: for the order, since a deadline may owe what is
named, and for the debt, whose wait for a confirmation ends or begins anew.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

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
    make_reference,
    make_transfer_id,
    parse_payout_order_id,
    parse_reference,
    parse_refund_order_ids,
    subject_key,
)
from models.lifecycle import ENDED_STATUSES, OWED_STATUSES, DebtStatus
from models.obligations import Payout, Refund, find_debt, make_debt_alert
from models.orders.decision import Decision
from models.reasons import Alert, RejectionReason
from models.service.outcome import Outcome, applied, cause_of, rejected
from models.service.unit_of_work import RecordedEvents, UnitOfWork


def confirm_refund(uow: UnitOfWork, command: ConfirmRefund, at: datetime) -> Outcome:
    """Record that a refund has left."""
    if command.by.role not in command.roles:
        return rejected(RejectionReason.NOT_ALLOWED)
    events, refund, attempt = _find_refund(uow, command, at)
    if refund is None:
        return rejected(RejectionReason.UNKNOWN_REFUND, events)
    refusal = _refuse_confirmation(refund, attempt)
    if refusal is not None:
        return rejected(refusal, events + _alert_if_ended(uow, refund, command, at))
    fact = RefundConfirmed(
        refund_id=refund.refund_id,
        payment_id=refund.payment_id,
        client_id=refund.client_id,
        amount_fen=refund.amount_fen,
        reference=refund.reference,
        attempt=refund.attempt,
    )
    return applied(events + record_debt_facts(uow, refund, (fact,), at, command))


def fail_refund(uow: UnitOfWork, command: FailRefund, at: datetime) -> Outcome:
    """Record that a refund did not arrive, and open its next attempt."""
    if command.by.role not in command.roles:
        return rejected(RejectionReason.NOT_ALLOWED)
    events, refund, attempt = _find_refund(uow, command, at)
    if refund is None:
        return rejected(RejectionReason.UNKNOWN_REFUND, events)
    refusal = _refuse_failure(refund, attempt)
    if refusal is not None:
        return rejected(refusal, events)
    next_attempt = refund.attempt + 1
    fact = RefundFailed(
        refund_id=refund.refund_id,
        payment_id=refund.payment_id,
        client_id=refund.client_id,
        amount_fen=refund.amount_fen,
        came_back=refund.status is DebtStatus.CONFIRMED,
        note=command.reason,
        failed_reference=refund.reference,
        reference=make_reference(refund.reference_stem, next_attempt),
        attempt=next_attempt,
    )
    facts = (fact, make_debt_alert(refund, Alert.REFUND_FAILED))
    return applied(events + record_debt_facts(uow, refund, facts, at, command))


def confirm_payout(uow: UnitOfWork, command: ConfirmPayout, at: datetime) -> Outcome:
    """Record that a payout has left; money that moved although it was held has moved all the same.

    An operator is told of that.
    """
    if command.by.role not in command.roles:
        return rejected(RejectionReason.NOT_ALLOWED)
    events, payout, attempt = _find_payout(uow, command, at)
    if payout is None:
        return rejected(RejectionReason.UNKNOWN_PAYOUT, events)
    refusal = _refuse_confirmation(payout, attempt)
    if refusal is not None:
        return rejected(refusal, events + _alert_if_ended(uow, payout, command, at))
    facts: tuple[Fact, ...] = (
        PayoutConfirmed(
            payout_id=payout.payout_id,
            party=payout.party,
            amount_fen=payout.amount_fen,
            reference=payout.reference,
            attempt=payout.attempt,
        ),
    )
    if payout.held_at is not None:
        facts = (*facts, make_debt_alert(payout, Alert.PAID_WHILE_HELD))
    return applied(events + record_debt_facts(uow, payout, facts, at, command))


def fail_payout(uow: UnitOfWork, command: FailPayout, at: datetime) -> Outcome:
    """Record that a payout did not arrive, and open its next attempt."""
    if command.by.role not in command.roles:
        return rejected(RejectionReason.NOT_ALLOWED)
    events, payout, attempt = _find_payout(uow, command, at)
    if payout is None:
        return rejected(RejectionReason.UNKNOWN_PAYOUT, events)
    refusal = _refuse_failure(payout, attempt)
    if refusal is not None:
        return rejected(refusal, events)
    next_attempt = payout.attempt + 1
    fact = PayoutFailed(
        payout_id=payout.payout_id,
        party=payout.party,
        amount_fen=payout.amount_fen,
        came_back=payout.status is DebtStatus.CONFIRMED,
        note=command.reason,
        failed_reference=payout.reference,
        reference=make_reference(payout.reference_stem, next_attempt),
        attempt=next_attempt,
    )
    facts = (fact, make_debt_alert(payout, Alert.PAYOUT_FAILED))
    return applied(events + record_debt_facts(uow, payout, facts, at, command))


def hold_payout(uow: UnitOfWork, command: HoldPayout, at: datetime) -> Outcome:
    """Keep a payout that has not left from being sent."""
    if command.by.role not in command.roles:
        return rejected(RejectionReason.NOT_ALLOWED)
    events, payout, _ = _find_payout(uow, command, at)
    if payout is None:
        return rejected(RejectionReason.UNKNOWN_PAYOUT, events)
    if payout.status not in OWED_STATUSES or payout.held_at is not None:
        return rejected(RejectionReason.WRONG_STATE, events)
    held = PayoutHeld(
        payout_id=payout.payout_id,
        party=payout.party,
        amount_fen=payout.amount_fen,
        by=command.sender,
        note=command.reason,
    )
    entry = _audit_entry(command, payout, payout.status, held=True)
    return applied(events + record_debt_facts(uow, payout, (held, entry), at, command))


def release_payout(uow: UnitOfWork, command: ReleasePayout, at: datetime) -> Outcome:
    """Let a payout that is held, and has not left, be sent after all."""
    if command.by.role not in command.roles:
        return rejected(RejectionReason.NOT_ALLOWED)
    events, payout, _ = _find_payout(uow, command, at)
    if payout is None:
        return rejected(RejectionReason.UNKNOWN_PAYOUT, events)
    if payout.status not in OWED_STATUSES or payout.held_at is None:
        return rejected(RejectionReason.WRONG_STATE, events)
    released = PayoutReleased(
        payout_id=payout.payout_id,
        party=payout.party,
        amount_fen=payout.amount_fen,
        by=command.sender,
        note=command.reason,
        reference=payout.reference,
        attempt=payout.attempt,
    )
    entry = _audit_entry(command, payout, payout.status, held=False)
    return applied(events + record_debt_facts(uow, payout, (released, entry), at, command))


def reverse_payout(uow: UnitOfWork, command: ReversePayout, at: datetime) -> Outcome:
    """End a payout that is held and has not left: its client is owed it, or the platform has it."""
    if command.by.role not in command.roles:
        return rejected(RejectionReason.NOT_ALLOWED)
    events, payout, _ = _find_payout(uow, command, at)
    if payout is None:
        return rejected(RejectionReason.UNKNOWN_PAYOUT, events)
    if payout.status not in OWED_STATUSES or payout.held_at is None:
        return rejected(RejectionReason.WRONG_STATE, events)
    client_id = uow.orders[payout.order_id].client_id
    facts: list[Fact] = [
        PayoutReversed(
            payout_id=payout.payout_id,
            party=payout.party,
            amount_fen=payout.amount_fen,
            to=command.to,
            client_id=client_id,
            by=command.sender,
            note=command.reason,
        )
    ]
    if command.to == "client":
        transfer = RefundRequested(
            refund_id=make_transfer_id(payout.payout_id),
            payment_id=None,
            client_id=client_id,
            amount_fen=payout.amount_fen,
            source="payout",
        )
        facts.append(transfer)
    facts.append(_audit_entry(command, payout, DebtStatus.REVERSED, held=True))
    return applied(events + record_debt_facts(uow, payout, facts, at, command))


def record_debt_facts(
    uow: UnitOfWork, debt: Refund | Payout, facts: Iterable[Fact], at: datetime, command: Command
) -> RecordedEvents:
    """Record facts about a refund or payout among the events of its order, or of its payment."""
    caused_by = cause_of(command)
    if isinstance(debt, Refund) and debt.order_id is None:
        return uow.record_payment_facts(debt.payment_id or "", tuple(facts), at, caused_by)
    decision = Decision(uow.orders[debt.order_id or ""])
    return uow.record_decision(decision.then(facts, at, caused_by))


def _find_refund(
    uow: UnitOfWork, command: RefundCommand, at: datetime
) -> tuple[RecordedEvents, Refund | None, int | None]:
    """Enforce time, then find the refund that a command names, and the attempt if it names one."""
    named, _ = find_debt(uow.refunds, command.refund_id)
    order_ids: Iterable[str | None] = (
        *parse_refund_order_ids(command.refund_id),
        *_orders_of_reference(uow, command.refund_id),
    )
    if named is not None:
        order_ids = (*order_ids, named.order_id, named.for_order_id)
    events = uow.elapse_orders(order_ids, at)
    named, _ = find_debt(uow.refunds, command.refund_id)
    if named is not None:
        events += uow.alert_overdue("refund", named.refund_id, at)
    return (events, *find_debt(uow.refunds, command.refund_id))


def _find_payout(
    uow: UnitOfWork, command: PayoutCommand, at: datetime
) -> tuple[RecordedEvents, Payout | None, int | None]:
    """Enforce time, then find the payout that a command names, and the attempt if it names one."""
    order_ids = (
        parse_payout_order_id(command.payout_id),
        *_orders_of_reference(uow, command.payout_id),
    )
    events = uow.elapse_orders(order_ids, at)
    named, _ = find_debt(uow.payouts, command.payout_id)
    if named is not None:
        events += uow.alert_overdue("payout", named.payout_id, at)
    return (events, *find_debt(uow.payouts, command.payout_id))


def _orders_of_reference(uow: UnitOfWork, name: str) -> list[str]:
    """Return the order in whose events a reference is told of, if it is one and that is at hand.

    What it names may only be owed once time has passed for that order.
    """
    reference = parse_reference(name)
    if reference is None:
        return []
    key = subject_key(reference.home)
    return [order_id for order_id in uow.orders if subject_key(f"order:{order_id}") == key]


def _refuse_confirmation(debt: Refund | Payout, attempt: int | None) -> RejectionReason | None:
    if debt.status in ENDED_STATUSES:
        return RejectionReason.WRONG_STATE
    if debt.status is DebtStatus.CONFIRMED or _is_over(debt, attempt):
        return RejectionReason.ALREADY_CONFIRMED
    return None


def _refuse_failure(debt: Refund | Payout, attempt: int | None) -> RejectionReason | None:
    if debt.status in ENDED_STATUSES:
        return RejectionReason.WRONG_STATE
    return RejectionReason.ALREADY_CONFIRMED if _is_over(debt, attempt) else None


def _is_over(debt: Refund | Payout, attempt: int | None) -> bool:
    """Tell whether a reference names an attempt of which all is known."""
    return attempt is not None and attempt < debt.attempt


def _alert_if_ended(
    uow: UnitOfWork, debt: Refund | Payout, command: Command, at: datetime
) -> RecordedEvents:
    """Tell an operator of money that moved although it was never to leave."""
    if debt.status not in ENDED_STATUSES:
        return ()
    return record_debt_facts(
        uow, debt, (make_debt_alert(debt, Alert.MOVED_AFTER_END),), at, command
    )


def _audit_entry(
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
