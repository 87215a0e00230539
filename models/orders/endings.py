"""Endings: cancel, withdraw, forfeit or complete an order, and who gets how much of its money."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from models import calendar, money
from models.commands.command import OrderCommand
from models.commands.orders import CancelOrder, WithdrawOrder
from models.errors import BrokenInvariant
from models.events.event import Fact
from models.events.orders import OrderCancelled, OrderCompleted, OrderForfeited
from models.events.payments import PayoutRequested, RefundRequested
from models.ids import make_refund_base_id
from models.lifecycle import STATES_BEFORE_PUBLICATION, EndReason, Role, State
from models.orders.decision import HandlerResult, Refusal, party_fields, refund_all_held
from models.orders.order import Holding, Order
from models.reasons import RejectionReason

PartialRefundSource = Literal["cancellation", "forfeit"]


@dataclass(frozen=True, slots=True)
class CancellationCost:
    """What an ending costs the client, in fen: to the creator's side, and to the platform."""

    creator_part_fen: int
    fee_part_fen: int

    @property
    def cost_fen(self) -> int:
        """Return the whole cost."""
        return self.creator_part_fen + self.fee_part_fen


def cancel_order(order: Order, command: CancelOrder, at: datetime) -> HandlerResult:
    """Let the client walk away from work that has begun, at its price and with open eyes."""
    has_price = order.state in (*STATES_BEFORE_PUBLICATION, State.IN_ARBITRATION)
    in_fulfilment = order.state is State.IN_FULFILMENT
    if command.by.role != Role.CLIENT.value or not (has_price or in_fulfilment):
        return _cancel_before_work(order, command)
    cost = cancellation_cost_at(order, cancellation_tier_at(order, at))
    if (command.accept_cost_fen or 0) != cost.cost_fen:
        return _cost_mismatch(cost.cost_fen)
    return cancel_at_cost(order, cost, command.sender, EndReason.CLIENT_CANCELLED, command.reason)


def _cancel_before_work(order: Order, command: CancelOrder) -> HandlerResult:
    """Let the client, or an operator, end the order before the work begins.

    After acceptance the client's way out costs the deposit, and must be asked for in so many
    words; but a client whose creator is banned may leave free.
    """
    reason = EndReason.CLIENT_CANCELLED
    if command.by.role != Role.CLIENT.value:
        reason = EndReason.OPERATOR_CANCELLED
    elif order.state is State.AWAITING_BALANCE and "ban" in order.stoppers:
        reason = EndReason.CREATOR_BANNED
    elif order.state is State.AWAITING_BALANCE:
        if not command.accept_forfeit:
            return Refusal(RejectionReason.WOULD_FORFEIT, {"cost_fen": order.held_fen})
        if command.accept_cost_fen not in (None, 0, order.held_fen):
            return _cost_mismatch(order.held_fen)
        return (forfeit_deposit(order, reason),)
    if command.accept_cost_fen:
        return _cost_mismatch(0)
    return cancel_at_no_cost(order, command.sender, reason, command.reason)


def _cost_mismatch(cost_fen: int) -> Refusal:
    return Refusal(RejectionReason.COST_MISMATCH, {"cost_fen": cost_fen})


def cancellation_tier_at(order: Order, at: datetime) -> int:
    """Return what it costs to cancel now, in basis points: the highest tier that applies.

    Nothing that raises it is ever undone, so it never falls, but that of a broadcast's day with
    the day itself.
    """
    if order.state is State.IN_ARBITRATION:
        return order.entry_cost_bps
    policy, tiers = order.policy, [0]
    if order.scripts:
        tiers.append(policy.script_cost_bps)
    if order.is_live:
        if order.script_approved:
            tiers.append(policy.live_approved_cost_bps)
            publish_at = order.expected_publish_at
            if publish_at is not None and at >= calendar.start_of_day(calendar.day_of(publish_at)):
                tiers.append(policy.live_day_cost_bps)
        return max(tiers)
    if order.contents:
        tiers.append(policy.content_cost_bps)
    if order.contents_rejected >= policy.rejected_cost_from:
        tiers.append(policy.rejected_cost_bps)
    return max(tiers)


def cancellation_cost_at(order: Order, bps: int) -> CancellationCost:
    """Return the cost at a rate: the same share of amount and fee, each rounded half up."""
    shares = (
        money.half_up(part * bps, money.BPS_PER_WHOLE) for part in (order.amount_fen, order.fee_fen)
    )
    return CancellationCost(*shares)


def cancel_at_no_cost(
    order: Order, by: str, reason: EndReason, note: str | None = None
) -> tuple[Fact, ...]:
    """End an order at no cost; everything goes back."""
    refund_fen, party_ids = order.held_fen, party_fields(order)
    cancelled = OrderCancelled(
        by=by, reason=reason.value, note=note, refund_fen=refund_fen, **party_ids
    )
    return (cancelled, *refund_all_held(order))


def cancel_at_cost(
    order: Order, cost: CancellationCost, by: str, reason: EndReason, note: str | None = None
) -> tuple[Fact, ...]:
    """End an order at a cost to the client; the rest goes back, the last payment first."""
    if not cost.cost_fen:
        return cancel_at_no_cost(order, by, reason, note)
    refund_fen = order.held_fen - cost.cost_fen
    agency_fen, creator_fen = split_with_agency(order, cost.creator_part_fen)
    cancelled = OrderCancelled(
        by=by,
        reason=reason.value,
        note=note,
        cost_fen=cost.cost_fen,
        creator_part_fen=cost.creator_part_fen,
        fee_part_fen=cost.fee_part_fen,
        refund_fen=refund_fen,
        mcn_id=order.mcn_id,
        mcn_fen=agency_fen,
        **party_fields(order),
    )
    refund_facts = request_refunds(order, order.held, refund_fen, "cancellation")
    return (cancelled, *refund_facts, *request_payouts(order, agency_fen, creator_fen))


def withdraw_order(order: Order, command: WithdrawOrder, _: datetime) -> HandlerResult:
    """Let the creator walk away after accepting; it costs the client nothing."""
    return cancel_at_no_cost(order, command.sender, EndReason.CREATOR_WITHDREW, command.reason)


def confirm_unpaid(order: Order, _: OrderCommand, __: datetime) -> HandlerResult:
    """Take the payment side's word that nothing is in flight: no need to wait for the grace."""
    return (forfeit_deposit(order, EndReason.BALANCE_NOT_PAID),)


def forfeit_deposit(order: Order, reason: EndReason) -> OrderForfeited:
    """Take the deposit from the client: it waits until an operator says who finally gets it."""
    return OrderForfeited(reason=reason.value, amount_fen=order.held_fen, **party_fields(order))


def complete_order(order: Order) -> tuple[Fact, ...]:
    """Complete an order: the creator's side gets the amount, the platform its fee."""
    agency_fen, creator_fen = split_with_agency(order, order.amount_fen)
    completed = OrderCompleted(
        reason=EndReason.SETTLED.value,
        creator_fen=creator_fen,
        mcn_id=order.mcn_id,
        mcn_fen=agency_fen,
        fee_fen=order.fee_fen,
        **party_fields(order),
    )
    return (completed, *request_payouts(order, agency_fen, creator_fen))


def split_with_agency(order: Order, amount_fen: int) -> tuple[int, int]:
    """Divide money of the creator's side: the agency's part, half up, and the creator's, in fen."""
    if order.mcn_id is None:
        return 0, amount_fen
    agency_fen = money.half_up(amount_fen * order.mcn_share_bps, money.BPS_PER_WHOLE)
    return agency_fen, amount_fen - agency_fen


def request_payouts(order: Order, agency_fen: int, creator_fen: int) -> Iterator[PayoutRequested]:
    """Owe the agency and the creator their parts, in fen; a part of nothing is not owed."""
    sides = (("mcn", order.mcn_id, agency_fen), ("creator", order.creator_id, creator_fen))
    for side, party_id, amount_fen in sides:
        if amount_fen:
            payout_id, party = f"po_{order.order_id}_{side}", f"{side}:{party_id}"
            yield PayoutRequested(payout_id=payout_id, party=party, amount_fen=amount_fen)


def request_refunds(
    order: Order, holdings: tuple[Holding, ...], amount_fen: int, source: PartialRefundSource
) -> Iterator[RefundRequested]:
    """Owe the client a part of what was held: of each payment up to its share, the last one first.

    Raise `BrokenInvariant` if that is more than was held.
    """
    remaining_fen = amount_fen
    for holding in reversed(holdings):
        part_fen = min(remaining_fen, holding.amount_fen)
        remaining_fen -= part_fen
        if part_fen:
            yield RefundRequested(
                refund_id=make_refund_base_id(holding.payment_id, order.order_id),
                payment_id=holding.payment_id,
                client_id=order.client_id,
                amount_fen=part_fen,
                source=source,
            )
    if remaining_fen:
        raise BrokenInvariant(
            f"order {order.order_id} would give back {remaining_fen} fen too much"
        )
