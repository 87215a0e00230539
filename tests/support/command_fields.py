"""Command fields: what each kind of command must say besides the order it is about."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from models.fields import format_instant
from models.orders.order import Order

HOUR = timedelta(hours=1)
LINK = "https://pan.example/draft"
REASON = "as agreed by telephone"


def fields_for(kind: str, order: Order, now: datetime, argument: str = "") -> dict[str, Any]:
    """Return fields with which a command of some kind makes sense for an order.

    `argument` is the part of a step after its colon: a price, a provider, a side, an outcome.
    """
    make_fields = _FIELDS_BY_KIND.get(kind)
    fields: dict[str, Any] = make_fields(order, now, argument) if make_fields else {}
    return fields


def _cancel(_: Order, __: datetime, argument: str) -> dict[str, Any]:
    if argument.isdecimal():
        return {"accept_cost_fen": int(argument)}
    return {"accept_forfeit": True} if argument == "forfeit" else {}


def _resolve(_: Order, now: datetime, argument: str) -> dict[str, Any]:
    outcome, *bps = (argument or "approve").split("=")
    fields_by_outcome: dict[str, dict[str, Any]] = {
        "cancel": {"creator_bps": int("".join(bps) or 0)},
        "extend": {"until": format_instant(now + HOUR)},
    }
    return {"outcome": outcome, "reason": REASON} | fields_by_outcome.get(outcome, {})


def _new_deadline(order: Order, now: datetime, _: str) -> dict[str, Any]:
    return {"until": format_instant(max(now, order.due_at or now) + HOUR), "reason": REASON}


def _release(order: Order, _: datetime, argument: str) -> dict[str, Any]:
    forfeited_fen = sum(holding.amount_fen for holding in order.forfeited) or 1
    return {
        "parts": [{"to": argument.removeprefix("to=") or "client", "amount_fen": forfeited_fen}],
        "reason": REASON,
    }


PLACEMENTS: dict[str, dict[str, object]] = {
    "": {},
    "full": {"prepay_deposit": False},
    "live": {"task_type": "douyin_live", "expected_publish_at": "2026-03-20T20:00:00+08:00"},
    "unscripted": {"needs_script": False},
}

ABOUT_THE_CREATOR = ("violation", "overturn", "leave", "provider", "contract")
CommandParts = tuple[str, str, dict[str, Any]]


def creator_command(action: str, argument: str, number: int, now: datetime) -> CommandParts:
    """Return a command that concerns the creator `k1`, or who serves it, and so its orders."""
    if action == "violation":
        fields = {"violation_id": argument or f"x{number}", "creator_id": "k1"}
        fields |= {"url": "https://elsewhere.example/ad", "evidence": "a screenshot"}
        return "report_violation", "platform", fields | {"seen_at": format_instant(now)}
    if action == "overturn":
        return "overturn_violation", "operator", {"violation_id": argument, "reason": REASON}
    if action == "leave":
        return "end_contract", "creator", {"creator_id": "k1"}
    if action == "contract":
        contract_fields = {"creator_id": "k1", "name": "K1", "contract": "mcn", "mcn_id": "m1"}
        return "register_creator", "platform", contract_fields | {"mcn_share_bps": int(argument)}
    return "register_provider", "platform", {"provider_id": argument, "name": argument}


def _another_day(order: Order, now: datetime, argument: str) -> dict[str, Any]:
    """Say which day: so many days ahead, else the one that was proposed, else in three days."""
    publish_at = now + timedelta(days=int(argument or 3))
    if not argument and order.proposal is not None:
        publish_at = order.proposal.expected_publish_at
    return {"expected_publish_at": format_instant(publish_at)}


_FIELDS_BY_KIND: dict[str, Any] = {
    "accept_order": lambda *a: {"revised_amount_fen": int(a[2])} if a[2].isdecimal() else {},
    "revise_quote": lambda *a: {"amount_fen": int(a[2] or 110_000)},
    "cancel_order": _cancel,
    "submit_script": lambda *_: {"links": [LINK]},
    "submit_content": lambda *_: {"links": [LINK], "note": "final cut"},
    "reject_script": lambda *_: {"comment": "too long"},
    "reject_content": lambda *_: {"comment": "too dark"},
    "publish_work": lambda _, now, __: {"url": LINK, "published_at": format_instant(now)},
    "dispute_order": lambda *_: {"reason": "not what was agreed"},
    "resolve_dispute": _resolve,
    "extend_deadline": _new_deadline,
    "reinstate_order": _new_deadline,
    "propose_schedule": lambda _, now, days: {
        "expected_publish_at": format_instant(now + timedelta(days=int(days or 3)))
    },
    "agree_schedule": _another_day,
    "reschedule_order": lambda *a: _another_day(*a) | {"reason": REASON},
    "pause_clock": lambda *_: {"reason": REASON},
    "resume_clock": lambda *_: {"reason": REASON},
    "release_forfeit": _release,
    "rate_order": lambda *_: {"rating": 5},
    "appoint_provider": lambda *a: {"provider_id": a[2] or "v1"},
}
