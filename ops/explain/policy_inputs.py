"""Policy inputs: which numbers of the policy a step of an order's life came from, and how."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from models import calendar
from models.events.event import Event
from models.fields import format_duration, format_instant
from models.lifecycle import EndReason
from models.orders import endings
from models.orders.offers import quote_range
from models.orders.order import Order
from models.policy import REMINDER_SETTINGS, WINDOW_SETTINGS

PolicyInputs = dict[str, Any]


def policy_inputs(events: Sequence[Event], before: Order | None, after: Order) -> PolicyInputs:
    """Collect the numbers that decided a step, by the names they have in the policy."""
    inputs: PolicyInputs = {}
    for event in events:
        collect = _INPUTS_BY_EVENT.get(event.fact.type)
        if collect is not None:
            inputs |= collect(before or after, after)
        if event.fact.type in PRICED_EVENTS and before is not None:
            inputs |= _price_inputs(before, event)
    if before is None or after.state is not before.state:
        inputs |= _ended_window(before) | window_inputs(after)
    return inputs


def window_inputs(order: Order) -> PolicyInputs:
    """Return the window of a state, and how its days were counted if that needs a word.

    Civil days are shown beside what elapsed time would have given.
    """
    if order.state not in WINDOW_SETTINGS:
        return {}
    name, policy = WINDOW_SETTINGS[order.state], order.policy
    inputs: PolicyInputs = {name: format_duration(policy.windows[order.state])}
    if order.state.value == "producing":
        inputs["production_grace"] = format_duration(policy.production_grace)
    if order.counted != "elapsed":
        elapsed_due_at = calendar.deadline_by_elapsed_time(
            policy, order.state, order.entered_at, order.expected_publish_at
        )
        inputs |= {"counted": order.counted, "elapsed_due_at": format_instant(elapsed_due_at)}
    return inputs


def reminder_inputs(order: Order) -> PolicyInputs:
    """Return the reminders of a state, longest first."""
    if order.state not in REMINDER_SETTINGS:
        return {}
    leads = order.policy.reminder_leads(order.state)
    return {REMINDER_SETTINGS[order.state]: [format_duration(lead) for lead in leads]}


def _ended_window(before: Order | None) -> PolicyInputs:
    """Return the window that ended, where it was one."""
    if before is None or before.due_at is None or before.state not in WINDOW_SETTINGS:
        return {}
    inputs: PolicyInputs = {
        WINDOW_SETTINGS[before.state]: format_duration(before.policy.windows[before.state])
    }
    grace = before.policy.grace(before.state)
    return inputs | ({"payment_notice_grace": format_duration(grace)} if grace else {})


def _placed(_: Order, after: Order) -> PolicyInputs:
    policy = after.policy
    return {
        "service_fee_bps": policy.service_fee_bps,
        "fee_fen": after.fee_fen,
        "total_fen": after.total_fen,
        "deposit_bps": policy.deposit_bps if after.prepay_deposit else 0,
        "deposit_fen": after.deposit_fen,
    }


def _deposit_overdue(_: Order, after: Order) -> PolicyInputs:
    return window_inputs(after) | {
        "payment_notice_grace": format_duration(after.policy.payment_notice_grace)
    }


def _accepted(_: Order, after: Order) -> PolicyInputs:
    mcn_terms = {"mcn_share_bps": after.mcn_share_bps} if after.mcn_id else {}
    return {"balance_due_fen": after.balance_due_fen} | mcn_terms


def _quoted(before: Order, after: Order) -> PolicyInputs:
    """Show the range of a new quote: always measured from the original, in whole fen."""
    min_fen, max_fen = quote_range(before)
    return {
        "quote_swing_percent": after.policy.quote_swing_percent,
        "original_amount_fen": before.original_amount_fen,
        "least_fen": min_fen,
        "most_fen": max_fen,
        "fee_fen": after.fee_fen,
    }


def _forfeited(before: Order, after: Order) -> PolicyInputs:
    return {
        "forfeited_fen": before.held_fen or sum(holding.amount_fen for holding in before.forfeited),
        "late_notice_window": format_duration(after.policy.late_notice_window),
    }


def _reminded(_: Order, after: Order) -> PolicyInputs:
    nudged = after.nudges > 0
    limit = {"nudge_limit": after.policy.nudge_limit, "nudges": after.nudges}
    return limit if nudged else {}


def _script_rejected(_: Order, after: Order) -> PolicyInputs:
    return {
        "script_rejections": after.policy.script_rejections,
        "scripts_rejected": after.scripts_rejected,
    }


def _content_rejected(_: Order, after: Order) -> PolicyInputs:
    return {
        "content_rejections": after.policy.content_rejections,
        "contents_rejected": after.contents_rejected,
    }


def _completed(before: Order, _: Order) -> PolicyInputs:
    mcn_terms = {"mcn_share_bps": before.mcn_share_bps} if before.mcn_id else {}
    return {"amount_fen": before.amount_fen, "fee_fen": before.fee_fen} | mcn_terms


def _extended(_: Order, after: Order) -> PolicyInputs:
    return {"longest_extension": format_duration(after.policy.longest_extension)}


def _stopped(before: Order, after: Order) -> PolicyInputs:
    if "operator" in before.stoppers or "operator" not in after.stoppers:
        return {}
    return {"longest_pause": format_duration(after.policy.longest_pause)}


PRICED_EVENTS = ("order.cancelled", "order.in_arbitration")


def _price_inputs(before: Order, event: Event) -> PolicyInputs:
    """Show from what a cost, or the price of leaving while it is undecided, was reckoned."""
    fact: Any = event.fact
    if not fact.cost_fen:
        return {}
    bps = endings.cancellation_tier_at(before, event.at)
    if getattr(fact, "reason", None) == EndReason.ARBITRATED:
        return {"amount_fen": before.amount_fen, "fee_fen": before.fee_fen}
    return {"cost_bps": bps, "amount_fen": before.amount_fen, "fee_fen": before.fee_fen}


_INPUTS_BY_EVENT: dict[str, Callable[[Order, Order], PolicyInputs]] = {
    "order.placed": _placed,
    "order.deposit_overdue": _deposit_overdue,
    "order.accepted": _accepted,
    "quote.revised": _quoted,
    "quote.restored": _quoted,
    "order.forfeited": _forfeited,
    "order.reinstated": _forfeited,
    "creator.reminded": _reminded,
    "script.rejected": _script_rejected,
    "content.rejected": _content_rejected,
    "order.completed": _completed,
    "deadline.extended": _extended,
    "clock.stopped": _stopped,
}
