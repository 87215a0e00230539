"""Operating: what the ops page shows, and the few things an operator may do there."""

from __future__ import annotations

import json
import re
from typing import Annotated, Any

import structlog
from anyio import to_thread
from fastapi import APIRouter, Depends, Header, Query, Request
from pydantic import Field

from models.fields import Note, Strict
from ops import letters, quarantined
from ops.explain import explain
from ops.web.bodies import read_bytes
from ops.web.desk import Asking, AtDesk, Desk, Staff
from ops.web.orders import IDS, OrderId, shown
from ops.web.problems import Fault, Problem
from workers import attention, dead_letters, pages, quarantine, tallies, watching
from workers.database import reading
from workers.reading import Reader
from workers.wanted import Wanted

router = APIRouter(prefix="/ops/api", include_in_schema=False)
log = structlog.get_logger()

Shown = dict[str, Any]
MOST_FOUND = 20

MOST = 100
"""Dead letters, and items in quarantine, that the page shows; the command line lists all."""

LONGEST_ACTION = 10_000


@router.get("/overview")
def overview(desk: AtDesk, caller: Staff) -> Shown:
    """Show how the whole is doing."""
    with reading(desk.engine) as connection:
        totals = tallies.read(connection)
    return {
        "now": desk.now().isoformat(),
        "queues": watching.queues(desk.engine, desk.client),
        "settled": sum(totals.get("settled", {}).values()),
        "history": list(desk.history.totals),
        "outcomes": totals.get("settled", {}),
        "rejected": totals.get("rejected", {}),
        "reminders": totals.get("reminders", {}),
        "deadlines": watching.deadlines(desk.store, desk.now(), limit=8),
        "lateness": _distribution(totals, "deadline_lateness"),
        "settle": _distribution(totals, "command_settle"),
        "orders": watching.states(desk.engine),
        "refunds": attention.refunds(desk.engine),
        "payouts": attention.payouts(desk.engine),
        "standstill": attention.standstill(desk.engine, desk.now()),
        "money": desk.balances.read(),
        "audit": watching.last_audit(desk.engine),
        "operator": caller.operator_id(),
        "tokens_required": desk.tokens.required,
    }


def _distribution(totals: dict[str, dict[str, int]], name: str) -> Shown:
    """Say how often, and below which edge half and nearly all of it lay."""
    counts = totals.get(f"{name}_le", {})
    edges = [f"{edge:g}" for edge in tallies.EDGES_S]
    total, running = sum(counts.values()), 0
    found: Shown = {"count": total, "half_below": None, "most_below": None}
    for edge in edges:
        running += counts.get(edge, 0)
        for key, share in (("half_below", 0.5), ("most_below", 0.99)):
            if total and found[key] is None and running >= share * total:
                found[key] = float(edge)
    return found


@router.get("/asides")
def asides(desk: AtDesk, _: Staff) -> Shown:
    """Show what was set aside: dead letters, and what was no message."""
    return {
        "dead_letters": [letters.described(one) for one in dead_letters.latest(desk.engine, MOST)],
        "quarantine": [quarantined.glimpsed(one) for one in quarantine.latest(desk.engine, MOST)],
    }


@router.get("/search")
def search(desk: AtDesk, _: Staff, q: Annotated[str, Query(max_length=200)] = "") -> Shown:
    """Find orders by their own id, their client's or their creator's."""
    words = q.strip()
    if words and not re.fullmatch(IDS, words):
        return {"orders": []}
    exact = Reader(desk.store).order(words) if words else None
    found = [exact] if exact else []
    for wanted in (Wanted(client=words), Wanted(creator=words)) if words else (Wanted(),):
        found += pages.page(desk.store, wanted, limit=MOST_FOUND).orders
    return {"orders": [shown(one) for one in found[:MOST_FOUND]]}


@router.get("/orders/{order_id}")
def order(desk: AtDesk, _: Staff, order_id: OrderId) -> Shown:
    """Account for one order."""
    found = explain(desk.store, order_id, at=desk.now(), watermark=desk.watermark())
    if found is None:
        raise Problem(404, "no such order")
    return found


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
async def replay_letter(desk: AtDesk, acting: Acting, letter_id: int) -> Shown:
    """Settle a dead letter again, under its first receipt; 409 where that fails as before."""
    found = await to_thread.run_sync(lambda: _replay(desk, letter_id))
    operator, action = acting
    why = {"operator": operator, "reason": action.reason}
    log.warning("dead_letter.replayed", which=letter_id, outcome=found["outcome"], **why)
    if found["outcome"] is None:
        raise Problem(409, f"not settled: {found['reason']}")
    return {"done": True} | found


def _replay(desk: Desk, letter_id: int) -> Shown:
    letter = dead_letters.found(desk.engine, [_in_range(letter_id)]).get(letter_id)
    if letter is None or letter.replayed_at is not None:
        raise Problem(404, GONE)
    (found,) = letters.settled_again(Reader(desk.store), desk.client, [letter])
    return found


GONE = "there is no such thing any more"


def _in_range(which: int) -> int:
    if not 0 < which < 2**53:
        raise Problem(404, GONE)
    return which


@router.post("/quarantine/{item_id}/drop")
async def drop_item(desk: AtDesk, acting: Acting, item_id: int) -> Shown:
    """Throw away what was no message."""
    which = _in_range(item_id)
    if not await to_thread.run_sync(lambda: quarantine.drop(desk.engine, which)):
        raise Problem(404, GONE)
    operator, action = acting
    log.warning("quarantine.dropped", which=item_id, operator=operator, reason=action.reason)
    return {"done": True}
