"""Orders: reading them over HTTP, one, many, or one with its history."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from models.fields import format_instant, parse_instant
from models.lifecycle import State
from models.orders.order import Order
from ops.order_views import serialize_order
from ops.web.auth import Caller, restrict_to_caller
from ops.web.dependencies import AppContext, Context, CurrentCaller
from ops.web.errors import Problem, error_responses
from workers.queries import order_lists, reader
from workers.queries.order_filters import OrderFilter
from workers.queries.order_lists import BadCursor
from workers.queries.reader import Reader

router = APIRouter(tags=["orders"])

CANNOT_LIST = "a service provider reads the orders that it serves one by one"

ID_PATTERN = r"^[A-Za-z0-9_-]{1,64}$"

OrderId = Annotated[str, Path(pattern=ID_PATTERN, examples=["ord_20260302_0001"])]


FIRST_YEAR, LAST_YEAR = 1970, 9000


def _in_range(at: datetime) -> datetime:
    if not FIRST_YEAR <= at.year <= LAST_YEAR:
        message = "an instant of this age is wanted"
        raise ValueError(message)
    return at


QueryInstant = Annotated[
    datetime,
    BeforeValidator(parse_instant),
    AfterValidator(_in_range),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]


class OrderShown(BaseModel):
    """An order as it stands. Amounts are fen; instants are UTC."""

    order_id: str
    client_id: str
    creator_id: str
    status: State
    reason: str | None
    task_type: str
    original_amount_fen: int
    amount_fen: int
    total_fen: int
    deposit_fen: int
    held_fen: int
    balance_due_fen: int
    placed_at: str
    due_at: str | None
    policy_version: str
    sequence: int


class OrderPage(BaseModel):
    """Orders, the latest placed first; `next` is the cursor of the page after, or null.

    An agency's page may be short, even empty: only without `next` it ends.
    """

    orders: list[OrderShown]
    next: str | None


class EventPage(BaseModel):
    """What happened to an order, first to last, as it was published."""

    events: list[dict[str, Any]]


def serialize_listed_order(order: Order) -> dict[str, Any]:
    """Describe an order for others."""
    return {
        "order_id": order.order_id,
        "client_id": order.client_id,
        "creator_id": order.creator_id,
        **serialize_order(order),
        "task_type": order.task_type,
        "placed_at": format_instant(order.placed_at),
        "due_at": order.due_at and format_instant(order.due_at),
        "policy_version": order.policy.version,
        "sequence": order.sequence,
    }


class OrderQuery(BaseModel):
    """What orders are wanted; everything that is given must fit."""

    model_config = ConfigDict(extra="forbid")

    client: Annotated[str | None, Field(pattern=ID_PATTERN)] = None
    creator: Annotated[str | None, Field(pattern=ID_PATTERN)] = None
    status: State | None = None
    placed_after: Annotated[QueryInstant | None, Field(description="Later than this.")] = None
    placed_before: Annotated[QueryInstant | None, Field(description="Earlier than this.")] = None
    cursor: Annotated[str | None, Field(max_length=200, description="`next` before.")] = None
    limit: Annotated[int, Field(ge=1, le=200)] = 50


@router.get(
    "/orders",
    response_model=OrderPage,
    responses=error_responses(401, 403, 422, 503),
    operation_id="list_orders",
)
def list_orders(
    context: Context, caller: CurrentCaller, filters: Annotated[OrderQuery, Query()]
) -> dict[str, Any]:
    """List orders, a page at a time. A token for one party lists that party's orders only."""
    order_filter = _restrict_to_caller(caller, filters)
    if order_filter is None:
        return {"orders": [], "next": None}
    try:
        page = order_lists.order_page(
            context.store, order_filter, cursor=filters.cursor, limit=filters.limit
        )
    except BadCursor as error:
        raise Problem(422, str(error)) from None
    return {"orders": [serialize_listed_order(order) for order in page.orders], "next": page.cursor}


def _restrict_to_caller(caller: Caller, filters: OrderQuery) -> OrderFilter | None:
    """Narrow what is wanted to what the caller may see; None where that is nothing."""
    order_filter = OrderFilter(
        client=filters.client,
        creator=filters.creator,
        state=filters.status,
        placed_after=filters.placed_after,
        placed_before=filters.placed_before,
    )
    return restrict_to_caller(
        caller, order_filter, roles=("client", "creator", "mcn"), refusal=CANNOT_LIST
    )


@router.get(
    "/orders/{order_id}",
    response_model=OrderShown,
    responses=error_responses(401, 404, 422, 503),
    operation_id="get_order",
)
def get_order(context: Context, caller: CurrentCaller, order_id: OrderId) -> dict[str, Any]:
    """Return one order."""
    return serialize_listed_order(visible_order(context, caller, order_id))


@router.get(
    "/orders/{order_id}/events",
    response_model=EventPage,
    responses=error_responses(401, 404, 422, 503),
    operation_id="get_order_events",
)
def get_events(context: Context, caller: CurrentCaller, order_id: OrderId) -> dict[str, Any]:
    """Return what happened to one order."""
    visible_order(context, caller, order_id)
    return {"events": [event.published() for event in Reader(context.store).timeline(order_id)]}


def visible_order(context: AppContext, caller: Caller, order_id: str) -> Order:
    """Return an order; to those who have no part in it, it does not exist (`Problem` 404)."""
    order = Reader(context.store).order(order_id)
    if order is None or not caller.may_see(
        order, reader.agency_of(context.store, order.creator_id)
    ):
        raise Problem(404, "no such order")
    return order
