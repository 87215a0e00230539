"""Disputes: how an order comes before an operator, and what the operator may decide."""

from __future__ import annotations

from datetime import datetime

from models.commands.operators import ResolveDispute
from models.commands.orders import DisputeOrder
from models.errors import BrokenInvariant
from models.events.event import Fact
from models.events.orders import DisputeResolved, OrderInArbitration
from models.lifecycle import DisputeReason, EndReason, State
from models.orders import endings, fulfilment
from models.orders.decision import HandlerResult, deadline_fields, party_fields, refuse_until
from models.orders.order import Order
from models.reasons import RejectionReason


def arbitrate(
    order: Order, reason: DisputeReason, at: datetime, by: str, note: str | None = None
) -> OrderInArbitration:
    """Put an order before an operator; what walking away cost then, it costs until decided."""
    bps = endings.cancellation_tier_at(order, at)
    return OrderInArbitration(
        by=by,
        reason=reason.value,
        note=note,
        came_from=order.state,
        cost_bps=bps,
        cost_fen=endings.cancellation_cost_at(order, bps).cost_fen,
        **deadline_fields(order, State.IN_ARBITRATION, at),
        **party_fields(order),
    )


def escalate_overdue(order: Order, reason: DisputeReason, at: datetime) -> Fact:
    """Put before an operator what the creator has not done in time."""
    return arbitrate(order, reason, at, "clock")


def dispute_order(order: Order, command: DisputeOrder, at: datetime) -> HandlerResult:
    """Let either side ask an operator to decide; the order's clock ends with its state."""
    return (arbitrate(order, DisputeReason.DISPUTED, at, command.sender, command.reason),)


def resolve_dispute(order: Order, command: ResolveDispute, at: datetime) -> HandlerResult:
    """Let an operator decide: as if approved, the end at a price, or more time."""
    by, came_from = command.sender, order.came_from
    if came_from is None:
        raise BrokenInvariant(f"order {order.order_id} is in arbitration and came from nowhere")
    resolved = DisputeResolved(
        by=by,
        outcome=command.outcome,
        came_from=came_from,
        creator_bps=command.creator_bps,
        until=command.until,
        note=command.reason,
        **party_fields(order),
    )
    if command.outcome == "cancel":
        cost = endings.cancellation_cost_at(order, command.creator_bps or 0)
        return (
            resolved,
            *endings.cancel_at_cost(order, cost, by, EndReason.ARBITRATED, command.reason),
        )
    if command.outcome == "approve":
        approved = _approve_pending_work(order, came_from, by, at)
        return RejectionReason.NOTHING_TO_APPROVE if approved is None else (resolved, approved)
    until = command.until or at
    latest = at + order.policy.longest_extension
    return (resolved,) if at < until <= latest else refuse_until(at, latest)


def _approve_pending_work(order: Order, came_from: State, by: str, at: datetime) -> Fact | None:
    """Approve what there was to approve where the order came from."""
    if came_from in (State.SCRIPT_REVIEW, State.SCRIPT_REVISION):
        return fulfilment.script_approved(order, by, at)
    if came_from is State.CONTENT_REVIEW or (came_from is State.PRODUCING and order.contents):
        return fulfilment.content_approved(order, by, at)
    if came_from in (State.PUBLISHED, State.ACCEPTED_DELIVERY):
        return fulfilment.delivery_accepted(order, by, at)
    return None
