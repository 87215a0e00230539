"""Commands: handing them in over HTTP, and asking what became of them."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any, Literal

from anyio import to_thread
from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from models.commands.command import Party
from models.events.notifications import Limits, OutcomeStatus
from models.fields import ID_PATTERN, SENDER_ROLES, SenderRole
from models.ids import UNKNOWN
from ops.web.auth import Caller
from ops.web.dependencies import AppContext, Context, CurrentCaller
from ops.web.errors import Fault, Problem, error_responses, fault_text
from ops.web.openapi import COMMANDS_BODY
from ops.web.outcomes import CommandLookup, CommandStatus
from ops.web.submissions import SubmissionBody, read_body, read_bytes
from workers.database.receipts import UNATTRIBUTED
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


class FirstOutcomeShown(BaseModel):
    """What the first of several equal commands came to."""

    outcome: OutcomeStatus
    reason: str | None


class ShareOutcomeShown(BaseModel):
    """What became of one share of a payment when it was reported.

    `refund_id`, and the `reference` of its first attempt, name what goes back.
    """

    order_id: str
    outcome: Literal["applied", "refunded", "suspense"]
    reason: str | None
    refund_id: str | None
    reference: str | None


class StandingShown(BaseModel):
    """Where a command stands; `outcome` is null until it is settled.

    `sender` is whose it is, like `client:c1`: another's may have the same id. `first` tells, of a
    `duplicate`, what the first one came to; `limits` tell, of a refusal, what would not be refused;
    `shares`, of a payment, what became of its money.
    """

    id: str
    sender: str | None
    status: Literal["pending", "settled"]
    received_at: str
    outcome: OutcomeStatus | None
    reason: str | None
    detail: str | None
    about: str | None
    limits: Limits | None
    first: FirstOutcomeShown | None
    shares: list[ShareOutcomeShown] | None


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
        _serialize_accepted(submission.command_id, stamp)
        for submission, stamp in zip(body.submissions, admission.stamps, strict=True)
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
    responses=error_responses(401, 403, 404, 422, 503),
    operation_id="get_command",
    summary="Standing",
)
async def get_command(
    context: Context,
    caller: CurrentCaller,
    command_id: Annotated[
        str, Path(pattern=r"^[A-Za-z0-9_-]{8,64}$", examples=["place-20260302-0001"])
    ],
    role: Annotated[
        SenderRole | None, Query(description="Its sender's role, as in `by`; with `sender`.")
    ] = None,
    sender: Annotated[
        str | None,
        Query(pattern=f"^{ID_PATTERN}$", description="Its sender's id, as in `by`; with `role`."),
    ] = None,
    wait: Annotated[
        float, Query(ge=0, le=MAX_WAIT_S, description="Seconds to wait for the outcome.")
    ] = 0.0,
) -> CommandStatus:
    """Say where a command stands; with `wait`, not before it is settled or the time is over.

    An id belongs to its sender: a token reads the commands of those it speaks for. Operators, the
    platform, observers, and whoever speaks for several name whose they mean, by `role` and
    `sender`; they need not where only one of them has used the id.
    """
    lookup = _lookup(caller, command_id, role, sender)
    statuses = await context.outcome_waiter.find(lookup, wait)
    if not statuses:
        raise Problem(404, _NO_SUCH_COMMAND)
    if len(statuses) > 1:
        raise _several_senders_problem([str(status["sender"]) for status in statuses])
    (command_status,) = statuses
    if not await to_thread.run_sync(_may_see, context, caller, command_status["about"]):
        return command_status | {"about": None}
    return command_status


_NO_SUCH_COMMAND = "no such command: it never arrived, or under another id, or from another sender"


def _lookup(
    caller: Caller, command_id: str, role: SenderRole | None, sender_id: str | None
) -> CommandLookup:
    """Say whose command is meant; raise `Problem` 403 where it is none of the caller's."""
    if role is not None and sender_id is not None:
        if not caller.is_observing() and not caller.may_speak_for(Party(role=role, id=sender_id)):
            raise Problem(403, f"this token does not speak for {role} {sender_id}")
        return CommandLookup(command_id, (f"{role}:{sender_id}",))
    if role is not None or sender_id is not None:
        field, missing = ("sender", "role") if role is None else ("role", "sender")
        raise _problem_422(missing, f"who sent it is said by both: {field} is there alone")
    if caller.is_observing():
        return CommandLookup(command_id, (UNKNOWN,), SENDER_ROLES | {UNATTRIBUTED})
    senders = [f"{grant.role}:{grant.id}" for grant in caller.grants if grant.id is not None]
    roles = frozenset(grant.role for grant in caller.grants if grant.id is None)
    return CommandLookup(command_id, tuple(senders), roles)


def _several_senders_problem(senders: list[str]) -> Problem:
    parties = [sender.partition(":") for sender in senders]
    choices = " or ".join(f"role={role}&sender={party_id}" for role, _, party_id in parties)
    return _problem_422("sender", f"several senders have used this id: say {choices}")


def _problem_422(field: str, detail: str) -> Problem:
    fault = Fault(field=field, detail=detail)
    return Problem(422, fault_text(fault), errors=[fault])


def _may_see(context: AppContext, caller: Caller, order_id: str | None) -> bool:
    if order_id is None or caller.may_see_all():
        return True
    order = Reader(context.store).order(order_id)
    return order is not None and caller.may_see(order, agency_of(context.store, order.creator_id))
