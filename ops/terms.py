"""Terms: within what limits a command would be granted: amounts, instants, how often."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from models import calendar
from models.creators import Creator
from models.fields import instant_text
from models.lifecycle import BEFORE_PUBLICATION, Role, State
from models.orders import endings
from models.orders.order import Order
from ops.numbers import quote_range
from ops.trials import attempt

Terms = dict[str, Any]


def terms(order: Order, creator: Creator, at: datetime, kind: str) -> Terms:
    """Return the limits of a command, by the names of what it says or of what limits it."""
    limits_of = _TERMS.get(kind)
    return limits_of(order, creator, at) if limits_of else {}


def _accept(order: Order, creator: Creator, at: datetime) -> Terms:
    min_fen, max_fen = quote_range(order)
    requester = (Role.CREATOR, order.creator_id)
    decision = attempt(order, creator, at, "accept_order", requester, revised_amount_fen=min_fen)
    if decision.reason is not None or min_fen == max_fen:
        return {}
    return {"revised_amount_fen": [min_fen, max_fen]}


def _revise(order: Order, _: Creator, __: datetime) -> Terms:
    return {"amount_fen": list(quote_range(order)), "not_after": instant_text(order.accept_by)}


def _nudge(order: Order, _: Creator, __: datetime) -> Terms:
    nudges_left = order.policy.nudge_limit - order.nudges
    if order.nudged_at is None:
        return {"left": nudges_left}
    return {
        "left": nudges_left,
        "not_before": instant_text(order.nudged_at + order.policy.nudge_interval),
    }


def _reject_script(order: Order, _: Creator, __: datetime) -> Terms:
    return {"left": order.policy.script_rejections - order.scripts_rejected}


def _reject_content(order: Order, _: Creator, __: datetime) -> Terms:
    return {"left": order.policy.content_rejections - order.contents_rejected}


def _extend(order: Order, _: Creator, at: datetime) -> Terms:
    due_at = order.due_at or at
    latest_at = due_at + order.policy.longest_extension
    return {"until": [instant_text(max(at, due_at)), instant_text(latest_at)]}


def _reinstate(order: Order, _: Creator, at: datetime) -> Terms:
    return {"until": [instant_text(at), instant_text(at + order.policy.longest_extension)]}


def _pause(order: Order, _: Creator, at: datetime) -> Terms:
    return {"no_longer_than": instant_text(at + order.policy.longest_pause)}


def _release(order: Order, _: Creator, __: datetime) -> Terms:
    if order.released:
        return {}
    limits = {"parts_fen": sum(holding.amount_fen for holding in order.forfeited)}
    if order.reason != "balance_not_paid":
        return limits
    # A payment that was made in time may still be noticed, and undoes the forfeiture.
    noticed_by = order.entered_at + order.policy.late_notice_window
    return limits | {"not_before": instant_text(noticed_by)}


def _resolve(order: Order, creator: Creator, at: datetime) -> Terms:
    requester = (Role.OPERATOR, "-")
    arguments_by_outcome: dict[str, Terms] = {
        "approve": {"creator_bps": None},
        "cancel": {},
        "extend": {"creator_bps": None, "until": at + order.policy.longest_extension},
    }
    states: Terms = {}
    for outcome, arguments in arguments_by_outcome.items():
        decision = attempt(
            order, creator, at, "resolve_dispute", requester, **({"outcome": outcome} | arguments)
        )
        if decision.reason is None:
            states[outcome] = decision.order.state.value
    latest_text = instant_text(at + order.policy.longest_extension)
    return {
        "outcomes": states,
        "creator_bps": [0, 10_000],
        "until": [instant_text(at), latest_text],
    }


def _cancel(order: Order, _: Creator, at: datetime) -> Terms:
    """Tell the tier of the price now, and those still ahead."""
    if order.state not in (State.IN_FULFILMENT, *BEFORE_PUBLICATION, State.IN_ARBITRATION):
        return {}
    bps = endings.tier(order, at)
    tiers_ahead = {} if order.state is State.IN_ARBITRATION else _tiers(order)
    rises = {condition: tier_bps for condition, tier_bps in tiers_ahead.items() if tier_bps > bps}
    return {"cost_bps": bps} | ({"rises": rises} if rises else {})


def _tiers(order: Order) -> dict[str, int]:
    """Name every tier of an order's kind, in basis points, by what it takes to reach it."""
    policy = order.policy
    tiers = {"once a script is handed in": policy.script_cost_bps} if order.needs_script else {}
    if order.is_live:
        tiers["once the script is approved"] = policy.live_approved_cost_bps
        if order.expected_publish_at is not None:
            day = calendar.start_of(calendar.day_of(order.expected_publish_at))
            condition = f"with an approved script from {instant_text(day)}"
            tiers[condition] = policy.live_day_cost_bps
        return tiers
    rejected_condition = f"once the content is sent back {policy.rejected_cost_from} times"
    return tiers | {
        "once the content is handed in": policy.content_cost_bps,
        rejected_condition: policy.rejected_cost_bps,
    }


_TERMS: dict[str, Callable[[Order, Creator, datetime], Terms]] = {
    "accept_order": _accept,
    "cancel_order": _cancel,
    "revise_quote": _revise,
    "nudge_creator": _nudge,
    "reject_script": _reject_script,
    "reject_content": _reject_content,
    "extend_deadline": _extend,
    "reinstate_order": _reinstate,
    "pause_clock": _pause,
    "release_forfeit": _release,
    "resolve_dispute": _resolve,
}
