"""Timeouts: what a passed deadline, a creator's ban or the end of a contract does; reminders."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from models.creators import Standing
from models.errors import BrokenInvariant
from models.events.event import Fact
from models.events.notifications import ClientReminded, CreatorReminded
from models.events.orders import OrderBalanceOverdue, OrderDeclined, OrderExpired
from models.lifecycle import BAN, BAN_FOR_GOOD, BEFORE_PUBLICATION, CONTRACT_ENDED, LIFT_BAN, State
from models.orders import endings, operator_actions
from models.orders.decision import give_back, parties
from models.orders.disputes import arbitrate, overdue
from models.orders.endings import called_off, forfeit
from models.orders.fulfilment import SILENCE, content_approved, delivery_accepted, script_approved
from models.orders.operator_actions import resume, stop
from models.orders.order import Order


def enforce(order: Order, lapses_at: datetime) -> tuple[Fact, ...]:
    """End a wait whose time has passed, or a pause."""
    if order.stoppers:
        return (operator_actions.resume(order, "operator", lapses_at),)
    lapse = LAPSES.get(order.state)
    return lapse(order, lapses_at) if lapse else enforce_deadline(order, lapses_at)


def enforce_deadline(order: Order, _: datetime) -> tuple[Fact, ...]:
    """End a wait whose time has passed."""
    party_ids = parties(order)
    if order.state is State.AWAITING_DEPOSIT:
        return (OrderExpired(reason="deposit_not_paid", **party_ids),)
    if order.state is State.OFFERED:
        return (OrderExpired(reason="not_accepted", **party_ids), *give_back(order))
    if order.state is State.AWAITING_BALANCE and order.lapses_at is not None:
        due_at = order.lapses_at + order.policy.payment_notice_grace
        balance_due_fen = order.balance_due_fen
        return (OrderBalanceOverdue(balance_due_fen=balance_due_fen, due_at=due_at, **party_ids),)
    if order.state is State.BALANCE_OVERDUE:
        return (forfeit(order, "balance_not_paid"),)
    message = f"nothing lapses in {order.state}"
    raise BrokenInvariant(message)


LAPSES: dict[State, Callable[[Order, datetime], tuple[Fact, ...]]] = {
    State.IN_FULFILMENT: lambda order, _: endings.called_off(order, "clock", "no_work"),
    State.SCRIPT_REVIEW: lambda order, at: (script_approved(order, SILENCE, at),),
    State.SCRIPT_REVISION: lambda order, at: (overdue(order, "script_overdue", at),),
    State.PRODUCING: lambda order, at: (overdue(order, "content_overdue", at),),
    State.CONTENT_REVIEW: lambda order, at: (content_approved(order, SILENCE, at),),
    State.READY_TO_PUBLISH: lambda order, at: (overdue(order, "not_published", at),),
    State.PUBLISHED: lambda order, at: (delivery_accepted(order, SILENCE, at),),
    State.ACCEPTED_DELIVERY: lambda order, _: endings.complete(order),
}
"""What time does when nobody did in time what the work waited for."""


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


def remind(order: Order, due_at: datetime, lead: timedelta) -> Fact:
    """Remind whoever the order waits for."""
    if order.state in WAITS_FOR_CREATOR:
        creator_id = order.creator_id
        return CreatorReminded(recipient_id=creator_id, cause="deadline", due_at=due_at, lead=lead)
    return ClientReminded(
        recipient_id=order.client_id,
        cause="deadline",
        due_at=due_at,
        lead=lead,
        balance_due_fen=order.balance_due_fen,
    )


WAITS_FOR_CREATOR = (
    *(State.OFFERED, State.IN_FULFILMENT, State.SCRIPT_REVISION),
    *(State.PRODUCING, State.READY_TO_PUBLISH),
)
