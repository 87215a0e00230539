"""Server: the web process, a uvicorn on an address that is ours before anything is started."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable

import structlog
import uvicorn

from ops.web.address import listen
from ops.web.app import create_app
from ops.web.desk import open_desk
from workers.settings import Settings

LOOK_S = 0.05
GRACE_S = 5

log = structlog.get_logger()


def run(settings: Settings, stop_event: threading.Event, ready: Callable[[], None]) -> None:
    """Serve until told to stop; answer those who are waiting first."""
    listener = listen(settings.web_bind)
    context = open_desk(settings)
    app = create_app(context)
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=GRACE_S,
        timeout_keep_alive=30,
        limit_concurrency=2_000,
    )
    server = uvicorn.Server(config)
    server_thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
    server_thread.start()
    while server_thread.is_alive() and not server.started:
        stop_event.wait(LOOK_S)
    if server.started:
        url = announce(settings, listener)
        log.info("web.listening", url=url)
        ready()
    while server_thread.is_alive() and not stop_event.wait(1.0):
        continue
    context.lookout.close()
    server.should_exit = True
    server_thread.join()
    context.engine.dispose()
    context.client.close()


def announce(settings: Settings, listener: socket.socket) -> str:
    """Write down where we are, for people and programs on this machine."""
    host = settings.web_bind.rpartition(":")[0]
    url = f"http://{host}:{listener.getsockname()[1]}"
    partial_path = settings.var / "web.json.new"
    partial_path.write_text(json.dumps({"url": url, "ops": f"{url}/ops"}) + "\n")
    partial_path.replace(settings.var / "web.json")
    return url
