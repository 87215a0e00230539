"""Schedules: another day for the publication, proposed by one side and agreed to by the other."""

from __future__ import annotations

from datetime import datetime, timedelta

from models import calendar
from models.calendar import Deadline
from models.commands.operators import RescheduleOrder
from models.commands.orders import AgreeSchedule, ProposeSchedule
from models.errors import FieldError
from models.events.event import Fact
from models.events.orders import OrderRescheduled, ScheduleProposed, Side
from models.lifecycle import Role
from models.orders.decision import HandlerResult, party_fields
from models.orders.order import Order
from models.reasons import RejectionReason

MAX_PUBLICATION_LEAD = timedelta(days=366)
"""How far ahead a publication may be planned: a year, leap years included."""


def find_schedule_error(publish_at: datetime, at: datetime) -> FieldError | None:
    """Say that nobody can plan to publish then: a command that does is malformed."""
    if at <= publish_at <= at + MAX_PUBLICATION_LEAD:
        return None
    return FieldError("expected_publish_at", "an instant within a year from now is wanted")


def propose_schedule(order: Order, command: ProposeSchedule, at: datetime) -> HandlerResult:
    """Let a side propose another day; an earlier proposal, whose ever, is no more."""
    publish_at = command.expected_publish_at
    return (
        ScheduleProposed(
            by=command.sender,
            side=_side_of(command.by.role),
            expected_publish_at=publish_at,
            open_until=min(at + order.policy.proposal_window, publish_at),
            **party_fields(order),
        ),
    )


def agree_schedule(order: Order, command: AgreeSchedule, at: datetime) -> HandlerResult:
    """Let the other side agree, to just what was proposed and while that is open."""
    proposal = order.proposal
    if proposal is None or at > proposal.open_until:
        return RejectionReason.NOTHING_PROPOSED
    if proposal.side == _side_of(command.by.role):
        return RejectionReason.NOT_ALLOWED
    if proposal.expected_publish_at != command.expected_publish_at:
        return RejectionReason.SCHEDULE_MISMATCH
    return (_rescheduled(order, command.sender, proposal.expected_publish_at, None),)


def reschedule_order(order: Order, command: RescheduleOrder, _: datetime) -> HandlerResult:
    """Let an operator set another day."""
    return (_rescheduled(order, command.sender, command.expected_publish_at, command.reason),)


def _side_of(role: str) -> Side:
    return "client" if role == Role.CLIENT.value else "creator"


def _rescheduled(order: Order, by: str, publish_at: datetime, note: str | None) -> Fact:
    """Replace the day; where the present deadline hangs on it, count that anew.

    It never becomes earlier. While the clock is stopped, what is left grows as it would.
    """
    due_at, time_left, counting = order.due_at, order.left, order.counted
    recounted = _find_later_deadline(order, publish_at)
    if recounted is not None and due_at is not None:
        due_at, counting = recounted.due_at, recounted.counted
    elif recounted is not None and time_left is not None:
        time_left += recounted.due_at - _deadline_in_force(order)
        counting = recounted.counted
    return OrderRescheduled(
        by=by,
        note=note,
        before=order.expected_publish_at,
        after=publish_at,
        old_due_at=order.due_at,
        due_at=due_at,
        left=time_left,
        counted=counting,
        **party_fields(order),
    )


def _find_later_deadline(order: Order, publish_at: datetime) -> Deadline | None:
    """Return the deadline with another day of publication, None where that makes it no later."""
    before, after = (
        calendar.compute_deadline(order.policy, order.state, order.entered_at, expected_at)
        for expected_at in (order.expected_publish_at, publish_at)
    )
    if before is None or after is None or after.due_at <= before.due_at:
        return None
    return after if after.due_at > _deadline_in_force(order) else None


def _deadline_in_force(order: Order) -> datetime:
    """Return the present deadline, or that which an operator's pause has suspended.

    A ban stops no clock that hangs on the day of publication.
    """
    if order.due_at is not None:
        return order.due_at
    stopped_at = order.entered_at if order.paused_at is None else order.paused_at
    return stopped_at + (order.left or timedelta(0))
