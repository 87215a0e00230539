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
from models.events.notifications import Limits, OperatorAlerted
from models.events.payments import RefundRequested
from models.fields import MICROSECOND
from models.ids import make_refund_base_id
from models.lifecycle import State, find_transition
from models.orders.evolve import evolve
from models.orders.order import Order
from models.reasons import Alert, RejectionReason


@dataclass(frozen=True, slots=True)
class Refusal:
    """A refusal that says what would not be refused."""

    reason: RejectionReason
    limits: Limits


def refuse_until(after: datetime, latest: datetime) -> Refusal:
    """Refuse an instant that is not later than `after`, or later than `latest`."""
    limits: Limits = {"min": after + MICROSECOND, "max": latest}
    return Refusal(RejectionReason.UNTIL_OUT_OF_RANGE, limits)


HandlerResult = RejectionReason | Refusal | tuple[Fact, ...]
"""What a handler answers: why it refuses, with or without limits, or the facts that follow."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What follows: the order as it is now, the events that led there, and a refusal or None.

    `limits` tell what would not be refused, where the reason knows.
    """

    order: Order
    events: tuple[Event, ...] = ()
    reason: RejectionReason | None = None
    limits: Limits | None = None

    def then(self, facts: Iterable[Fact], at: datetime, caused_by: str) -> Decision:
        """Let facts happen to the order at `at`, in turn, each an event with its number."""
        order, events = self.order, list(self.events)
        for fact in facts:
            subject = f"order:{order.order_id}"
            event = Event(subject, order.sequence + 1, at, caused_by, fact)
            order = evolve(order, event)
            events.append(event)
        return Decision(order, tuple(events))

    def refuse(self, reason: RejectionReason, limits: Limits | None = None) -> Decision:
        """Refuse, keeping what time alone has done."""
        return Decision(self.order, self.events, reason, limits)


def conclude(
    prior: Decision, kind: str, result: HandlerResult, at: datetime, caused_by: str
) -> Decision:
    """Let what a handler answered happen after `prior`, and check it against the table.

    The code may not contradict its own map: a move that the table lacks, or an end with money still
    held, raises `BrokenInvariant`.
    """
    if isinstance(result, Refusal):
        return prior.refuse(result.reason, result.limits)
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
    recounted = (decision.order.state, decision.order.counted) != (
        prior.order.state,
        prior.order.counted,
    )
    if decision.order.counted == "unknown_year" and recounted:
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


AWAITED_COMMANDS: dict[State, tuple[str, ...]] = {
    State.OFFERED: ("accept_order", "decline_order"),
    State.AWAITING_BALANCE: ("confirm_payment",),
    State.IN_FULFILMENT: ("submit_script", "submit_content"),
    State.SCRIPT_REVIEW: ("approve_script", "reject_script"),
    State.SCRIPT_REVISION: ("submit_script",),
    State.PRODUCING: ("submit_content",),
    State.CONTENT_REVIEW: ("approve_content", "reject_content"),
    State.READY_TO_PUBLISH: ("publish_work",),
    State.PUBLISHED: ("confirm_delivery", "dispute_order"),
}
"""What would answer a reminder, by the state in which it is sent."""


def reminder_fields(order: Order) -> dict[str, Any]:
    """Say which order a reminder is about, and what would answer it."""
    policy = order.policy
    impossible = {"submit_content" if order.needs_script else "submit_script"}
    if order.state is not State.IN_FULFILMENT:
        impossible.clear()
    if order.scripts_rejected >= policy.script_rejections:
        impossible.add("reject_script")
    if order.contents_rejected >= policy.content_rejections:
        impossible.add("reject_content")
    awaited = tuple(kind for kind in AWAITED_COMMANDS[order.state] if kind not in impossible)
    return {"order_name": order.name, "state": order.state.value, "awaited": awaited}


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
