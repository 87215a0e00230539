"""Evolve: fold events into an order, each event's effect in one table. Nothing is decided here."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any

from models import calendar
from models.errors import BrokenInvariant
from models.events import orders as order_events
from models.events import payments as payment_events
from models.events.event import Event
from models.events.notifications import ClientReminded, CreatorReminded, OperatorAlerted
from models.events.parties import OperatorActed
from models.lifecycle import State
from models.orders.order import Holding, Order, ScheduleProposal
from models.policy import Policy
from models.reasons import Alert

OrderChanges = dict[str, Any]
"""What an event changes: new values by the names of the order's fields."""


def begin_order(event: Event, policy: Policy) -> Order:
    """Make the order that `order.placed` describes; raise `BrokenInvariant` for another event."""
    fact = event.fact
    if not isinstance(fact, order_events.OrderPlaced) or event.order_id is None:
        message = f"an order begins with order.placed, not with {event.fact.type}"
        raise BrokenInvariant(message)
    return Order(
        order_id=event.order_id,
        client_id=fact.client_id,
        creator_id=fact.creator_id,
        policy=policy,
        task_type=fact.task_type,
        prepay_deposit=fact.prepay_deposit,
        original_amount_fen=fact.amount_fen,
        amount_fen=fact.amount_fen,
        deposit_fen=fact.deposit_fen,
        placed_at=event.at,
        expected_publish_at=fact.expected_publish_at,
        needs_script=fact.needs_script,
        state=State.AWAITING_DEPOSIT,
        sequence=event.sequence,
        entered_at=event.at,
        due_at=fact.due_at,
        pay_by=fact.due_at,
        name=fact.name,
    )


def evolve(order: Order, event: Event) -> Order:
    """Return the order after one more event; raise `BrokenInvariant` on a gap in its sequence."""
    if event.sequence != order.sequence + 1 or event.order_id != order.order_id:
        message = f"{event.id} does not follow order:{order.order_id}/{order.sequence}"
        raise BrokenInvariant(message)
    changes = _EFFECTS[type(event.fact)](order, event, event.fact)
    return order.with_changes({"sequence": event.sequence, **changes})


def replay(events: Iterable[Event], policy_of: Callable[[str], Policy]) -> Order:
    """Rebuild an order from its events, the first of which is `order.placed`."""
    first, *later_events = events
    fact = first.fact
    version = fact.policy_version if isinstance(fact, order_events.OrderPlaced) else ""
    order = begin_order(first, policy_of(version))
    for event in later_events:
        order = evolve(order, event)
    return order


def enter_state(order: Order, event: Event, state: State, **overrides: object) -> OrderChanges:
    """Enter a state, with the deadline that the event names, else the one that elapsed time gives.

    Events from before a state had a window name none.
    """
    by_time = event.caused_by.startswith("deadline:")
    lapsed = (*order.lapsed, order.state) if by_time else ()
    lapsed_at = (*order.lapsed_at, event.at) if by_time else ()
    due_at = getattr(event.fact, "due_at", None)
    if due_at is None and state in order.policy.windows:
        due_at = calendar.deadline_by_elapsed_time(
            order.policy, state, event.at, order.expected_publish_at
        )
    entry = {"state": state, "entered_at": event.at, "due_at": due_at}
    entry |= {"lapsed": lapsed, "lapsed_at": lapsed_at}
    return (
        RESET_ON_ENTRY | entry | {"counted": getattr(event.fact, "counted", "elapsed")} | overrides
    )


RESET_ON_ENTRY: OrderChanges = {
    "reason": None,
    "reminded": None,
    "stoppers": (),
    "left": None,
    "paused_until": None,
    "came_from": None,
    "entry_cost_bps": 0,
    "alerted_at": None,
    "proposal": None,
}
"""What a state forgets of the one before: its reason, its reminders, its pause, a proposal."""


def _order_offered(order: Order, event: Event, _: object) -> OrderChanges:
    return enter_state(order, event, State.OFFERED, offered_at=event.at)


def _order_accepted(order: Order, event: Event, fact: order_events.OrderAccepted) -> OrderChanges:
    # An acceptance that leaves nothing to pay is followed by `order.funded` at once.
    pay_by = fact.due_at or event.at + order.policy.balance_window
    answer_by = order.answer_by if order.left is None else event.at + order.left
    payee = {"mcn_id": fact.mcn_id, "mcn_share_bps": fact.mcn_share_bps}
    terms = {"pay_by": pay_by, "answer_by": answer_by}
    return enter_state(order, event, State.AWAITING_BALANCE, **terms, **payee)


def _end_in_state(state: State) -> Callable[[Order, Event, Any], OrderChanges]:
    return lambda order, event, fact: enter_state(order, event, state, reason=fact.reason)


def _order_cancelled(order: Order, event: Event, fact: order_events.OrderCancelled) -> OrderChanges:
    # What a cancellation at a cost takes and gives back leaves escrow with this one event.
    holdings = () if fact.cost_fen else order.held
    return enter_state(order, event, State.CANCELLED, reason=fact.reason, held=holdings)


def _order_balance_overdue(order: Order, event: Event, _: object) -> OrderChanges:
    return enter_state(order, event, State.BALANCE_OVERDUE)


def _order_forfeited(order: Order, event: Event, fact: order_events.OrderForfeited) -> OrderChanges:
    holdings = {"held": (), "forfeited": order.held}
    return enter_state(order, event, State.FORFEITED, reason=fact.reason, **holdings)


def _order_reinstated(
    order: Order, event: Event, fact: order_events.OrderReinstated
) -> OrderChanges:
    holdings: OrderChanges = {"held": order.forfeited, "forfeited": ()}
    if fact.due_at is not None:
        return enter_state(order, event, State.AWAITING_BALANCE, pay_by=fact.due_at, **holdings)
    # For a moment the balance is overdue again: the payment that proves it follows at once.
    return enter_state(order, event, State.BALANCE_OVERDUE, **holdings)


def _order_funded(order: Order, event: Event, _: object) -> OrderChanges:
    return enter_state(order, event, State.IN_FULFILMENT)


def _quote_revised(order: Order, _: Event, fact: order_events.QuoteRevised) -> OrderChanges:
    return {"amount_fen": fact.amount_fen, "revisions": order.revisions + 1}


def _quote_restored(_: Order, __: Event, fact: order_events.QuoteRestored) -> OrderChanges:
    return {"amount_fen": fact.amount_fen}


def _deposit_overdue(*_: object) -> OrderChanges:
    return {"deposit_overdue": True}


def _payment_applied(order: Order, _: Event, fact: payment_events.PaymentApplied) -> OrderChanges:
    # Two shares of one payment, the second out of suspense, go back as one.
    others, same = _split_holdings(order, fact.payment_id)
    amount_fen = fact.amount_fen + sum(holding.amount_fen for holding in same)
    return {"held": (*others, Holding(fact.payment_id, amount_fen))}


def _refund_requested(
    order: Order, event: Event, fact: payment_events.RefundRequested
) -> OrderChanges:
    if fact.source != "escrow":
        return {}
    others, same = _split_holdings(order, fact.payment_id)
    if sum(holding.amount_fen for holding in same) != fact.amount_fen:
        raise BrokenInvariant(f"{event.id} gives back what is not held: {fact.refund_id}")
    return {"held": others}


def _split_holdings(
    order: Order, payment_id: str | None
) -> tuple[tuple[Holding, ...], tuple[Holding, ...]]:
    """Return what is held of other payments, and of this one."""
    others = tuple(holding for holding in order.held if holding.payment_id != payment_id)
    return others, tuple(holding for holding in order.held if holding.payment_id == payment_id)


def _party_reminded(
    order: Order, event: Event, fact: CreatorReminded | ClientReminded
) -> OrderChanges:
    if fact.cause == "nudge":
        return {"nudges": order.nudges + 1, "nudged_at": event.at}
    return {"reminded": fact.lead}


def _script_submitted(order: Order, event: Event, _: object) -> OrderChanges:
    return enter_state(order, event, State.SCRIPT_REVIEW, scripts=order.scripts + 1)


def _content_submitted(order: Order, event: Event, _: object) -> OrderChanges:
    return enter_state(order, event, State.CONTENT_REVIEW, contents=order.contents + 1)


def _script_approved(order: Order, event: Event, _: object) -> OrderChanges:
    state = State.READY_TO_PUBLISH if order.is_live else State.PRODUCING
    return enter_state(order, event, state, script_approved=True)


def _content_approved(order: Order, event: Event, _: object) -> OrderChanges:
    return enter_state(order, event, State.READY_TO_PUBLISH)


def _script_rejected(order: Order, event: Event, _: object) -> OrderChanges:
    rejected_count = order.scripts_rejected + 1
    return enter_state(order, event, State.SCRIPT_REVISION, scripts_rejected=rejected_count)


def _content_rejected(order: Order, event: Event, _: object) -> OrderChanges:
    rejected_count = order.contents_rejected + 1
    return enter_state(order, event, State.PRODUCING, contents_rejected=rejected_count)


def _work_published(order: Order, event: Event, _: object) -> OrderChanges:
    return enter_state(order, event, State.PUBLISHED)


def _delivery_accepted(order: Order, event: Event, _: object) -> OrderChanges:
    return enter_state(order, event, State.ACCEPTED_DELIVERY)


def _order_in_arbitration(
    order: Order, event: Event, fact: order_events.OrderInArbitration
) -> OrderChanges:
    origin = {"came_from": fact.came_from, "entry_cost_bps": fact.cost_bps}
    return enter_state(order, event, State.IN_ARBITRATION, reason=fact.reason, **origin)


def _dispute_resolved(
    order: Order, event: Event, fact: order_events.DisputeResolved
) -> OrderChanges:
    # Whatever else an operator decides, the event that follows says so.
    if fact.outcome != "extend":
        return {}
    return enter_state(order, event, fact.came_from, due_at=fact.until)


def _order_rated(*_: object) -> OrderChanges:
    return {"rated": True}


def _provider_appointed(_: Order, __: Event, fact: order_events.ProviderAppointed) -> OrderChanges:
    return {f"{fact.side}_provider": fact.provider_id}


def _clock_stopped(order: Order, _: Event, fact: order_events.ClockStopped) -> OrderChanges:
    stoppers = tuple(sorted({*order.stoppers, fact.stopper}))
    until = fact.until if fact.stopper == "operator" else order.paused_until
    changes: OrderChanges = {"stoppers": stoppers, "left": fact.left, "due_at": None}
    return changes | {"paused_until": until}


def _clock_resumed(order: Order, event: Event, fact: order_events.ClockResumed) -> OrderChanges:
    stoppers = tuple(stopper for stopper in order.stoppers if stopper != fact.stopper)
    until = None if fact.stopper == "operator" else order.paused_until
    changes: OrderChanges = {"stoppers": stoppers, "paused_until": until}
    if fact.due_at is None:
        return changes
    return changes | {"left": None} | _move_deadline(order, event, fact.due_at)


def _deadline_extended(
    order: Order, event: Event, fact: order_events.DeadlineExtended
) -> OrderChanges:
    return _move_deadline(order, event, fact.due_at)


def _move_deadline(order: Order, event: Event, due_at: datetime) -> OrderChanges:
    """Move a deadline: only reminders still ahead are sent, payment and answer move with it."""
    changes: OrderChanges = {"due_at": due_at, "reminded": due_at - event.at}
    if order.state in (State.AWAITING_DEPOSIT, State.AWAITING_BALANCE):
        return changes | {"pay_by": due_at}
    return changes | {"answer_by": due_at} if order.state is State.OFFERED else changes


def _schedule_proposed(_: Order, __: Event, fact: order_events.ScheduleProposed) -> OrderChanges:
    proposal = ScheduleProposal(fact.side, fact.expected_publish_at, fact.open_until)
    return {"proposal": proposal}


def _order_rescheduled(
    order: Order, event: Event, fact: order_events.OrderRescheduled
) -> OrderChanges:
    changes: OrderChanges = {"expected_publish_at": fact.after, "left": fact.left}
    if not fact.by.startswith("operator:"):
        changes["proposal"] = None
    changes["counted"] = fact.counted
    if fact.due_at is None or fact.due_at == order.due_at:
        return changes
    return changes | _move_deadline(order, event, fact.due_at)


def _order_completed(order: Order, event: Event, fact: order_events.OrderCompleted) -> OrderChanges:
    return enter_state(order, event, State.COMPLETED, reason=fact.reason, held=())


def _forfeit_released(*_: object) -> OrderChanges:
    return {"forfeited": (), "released": True}


def _operator_alerted(_: Order, __: Event, fact: OperatorAlerted) -> OrderChanges:
    overdue = fact.alert is Alert.ARBITRATION_OVERDUE
    return {"alerted_at": fact.due_at} if overdue else {}


def _unchanged(*_: object) -> OrderChanges:
    return {}


_EFFECTS: dict[type, Callable[[Order, Event, Any], OrderChanges]] = {
    order_events.OrderDepositOverdue: _deposit_overdue,
    order_events.OrderOffered: _order_offered,
    order_events.OrderAccepted: _order_accepted,
    order_events.OrderDeclined: _end_in_state(State.DECLINED),
    order_events.OrderExpired: _end_in_state(State.EXPIRED),
    order_events.OrderCancelled: _order_cancelled,
    order_events.OrderBalanceOverdue: _order_balance_overdue,
    order_events.OrderForfeited: _order_forfeited,
    order_events.OrderReinstated: _order_reinstated,
    order_events.OrderFunded: _order_funded,
    order_events.QuoteRevised: _quote_revised,
    order_events.QuoteRestored: _quote_restored,
    payment_events.PaymentApplied: _payment_applied,
    payment_events.PaymentUnapplied: _unchanged,
    payment_events.RefundRequested: _refund_requested,
    payment_events.RefundConfirmed: _unchanged,
    payment_events.RefundVoided: _unchanged,
    payment_events.PayoutRequested: _unchanged,
    payment_events.RefundFailed: _unchanged,
    payment_events.PayoutConfirmed: _unchanged,
    payment_events.PayoutFailed: _unchanged,
    payment_events.PayoutHeld: _unchanged,
    payment_events.PayoutReleased: _unchanged,
    payment_events.PayoutReversed: _unchanged,
    CreatorReminded: _party_reminded,
    ClientReminded: _party_reminded,
    order_events.ScriptSubmitted: _script_submitted,
    order_events.ContentSubmitted: _content_submitted,
    order_events.ScriptApproved: _script_approved,
    order_events.ContentApproved: _content_approved,
    order_events.ScriptRejected: _script_rejected,
    order_events.ContentRejected: _content_rejected,
    order_events.WorkPublished: _work_published,
    order_events.DeliveryAccepted: _delivery_accepted,
    order_events.OrderInArbitration: _order_in_arbitration,
    order_events.DisputeResolved: _dispute_resolved,
    order_events.OrderRated: _order_rated,
    order_events.ProviderAppointed: _provider_appointed,
    order_events.ClockStopped: _clock_stopped,
    order_events.ClockResumed: _clock_resumed,
    order_events.DeadlineExtended: _deadline_extended,
    order_events.ScheduleProposed: _schedule_proposed,
    order_events.OrderRescheduled: _order_rescheduled,
    order_events.OrderCompleted: _order_completed,
    order_events.ForfeitReleased: _forfeit_released,
    OperatorAlerted: _operator_alerted,
    OperatorActed: _unchanged,
}
"""The effect of every kind of event that an order can have."""
