"""Disputes: how an order comes before an operator, and what the operator may decide."""

from __future__ import annotations

from datetime import datetime

from models import settlement
from models.commands import DisputeOrder
from models.events import Fact
from models.judges import Judgement, parties, said_by, wait
from models.lifecycle import State
from models.order import Order
from models.work_events import OrderInArbitration


def arbitrate(
    order: Order, reason: str, at: datetime, by: str, note: str | None = None
) -> OrderInArbitration:
    """Put an order before an operator; what walking away cost then, it costs until decided."""
    bps = settlement.tier(order, at)
    return OrderInArbitration(
        by=by,
        reason=reason,
        note=note,
        came_from=order.state,
        cost_bps=bps,
        cost_fen=settlement.price(order, bps).cost_fen,
        **wait(order, State.IN_ARBITRATION, at),
        **parties(order),
    )


def overdue(order: Order, reason: str, at: datetime) -> Fact:
    """Put before an operator what the creator has not done in time."""
    return arbitrate(order, reason, at, "clock")


def dispute_order(order: Order, command: DisputeOrder, at: datetime) -> Judgement:
    """Let either side ask an operator to decide; the order's clock ends with its state."""
    return (arbitrate(order, "disputed", at, said_by(command), command.reason),)
