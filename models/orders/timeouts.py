"""Timeouts: what a passed deadline, a creator's ban or the end of a contract does; reminders."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from models.creators import Standing
from models.errors import BrokenInvariant
from models.events.event import Fact
from models.events.notifications import ClientReminded, CreatorReminded
from models.events.orders import (
    OrderBalanceOverdue,
    OrderDeclined,
    OrderDepositOverdue,
    OrderExpired,
)
from models.lifecycle import (
    BAN,
    BAN_FOR_GOOD,
    BEGIN_GRACE,
    CONTRACT_ENDED,
    END_PAUSE,
    ENFORCE_DEADLINE,
    LIFT_BAN,
    STATES_BEFORE_PUBLICATION,
    DisputeReason,
    EndReason,
    State,
)
from models.orders.decision import party_fields, refund_all_held, reminder_fields
from models.orders.disputes import arbitrate, escalate_overdue
from models.orders.endings import cancel_at_no_cost, complete_order, forfeit_deposit
from models.orders.fulfilment import SILENCE, content_approved, delivery_accepted, script_approved
from models.orders.operator_actions import restart_clock, stop_clock
from models.orders.order import Order

Effect = tuple[str, tuple[Fact, ...]]
"""The row of the table that applies, and what follows."""

NO_EFFECT: Effect = ("", ())


def find_timeout_effect(order: Order, at: datetime) -> Effect:
    """Say what time does to an order after `at`: it ends a wait or a pause, or begins a grace.

    Raise `BrokenInvariant` if nothing lapses.
    """
    if order.stoppers:
        return END_PAUSE, (restart_clock(order, "operator", at),)
    if order.grace_begins_at is not None:
        return BEGIN_GRACE, (_await_deposit_notice(order),)
    effect = DEADLINE_EFFECTS.get(order.state)
    if effect is None:
        message = f"nothing lapses in {order.state}"
        raise BrokenInvariant(message)
    return ENFORCE_DEADLINE, effect(order, at)


def _await_deposit_notice(order: Order) -> Fact:
    """Wait a little for the notice of a first payment that was made in time."""
    lapses_at = order.lapses_at
    if lapses_at is None:
        raise BrokenInvariant(f"{order.state} has a grace and no end")
    return OrderDepositOverdue(
        amount_fen=order.balance_due_fen, due_at=lapses_at, **party_fields(order)
    )


def _expire_unpaid(order: Order, _: datetime) -> tuple[Fact, ...]:
    return (OrderExpired(reason=EndReason.DEPOSIT_NOT_PAID.value, **party_fields(order)),)


def _expire_unanswered(order: Order, _: datetime) -> tuple[Fact, ...]:
    expired = OrderExpired(reason=EndReason.NOT_ACCEPTED.value, **party_fields(order))
    return (expired, *refund_all_held(order))


def _await_payment_notice(order: Order, lapses_at: datetime) -> tuple[Fact, ...]:
    """Wait a little for the notice of a payment that was made in time."""
    due_at = lapses_at + order.policy.payment_notice_grace
    fields = party_fields(order)
    return (OrderBalanceOverdue(balance_due_fen=order.balance_due_fen, due_at=due_at, **fields),)


DEADLINE_EFFECTS: dict[State, Callable[[Order, datetime], tuple[Fact, ...]]] = {
    State.AWAITING_DEPOSIT: _expire_unpaid,
    State.OFFERED: _expire_unanswered,
    State.AWAITING_BALANCE: _await_payment_notice,
    State.BALANCE_OVERDUE: lambda order, _: (forfeit_deposit(order, EndReason.BALANCE_NOT_PAID),),
    State.IN_FULFILMENT: lambda order, _: cancel_at_no_cost(order, "clock", EndReason.NO_WORK),
    State.SCRIPT_REVIEW: lambda order, at: (script_approved(order, SILENCE, at),),
    State.SCRIPT_REVISION: lambda order, at: (
        escalate_overdue(order, DisputeReason.SCRIPT_OVERDUE, at),
    ),
    State.PRODUCING: lambda order, at: (
        escalate_overdue(order, DisputeReason.CONTENT_OVERDUE, at),
    ),
    State.CONTENT_REVIEW: lambda order, at: (content_approved(order, SILENCE, at),),
    State.READY_TO_PUBLISH: lambda order, at: (
        escalate_overdue(order, DisputeReason.NOT_PUBLISHED, at),
    ),
    State.PUBLISHED: lambda order, at: (delivery_accepted(order, SILENCE, at),),
    State.ACCEPTED_DELIVERY: lambda order, _: complete_order(order),
}
"""What follows when nobody did in time what the order waited for, by state."""


def find_standing_effect(order: Order, standing: Standing, at: datetime, *, begins: bool) -> Effect:
    """Say what a creator's standing means for an order; asked twice, it does nothing more.

    Work that has begun comes before an operator when a ban for good `begins`, and not again when
    the operator has decided.
    """
    if standing.banned:
        kind = BAN_FOR_GOOD if standing.for_good else BAN
        facts = _find_ban_effect(order, standing, at, begins=begins)
        return (kind, facts) if facts else NO_EFFECT
    if "ban" in order.stoppers:
        return LIFT_BAN, (restart_clock(order, "ban", at),)
    if not standing.admitted and order.state in UNANSWERED_STATES:
        return CONTRACT_ENDED, _end_unanswered(order, EndReason.CREATOR_LEFT)
    return NO_EFFECT


UNANSWERED_STATES = (State.AWAITING_DEPOSIT, State.OFFERED)
"""Where the creator has not accepted yet."""


def _find_ban_effect(
    order: Order, standing: Standing, at: datetime, *, begins: bool
) -> tuple[Fact, ...]:
    if order.state in UNANSWERED_STATES:
        return _end_unanswered(order, EndReason.CREATOR_BANNED)
    if standing.for_good:
        if order.state in (State.AWAITING_BALANCE, State.IN_FULFILMENT):
            return cancel_at_no_cost(order, "platform", EndReason.CREATOR_BANNED)
        if begins and order.state in STATES_BEFORE_PUBLICATION:
            return (arbitrate(order, DisputeReason.CREATOR_BANNED, at, "platform"),)
    elif order.state is State.AWAITING_BALANCE and "ban" not in order.stoppers:
        return (stop_clock(order, "ban", at, None),)
    return ()


def _end_unanswered(order: Order, reason: EndReason) -> tuple[Fact, ...]:
    """End an order that the creator has not accepted, and no longer can."""
    if order.state is State.AWAITING_DEPOSIT:
        return cancel_at_no_cost(order, "platform", reason)
    declined = OrderDeclined(by="platform", reason=reason.value, note=None, **party_fields(order))
    return (declined, *refund_all_held(order))


STATES_WAITING_FOR_CREATOR = (
    State.OFFERED,
    State.IN_FULFILMENT,
    State.SCRIPT_REVISION,
    State.PRODUCING,
    State.READY_TO_PUBLISH,
)


def remind(order: Order, due_at: datetime, lead: timedelta) -> Fact:
    """Remind whoever the order waits for, `lead` before `due_at`."""
    if order.state in STATES_WAITING_FOR_CREATOR:
        creator_id = order.creator_id
        return CreatorReminded(
            recipient_id=creator_id,
            cause="deadline",
            due_at=due_at,
            lead=lead,
            **reminder_fields(order),
        )
    return ClientReminded(
        recipient_id=order.client_id,
        cause="deadline",
        due_at=due_at,
        lead=lead,
        balance_due_fen=order.balance_due_fen,
        **reminder_fields(order),
    )
