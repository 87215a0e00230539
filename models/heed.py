"""Heed: what a creator's ban, its end, or the end of the contract does to one order."""

from __future__ import annotations

from datetime import datetime

from models.creator import Standing
from models.disputes import arbitrate
from models.events import Fact
from models.judges import called_off, give_back, parties
from models.lifecycle import (
    BAN,
    BAN_FOR_GOOD,
    BEFORE_PUBLICATION,
    CONTRACT_ENDED,
    LIFT_BAN,
    State,
)
from models.order import Order
from models.order_events import OrderDeclined
from models.powers import resume, stop

Effect = tuple[str, tuple[Fact, ...]]
"""The row of the table that applies, and what follows."""

NOTHING: Effect = ("", ())
UNANSWERED = (State.AWAITING_DEPOSIT, State.OFFERED)


def effect(order: Order, creator_standing: Standing, at: datetime, *, begins: bool) -> Effect:
    """Say what a creator's standing means for an order; asked twice, it does nothing more.

    Work that has begun comes before an operator when a ban for good `begins`, and not again when
    the operator has decided.
    """
    if creator_standing.banned:
        kind = BAN_FOR_GOOD if creator_standing.for_good else BAN
        facts = _banned(order, creator_standing, at, begins=begins)
        return (kind, facts) if facts else NOTHING
    if "ban" in order.stoppers:
        return LIFT_BAN, (resume(order, "ban", at),)
    if not creator_standing.admitted and order.state in UNANSWERED:
        return CONTRACT_ENDED, _unanswered(order, "creator_left")
    return NOTHING


def _banned(
    order: Order, creator_standing: Standing, at: datetime, *, begins: bool
) -> tuple[Fact, ...]:
    if order.state in UNANSWERED:
        return _unanswered(order, "creator_banned")
    if creator_standing.for_good:
        if order.state in (State.AWAITING_BALANCE, State.IN_FULFILMENT):
            return called_off(order, "platform", "creator_banned")
        if begins and order.state in BEFORE_PUBLICATION:
            return (arbitrate(order, "creator_banned", at, "platform"),)
    elif order.state is State.AWAITING_BALANCE and "ban" not in order.stoppers:
        return (stop(order, "ban", at, None),)
    return ()


def _unanswered(order: Order, reason: str) -> tuple[Fact, ...]:
    """End an order that the creator has not accepted, and no longer can."""
    if order.state is State.AWAITING_DEPOSIT:
        return called_off(order, "platform", reason)
    declined = OrderDeclined(by="platform", reason=reason, note=None, **parties(order))
    return (declined, *give_back(order))
