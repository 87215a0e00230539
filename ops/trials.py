"""Trials: commands asked only to see what they would come to; nothing of them is kept."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from models.commands import COMMANDS
from models.commands.payments import ConfirmPayment
from models.creators import Creator
from models.events.event import Fact
from models.events.orders import OrderCancelled, OrderCompleted, OrderForfeited
from models.events.payments import PayoutRequested, RefundRequested
from models.fields import instant_text
from models.lifecycle import Role, State
from models.orders import payments
from models.orders.decide import decide
from models.orders.decision import Verdict
from models.orders.order import Order
from models.reasons import Unusable
from ops.numbers import quote_range
from workers.timestamps import MICROSECOND

Body = dict[str, Any]


LINK = "https://example.com/"


ID = "only-a-trial"


def attempt(
    order: Order,
    creator: Creator,
    at: datetime,
    kind: str,
    requester: tuple[Role, str],
    **arguments: object,
) -> Verdict:
    """Judge a command as if it were received at `at`."""
    sample = SAMPLES.get(kind)
    body: Body = {"id": ID, "kind": kind, "by": {"role": requester[0].value, "id": requester[1]}}
    body |= {"order_id": order.order_id} | (sample(order, at) if sample else {}) | arguments
    command: Any = COMMANDS.validate_python(body)
    return decide(order, command, at, creator)


def _later(order: Order, at: datetime) -> Body:
    return {"until": max(at, order.due_at or at) + MICROSECOND, "reason": "-"}


def _release(order: Order, _: datetime) -> Body:
    forfeited_fen = sum(holding.amount_fen for holding in order.forfeited)
    return {"parts": [{"to": "platform", "amount_fen": forfeited_fen or 1}], "reason": "-"}


SAMPLES: dict[str, Callable[[Order, datetime], Body]] = {
    "revise_quote": lambda order, _: {"amount_fen": quote_range(order)[0]},
    **dict.fromkeys(("submit_script", "submit_content"), lambda *_: {"links": [LINK]}),
    **dict.fromkeys(("reject_script", "reject_content"), lambda *_: {"comment": "-"}),
    "publish_work": lambda _, at: {"url": LINK, "published_at": at},
    "rate_order": lambda *_: {"rating": 5},
    "appoint_provider": lambda *_: {"provider_id": None},
    **dict.fromkeys(("dispute_order", "pause_clock", "resume_clock"), lambda *_: {"reason": "-"}),
    **dict.fromkeys(("extend_deadline", "reinstate_order"), _later),
    "release_forfeit": _release,
    "resolve_dispute": lambda *_: {"outcome": "cancel", "creator_bps": 0, "reason": "-"},
}
"""What a command of some kind needs besides the order it is about."""


def payment(order: Order, at: datetime) -> Verdict | Unusable:
    """Record the payment that the order would take, or say why it would take none."""
    amount_fen = wanted_fen(order)
    paid_at = at if order.stoppers else min(at, order.pay_by)
    reason = payments.unusable(order, amount_fen, paid_at, at)
    if reason is not None:
        return reason
    share = {"order_id": order.order_id, "amount_fen": amount_fen}
    body = {"id": ID, "kind": "confirm_payment", "by": {"role": "payments", "id": "-"}}
    details = {"payment_id": ID, "paid_at": paid_at, "amount_fen": amount_fen, "shares": [share]}
    command = ConfirmPayment.model_validate(body | details)
    facts = payments.judge_share(order, command, command.shares[0], at)
    return Verdict(order).then(facts, at, f"command:{ID}")


def wanted_fen(order: Order) -> int:
    """Return what a payment must be to be of use: what is due, or would have been."""
    forfeited_fen = sum(holding.amount_fen for holding in order.forfeited)
    return order.balance_due_fen or (order.total_fen - forfeited_fen if forfeited_fen else 0)


def effect(decision: Verdict, before: Order) -> Body:
    """Say what becomes of an order, and of whose money."""
    after = decision.order
    effects: Body = {"becomes": after.state.value, "reason": after.reason}
    for event in decision.events:
        for name, amount_fen in _moved(event.fact):
            effects[name] = effects.get(name, 0) + amount_fen
    is_waiting = after.state not in (before.state, State.IN_ARBITRATION)
    if is_waiting and after.due_at is not None:
        effects["due_at"] = instant_text(after.due_at)
    return {name: value for name, value in effects.items() if value}


def _moved(fact: Fact) -> tuple[tuple[str, int], ...]:
    match fact:
        case RefundRequested():
            return (("back_fen", fact.amount_fen),)
        case PayoutRequested():
            return (("creators_side_fen", fact.amount_fen),)
        case OrderCancelled():
            return (("cost_fen", fact.cost_fen), ("fee_fen", fact.fee_part_fen))
        case OrderCompleted():
            return (("fee_fen", fact.fee_fen),)
        case OrderForfeited():
            return (("forfeited_fen", fact.amount_fen),)
        case _:
            return ()
