"""Decision: what follows from a command, held against the table; and what all handlers share.

A leaf: handlers, deadlines and payments use it, and it knows none of them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from models import calendar
from models.errors import BrokenInvariant
from models.events.event import Event, Fact
from models.events.notifications import OperatorAlerted
from models.events.payments import RefundRequested
from models.ids import make_refund_base_id
from models.lifecycle import State, find_transition
from models.orders.evolve import evolve
from models.orders.order import Order
from models.reasons import Alert, RejectionReason


@dataclass(frozen=True, slots=True)
class Refusal:
    """A refusal that says what the command would cost."""

    reason: RejectionReason
    cost_fen: int


HandlerResult = RejectionReason | Refusal | tuple[Fact, ...]
"""What a handler answers: why it refuses, with or without a price, or the facts that follow."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What follows: the order as it is now, the events that led there, and a refusal or None.

    `cost_fen` is what the command would have cost, where that is why it was refused.
    """

    order: Order
    events: tuple[Event, ...] = ()
    reason: RejectionReason | None = None
    cost_fen: int | None = None

    def then(self, facts: Iterable[Fact], at: datetime, caused_by: str) -> Decision:
        """Let facts happen to the order at `at`, in turn, each an event with its number."""
        order, events = self.order, list(self.events)
        for fact in facts:
            subject = f"order:{order.order_id}"
            event = Event(subject, order.sequence + 1, at, caused_by, fact)
            order = evolve(order, event)
            events.append(event)
        return Decision(order, tuple(events))

    def refuse(self, reason: RejectionReason, cost_fen: int | None = None) -> Decision:
        """Refuse, keeping what time alone has done."""
        return Decision(self.order, self.events, reason, cost_fen)


def conclude(
    prior: Decision, kind: str, result: HandlerResult, at: datetime, caused_by: str
) -> Decision:
    """Let what a handler answered happen after `prior`, and check it against the table.

    The code may not contradict its own map: a move that the table lacks, or an end with money still
    held, raises `BrokenInvariant`.
    """
    if isinstance(result, Refusal):
        return prior.refuse(result.reason, result.cost_fen)
    if isinstance(result, RejectionReason):
        return prior.refuse(result)
    transition = find_transition(prior.order.state, kind)
    decision = prior.then(result, at, caused_by)
    if transition is None or decision.order.state not in transition.targets:
        message = f"{kind} took {prior.order.state} to {decision.order.state}: not in the table"
        raise BrokenInvariant(message)
    if decision.order.is_final and decision.order.held:
        message = (
            f"order {decision.order.order_id} ended {decision.order.state} with money still held"
        )
        raise BrokenInvariant(message)
    if decision.order.counted == "unknown_year" and decision.order.state is not prior.order.state:
        # The deadline is counted as it elapses; an operator who knows better may extend it.
        return decision.then(
            [alert_operator(decision.order, Alert.CALENDAR_UNKNOWN)], at, caused_by
        )
    return decision


def alert_operator(order: Order, alert: Alert, due_at: datetime | None = None) -> OperatorAlerted:
    """Tell an operator of an order that waits, and of the money that waits with it."""
    last_holding = order.held[-1]
    return OperatorAlerted(
        alert=alert, payment_id=last_holding.payment_id, amount_fen=order.held_fen, due_at=due_at
    )


def party_fields(order: Order) -> dict[str, Any]:
    """Name both sides of an order, as most events do."""
    return {"client_id": order.client_id, "creator_id": order.creator_id}


def deadline_fields(order: Order, state: State, at: datetime) -> dict[str, Any]:
    """Say until when a state entered at `at` waits, and how that was counted.

    Raise `BrokenInvariant` for a state that has no deadline.
    """
    deadline = calendar.compute_deadline(order.policy, state, at, order.expected_publish_at)
    if deadline is None:
        raise BrokenInvariant(f"{state} waits for nobody")
    return {"due_at": deadline.due_at, "counted": deadline.counted}


def refund_all_held(order: Order) -> tuple[RefundRequested, ...]:
    """Owe everything held to the client, payment by payment, the last one first."""
    return tuple(
        RefundRequested(
            refund_id=make_refund_base_id(holding.payment_id, order.order_id),
            payment_id=holding.payment_id,
            client_id=order.client_id,
            amount_fen=holding.amount_fen,
            source="escrow",
        )
        for holding in reversed(order.held)
    )
