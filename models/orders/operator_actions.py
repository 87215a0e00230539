"""Operator actions: clocks, forfeits, service providers, acting on behalf of a side.

Each leaves an entry in the operator log.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import fields, replace
from datetime import datetime, timedelta
from typing import Any

from models.commands.command import OrderCommand, Party
from models.commands.operators import ExtendDeadline, OperatorAct, ReinstateOrder, ReleaseForfeit
from models.commands.parties import AppointProvider
from models.creators import Creator
from models.events.event import Fact
from models.events.orders import (
    ClockResumed,
    ClockStopped,
    DeadlineExtended,
    ForfeitReleased,
    OrderAccepted,
    OrderReinstated,
    ProviderAppointed,
)
from models.events.parties import OperatorActed, OrderSnapshot
from models.lifecycle import EndReason, PausedBy, Role
from models.orders import endings
from models.orders.decision import HandlerResult, Refusal, party_fields, refuse_until
from models.orders.order import Order
from models.reasons import RejectionReason


def extend_deadline(order: Order, command: ExtendDeadline, at: datetime) -> HandlerResult:
    """Let an operator give more time, up to a limit beyond the present deadline."""
    if order.stoppers:
        return RejectionReason.CLOCK_STOPPED
    due_at = order.due_at or at
    latest = due_at + order.policy.longest_extension
    if not max(at, due_at) < command.until <= latest:
        return refuse_until(max(at, due_at), latest)
    return (DeadlineExtended(old_due_at=order.due_at, due_at=command.until, **party_fields(order)),)


def pause_clock(order: Order, _: OrderCommand, at: datetime) -> HandlerResult:
    """Let an operator stop the clock, for so long at most; the time that is left stays left."""
    if "operator" in order.stoppers:
        return RejectionReason.CLOCK_STOPPED
    return (stop_clock(order, "operator", at, at + order.policy.longest_pause),)


def resume_clock(order: Order, _: OrderCommand, at: datetime) -> HandlerResult:
    """Let an operator's pause end; whoever else stops the clock still does."""
    if "operator" not in order.stoppers:
        return RejectionReason.CLOCK_RUNNING
    return (restart_clock(order, "operator", at),)


def stop_clock(order: Order, stopper: PausedBy, at: datetime, until: datetime | None) -> Fact:
    """Stop an order's clock, or add somebody who does."""
    time_left = order.left if order.left is not None else (order.due_at or at) - at
    details: dict[str, Any] = {
        "stopper": stopper,
        "left": time_left,
        "old_due_at": order.due_at,
        "until": until,
    }
    return ClockStopped(**details, **party_fields(order))


def restart_clock(order: Order, stopper: PausedBy, at: datetime) -> Fact:
    """Take one stopper away; if it was the last, the time that was left begins to run."""
    time_left = order.left if order.left is not None else timedelta(0)
    due_at = None if set(order.stoppers) - {stopper} else at + time_left
    return ClockResumed(stopper=stopper, left=time_left, due_at=due_at, **party_fields(order))


def reinstate_order(order: Order, command: ReinstateOrder, at: datetime) -> HandlerResult:
    """Let an operator undo a forfeiture by timeout, while its deposit still waits."""
    if order.reason != EndReason.BALANCE_NOT_PAID:
        return RejectionReason.WRONG_STATE
    if order.released:
        return RejectionReason.ALREADY_RELEASED
    latest = at + order.policy.longest_extension
    if not at < command.until <= latest:
        return refuse_until(at, latest)
    forfeited_fen = sum(holding.amount_fen for holding in order.forfeited)
    return (OrderReinstated(amount_fen=forfeited_fen, due_at=command.until, **party_fields(order)),)


def release_forfeit(order: Order, command: ReleaseForfeit, at: datetime) -> HandlerResult:
    """Let an operator say who gets a forfeited deposit, once, when nobody can prove a payment."""
    if order.released:
        return RejectionReason.ALREADY_RELEASED
    noticed_by = order.entered_at + order.policy.late_notice_window
    if order.reason == EndReason.BALANCE_NOT_PAID and at <= noticed_by:
        return RejectionReason.TOO_SOON
    shares_fen: Counter[str] = Counter()
    for part in command.parts:
        shares_fen[part.to] += part.amount_fen
    forfeited_fen = sum(holding.amount_fen for holding in order.forfeited)
    if shares_fen.total() != forfeited_fen:
        return Refusal(RejectionReason.PARTS_MISMATCH, {"total_fen": forfeited_fen})
    agency_fen, creator_fen = endings.split_with_agency(order, shares_fen["creator"])
    released = ForfeitReleased(
        by=command.sender,
        note=command.reason,
        platform_fen=shares_fen["platform"],
        creator_fen=creator_fen,
        mcn_id=order.mcn_id,
        mcn_fen=agency_fen,
        client_fen=shares_fen["client"],
        **party_fields(order),
    )
    refunds = endings.request_refunds(order, order.forfeited, shares_fen["client"], "forfeit")
    return (released, *refunds, *endings.request_payouts(order, agency_fen, creator_fen))


def appoint_provider(order: Order, command: AppointProvider, _: datetime) -> HandlerResult:
    """Let a side name, change or dismiss who acts for it; nobody serves both sides."""
    for_client = command.by.role == Role.CLIENT.value
    other_provider_id = order.creator_provider if for_client else order.client_provider
    if command.provider_id is not None and command.provider_id == other_provider_id:
        return RejectionReason.CONFLICT_OF_INTEREST
    return (
        ProviderAppointed(
            by=command.sender,
            side="client" if for_client else "creator",
            provider_id=command.provider_id,
            **party_fields(order),
        ),
    )


def on_behalf_of(command: OperatorAct, order: Order) -> OrderCommand:
    """Return the command as the side that the operator stands in for would have asked it."""
    order_command: OrderCommand = command.command
    party_id = order.client_id if command.role is Role.CLIENT else order.creator_id
    by = Party.model_validate({"role": command.role.value, "id": party_id})
    return order_command.model_copy(update={"id": command.id, "by": by})


def attribute_facts(
    result: HandlerResult, command: OrderCommand | OperatorAct, creator: Creator | None
) -> HandlerResult:
    """Name who really asked, and freeze to whom an acceptance owes what."""
    if not isinstance(result, tuple):
        return result
    if isinstance(command, OperatorAct):
        result = tuple(_attribute_to(fact, command.sender) for fact in result)
    return tuple(_with_payee_terms(fact, creator) for fact in result)


def _attribute_to(fact: Fact, by: str) -> Fact:
    body: Any = fact
    has_by = any(field.name == "by" for field in fields(body))
    return replace(body, by=by) if has_by else fact


def _with_payee_terms(fact: Fact, creator: Creator | None) -> Fact:
    if not isinstance(fact, OrderAccepted) or creator is None:
        return fact
    return replace(fact, mcn_id=creator.agency, mcn_share_bps=creator.mcn_share_bps)


def make_audit_entry(
    command: OrderCommand | OperatorAct, before: Order, after: Order
) -> tuple[OperatorActed, ...]:
    """Tell which operator acted, why, and how the order stood before and after."""
    reason = getattr(command, "reason", None)
    if command.by.role != Role.OPERATOR.value or reason is None:
        return ()
    kind = command.command.kind if isinstance(command, OperatorAct) else command.kind
    snapshots = {"before": take_snapshot(before), "after": take_snapshot(after)}
    return (OperatorActed(by=command.sender, note=reason, act=kind, **snapshots),)


def take_snapshot(order: Order) -> OrderSnapshot:
    """Say how an order stands, as far as an operator may change it."""
    return OrderSnapshot(
        status=order.state.value,
        reason=order.reason,
        due_at=order.due_at,
        amount_fen=order.amount_fen,
        held_fen=order.held_fen,
        expected_publish_at=order.expected_publish_at,
    )
