"""Changes: what each event of the work, of disputes and of clocks does to an order."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from models import clocks
from models import order_events as happened
from models import work_events as work
from models.events import Event
from models.lifecycle import State
from models.notices import OperatorAlerted
from models.order import Order
from models.party_events import OperatorActed
from models.reasons import Alert

Changes = dict[str, Any]

FRESH: Changes = {
    "reason": None,
    "reminded": None,
    "stoppers": (),
    "left": None,
    "paused_until": None,
    "came_from": None,
    "entry_cost_bps": 0,
    "alerted_at": None,
}
"""What a state forgets of the one before: its reason, its reminders, its pause."""


def enter(order: Order, event: Event, state: State, **overrides: object) -> Changes:
    """Enter a state: arm the deadline that the event tells, else the one that elapsed time gives.

    Events from before a state had a window tell none.
    """
    by_time = event.caused_by.startswith("deadline:")
    lapsed = (*order.lapsed, order.state) if by_time else ()
    due_at = getattr(event.fact, "due_at", None)
    if due_at is None and state in order.policy.windows:
        due_at = clocks.elapsed(order.policy, state, event.at, order.expected_publish_at)
    entry = {"state": state, "entered_at": event.at, "due_at": due_at, "lapsed": lapsed}
    return FRESH | entry | {"counted": getattr(event.fact, "counted", "elapsed")} | overrides


def _script_submitted(order: Order, event: Event, _: object) -> Changes:
    return enter(order, event, State.SCRIPT_REVIEW, scripts=order.scripts + 1)


def _content_submitted(order: Order, event: Event, _: object) -> Changes:
    return enter(order, event, State.CONTENT_REVIEW, contents=order.contents + 1)


def _script_approved(order: Order, event: Event, _: object) -> Changes:
    state = State.READY_TO_PUBLISH if order.is_live else State.PRODUCING
    return enter(order, event, state, script_approved=True)


def _content_approved(order: Order, event: Event, _: object) -> Changes:
    return enter(order, event, State.READY_TO_PUBLISH)


def _script_rejected(order: Order, event: Event, _: object) -> Changes:
    rejected_count = order.scripts_rejected + 1
    return enter(order, event, State.SCRIPT_REVISION, scripts_rejected=rejected_count)


def _content_rejected(order: Order, event: Event, _: object) -> Changes:
    rejected_count = order.contents_rejected + 1
    return enter(order, event, State.PRODUCING, contents_rejected=rejected_count)


def _published(order: Order, event: Event, _: object) -> Changes:
    return enter(order, event, State.PUBLISHED)


def _delivered(order: Order, event: Event, _: object) -> Changes:
    return enter(order, event, State.ACCEPTED_DELIVERY)


def _disputed(order: Order, event: Event, fact: work.OrderInArbitration) -> Changes:
    origin = {"came_from": fact.came_from, "entry_cost_bps": fact.cost_bps}
    return enter(order, event, State.IN_ARBITRATION, reason=fact.reason, **origin)


def _resolved(order: Order, event: Event, fact: work.DisputeResolved) -> Changes:
    # What else an operator decides is told by the event that follows.
    if fact.outcome != "extend":
        return {}
    return enter(order, event, fact.came_from, due_at=fact.until)


def _completed(order: Order, event: Event, fact: happened.OrderCompleted) -> Changes:
    return enter(order, event, State.COMPLETED, reason=fact.reason, held=())


def _released(*_: object) -> Changes:
    return {"forfeited": (), "released": True}


def _rated(*_: object) -> Changes:
    return {"rated": True}


def _appointed(_: Order, __: Event, fact: work.ProviderAppointed) -> Changes:
    return {f"{fact.side}_provider": fact.provider_id}


def _stopped(order: Order, event: Event, fact: work.ClockStopped) -> Changes:
    stoppers = tuple(sorted({*order.stoppers, fact.stopper}))
    until = fact.until if fact.stopper == "operator" else order.paused_until
    changes: Changes = {"stoppers": stoppers, "left": fact.left, "due_at": None}
    return changes | {"paused_until": until} | _heeded(event, fact)


def _resumed(order: Order, event: Event, fact: work.ClockResumed) -> Changes:
    stoppers = tuple(stopper for stopper in order.stoppers if stopper != fact.stopper)
    until = None if fact.stopper == "operator" else order.paused_until
    changes: Changes = {"stoppers": stoppers, "paused_until": until} | _heeded(event, fact)
    if fact.due_at is None:
        return changes
    return changes | {"left": None} | _due(order, event, fact.due_at)


def _heeded(event: Event, fact: work.ClockStopped | work.ClockResumed) -> Changes:
    return {"heeded_at": event.at} if fact.stopper == "ban" else {}


def _extended(order: Order, event: Event, fact: work.DeadlineExtended) -> Changes:
    return _due(order, event, fact.due_at)


def _due(order: Order, event: Event, due_at: Any) -> Changes:  # noqa: ANN401 - an instant
    """Move a deadline: only reminders still ahead are sent, payment and answer move with it."""
    changes = {"due_at": due_at, "reminded": due_at - event.at}
    if order.state in (State.AWAITING_DEPOSIT, State.AWAITING_BALANCE):
        return changes | {"pay_by": due_at}
    return changes | {"answer_by": due_at} if order.state is State.OFFERED else changes


def _alerted(_: Order, __: Event, fact: OperatorAlerted) -> Changes:
    overdue = fact.alert is Alert.ARBITRATION_OVERDUE
    return {"alerted_at": fact.due_at} if overdue else {}


def _unchanged(*_: object) -> Changes:
    return {}


CHANGES: dict[type, Callable[[Order, Event, Any], Changes]] = {
    work.ScriptSubmitted: _script_submitted,
    work.ContentSubmitted: _content_submitted,
    work.ScriptApproved: _script_approved,
    work.ContentApproved: _content_approved,
    work.ScriptRejected: _script_rejected,
    work.ContentRejected: _content_rejected,
    work.WorkPublished: _published,
    work.DeliveryAccepted: _delivered,
    work.OrderInArbitration: _disputed,
    work.DisputeResolved: _resolved,
    work.OrderRated: _rated,
    work.ProviderAppointed: _appointed,
    work.ClockStopped: _stopped,
    work.ClockResumed: _resumed,
    work.DeadlineExtended: _extended,
    happened.OrderCompleted: _completed,
    happened.ForfeitReleased: _released,
    OperatorAlerted: _alerted,
    OperatorActed: _unchanged,
}
