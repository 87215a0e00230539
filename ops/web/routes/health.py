"""Health: is the work being done, and can a command be taken in now; by work done, not by pulse.

`/readyz` is about this process: a load balancer stops sending where it says no. `/healthz` is about
the pipeline: it says no while work is left undone, whoever's fault that is.
"""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from models.errors import TransientError
from ops.web.dependencies import AppContext, Context
from workers.database.migrations import is_current
from workers.outbox.timeline import find_setback
from workers.queries import monitoring
from workers.settings import SettingsError

router = APIRouter(tags=["operating"])

MAX_COMMAND_AGE_S = 30.0
"""A command that is unsettled for longer means that nobody settles, or not fast enough."""

MAX_DEADLINE_LATENESS_S = 60.0
"""A deadline enforced later than this means that nobody makes time pass."""

MAX_EVENT_AGE_S = 60.0
"""An event unpublished for longer means that nobody publishes."""


class Health(BaseModel):
    """Whether all is well, and what each check found."""

    ok: bool
    checks: dict[str, str]


UNHEALTHY_RESPONSE: dict[int | str, dict[str, Any]] = {
    503: {"model": Health, "description": "Not well."}
}


@router.get(
    "/healthz", response_model=Health, responses=UNHEALTHY_RESPONSE, operation_id="get_health"
)
def healthz(context: Context) -> JSONResponse:
    """Tell whether the pipeline does its work."""
    return _response(_pipeline_checks(context))


@router.get(
    "/readyz", response_model=Health, responses=UNHEALTHY_RESPONSE, operation_id="get_readiness"
)
def readyz(context: Context) -> JSONResponse:
    """Tell whether this process can take a command in, durably, now."""
    return _response(_readiness_checks(context))


def _response(checks: dict[str, str]) -> JSONResponse:
    ok = all(status == "ok" for status in checks.values())
    return JSONResponse({"ok": ok, "checks": checks}, 200 if ok else 503)


def _pipeline_checks(context: AppContext) -> dict[str, str]:
    try:
        queues = monitoring.queue_status(context.engine, context.client)
        deadlines = monitoring.deadline_status(context.store, context.now(), limit=1)
        audit = monitoring.last_audit(context.engine)
    except TransientError:
        return {"database": "away"}
    finding_count = len(audit["findings"]) if audit else 0
    return {
        "database": "ok",
        "redis": "ok" if queues["redis"] == "up" else "away",
        "commands": _within(queues["oldest_seconds"], MAX_COMMAND_AGE_S),
        "deadlines": _within(deadlines["worst_overdue_seconds"], MAX_DEADLINE_LATENESS_S),
        "events": _within(queues["outbox"]["lag_seconds"], MAX_EVENT_AGE_S),
        "timeline": _timeline(context),
        "books": "ok" if not finding_count else f"{finding_count} findings",
    }


def _timeline(context: AppContext) -> str:
    """Say whether the database has all that was published; while Redis is away nobody can tell."""
    try:
        return "set back" if find_setback(context.engine, context.client) else "ok"
    except TransientError:
        return "ok"


def _within(delay_s: float, limit_s: float) -> str:
    return "ok" if delay_s <= limit_s else f"{delay_s:.0f} s behind"


def _readiness_checks(context: AppContext) -> dict[str, str]:
    try:
        schema = "ok" if is_current(context.engine) else "another version"
    except SettingsError:
        schema = "a newer version"
    except TransientError:
        return {"database": "away"}
    return {
        "database": "ok",
        "schema": schema,
        "timeline": _timeline(context),
        "intake": "ok" if context.submissions.alive() else "stuck",
        "room": "full" if context.submissions.is_full() else "ok",
    }
