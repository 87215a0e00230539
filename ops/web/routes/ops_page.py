"""Ops page: what it shows, and the few things an operator may do there."""

from __future__ import annotations

import json
import re
from typing import Annotated, Any

import structlog
from anyio import to_thread
from fastapi import APIRouter, Depends, Header, Query, Request
from pydantic import Field

from models.fields import Note, Strict
from ops import serializers
from ops.explain.account import explain
from ops.operate import dead_letters
from ops.web.dependencies import Asking, AtDesk, Desk, Staff
from ops.web.errors import Fault, Problem
from ops.web.routes.orders import IDS, OrderId, shown
from ops.web.submissions import read_bytes
from workers.database.engine import reading
from workers.outbox import counters as event_counters
from workers.processing import failures
from workers.queries import monitoring, order_lists
from workers.queries.order_filters import Wanted
from workers.queries.reader import Reader

log = structlog.get_logger()


router = APIRouter(prefix="/ops/api", include_in_schema=False)


Shown = dict[str, Any]


MOST_FOUND = 20


MOST = 100
"""Dead letters, and items in quarantine, that the page shows; the command line lists all."""


LONGEST_ACTION = 10_000


@router.get("/overview")
def overview(context: AtDesk, caller: Staff) -> Shown:
    """Show how the whole is doing."""
    with reading(context.engine) as connection:
        totals = event_counters.read(connection)
    return {
        "now": context.now().isoformat(),
        "queues": monitoring.queues(context.engine, context.client),
        "settled": sum(totals.get("settled", {}).values()),
        "history": list(context.history.totals),
        "outcomes": totals.get("settled", {}),
        "rejected": totals.get("rejected", {}),
        "reminders": totals.get("reminders", {}),
        "deadlines": monitoring.deadlines(context.store, context.now(), limit=8),
        "lateness": _distribution(totals, "deadline_lateness"),
        "settle": _distribution(totals, "command_settle"),
        "orders": monitoring.states(context.engine),
        "refunds": monitoring.refunds(context.engine),
        "payouts": monitoring.payouts(context.engine),
        "standstill": monitoring.standstill(context.engine, context.now()),
        "money": context.balances.read(),
        "audit": monitoring.last_audit(context.engine),
        "operator": caller.operator_id(),
        "tokens_required": context.tokens.required,
    }


def _distribution(totals: dict[str, dict[str, int]], name: str) -> Shown:
    """Say how often, and below which edge half and nearly all of it lay."""
    counts = totals.get(f"{name}_le", {})
    edges = [f"{edge:g}" for edge in event_counters.EDGES_S]
    total, cumulative = sum(counts.values()), 0
    distribution: Shown = {"count": total, "half_below": None, "most_below": None}
    for edge in edges:
        cumulative += counts.get(edge, 0)
        for key, share in (("half_below", 0.5), ("most_below", 0.99)):
            if total and distribution[key] is None and cumulative >= share * total:
                distribution[key] = float(edge)
    return distribution


@router.get("/asides")
def asides(context: AtDesk, _: Staff) -> Shown:
    """Show what was set aside: dead letters, and what was no message."""
    return {
        "dead_letters": [
            serializers.serialize_dead_letter(dead_letter)
            for dead_letter in failures.latest_dead_letters(context.engine, MOST)
        ],
        "quarantine": [
            serializers.glimpsed(item) for item in failures.latest_quarantined(context.engine, MOST)
        ],
    }


@router.get("/search")
def search(context: AtDesk, _: Staff, q: Annotated[str, Query(max_length=200)] = "") -> Shown:
    """Find orders by their own id, their client's or their creator's."""
    search_id = q.strip()
    if search_id and not re.fullmatch(IDS, search_id):
        return {"orders": []}
    exact_match = Reader(context.store).order(search_id) if search_id else None
    orders = [exact_match] if exact_match else []
    for order_filter in (
        (Wanted(client=search_id), Wanted(creator=search_id)) if search_id else (Wanted(),)
    ):
        orders += order_lists.page(context.store, order_filter, limit=MOST_FOUND).orders
    return {"orders": [shown(order) for order in orders[:MOST_FOUND]]}


@router.get("/orders/{order_id}")
def order(context: AtDesk, _: Staff, order_id: OrderId) -> Shown:
    """Account for one order."""
    account = explain(context.store, order_id, at=context.now(), watermark=context.watermark())
    if account is None:
        raise Problem(404, "no such order")
    return account


class Action(Strict):
    """Something an operator wants done, and why; the reason is kept in the log."""

    reason: Annotated[Note, Field(min_length=3)]


def _operator(caller: Asking, x_earnest_action: Annotated[str | None, Header()] = None) -> str:
    """Let only an operator act, from our own page or a program, never by a form elsewhere."""
    operator = caller.operator_id()
    if operator is None:
        raise Problem(403, "acting needs the operator's token")
    if x_earnest_action is None:
        raise Problem(403, "acting needs the header X-Earnest-Action")
    return operator


Operator = Annotated[str, Depends(_operator)]


async def _acting(request: Request, operator: Operator) -> tuple[str, Action]:
    try:
        body = json.loads(await read_bytes(request, LONGEST_ACTION))
        return operator, Action.model_validate(body)
    except ValueError:
        fault = Fault(field="reason", detail="3 to 1000 characters are wanted")
        raise Problem(422, "a reason is wanted", errors=[fault]) from None


Acting = Annotated[tuple[str, Action], Depends(_acting)]


@router.post("/dead-letters/{letter_id}/replay")
async def replay_letter(context: AtDesk, acting: Acting, letter_id: int) -> Shown:
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


def _replay(context: Desk, letter_id: int) -> Shown:
    dead_letter = failures.dead_letters_by_id(context.engine, [_in_range(letter_id)]).get(letter_id)
    if dead_letter is None or dead_letter.replayed_at is not None:
        raise Problem(404, GONE)
    (replay_outcome,) = dead_letters.settled_again(
        Reader(context.store), context.client, [dead_letter]
    )
    return replay_outcome


GONE = "there is no such thing any more"


def _in_range(row_id: int) -> int:
    if not 0 < row_id < 2**53:
        raise Problem(404, GONE)
    return row_id


@router.post("/quarantine/{item_id}/drop")
async def drop_item(context: AtDesk, acting: Acting, item_id: int) -> Shown:
    """Throw away what was no message."""
    row_id = _in_range(item_id)
    if not await to_thread.run_sync(lambda: failures.drop(context.engine, row_id)):
        raise Problem(404, GONE)
    operator, action = acting
    log.warning("quarantine.dropped", which=item_id, operator=operator, reason=action.reason)
    return {"done": True}
