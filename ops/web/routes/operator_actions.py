"""Operator actions: what an operator may do with one order on its page, after a dry run."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated, Any
from uuid import uuid4

import structlog
from anyio import to_thread
from fastapi import APIRouter, Depends, Request
from fastapi.responses import JSONResponse
from pydantic import Field
from sqlalchemy import Engine

from models.commands import AnyCommand
from models.commands.parsing import MalformedCommand, parse_command
from models.fields import CommandId, Note, StrictModel
from ops.json_schema import JsonObject
from ops.operate.actions import ORDER_FIELD, OperatorAction, actions_in, debt_actions
from ops.operate.dry_run import ActionRequest, dry_run_commands, find_action
from ops.web.dependencies import AppContext, Context, CurrentCaller, ObservingCaller, StaffCaller
from ops.web.errors import Fault, Problem, fault_text
from ops.web.routes.ops_page import OperatorId
from ops.web.routes.orders import OrderId
from ops.web.submissions import faults_of, read_model, submission_of
from workers.queries import debts
from workers.queries.reader import Reader

log = structlog.get_logger()

router = APIRouter(prefix="/ops/api/orders/{order_id}", include_in_schema=False)


MAX_BODY_BYTES = 100_000


class OperatorActionBody(StrictModel):
    """What an operator wants done to an order, and why; `lent` is on a party's behalf.

    `id` is the command's, from the preview: under it the action is done once, however often sent.
    """

    kind: Annotated[str, Field(max_length=64)]
    lent: bool
    said: dict[str, Any]
    reason: Annotated[Note, Field(min_length=3)]
    id: CommandId | None = None


@router.get("/powers")
def list_actions(context: Context, _: ObservingCaller, order_id: OrderId) -> JsonObject:
    """List what the table allows an operator while the order is where it is."""
    order = Reader(context.store).order(order_id)
    if order is None:
        raise Problem(404, "no such order")
    actions = (*actions_in(order.state), *_debt_actions(context.engine, order_id))
    return {"powers": [_serialize_action(action) for action in actions]}


def _debt_actions(engine: Engine, order_id: str) -> list[OperatorAction]:
    return debt_actions(
        debts.payouts_of(engine, order_id),
        debts.suspended_for(engine, order_id),
        debts.payments_not_taken_by(engine, order_id),
    )


def _serialize_action(action: OperatorAction) -> JsonObject:
    entries = [asdict(entry) for entry in action.entries]
    return {
        "kind": action.kind,
        "lent": action.on_behalf,
        "names": action.debt_field,
        "about": action.about,
        "entries": entries,
    }


async def _read_action(request: Request) -> OperatorActionBody:
    return await read_model(request, OperatorActionBody, MAX_BODY_BYTES)


RequestedAction = Annotated[OperatorActionBody, Depends(_read_action)]


@router.post("/preview")
async def preview(
    context: Context, caller: StaffCaller, action_request: RequestedAction, order_id: OrderId
) -> JsonObject:
    """Decide the action by the pipeline's own handlers, and write nothing down."""
    command_id = f"ops-{uuid4().hex}"
    operator = caller.operator_id() or "operator"
    _, command = await to_thread.run_sync(
        _build_command, context.engine, action_request, order_id, command_id, operator
    )
    return {"id": command_id} | await to_thread.run_sync(_preview, context, command)


def _preview(context: AppContext, command: AnyCommand) -> JsonObject:
    (dry_run,) = dry_run_commands(context.store, [command], context.now())
    return dry_run.to_json()


@router.post("/act")
async def act(
    context: Context,
    caller: CurrentCaller,
    operator: OperatorId,
    action_request: RequestedAction,
    order_id: OrderId,
) -> JSONResponse:
    """Submit the action: a command like any other, only written here."""
    command_id = action_request.id or f"ops-{uuid4().hex}"
    text, command = await to_thread.run_sync(
        _build_command, context.engine, action_request, order_id, command_id, operator
    )
    if not caller.may_speak_for(command.by):
        raise Problem(403, "this token does not speak for that operator")
    admission = await context.submissions.admit([submission_of(text, command)])
    if admission.reused:
        raise Problem(409, "that id was used before for another command")
    log.info(
        "power.used",
        kind=action_request.kind,
        order_id=order_id,
        operator=operator,
        command=command.id,
    )
    return JSONResponse({"id": command.id, "outcome_at": f"/commands/{command.id}"}, 202)


def _debt_ids(engine: Engine, order_id: str) -> set[str]:
    """Return the ids of the payouts and payments that an operator may act on from an order."""
    payouts = debts.payouts_of(engine, order_id)
    payments = debts.payments_not_taken_by(engine, order_id)
    return {payout.payout_id for payout in payouts} | {item.payment_id for item in payments}


def _build_command(
    engine: Engine, body: OperatorActionBody, order_id: str, command_id: str, operator: str
) -> tuple[str, AnyCommand]:
    action = find_action(body.kind, on_behalf=body.lent)
    if action is None or not (action.needs_order or action.debt_field):
        raise Problem(422, "kind: an operator has no such power over an order")
    unknown_fields = sorted(body.said.keys() - {entry.name for entry in action.entries})
    if unknown_fields:
        faults = [
            Fault(field=field_name, detail="not a field of it") for field_name in unknown_fields
        ]
        raise Problem(422, "said: a field that is none of it", errors=faults)
    field_values = body.said
    if action.debt_field is not None:
        if field_values.get(action.debt_field) not in _debt_ids(engine, order_id):
            kind = action.debt_field.removesuffix("_id")
            faults = [Fault(field=action.debt_field, detail=f"a {kind} of this order is wanted")]
            raise Problem(422, fault_text(faults[0]), errors=faults)
        if any(entry.name == ORDER_FIELD for entry in action.entries):
            field_values = field_values | {ORDER_FIELD: order_id}
    requested_action = ActionRequest(
        action=action,
        operator=operator,
        reason=body.reason,
        field_values=field_values,
    )
    subject_id = order_id if action.needs_order else None
    text = json.dumps(requested_action.command(command_id, subject_id))
    try:
        return text, parse_command(text)
    except MalformedCommand as error:
        raise Problem(422, error.detail, errors=list(faults_of(error, None))) from None
