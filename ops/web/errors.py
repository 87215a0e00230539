"""Errors: everything that is refused is said in one form, RFC 9457's problem+json."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from models.errors import TransientError

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_S = 2

log = structlog.get_logger()


class Fault(BaseModel):
    """One thing that is wrong: the field, and in a list of commands its place from 0."""

    field: str
    detail: str
    index: int | None = None
    id: str | None = None


def fault_text(fault: Fault) -> str:
    """Say it in a sentence, with the place of the command where there are several."""
    prefix = "" if fault.index is None else f"command {fault.index}, "
    return f"{prefix}{fault.field}: {fault.detail}"


class ProblemShown(BaseModel):
    """Why a request was refused (RFC 9457)."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    errors: list[Fault] = []


class Problem(Exception):
    """A request that is refused, and how to say so."""

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        errors: Sequence[Fault] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status, self.detail = status, detail
        self.errors, self.headers = list(errors), dict(headers or {})

    def response(self) -> JSONResponse:
        """Write it as a response."""
        title = HTTPStatus(self.status).phrase
        document = ProblemShown(
            title=title, status=self.status, detail=self.detail, errors=self.errors
        )
        body = document.model_dump(exclude_none=True)
        return JSONResponse(body, self.status, headers=self.headers, media_type=MEDIA_TYPE)


def error_responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Describe refusals for OpenAPI."""
    schema = {"$ref": "#/components/schemas/Problem"}
    return {
        status: {
            "description": HTTPStatus(status).phrase,
            "content": {MEDIA_TYPE: {"schema": schema}},
        }
        for status in statuses
    }


def install_handlers(app: FastAPI) -> None:
    """Answer every error in this form."""

    @app.exception_handler(Problem)
    async def on_problem(_: Request, problem: Problem) -> JSONResponse:
        return problem.response()

    @app.exception_handler(HTTPException)
    async def on_http_error(_: Request, error: HTTPException) -> JSONResponse:
        return Problem(error.status_code, str(error.detail), headers=error.headers).response()

    @app.exception_handler(RequestValidationError)
    async def on_invalid_request(_: Request, error: RequestValidationError) -> JSONResponse:
        faults = [
            Fault(field=".".join(map(str, details["loc"][1:])) or "request", detail=details["msg"])
            for details in error.errors()
        ]
        detail = "; ".join(map(fault_text, faults))
        return Problem(422, detail, errors=faults).response()

    @app.exception_handler(TransientError)
    async def on_transient_error(_: Request, error: TransientError) -> JSONResponse:
        log.warning("request.failed", error=str(error)[:300])
        detail = "a server is away: nothing was changed, try again in a moment"
        return Problem(503, detail, headers={"Retry-After": str(RETRY_AFTER_S)}).response()

    @app.exception_handler(ClientDisconnect)
    async def on_disconnect(_: Request, __: ClientDisconnect) -> JSONResponse:
        # Nobody reads it. That a sender went away is no error of ours, and nothing was changed.
        return Problem(400, "the body ended before its end").response()

    @app.exception_handler(Exception)
    async def on_unexpected_error(_: Request, error: Exception) -> JSONResponse:
        log.error("request.broke", error=type(error).__name__)
        return Problem(500, "this is our fault; it was logged").response()
