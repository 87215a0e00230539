"""Serializers: tasks, refunds, payouts, reports, dead letters and quarantined items as JSON.

The same at the command line and over HTTP; orders are in `order_views`.
"""

from __future__ import annotations

import base64
from typing import Any

from models.commands.parsing import find_command_name, read_json_leniently
from models.fields import format_instant
from models.obligations import Payout, Refund
from ops import terminal
from workers.queries.order_lists import CreatorTask
from workers.queries.reports import ZONE, ReportRequest
from workers.timestamps import from_us


def serialize_task(task: CreatorTask) -> dict[str, Any]:
    """Describe a task as JSON: instants are UTC, amounts fen."""
    publish_at = task.expected_publish_at
    return {
        "task_id": task.task_id,
        "name": task.name,
        "client_id": task.client_id,
        "client_name": task.client_name,
        "creator_id": task.creator_id,
        "industry": task.industry,
        "amount_fen": task.amount_fen,
        "created_at": format_instant(task.created_at),
        "expected_publish_at": None if publish_at is None else format_instant(publish_at),
        "status": task.status.value,
        "state": task.state.value,
        "reason": task.reason,
    }


def describe_limits(limits: dict[str, Any] | None) -> str:
    """Say on one line what a refusal tells of what would not be refused."""
    texts = (
        f"{name} {', '.join(value) if isinstance(value, list) else value}"
        for name, value in (limits or {}).items()
    )
    return "; ".join(texts)


def serialize_refund(refund: Refund) -> dict[str, Any]:
    """Describe a refund as JSON: instants are UTC, amounts fen."""
    return {
        "refund_id": refund.refund_id,
        "payment_id": refund.payment_id,
        "order_id": refund.order_id,
        "for_order_id": refund.for_order_id,
        "client_id": refund.client_id,
        **debt_fields(refund),
    }


def serialize_payout(payout: Payout) -> dict[str, Any]:
    """Describe a payout as JSON: instants are UTC, amounts fen."""
    return {
        "payout_id": payout.payout_id,
        "order_id": payout.order_id,
        "party": payout.party,
        **debt_fields(payout),
        "held_at": payout.held_at and format_instant(payout.held_at),
    }


def debt_fields(debt: Refund | Payout) -> dict[str, Any]:
    """Say how much is owed, how far it is, and what to send it under."""
    return {
        "amount_fen": debt.amount_fen,
        "status": debt.status.value,
        "attempt": debt.attempt,
        "reference": debt.reference,
        "requested_at": format_instant(debt.requested_at),
        "waits_since": debt.waits_since and format_instant(debt.waits_since),
        "confirmed_at": debt.confirmed_at and format_instant(debt.confirmed_at),
    }


def serialize_report(report: ReportRequest) -> dict[str, Any]:
    """Describe a report as JSON, all but its rows."""
    by = None if report.by is None else report.by.value
    return {"report": report.name.value, "by": by, "at": format_instant(report.at), "zone": ZONE}


def serialize_dead_letter(dead_letter: Any) -> dict[str, Any]:  # noqa: ANN401 - a row of the table
    """Describe a dead letter without its text: that may hold a brief."""
    command, replayed_at = command_fields(dead_letter), dead_letter.replayed_at
    return {
        "letter": dead_letter.letter_id,
        "sender": find_command_name(dead_letter.command)[0],
        "command": command.get("id"),
        "kind": command.get("kind"),
        "received_at": format_instant(from_us(dead_letter.received_at)),
        "died_at": format_instant(from_us(dead_letter.died_at)),
        "replayed_at": format_instant(from_us(replayed_at)) if replayed_at else None,
        "error": dead_letter.error,
    }


def command_fields(dead_letter: Any) -> dict[str, Any]:  # noqa: ANN401 - a row of the table
    """Return the texts among the fields of its command, where that can be read."""
    document = read_json_leniently(dead_letter.command)
    fields = document if isinstance(document, dict) else {}
    return {key: value for key, value in fields.items() if isinstance(value, str)}


BEGINNING_COLUMNS = 200


def serialize_quarantined(item: Any) -> dict[str, Any]:  # noqa: ANN401 - a row of the table
    """Describe an item; its bytes may be anything, so they come as base64."""
    return quarantine_head(item) | {"payload_base64": base64.b64encode(item.payload).decode()}


def serialize_quarantined_briefly(item: Any) -> dict[str, Any]:  # noqa: ANN401 - a row of the table
    """Describe an item with a readable beginning, for a list."""
    return quarantine_head(item) | {
        "beginning": terminal.shorten(escaped_payload(item), BEGINNING_COLUMNS)
    }


def quarantine_head(item: Any) -> dict[str, Any]:  # noqa: ANN401 - a row of the table
    return {
        "item": item.item_id,
        "queue": item.queue,
        "message": item.message_id,
        "reason": item.reason,
        "bytes": item.size,
        "at": format_instant(from_us(item.quarantined_at)),
    }


def escaped_payload(item: Any) -> str:  # noqa: ANN401 - a row of the table
    # Escaped: what somebody sent must not steer an operator's terminal.
    return ascii(bytes(item.payload).decode("utf-8", "replace"))[1:-1]
