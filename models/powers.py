"""Powers: what operators may decide, move and undo, and whom a side may appoint."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from models import fulfilment, settlement
from models.commands import (
    AppointProvider,
    ExtendDeadline,
    OrderCommand,
    ReinstateOrder,
    ReleaseForfeit,
    ResolveDispute,
)
from models.disputes import dispute_order
from models.errors import BrokenInvariant
from models.events import Fact
from models.judges import Judgement, parties, said_by
from models.lifecycle import Role, State
from models.order import Order, Stopper
from models.order_events import ForfeitReleased, OrderReinstated
from models.reasons import Reason
from models.work_events import (
    ClockResumed,
    ClockStopped,
    DeadlineExtended,
    DisputeResolved,
    ProviderAppointed,
)


def resolve_dispute(order: Order, command: ResolveDispute, at: datetime) -> Judgement:
    """Let an operator decide: as if approved, the end at a price, or more time."""
    by, came_from = said_by(command), order.came_from
    if came_from is None:
        raise BrokenInvariant(f"order {order.order_id} is in arbitration and came from nowhere")
    resolved = DisputeResolved(
        by=by,
        outcome=command.outcome,
        came_from=came_from,
        creator_bps=command.creator_bps,
        until=command.until,
        note=command.reason,
        **parties(order),
    )
    if command.outcome == "cancel":
        cost = settlement.price(order, command.creator_bps or 0)
        return (resolved, *settlement.end_at(order, cost, by, "arbitrated", command.reason))
    if command.outcome == "approve":
        approved = _approved(order, came_from, by, at)
        return Reason.NOTHING_TO_APPROVE if approved is None else (resolved, approved)
    until = command.until or at
    fits = at < until <= at + order.policy.longest_extension
    return (resolved,) if fits else Reason.UNTIL_OUT_OF_RANGE


def _approved(order: Order, came_from: State, by: str, at: datetime) -> Fact | None:
    """Approve what there was to approve where the order came from."""
    if came_from in (State.SCRIPT_REVIEW, State.SCRIPT_REVISION):
        return fulfilment.script_approved(order, by, at)
    if came_from is State.CONTENT_REVIEW or (came_from is State.PRODUCING and order.contents):
        return fulfilment.content_approved(order, by, at)
    if came_from in (State.PUBLISHED, State.ACCEPTED_DELIVERY):
        return fulfilment.delivery_accepted(order, by, at)
    return None


def extend_deadline(order: Order, command: ExtendDeadline, at: datetime) -> Judgement:
    """Let an operator give more time, up to a limit beyond the present deadline."""
    if order.stoppers:
        return Reason.CLOCK_STOPPED
    due_at = order.due_at or at
    if not max(at, due_at) < command.until <= due_at + order.policy.longest_extension:
        return Reason.UNTIL_OUT_OF_RANGE
    return (DeadlineExtended(old_due_at=order.due_at, due_at=command.until, **parties(order)),)


def pause_clock(order: Order, _: OrderCommand, at: datetime) -> Judgement:
    """Let an operator stop the clock, for so long at most; the time that is left is kept."""
    if "operator" in order.stoppers:
        return Reason.CLOCK_STOPPED
    return (stop(order, "operator", at, at + order.policy.longest_pause),)


def resume_clock(order: Order, _: OrderCommand, at: datetime) -> Judgement:
    """Let an operator's pause end; whoever else stops the clock still does."""
    if "operator" not in order.stoppers:
        return Reason.CLOCK_RUNNING
    return (resume(order, "operator", at),)


def stop(order: Order, stopper: Stopper, at: datetime, until: datetime | None) -> Fact:
    """Stop an order's clock, or add somebody who does."""
    time_left = order.left if order.left is not None else (order.due_at or at) - at
    details: dict[str, Any] = {
        "stopper": stopper,
        "left": time_left,
        "old_due_at": order.due_at,
        "until": until,
    }
    return ClockStopped(**details, **parties(order))


def resume(order: Order, stopper: Stopper, at: datetime) -> Fact:
    """Take one stopper away; if it was the last, the time that was left begins to run."""
    time_left = order.left if order.left is not None else timedelta(0)
    due_at = None if set(order.stoppers) - {stopper} else at + time_left
    return ClockResumed(stopper=stopper, left=time_left, due_at=due_at, **parties(order))


def reinstate_order(order: Order, command: ReinstateOrder, at: datetime) -> Judgement:
    """Let an operator undo a forfeiture by timeout, while its deposit still waits."""
    if order.reason != "balance_not_paid":
        return Reason.WRONG_STATE
    if order.released:
        return Reason.ALREADY_RELEASED
    if not at < command.until <= at + order.policy.longest_extension:
        return Reason.UNTIL_OUT_OF_RANGE
    forfeited_fen = sum(holding.amount_fen for holding in order.forfeited)
    return (OrderReinstated(amount_fen=forfeited_fen, due_at=command.until, **parties(order)),)


def release_forfeit(order: Order, command: ReleaseForfeit, at: datetime) -> Judgement:
    """Let an operator say who gets a forfeited deposit, once, when nobody can prove a payment."""
    if order.released:
        return Reason.ALREADY_RELEASED
    noticed_by = order.entered_at + order.policy.late_notice_window
    if order.reason == "balance_not_paid" and at <= noticed_by:
        return Reason.TOO_SOON
    shares_fen: Counter[str] = Counter()
    for part in command.parts:
        shares_fen[part.to] += part.amount_fen
    if shares_fen.total() != sum(holding.amount_fen for holding in order.forfeited):
        return Reason.PARTS_MISMATCH
    agency_fen, creator_fen = settlement.split(order, shares_fen["creator"])
    released = ForfeitReleased(
        by=said_by(command),
        note=command.reason,
        platform_fen=shares_fen["platform"],
        creator_fen=creator_fen,
        mcn_id=order.mcn_id,
        mcn_fen=agency_fen,
        client_fen=shares_fen["client"],
        **parties(order),
    )
    refunds = settlement.refunds(order, order.forfeited, shares_fen["client"], "forfeit")
    return (released, *refunds, *settlement.owed(order, agency_fen, creator_fen))


def appoint_provider(order: Order, command: AppointProvider, _: datetime) -> Judgement:
    """Let a side name, change or dismiss who acts for it; nobody serves both sides."""
    for_client = command.by.role == Role.CLIENT.value
    other_provider_id = order.creator_provider if for_client else order.client_provider
    if command.provider_id is not None and command.provider_id == other_provider_id:
        return Reason.CONFLICT_OF_INTEREST
    return (
        ProviderAppointed(
            by=said_by(command),
            side="client" if for_client else "creator",
            provider_id=command.provider_id,
            **parties(order),
        ),
    )


COMMANDS: dict[str, Callable[[Order, Any, datetime], Judgement]] = {
    "dispute_order": dispute_order,
    "resolve_dispute": resolve_dispute,
    "extend_deadline": extend_deadline,
    "pause_clock": pause_clock,
    "resume_clock": resume_clock,
    "reinstate_order": reinstate_order,
    "release_forfeit": release_forfeit,
    "appoint_provider": appoint_provider,
}
"""The judge of each command about disputes, clocks, forfeits and providers."""
