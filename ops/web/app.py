"""App: every route and page of the web process, and the server that serves them."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import structlog
import uvicorn
from anyio import to_thread
from fastapi import FastAPI
from fastapi.responses import FileResponse, RedirectResponse
from fastapi.staticfiles import StaticFiles

from ops.local.address import listen_on
from ops.web import errors as web_errors
from ops.web import openapi
from ops.web.auth import SecurityMiddleware
from ops.web.connections import ConnectionLimits, connection_class
from ops.web.dependencies import MAX_CONNECTIONS, AppContext, open_context
from ops.web.routes import commands as command_routes
from ops.web.routes import debts as debt_routes
from ops.web.routes import health as health_routes
from ops.web.routes import metrics as metrics_routes
from ops.web.routes import operator_actions, ops_page
from ops.web.routes import orders as order_routes
from ops.web.routes import reports as report_routes
from ops.web.routes import tasks as task_routes
from workers.settings import Settings

POLL_INTERVAL_S = 0.05
SHUTDOWN_TIMEOUT_S = 5

log = structlog.get_logger()


def run(
    settings: Settings,
    stop_event: threading.Event,
    ready: Callable[[], None],
    limits: ConnectionLimits | None = None,
) -> None:
    """Serve until told to stop; answer those who are waiting first."""
    listener = listen_on(settings.web_bind)
    context = open_context(settings)
    app = create_app(context)
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=SHUTDOWN_TIMEOUT_S,
        http=connection_class((limits or ConnectionLimits()).within_open_files()),
        ws="none",
    )
    server = uvicorn.Server(config)
    server_thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
    server_thread.start()
    while server_thread.is_alive() and not server.started:
        stop_event.wait(POLL_INTERVAL_S)
    if server.started:
        url = write_address_file(settings, listener)
        log.info("web.listening", url=url)
        ready()
    while server_thread.is_alive() and not stop_event.wait(1.0):
        continue
    context.outcome_waiter.close()
    server.should_exit = True
    server_thread.join()
    context.engine.dispose()
    context.client.close()


def write_address_file(settings: Settings, listener: socket.socket) -> str:
    """Write down where we are, for people and programs on this machine."""
    host = settings.web_bind.rpartition(":")[0]
    url = f"http://{host}:{listener.getsockname()[1]}"
    partial_path = settings.var / "web.json.new"
    partial_path.write_text(json.dumps({"url": url, "ops": f"{url}/ops"}) + "\n")
    partial_path.replace(settings.var / "web.json")
    return url


STATIC = Path(__file__).parent / "static"


def create_app(context: AppContext) -> FastAPI:
    """Build the application around its context; its submission queue starts with it."""
    app = FastAPI(
        title="Earnest",
        lifespan=_lifespan,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.context = context
    web_errors.install_handlers(app)
    for module in (
        command_routes,
        order_routes,
        debt_routes,
        task_routes,
        report_routes,
        metrics_routes,
        health_routes,
        ops_page,
        operator_actions,
    ):
        app.include_router(module.router)
    app.add_api_route("/", _home, include_in_schema=False)
    app.add_api_route("/ops", _ops_page, include_in_schema=False)
    for path in ("/ops/tasks", "/ops/reports"):
        app.add_api_route(path, _ops_page, include_in_schema=False)
    app.add_api_route("/ops/orders/{order_id}", _order_page, include_in_schema=False)
    app.mount("/ops/static", StaticFiles(directory=STATIC), name="static")
    app.add_middleware(SecurityMiddleware, local_only=not context.tokens.required)
    # FastAPI asks the application for its document; ours says more than it can know.
    app.openapi = lambda: openapi.openapi_document(app, VERSION)  # type: ignore[method-assign]
    return app


VERSION = "1"
"""The version of the HTTP interface: raised when a promise is taken back."""


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    context: AppContext = app.state.context
    # As many readers as there are connections for them: more would only wait for one another.
    to_thread.current_default_thread_limiter().total_tokens = MAX_CONNECTIONS - 1
    context.submissions.start()
    history_task = asyncio.create_task(context.throughput.record())
    try:
        yield
    finally:
        # Not cancelled: a thread that reads for it would go on reading.
        context.throughput.closing.set()
        context.outcome_waiter.close()
        # Whoever still reads for them must be done before the connections are closed.
        await asyncio.wait({history_task, *context.outcome_waiter.tasks()})
        await to_thread.run_sync(context.submissions.stop)


async def _home() -> Any:  # noqa: ANN401 - FastAPI must not make a schema of it
    return RedirectResponse("/ops", 307)


async def _ops_page() -> Any:  # noqa: ANN401 - the same
    return FileResponse(STATIC / "index.html")


async def _order_page(order_id: str) -> Any:  # noqa: ANN401 - the same
    del order_id
    return FileResponse(STATIC / "index.html")
