"""Reports over HTTP: for operators, the platform and observers, one at a time."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from ops.serializers import serialize_report
from ops.web.dependencies import AppContext, Context, ObservingCaller
from ops.web.errors import Problem, error_responses
from workers.queries.reports import ReportName, ReportRequest
from workers.queries.reports.grouping import Grouping

router = APIRouter(tags=["reports"])

RETRY_AFTER_S = 5
MAX_HOURS = 24 * 366

FenField = Annotated[int, Field(description="In fen.")]

ShareField = Annotated[float | None, Field(description="A part of 1; null of nothing.")]

BreakdownName = Literal["client", "creator", "mcn", "task_type", "month"]

BreakdownQuery = Annotated[
    BreakdownName | None,
    Query(description="What rows are about; left out, there is one of everything."),
]


class Breakdown(BaseModel):
    """What a row is about: the one of these that `by` names, null where an order has none."""

    client: str | None = None
    creator: str | None = None
    mcn: str | None = None
    task_type: str | None = None
    month: Annotated[str | None, Field(description="Of Asia/Shanghai, like 2026-03.")] = None


class FunnelRow(Breakdown):
    """How many orders reached a stage, and the median time since the stage before."""

    stage: Literal["placed", "offered", "accepted", "funded", "published", "completed"]
    orders: int
    of_placed: ShareField
    of_previous: ShareField
    median_seconds: float | None


class EndingRow(Breakdown):
    """How many orders ended so, and what they were worth."""

    state: str
    reason: str
    orders: int
    total_fen: FenField


class MoneyRow(Breakdown):
    """What was booked; a month's is what moved in it, an agency's what was promised a share."""

    received_fen: FenField
    held_fen: Annotated[int, Field(description="Came into escrow, less what left it.")]
    suspense_fen: Annotated[int, Field(description="Came into suspense, less what left it.")]
    refund_requested_fen: FenField
    refund_confirmed_fen: FenField
    forfeited_fen: Annotated[int, Field(description="Less what was reinstated.")]
    released_fen: Annotated[int, Field(description="Of what was forfeited.")]
    fees_fen: FenField
    income_fen: Annotated[int, Field(description="Forfeits that went to the platform.")]
    payable_fen: Annotated[int, Field(description="Became due to creators and agencies.")]
    paid_out_fen: FenField


class ForecastRow(BaseModel):
    """How many deadlines fall due, the overdue included, and what hangs on them."""

    state: str | None = None
    hour: Annotated[str | None, Field(description="The instant at which it begins.")] = None
    client: str | None = None
    creator: str | None = None
    mcn: str | None = None
    task_type: str | None = None
    deadlines: int
    overdue: int
    first_due_at: str
    held_fen: Annotated[int, Field(description="What these orders hold.")]
    total_fen: Annotated[int, Field(description="What they are worth if all goes well.")]


class Head(BaseModel):
    """What was asked, and as of when."""

    report: ReportName
    by: Grouping | None
    at: str
    zone: str


class Funnel(Head):
    """How far orders come."""

    rows: list[FunnelRow]


class Endings(Head):
    """How orders ended."""

    rows: list[EndingRow]


class Money(Head):
    """What was booked: the sums agree with the books."""

    rows: list[MoneyRow]


class Forecast(Head):
    """What falls due in the next hours."""

    rows: list[ForecastRow]


REPORT_ERRORS = error_responses(401, 403, 422, 429, 503)


@router.get(
    "/reports/funnel",
    response_model=Funnel,
    response_model_exclude_unset=True,
    responses=REPORT_ERRORS,
    operation_id="report_funnel",
)
def get_funnel(context: Context, _: ObservingCaller, by: BreakdownQuery = None) -> dict[str, Any]:
    """Say how many orders come how far, and how long each step takes."""
    return _make_report(context, ReportName.FUNNEL, by)


@router.get(
    "/reports/endings",
    response_model=Endings,
    response_model_exclude_unset=True,
    responses=REPORT_ERRORS,
    operation_id="report_endings",
)
def get_endings(context: Context, _: ObservingCaller, by: BreakdownQuery = None) -> dict[str, Any]:
    """Say how orders ended, and why."""
    return _make_report(context, ReportName.ENDINGS, by)


@router.get(
    "/reports/money",
    response_model=Money,
    response_model_exclude_unset=True,
    responses=REPORT_ERRORS,
    operation_id="report_money",
)
def get_money(context: Context, _: ObservingCaller, by: BreakdownQuery = None) -> dict[str, Any]:
    """Add up what was received, refunded, forfeited, kept, owed and paid."""
    return _make_report(context, ReportName.MONEY, by)


@router.get(
    "/reports/forecast",
    response_model=Forecast,
    response_model_exclude_unset=True,
    responses=REPORT_ERRORS,
    operation_id="report_forecast",
)
def get_forecast(
    context: Context,
    _: ObservingCaller,
    by: Literal["state", "hour", "client", "creator", "mcn", "task_type"] = "state",
    hours: Annotated[int, Query(ge=1, le=MAX_HOURS)] = 24,
) -> dict[str, Any]:
    """Say what falls due in the next hours, and how much money hangs on it."""
    return _make_report(context, ReportName.FORECAST, by, timedelta(hours=hours))


def _make_report(
    context: AppContext, name: ReportName, by: str | None, within: timedelta = timedelta(days=1)
) -> dict[str, Any]:
    """Make a report, unless another is being made: they are long, and others read here too."""
    report = ReportRequest(name, None if by is None else Grouping(by), context.now(), within)
    if not context.report_lock.acquire(blocking=False):
        detail = "another report is being made"
        raise Problem(429, detail, headers={"Retry-After": str(RETRY_AFTER_S)})
    try:
        return serialize_report(report) | {"rows": list(report.rows(context.engine))}
    finally:
        context.report_lock.release()
