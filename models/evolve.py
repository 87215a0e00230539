"""Evolve: fold events into an order. Nothing is decided here."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from models import changes
from models import money_events as money
from models import order_events as happened
from models.changes import CHANGES, Changes
from models.errors import BrokenInvariant
from models.events import Event
from models.lifecycle import State
from models.notices import ClientReminded, CreatorReminded
from models.order import Holding, Order
from models.policy import Policy


def begin(event: Event, policy: Policy) -> Order:
    """Make the order that `order.placed` describes."""
    fact = event.fact
    if not isinstance(fact, happened.OrderPlaced) or event.order_id is None:
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
    )


def evolve(order: Order, event: Event) -> Order:
    """Return the order after one more event; raise `BrokenInvariant` on a gap in its sequence."""
    if event.sequence != order.sequence + 1 or event.order_id != order.order_id:
        message = f"{event.id} does not follow order:{order.order_id}/{order.sequence}"
        raise BrokenInvariant(message)
    changes = _CHANGES[type(event.fact)](order, event, event.fact)
    return order.after({"sequence": event.sequence, **changes})


def replay(events: Iterable[Event], policy_of: Callable[[str], Policy]) -> Order:
    """Rebuild an order from its events, the first of which is `order.placed`."""
    first, *later_events = events
    fact = first.fact
    version = fact.policy_version if isinstance(fact, happened.OrderPlaced) else ""
    order = begin(first, policy_of(version))
    for event in later_events:
        order = evolve(order, event)
    return order


_enter = changes.enter


def _offered(order: Order, event: Event, _: object) -> Changes:
    return _enter(order, event, State.OFFERED, offered_at=event.at)


def _accepted(order: Order, event: Event, fact: happened.OrderAccepted) -> Changes:
    # An acceptance that leaves nothing to pay is followed by `order.funded` at once.
    pay_by = fact.due_at or event.at + order.policy.balance_window
    answer_by = order.answer_by if order.left is None else event.at + order.left
    payee = {"mcn_id": fact.mcn_id, "mcn_share_bps": fact.mcn_share_bps}
    terms = {"pay_by": pay_by, "answer_by": answer_by}
    return _enter(order, event, State.AWAITING_BALANCE, **terms, **payee)


def _overdue(order: Order, event: Event, _: object) -> Changes:
    return _enter(order, event, State.BALANCE_OVERDUE)


def _forfeited(order: Order, event: Event, fact: happened.OrderForfeited) -> Changes:
    holdings = {"held": (), "forfeited": order.held}
    return _enter(order, event, State.FORFEITED, reason=fact.reason, **holdings)


def _ended(state: State) -> Callable[[Order, Event, Any], Changes]:
    return lambda order, event, fact: _enter(order, event, state, reason=fact.reason)


def _cancelled(order: Order, event: Event, fact: happened.OrderCancelled) -> Changes:
    # What a cancellation at a cost takes and gives back leaves escrow with this one event.
    holdings = () if fact.cost_fen else order.held
    return _enter(order, event, State.CANCELLED, reason=fact.reason, held=holdings)


def _reinstated(order: Order, event: Event, fact: happened.OrderReinstated) -> Changes:
    holdings: Changes = {"held": order.forfeited, "forfeited": ()}
    if fact.due_at is not None:
        return _enter(order, event, State.AWAITING_BALANCE, pay_by=fact.due_at, **holdings)
    # For a moment the balance is overdue again: the payment that proves it follows at once.
    return _enter(order, event, State.BALANCE_OVERDUE, **holdings)


def _funded(order: Order, event: Event, _: object) -> Changes:
    return _enter(order, event, State.IN_FULFILMENT)


def _revised(order: Order, _: Event, fact: happened.QuoteRevised) -> Changes:
    return {"amount_fen": fact.amount_fen, "revisions": order.revisions + 1}


def _restored(_: Order, __: Event, fact: happened.QuoteRestored) -> Changes:
    return {"amount_fen": fact.amount_fen}


def _applied(order: Order, _: Event, fact: money.PaymentApplied) -> Changes:
    return {"held": (*order.held, Holding(fact.payment_id, fact.amount_fen))}


def _refunding(order: Order, _: Event, fact: money.RefundRequested) -> Changes:
    if fact.source != "escrow":
        return {}
    return {
        "held": tuple(holding for holding in order.held if holding.payment_id != fact.payment_id)
    }


def _reminded(order: Order, event: Event, fact: CreatorReminded | ClientReminded) -> Changes:
    if fact.cause == "nudge":
        return {"nudges": order.nudges + 1, "nudged_at": event.at}
    return {"reminded": fact.lead}


def _unchanged(*_: object) -> Changes:
    return {}


_CHANGES: dict[type, Callable[[Order, Event, Any], Changes]] = {
    happened.OrderOffered: _offered,
    happened.OrderAccepted: _accepted,
    happened.OrderDeclined: _ended(State.DECLINED),
    happened.OrderExpired: _ended(State.EXPIRED),
    happened.OrderCancelled: _cancelled,
    happened.OrderBalanceOverdue: _overdue,
    happened.OrderForfeited: _forfeited,
    happened.OrderReinstated: _reinstated,
    happened.OrderFunded: _funded,
    happened.QuoteRevised: _revised,
    happened.QuoteRestored: _restored,
    money.PaymentApplied: _applied,
    money.PaymentUnapplied: _unchanged,
    money.RefundRequested: _refunding,
    money.RefundConfirmed: _unchanged,
    money.PayoutRequested: _unchanged,
    money.PayoutConfirmed: _unchanged,
    CreatorReminded: _reminded,
    ClientReminded: _reminded,
    **CHANGES,
}
