"""Commands: handing them in over HTTP, and asking what became of them."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any, Literal

from anyio import to_thread
from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from ops.web.auth import Caller
from ops.web.dependencies import AppContext, Context, CurrentCaller
from ops.web.errors import Fault, Problem, error_responses
from ops.web.openapi import COMMANDS_BODY
from ops.web.outcomes import CommandStatus
from ops.web.submissions import SubmissionBody, read_body, read_bytes
from workers.queries.reader import Reader, agency_of
from workers.queue.messages import traceparent
from workers.runtime import span
from workers.timestamps import optional_text

MAX_WAIT_S = 30.0
RETRY_AFTER_S = 5

router = APIRouter(tags=["commands"])


class Accepted(BaseModel):
    """A command that is durably kept: it will be settled, whatever happens to Redis or to us."""

    id: str
    received_at: str
    status: Literal["accepted"] = "accepted"
    outcome_at: str


class AcceptedMany(BaseModel):
    """A list of commands that are durably kept, in the order in which they were sent."""

    accepted: list[Accepted]


class StandingShown(BaseModel):
    """Where a command stands; `outcome` is null until it is settled."""

    id: str
    status: Literal["pending", "settled"]
    received_at: str
    outcome: Literal["applied", "rejected", "duplicate"] | None
    reason: str | None
    detail: str | None
    about: str | None


@router.post(
    "/commands",
    status_code=202,
    response_model=Accepted | AcceptedMany,
    responses=error_responses(400, 401, 403, 409, 413, 415, 422, 429, 503),
    openapi_extra={"requestBody": COMMANDS_BODY},
    operation_id="submit_commands",
)
async def submit(request: Request, context: Context, caller: CurrentCaller) -> JSONResponse:
    """Hand in one command, or a list of up to 500: all are kept, or none.

    202 comes after the commit: from then on the command is settled exactly once, at the instant
    that `received_at` names. Sending it again under the same id is always safe.
    """
    if context.submissions.is_full():
        detail = "so much is waiting that nothing more is taken in"
        raise Problem(429, detail, headers={"Retry-After": str(RETRY_AFTER_S)})
    raw = await read_bytes(request)
    body = await to_thread.run_sync(read_body, raw, caller, context.store.policy, context.now)
    parent = traceparent(request.headers.get("traceparent"))
    with span("submit", parent=parent, attributes={"commands": len(body.submissions)}) as trace:
        admission = await context.submissions.admit(
            [replace(submission, trace=trace) for submission in body.submissions]
        )
    if admission.reused:
        raise _reused_problem(body, admission.reused)
    accepted_commands = [
        _serialize_accepted(submission.command_id, received_at)
        for submission, received_at in zip(body.submissions, admission.received_at, strict=True)
    ]
    if body.is_list:
        return JSONResponse({"accepted": accepted_commands}, 202)
    return JSONResponse(
        accepted_commands[0], 202, headers={"Location": accepted_commands[0]["outcome_at"]}
    )


def _serialize_accepted(command_id: str, received_at: int) -> dict[str, Any]:
    return {
        "id": command_id,
        "received_at": optional_text(received_at),
        "status": "accepted",
        "outcome_at": f"/commands/{command_id}",
    }


def _reused_problem(body: SubmissionBody, positions: list[int]) -> Problem:
    faults = [
        Fault(
            field="id",
            detail="used before for another command",
            index=position if body.is_list else None,
            id=body.submissions[position].command_id,
        )
        for position in positions
    ]
    return Problem(409, f"{len(faults)} id(s) were used before for another command", errors=faults)


@router.get(
    "/commands/{command_id}",
    response_model=StandingShown,
    responses=error_responses(401, 404, 422, 503),
    operation_id="get_command",
    summary="Standing",
)
async def get_command(
    context: Context,
    caller: CurrentCaller,
    command_id: Annotated[
        str, Path(pattern=r"^[A-Za-z0-9_-]{8,64}$", examples=["place-20260302-0001"])
    ],
    wait: Annotated[
        float, Query(ge=0, le=MAX_WAIT_S, description="Seconds to wait for the outcome.")
    ] = 0.0,
) -> CommandStatus:
    """Say where a command stands; with `wait`, not before it is settled or the time is over."""
    command_status = await context.outcome_waiter.status(command_id, wait)
    if command_status is None:
        raise Problem(404, "no such command: it never arrived, or under another id")
    if not await to_thread.run_sync(_may_see, context, caller, command_status["about"]):
        return command_status | {"about": None}
    return command_status


def _may_see(context: AppContext, caller: Caller, order_id: str | None) -> bool:
    if order_id is None or caller.may_see_all():
        return True
    order = Reader(context.store).order(order_id)
    return order is not None and caller.may_see(order, agency_of(context.store, order.creator_id))
