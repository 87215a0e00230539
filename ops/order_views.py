"""Order views: an order as JSON, what it waits for, and its events in a line.

The same words on every page, at the command line and over HTTP; no database is needed.
"""

from __future__ import annotations

from typing import Any

from models.fields import format_duration, format_instant
from models.lifecycle import State
from models.orders.order import Order
from ops import terminal
from ops.json_schema import JsonObject


def serialize_order(order: Order) -> JsonObject:
    """Describe an order as every reader of ours does."""
    return {
        "status": order.state.value,
        "reason": order.reason,
        "original_amount_fen": order.original_amount_fen,
        "amount_fen": order.amount_fen,
        "total_fen": order.total_fen,
        "deposit_fen": order.deposit_fen,
        "held_fen": order.held_fen,
        "balance_due_fen": order.balance_due_fen,
    }


WAITS_FOR = {
    State.AWAITING_DEPOSIT: "the client to pay",
    State.OFFERED: "the creator to accept or decline",
    State.AWAITING_BALANCE: "the client to pay the balance",
    State.BALANCE_OVERDUE: "notices of a balance paid in time",
    State.IN_FULFILMENT: "the creator to hand in the first work",
    State.SCRIPT_REVIEW: "the client to approve the script or send it back",
    State.SCRIPT_REVISION: "the creator to hand in another script",
    State.PRODUCING: "the creator to hand in the content",
    State.CONTENT_REVIEW: "the client to approve the content or send it back",
    State.READY_TO_PUBLISH: "the creator to publish",
    State.PUBLISHED: "the client to confirm delivery, or to dispute it",
    State.ACCEPTED_DELIVERY: "settlement, unless somebody disputes",
    State.IN_ARBITRATION: "an operator to resolve the dispute",
}
"""What ends the wait in every state that is not final."""


def next_step(order: Order) -> str:
    """Say in a sentence what the order waits for and what ends the wait."""
    if order.is_final:
        return f"nothing; it ended as {order.state} ({order.reason})"
    due = f" ({order.balance_due_fen} fen)" if order.balance_due_fen else ""
    waits = f"it waits for {WAITS_FOR[order.state]}{due}"
    if order.stoppers:
        time_left = format_duration(order.left) if order.left is not None else "no time"
        return (
            f"{waits}; its clock is stopped by {' and '.join(order.stoppers)}, {time_left} is left"
        )
    if order.due_at is None or order.lapses_at is None:
        return f"{waits}; no time ends that"
    until = format_instant(order.due_at)
    grace = (
        "" if order.lapses_at == order.due_at else f", in effect {format_instant(order.lapses_at)}"
    )
    return f"{waits}, until {until}{grace}"


_NOT_DETAILS = {"type", "order_id", "at", "sequence", "caused_by", "brief", "name", "industry"}


def event_details(event: dict[str, Any]) -> str:
    """Say in one line what an event tells beyond its place."""
    fields = {
        key: value for key, value in event.items() if key not in _NOT_DETAILS and value is not None
    }
    return terminal.shorten(" ".join(f"{key}={value}" for key, value in fields.items()), 100)
