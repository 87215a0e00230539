"""Reports over HTTP: for operators and the platform, one at a time."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from ops.serializers import serialize_report
from ops.web.dependencies import AtDesk, Desk, Staff
from ops.web.errors import Problem, documented
from workers.queries.reports import Name, Report
from workers.queries.reports.grouping import By

router = APIRouter(tags=["reports"])

BUSY_S = 5
LONGEST_H = 24 * 366

Fen = Annotated[int, Field(description="In fen.")]
Share = Annotated[float | None, Field(description="A part of 1; null of nothing.")]

Broken = Literal["client", "creator", "mcn", "task_type", "month"]
BrokenBy = Annotated[
    Broken | None, Query(description="What rows are about; left out, there is one of everything.")
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
    of_placed: Share
    of_previous: Share
    median_seconds: float | None


class EndingRow(Breakdown):
    """How many orders ended so, and what they were worth."""

    state: str
    reason: str
    orders: int
    total_fen: Fen


class MoneyRow(Breakdown):
    """What was booked; a month's is what moved in it, an agency's what was promised a share."""

    received_fen: Fen
    held_fen: Annotated[int, Field(description="Came into escrow, less what left it.")]
    suspense_fen: Annotated[int, Field(description="Came into suspense, less what left it.")]
    refund_requested_fen: Fen
    refund_confirmed_fen: Fen
    forfeited_fen: Annotated[int, Field(description="Less what was reinstated.")]
    released_fen: Annotated[int, Field(description="Of what was forfeited.")]
    fees_fen: Fen
    income_fen: Annotated[int, Field(description="Forfeits that went to the platform.")]
    payable_fen: Annotated[int, Field(description="Became due to creators and agencies.")]
    paid_out_fen: Fen


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

    report: Name
    by: By | None
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


REFUSED = documented(401, 403, 422, 429, 503)


@router.get(
    "/reports/funnel",
    response_model=Funnel,
    response_model_exclude_unset=True,
    responses=REFUSED,
    operation_id="report_funnel",
)
def get_funnel(context: AtDesk, _: Staff, by: BrokenBy = None) -> dict[str, Any]:
    """Say how many orders come how far, and how long each step takes."""
    return _made(context, Name.FUNNEL, by)


@router.get(
    "/reports/endings",
    response_model=Endings,
    response_model_exclude_unset=True,
    responses=REFUSED,
    operation_id="report_endings",
)
def get_endings(context: AtDesk, _: Staff, by: BrokenBy = None) -> dict[str, Any]:
    """Say how orders ended, and why."""
    return _made(context, Name.ENDINGS, by)


@router.get(
    "/reports/money",
    response_model=Money,
    response_model_exclude_unset=True,
    responses=REFUSED,
    operation_id="report_money",
)
def get_money(context: AtDesk, _: Staff, by: BrokenBy = None) -> dict[str, Any]:
    """Add up what was received, refunded, forfeited, kept, owed and paid."""
    return _made(context, Name.MONEY, by)


@router.get(
    "/reports/forecast",
    response_model=Forecast,
    response_model_exclude_unset=True,
    responses=REFUSED,
    operation_id="report_forecast",
)
def get_forecast(
    context: AtDesk,
    _: Staff,
    by: Literal["state", "hour", "client", "creator", "mcn", "task_type"] = "state",
    hours: Annotated[int, Query(ge=1, le=LONGEST_H)] = 24,
) -> dict[str, Any]:
    """Say what falls due in the next hours, and how much money hangs on it."""
    return _made(context, Name.FORECAST, by, timedelta(hours=hours))


def _made(
    context: Desk, name: Name, by: str | None, within: timedelta = timedelta(days=1)
) -> dict[str, Any]:
    """Make a report, unless another is being made: they are long, and others read here too."""
    report = Report(name, None if by is None else By(by), context.now(), within)
    if not context.reporting.acquire(blocking=False):
        detail = "another report is being made"
        raise Problem(429, detail, headers={"Retry-After": str(BUSY_S)})
    try:
        return serialize_report(report) | {"rows": list(report.rows(context.engine))}
    finally:
        context.reporting.release()
