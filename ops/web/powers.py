"""Powers: what an operator may do with one order on its page, tried out first, then asked."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated, Any
from uuid import uuid4

import structlog
from anyio import to_thread
from fastapi import APIRouter, Depends, Request
from fastapi.responses import JSONResponse
from pydantic import Field, ValidationError

from models.commands import AnyCommand
from models.fields import CommandId, Note, Strict
from models.parse import Malformed, parse
from ops.foresight import foresee
from ops.intents import Intent, find_power
from ops.powers import Power, open_in
from ops.web.bodies import faults_of, read_bytes
from ops.web.desk import Asking, AtDesk, Desk, Staff
from ops.web.operating import Operator
from ops.web.orders import OrderId
from ops.web.problems import Fault, Problem
from workers.inbox import Knock
from workers.reading import Reader

router = APIRouter(prefix="/ops/api/orders/{order_id}", include_in_schema=False)
log = structlog.get_logger()

Shown = dict[str, Any]
LONGEST_ASK = 100_000


class Ask(Strict):
    """What an operator wants done to an order, and why; `lent` is in a party's stead.

    `id` is the command's: what was tried out is asked under it, once, however often it is sent.
    """

    kind: Annotated[str, Field(max_length=64)]
    lent: bool
    said: dict[str, Any]
    reason: Annotated[Note, Field(min_length=3)]
    id: CommandId | None = None


@router.get("/powers")
def powers(desk: AtDesk, _: Staff, order_id: OrderId) -> Shown:
    """List what the table allows an operator while the order is where it is."""
    order = Reader(desk.store).order(order_id)
    if order is None:
        raise Problem(404, "no such order")
    return {"powers": [_described(one) for one in open_in(order.state)]}


def _described(power: Power) -> Shown:
    entries = [asdict(one) for one in power.entries]
    return {"kind": power.kind, "lent": power.lent, "about": power.about, "entries": entries}


async def _asked(request: Request) -> Ask:
    try:
        return Ask.model_validate_json(await read_bytes(request, LONGEST_ASK))
    except ValidationError as error:
        found = error.errors(include_input=False, include_url=False)
        wrong = [Fault(field=".".join(map(str, one["loc"])), detail=one["msg"]) for one in found]
        said = "; ".join(f"{one.field}: {one.detail}" for one in wrong)
        raise Problem(422, said, errors=wrong) from None


Asked = Annotated[Ask, Depends(_asked)]


@router.post("/preview")
async def preview(desk: AtDesk, caller: Staff, asked: Asked, order_id: OrderId) -> Shown:
    """Judge what is asked, by the pipeline's own judges, and write nothing down."""
    name = f"ops-{uuid4().hex}"
    _, command = _command(asked, order_id, name, caller.operator_id() or "operator")
    return {"id": name} | await to_thread.run_sync(_foreseen, desk, command)


def _foreseen(desk: Desk, command: AnyCommand) -> Shown:
    (found,) = foresee(desk.store, [command], desk.now())
    return found.shown()


@router.post("/act")
async def act(
    desk: AtDesk, caller: Asking, operator: Operator, asked: Asked, order_id: OrderId
) -> JSONResponse:
    """Ask it: a command like any other, only written here."""
    text, command = _command(asked, order_id, asked.id or f"ops-{uuid4().hex}", operator)
    if not caller.may_say(command.by):
        raise Problem(403, "this token does not speak for that operator")
    admission = await desk.intake.admit([Knock(command.id, command.fingerprint(), text)])
    if admission.reused:
        raise Problem(409, "that id was used before for another command")
    log.info(
        "power.used", kind=asked.kind, order_id=order_id, operator=operator, command=command.id
    )
    return JSONResponse({"id": command.id, "outcome_at": f"/commands/{command.id}"}, 202)


def _command(asked: Ask, order_id: str, name: str, operator: str) -> tuple[str, AnyCommand]:
    power = find_power(asked.kind, lent=asked.lent)
    if power is None or not power.of_an_order:
        raise Problem(422, "kind: an operator has no such power over an order")
    strange = sorted(asked.said.keys() - {one.name for one in power.entries})
    if strange:
        wrong = [Fault(field=one, detail="not a field of it") for one in strange]
        raise Problem(422, "said: a field that is none of it", errors=wrong)
    intent = Intent(power=power, operator=operator, reason=asked.reason, said=asked.said)
    text = json.dumps(intent.command(name, order_id))
    try:
        return text, parse(text)
    except Malformed as fault:
        raise Problem(422, fault.detail, errors=list(faults_of(fault, None))) from None
