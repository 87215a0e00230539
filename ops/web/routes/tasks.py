"""Tasks over HTTP: the list that creators, agencies and operators read."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from models.lifecycle import PublicStatus, State
from ops.serializers import serialize_task
from ops.web.auth import Caller, restrict_to_caller
from ops.web.dependencies import Context, CurrentCaller
from ops.web.errors import Fault, Problem, error_responses
from ops.web.routes.orders import ID_PATTERN, QueryInstant
from workers.queries import order_lists
from workers.queries.order_filters import OrderFilter
from workers.queries.order_lists import BadCursor

router = APIRouter(tags=["tasks"])

CANNOT_LIST = "task lists are for creators, agencies, operators and the platform"


class TaskShown(BaseModel):
    """A task. `status` is what people are shown, `state` and `reason` are precise."""

    task_id: str
    name: str
    client_id: str
    client_name: Annotated[str | None, Field(description="Of a registered client, else null.")]
    creator_id: str
    industry: str
    amount_fen: Annotated[int, Field(description="The present quote.")]
    created_at: str
    expected_publish_at: str | None
    status: PublicStatus
    state: State
    reason: str | None


class TaskPage(BaseModel):
    """Tasks, the latest first. A page may be short, even empty: only without `next` it ends."""

    tasks: list[TaskShown]
    next: Annotated[str | None, Field(description="The `cursor` of the page after, or null.")]


class TaskQuery(BaseModel):
    """What tasks are wanted; everything that is given must fit."""

    model_config = ConfigDict(extra="forbid")

    creator: Annotated[str | None, Field(pattern=ID_PATTERN)] = None
    mcn: Annotated[
        str | None, Field(pattern=ID_PATTERN, description="Of all creators signed with it now.")
    ] = None
    status: PublicStatus | None = None
    created_after: Annotated[QueryInstant | None, Field(description="Later than this.")] = None
    created_before: Annotated[QueryInstant | None, Field(description="Earlier than this.")] = None
    id: Annotated[str | None, Field(pattern=ID_PATTERN, description="How ids begin.")] = None
    cursor: Annotated[str | None, Field(max_length=200, description="`next` before.")] = None
    limit: Annotated[int, Field(ge=1, le=200)] = 50


@router.get(
    "/tasks",
    response_model=TaskPage,
    responses=error_responses(401, 403, 422, 503),
    operation_id="list_tasks",
)
def list_tasks(
    context: Context, caller: CurrentCaller, filters: Annotated[TaskQuery, Query()]
) -> dict[str, Any]:
    """List tasks, a page at a time: a creator's own, or those of an agency's creators.

    Each task keeps its place, so page after page brings every one that was there at the first,
    once; what is placed meanwhile stands before it.
    """
    order_filter = _restrict_to_caller(caller, filters)
    if order_filter is None:
        return {"tasks": [], "next": None}
    try:
        page = order_lists.creator_tasks(
            context.engine, order_filter, cursor=filters.cursor, limit=filters.limit
        )
    except BadCursor as error:
        fault = Fault(field="cursor", detail="`next` of a page is wanted")
        raise Problem(422, str(error), errors=[fault]) from None
    return {"tasks": [serialize_task(task) for task in page.tasks], "next": page.cursor}


def _restrict_to_caller(caller: Caller, filters: TaskQuery) -> OrderFilter | None:
    """Narrow what is wanted to what the caller may see; None where that is nothing."""
    order_filter = OrderFilter(
        creator=filters.creator,
        mcn=filters.mcn,
        status=filters.status,
        placed_after=filters.created_after,
        placed_before=filters.created_before,
        prefix=filters.id,
    )
    return restrict_to_caller(caller, order_filter, roles=("creator", "mcn"), refusal=CANNOT_LIST)
