"""Judges: for each row of the table, what follows from a request, or why nothing does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from models import clocks
from models.command import Command
from models.commands import (
    CancelOrder,
    DeclineOrder,
    OrderCommand,
    WithdrawOrder,
)
from models.errors import BrokenInvariant
from models.events import Fact
from models.lifecycle import Role, State
from models.money_events import RefundRequested
from models.notices import ClientReminded, CreatorReminded
from models.order import Order
from models.order_events import (
    OrderBalanceOverdue,
    OrderCancelled,
    OrderDeclined,
    OrderExpired,
    OrderForfeited,
    OrderFunded,
)
from models.reasons import Reason
from models.refunds import base_id


@dataclass(frozen=True, slots=True)
class Refusal:
    """A refusal that says what it would cost."""

    reason: Reason
    cost_fen: int


Judgement = Reason | Refusal | tuple[Fact, ...]


def parties(order: Order) -> dict[str, Any]:
    """Name both sides, as most events do."""
    return {"client_id": order.client_id, "creator_id": order.creator_id}


def said_by(command: Command) -> str:
    """Name who asks, as events do."""
    return f"{command.by.role}:{command.by.id}"


def wait(order: Order, state: State, at: datetime) -> dict[str, Any]:
    """Say until when a state entered at `at` waits, and how that was counted."""
    deadline = clocks.deadline(order.policy, state, at, order.expected_publish_at)
    if deadline is None:
        raise BrokenInvariant(f"{state} waits for nobody")
    return {"due_at": deadline.due_at, "counted": deadline.counted}


def give_back(order: Order) -> tuple[RefundRequested, ...]:
    """Owe everything held to the client again, payment by payment, the last one first."""
    return tuple(
        RefundRequested(
            refund_id=base_id(holding.payment_id, order.order_id),
            payment_id=holding.payment_id,
            client_id=order.client_id,
            amount_fen=holding.amount_fen,
            source="escrow",
        )
        for holding in reversed(order.held)
    )


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


def forfeit(order: Order, reason: str) -> OrderForfeited:
    """Take the deposit from the client; who finally gets it is policy, and it waits there."""
    return OrderForfeited(reason=reason, amount_fen=order.held_fen, **parties(order))


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


def fund(order: Order, held_fen: int, at: datetime) -> OrderFunded:
    """Declare everything paid."""
    terms = wait(order, State.IN_FULFILMENT, at)
    return OrderFunded(held_fen=held_fen, **terms, **parties(order))


def decline_order(order: Order, command: DeclineOrder, _: datetime) -> Judgement:
    """Let the creator refuse; the client gets everything back."""
    by, reason, note = said_by(command), "creator_declined", command.reason
    declined = OrderDeclined(by=by, reason=reason, note=note, **parties(order))
    return (declined, *give_back(order))


def cancel_order(order: Order, command: CancelOrder, _: datetime) -> Judgement:
    """Let the client, or an operator, end the order before the work begins.

    After acceptance the client's way out costs the deposit, and must be asked for in so many
    words; but a client whose creator is banned may leave free.
    """
    by, note = said_by(command), command.reason
    if command.by.role != Role.CLIENT.value:
        return called_off(order, by, "operator_cancelled", note)
    if order.state is not State.AWAITING_BALANCE:
        return called_off(order, by, "client_cancelled", note)
    if "ban" in order.stoppers:
        return called_off(order, by, "creator_banned", note)
    if not command.accept_forfeit:
        return Reason.WOULD_FORFEIT
    return (forfeit(order, "client_cancelled"),)


def withdraw_order(order: Order, command: WithdrawOrder, _: datetime) -> Judgement:
    """Let the creator walk away after accepting; it costs the client nothing."""
    return called_off(order, said_by(command), "creator_withdrew", command.reason)


def called_off(order: Order, by: str, reason: str, note: str | None = None) -> tuple[Fact, ...]:
    """End an order at no cost; everything goes back."""
    refund_fen, party_ids = order.held_fen, parties(order)
    cancelled = OrderCancelled(by=by, reason=reason, note=note, refund_fen=refund_fen, **party_ids)
    return (cancelled, *give_back(order))


def nudge_creator(order: Order, _: OrderCommand, at: datetime) -> Judgement:
    """Let the client remind a silent creator, not too often and not too many times."""
    policy = order.policy
    if order.nudged_at is not None and at - order.nudged_at < policy.nudge_interval:
        return Reason.NUDGE_TOO_SOON
    if order.nudges >= policy.nudge_limit:
        return Reason.NUDGE_LIMIT
    due_at = order.due_at or at
    creator_id = order.creator_id
    return (CreatorReminded(recipient_id=creator_id, cause="nudge", due_at=due_at, lead=None),)


def confirm_unpaid(order: Order, _: OrderCommand, __: datetime) -> Judgement:
    """Take the payment side's word that nothing is in flight: no need to wait for the grace."""
    return (forfeit(order, "balance_not_paid"),)


ORDER_COMMANDS: dict[str, Callable[[Order, Any, datetime], Judgement]] = {
    "decline_order": decline_order,
    "cancel_order": cancel_order,
    "withdraw_order": withdraw_order,
    "nudge_creator": nudge_creator,
    "confirm_unpaid": confirm_unpaid,
}
"""The judge of each command that ends or hurries the wait for an answer or for money."""
