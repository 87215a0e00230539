"""Settlement: what work is worth when it is done, or when somebody walks away from it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from models import civil, judges, money
from models.commands import CancelOrder
from models.errors import BrokenInvariant
from models.events import Fact
from models.judges import Judgement, Refusal, parties, said_by
from models.lifecycle import BEFORE_PUBLICATION, Role, State
from models.money_events import PayoutRequested, RefundRequested
from models.order import Holding, Order
from models.order_events import OrderCancelled, OrderCompleted
from models.reasons import Reason
from models.refunds import base_id

Source = Literal["cancellation", "forfeit"]


@dataclass(frozen=True, slots=True)
class Price:
    """What an ending costs the client, in fen: to the creator's side, and to the platform."""

    creator_part_fen: int
    fee_part_fen: int

    @property
    def cost_fen(self) -> int:
        """Return the whole cost."""
        return self.creator_part_fen + self.fee_part_fen


def price(order: Order, bps: int) -> Price:
    """Take the same share of the amount and of the fee, each rounded half up."""
    shares = (money.half_up(part * bps, money.BPS) for part in (order.amount_fen, order.fee_fen))
    return Price(*shares)


def tier(order: Order, at: datetime) -> int:
    """Return what it costs to cancel now, in basis points: the highest tier that applies.

    Nothing that raises it is ever undone, so it never falls.
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
            if publish_at is not None and at >= civil.start_of(civil.day_of(publish_at)):
                tiers.append(policy.live_day_cost_bps)
        return max(tiers)
    if order.contents:
        tiers.append(policy.content_cost_bps)
    if order.contents_rejected >= policy.rejected_cost_from:
        tiers.append(policy.rejected_cost_bps)
    return max(tiers)


def cancel_order(order: Order, command: CancelOrder, at: datetime) -> Judgement:
    """Let the client walk away from work that has begun, at its price and with open eyes."""
    priced = order.state in (*BEFORE_PUBLICATION, State.IN_ARBITRATION)
    if command.by.role != Role.CLIENT.value or not (priced or order.state is State.IN_FULFILMENT):
        return judges.cancel_order(order, command, at)
    cost = price(order, tier(order, at))
    if (command.accept_cost_fen or 0) != cost.cost_fen:
        return Refusal(Reason.COST_MISMATCH, cost.cost_fen)
    return end_at(order, cost, said_by(command), "client_cancelled", command.reason)


def end_at(
    order: Order, cost: Price, by: str, reason: str, note: str | None = None
) -> tuple[Fact, ...]:
    """End an order at a cost to the client; the rest goes back, the last payment first."""
    if not cost.cost_fen:
        return judges.called_off(order, by, reason, note)
    refund_fen = order.held_fen - cost.cost_fen
    agency_fen, creator_fen = split(order, cost.creator_part_fen)
    cancelled = OrderCancelled(
        by=by,
        reason=reason,
        note=note,
        cost_fen=cost.cost_fen,
        creator_part_fen=cost.creator_part_fen,
        fee_part_fen=cost.fee_part_fen,
        refund_fen=refund_fen,
        mcn_id=order.mcn_id,
        mcn_fen=agency_fen,
        **parties(order),
    )
    refund_facts = refunds(order, order.held, refund_fen, "cancellation")
    return (cancelled, *refund_facts, *owed(order, agency_fen, creator_fen))


def complete(order: Order) -> tuple[Fact, ...]:
    """Settle: the creator's side gets the amount, the platform its fee."""
    agency_fen, creator_fen = split(order, order.amount_fen)
    completed = OrderCompleted(
        reason="settled",
        creator_fen=creator_fen,
        mcn_id=order.mcn_id,
        mcn_fen=agency_fen,
        fee_fen=order.fee_fen,
        **parties(order),
    )
    return (completed, *owed(order, agency_fen, creator_fen))


def split(order: Order, amount_fen: int) -> tuple[int, int]:
    """Divide money of the creator's side between agency and creator, in that order, half up."""
    if order.mcn_id is None:
        return 0, amount_fen
    agency_fen = money.half_up(amount_fen * order.mcn_share_bps, money.BPS)
    return agency_fen, amount_fen - agency_fen


def owed(order: Order, agency_fen: int, creator_fen: int) -> Iterator[PayoutRequested]:
    """Owe each of the creator's side its part; nobody is owed nothing."""
    sides = (("mcn", order.mcn_id, agency_fen), ("creator", order.creator_id, creator_fen))
    for side, party_id, amount_fen in sides:
        if amount_fen:
            payout_id, party = f"po_{order.order_id}_{side}", f"{side}:{party_id}"
            yield PayoutRequested(payout_id=payout_id, party=party, amount_fen=amount_fen)


def refunds(
    order: Order, holdings: tuple[Holding, ...], amount_fen: int, source: Source
) -> Iterator[RefundRequested]:
    """Owe the client a part of what was held: of each payment up to its share, last first."""
    remaining_fen = amount_fen
    for holding in reversed(holdings):
        part_fen = min(remaining_fen, holding.amount_fen)
        remaining_fen -= part_fen
        if part_fen:
            yield RefundRequested(
                refund_id=base_id(holding.payment_id, order.order_id),
                payment_id=holding.payment_id,
                client_id=order.client_id,
                amount_fen=part_fen,
                source=source,
            )
    if remaining_fen:
        raise BrokenInvariant(
            f"order {order.order_id} would give back {remaining_fen} fen too much"
        )
