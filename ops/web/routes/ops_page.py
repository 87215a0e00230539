"""Ops page: what it shows, and the few things an operator may do there."""

from __future__ import annotations

import re
from typing import Annotated

import structlog
from anyio import to_thread
from fastapi import APIRouter, Depends, Header, Query, Request
from pydantic import Field

from models.fields import Note, StrictModel
from ops import serializers
from ops.explain.account import explain_order
from ops.json_schema import JsonObject
from ops.operate import dead_letters
from ops.web.dependencies import AppContext, Context, CurrentCaller, ObservingCaller
from ops.web.errors import Problem
from ops.web.routes.orders import ID_PATTERN, OrderId, serialize_listed_order
from ops.web.submissions import read_model
from workers.database.engine import reading
from workers.outbox import counters as event_counters
from workers.processing import failures
from workers.queries import monitoring, order_lists
from workers.queries.order_filters import OrderFilter
from workers.queries.reader import Reader

log = structlog.get_logger()

router = APIRouter(prefix="/ops/api", include_in_schema=False)


MAX_SEARCH_RESULTS = 20

MAX_SET_ASIDE = 100
"""Dead letters, and items in quarantine, that the page shows; the command line lists all."""

MAX_ACTION_BYTES = 10_000


@router.get("/overview")
def overview(context: Context, caller: ObservingCaller) -> JsonObject:
    """Show how the whole is doing."""
    with reading(context.engine) as connection:
        totals = event_counters.read_counters(connection)
    return {
        "now": context.now().isoformat(),
        "queues": monitoring.queue_status(context.engine, context.client),
        "settled": sum(totals.get("settled", {}).values()),
        "history": list(context.throughput.totals),
        "outcomes": totals.get("settled", {}),
        "rejected": totals.get("rejected", {}),
        "reminders": totals.get("reminders", {}),
        "deadlines": monitoring.deadline_status(context.store, context.now(), limit=8),
        "lateness": _distribution(totals, "deadline_lateness"),
        "settle": _distribution(totals, "command_settle"),
        "orders": monitoring.orders_by_state(context.engine),
        "refunds": monitoring.refunds_waiting(context.engine),
        "payouts": monitoring.payouts_waiting(context.engine),
        "standstill": monitoring.standstill_counts(context.engine, context.now()),
        "money": context.balances.read(),
        "audit": monitoring.last_audit(context.engine),
        "operator": caller.operator_id(),
        "tokens_required": context.tokens.required,
    }


def _distribution(totals: dict[str, dict[str, int]], name: str) -> JsonObject:
    """Say how often, and below which edge half and nearly all of it lay."""
    counts = totals.get(f"{name}_le", {})
    edges = [f"{edge:g}" for edge in event_counters.BUCKET_EDGES_S]
    total, cumulative = sum(counts.values()), 0
    distribution: JsonObject = {"count": total, "half_below": None, "most_below": None}
    for edge in edges:
        cumulative += counts.get(edge, 0)
        for key, share in (("half_below", 0.5), ("most_below", 0.99)):
            if total and distribution[key] is None and cumulative >= share * total:
                distribution[key] = float(edge)
    return distribution


@router.get("/asides")
def dead_letters_and_quarantine(context: Context, _: ObservingCaller) -> JsonObject:
    """Show what was set aside: dead letters, and what was no message."""
    return {
        "dead_letters": [
            serializers.serialize_dead_letter(dead_letter)
            for dead_letter in failures.latest_dead_letters(context.engine, MAX_SET_ASIDE)
        ],
        "quarantine": [
            serializers.serialize_quarantined_briefly(item)
            for item in failures.latest_quarantined(context.engine, MAX_SET_ASIDE)
        ],
    }


@router.get("/search")
def search(
    context: Context, _: ObservingCaller, q: Annotated[str, Query(max_length=200)] = ""
) -> JsonObject:
    """Find orders by their own id, their client's or their creator's."""
    search_id = q.strip()
    if search_id and not re.fullmatch(ID_PATTERN, search_id):
        return {"orders": []}
    exact_match = Reader(context.store).order(search_id) if search_id else None
    orders = [exact_match] if exact_match else []
    for order_filter in (
        (OrderFilter(client=search_id), OrderFilter(creator=search_id))
        if search_id
        else (OrderFilter(),)
    ):
        orders += order_lists.order_page(
            context.store, order_filter, limit=MAX_SEARCH_RESULTS
        ).orders
    return {"orders": [serialize_listed_order(order) for order in orders[:MAX_SEARCH_RESULTS]]}


@router.get("/orders/{order_id}")
def explanation(context: Context, _: ObservingCaller, order_id: OrderId) -> JsonObject:
    """Account for one order."""
    account = explain_order(
        context.store, order_id, at=context.now(), watermark=context.watermark()
    )
    if account is None:
        raise Problem(404, "no such order")
    return account


class ActionBody(StrictModel):
    """Something an operator wants done, and why; the reason is kept in the log."""

    reason: Annotated[Note, Field(min_length=3)]


def _operator_id(
    caller: CurrentCaller, x_earnest_action: Annotated[str | None, Header()] = None
) -> str:
    """Let only an operator act, from our own page or a program, never by a form elsewhere."""
    operator = caller.operator_id()
    if operator is None:
        raise Problem(403, "acting needs the operator's token")
    if x_earnest_action is None:
        raise Problem(403, "acting needs the header X-Earnest-Action")
    return operator


OperatorId = Annotated[str, Depends(_operator_id)]


async def _operator_and_action(request: Request, operator: OperatorId) -> tuple[str, ActionBody]:
    return operator, await read_model(request, ActionBody, MAX_ACTION_BYTES)


OperatorAndAction = Annotated[tuple[str, ActionBody], Depends(_operator_and_action)]


@router.post("/dead-letters/{letter_id}/replay")
async def replay_dead_letter(
    context: Context, acting: OperatorAndAction, letter_id: int
) -> JsonObject:
    """Settle a dead letter again, under its first receipt; 409 where that fails as before."""
    replay_outcome = await to_thread.run_sync(lambda: _replay(context, letter_id))
    operator, action = acting
    log_fields = {"operator": operator, "reason": action.reason}
    log.warning(
        "dead_letter.replayed", which=letter_id, outcome=replay_outcome["outcome"], **log_fields
    )
    if replay_outcome["outcome"] is None:
        raise Problem(409, f"not settled: {replay_outcome['reason']}")
    return {"done": True} | replay_outcome


def _replay(context: AppContext, letter_id: int) -> JsonObject:
    dead_letter = failures.dead_letters_by_id(context.engine, [_checked_row_id(letter_id)]).get(
        letter_id
    )
    if dead_letter is None or dead_letter.replayed_at is not None:
        raise Problem(404, NO_SUCH_ITEM)
    (replay_outcome,) = dead_letters.replay(Reader(context.store), context.client, [dead_letter])
    return replay_outcome


NO_SUCH_ITEM = "there is no such thing any more"


def _checked_row_id(row_id: int) -> int:
    if not 0 < row_id < 2**53:
        raise Problem(404, NO_SUCH_ITEM)
    return row_id


@router.post("/quarantine/{item_id}/drop")
async def drop_item(context: Context, acting: OperatorAndAction, item_id: int) -> JsonObject:
    """Throw away what was no message."""
    row_id = _checked_row_id(item_id)
    if not await to_thread.run_sync(lambda: failures.drop_quarantined(context.engine, row_id)):
        raise Problem(404, NO_SUCH_ITEM)
    operator, action = acting
    log.warning("quarantine.dropped", which=item_id, operator=operator, reason=action.reason)
    return {"done": True}
