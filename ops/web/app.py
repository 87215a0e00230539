"""App: every door and page of the web process, put together."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from anyio import to_thread
from fastapi import FastAPI
from fastapi.responses import FileResponse, RedirectResponse
from fastapi.staticfiles import StaticFiles

from ops.web import (
    commands,
    health,
    metrics,
    openapi,
    operating,
    orders,
    powers,
    problems,
    reports,
    tasks,
)
from ops.web.desk import CONNECTIONS, Desk
from ops.web.guard import Guard

STATIC = Path(__file__).parent / "static"


def create_app(context: Desk) -> FastAPI:
    """Build the application around its context; the intake starts when the application does."""
    app = FastAPI(
        title="Earnest",
        lifespan=_lifespan,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.desk = context
    problems.install(app)
    for module in (commands, orders, tasks, reports, metrics, health, operating, powers):
        app.include_router(module.router)
    app.add_api_route("/", _home, include_in_schema=False)
    app.add_api_route("/ops", _page, include_in_schema=False)
    for path in ("/ops/tasks", "/ops/reports"):
        app.add_api_route(path, _page, include_in_schema=False)
    app.add_api_route("/ops/orders/{order_id}", _order_page, include_in_schema=False)
    app.mount("/ops/static", StaticFiles(directory=STATIC), name="static")
    app.add_middleware(Guard, local_only=not context.tokens.required)
    # FastAPI asks the application for its document; ours says more than it can know.
    app.openapi = lambda: openapi.document(app, VERSION)  # type: ignore[method-assign]
    return app


VERSION = "1"
"""The version of the HTTP interface: raised when a promise is taken back."""


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    context: Desk = app.state.desk
    # As many readers as there are connections for them: more would only wait for one another.
    to_thread.current_default_thread_limiter().total_tokens = CONNECTIONS - 1
    context.intake.start()
    history_task = asyncio.create_task(context.history.keep())
    try:
        yield
    finally:
        # Not cancelled: a thread that reads for it would go on reading.
        context.history.closing.set()
        context.lookout.close()
        # Whoever still reads for them must be done before the connections are closed.
        await asyncio.wait({history_task, *context.lookout.tasks()})
        await to_thread.run_sync(context.intake.stop)


async def _home() -> Any:  # noqa: ANN401 - FastAPI must not make a schema of it
    return RedirectResponse("/ops", 307)


async def _page() -> Any:  # noqa: ANN401 - the same
    return FileResponse(STATIC / "index.html")


async def _order_page(order_id: str) -> Any:  # noqa: ANN401 - the same
    del order_id
    return FileResponse(STATIC / "index.html")
