"""Health: is the work being done, and can a command be taken in now; judged by work, not by pulse.

`/readyz` is about this process: a load balancer stops sending where it says no. `/healthz` is about
the pipeline: it says no while work is left undone, whoever's fault that is.
"""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from models.errors import TransientError
from ops.web.desk import AtDesk, Desk
from workers import watching
from workers.migrate import is_current

router = APIRouter(tags=["operating"])

OLDEST_COMMAND_S = 30.0
"""A command that is unsettled for longer means that nobody settles, or not fast enough."""

LATEST_DEADLINE_S = 60.0
"""A deadline enforced later than this means that nobody makes time pass."""

OLDEST_EVENT_S = 60.0
"""An event unpublished for longer means that nobody carries."""


class Health(BaseModel):
    """Whether all is well, and what each check found."""

    ok: bool
    checks: dict[str, str]


SHAPES: dict[int | str, dict[str, Any]] = {503: {"model": Health, "description": "Not well."}}


@router.get("/healthz", response_model=Health, responses=SHAPES, operation_id="get_health")
def healthz(desk: AtDesk) -> JSONResponse:
    """Tell whether the pipeline does its work."""
    return _answer(_work(desk))


@router.get("/readyz", response_model=Health, responses=SHAPES, operation_id="get_readiness")
def readyz(desk: AtDesk) -> JSONResponse:
    """Tell whether this process can take a command in, durably, now."""
    return _answer(_room(desk))


def _answer(checks: dict[str, str]) -> JSONResponse:
    ok = all(said == "ok" for said in checks.values())
    return JSONResponse({"ok": ok, "checks": checks}, 200 if ok else 503)


def _work(desk: Desk) -> dict[str, str]:
    try:
        found = watching.queues(desk.engine, desk.client)
        late = watching.deadlines(desk.store, desk.now(), limit=1)["worst_overdue_seconds"]
        audit = watching.last_audit(desk.engine)
    except TransientError:
        return {"database": "away"}
    broken = len(audit["findings"]) if audit else 0
    return {
        "database": "ok",
        "redis": "ok" if found["redis"] == "up" else "away",
        "commands": _within(found["oldest_seconds"], OLDEST_COMMAND_S),
        "deadlines": _within(late, LATEST_DEADLINE_S),
        "events": _within(found["outbox"]["lag_seconds"], OLDEST_EVENT_S),
        "books": "ok" if not broken else f"{broken} findings",
    }


def _within(seconds: float, most: float) -> str:
    return "ok" if seconds <= most else f"{seconds:.0f} s behind"


def _room(desk: Desk) -> dict[str, str]:
    try:
        schema = "ok" if is_current(desk.engine) else "another version"
    except TransientError:
        return {"database": "away"}
    return {
        "database": "ok",
        "schema": schema,
        "intake": "ok" if desk.intake.alive() else "stuck",
        "room": "full" if desk.intake.is_full() else "ok",
    }
