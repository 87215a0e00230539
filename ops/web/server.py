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


def run(settings: Settings, stopping: threading.Event, ready: Callable[[], None]) -> None:
    """Serve until told to stop; answer those who are waiting first."""
    listening = listen(settings.web_bind)
    desk = open_desk(settings)
    app = create_app(desk)
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
    serving = threading.Thread(target=server.run, args=([listening],), daemon=True)
    serving.start()
    while serving.is_alive() and not server.started:
        stopping.wait(LOOK_S)
    if server.started:
        url = announce(settings, listening)
        log.info("web.listening", url=url)
        ready()
    while serving.is_alive() and not stopping.wait(1.0):
        continue
    desk.lookout.close()
    server.should_exit = True
    serving.join()
    desk.engine.dispose()
    desk.client.close()


def announce(settings: Settings, listening: socket.socket) -> str:
    """Write down where we are, for people and programs on this machine."""
    host = settings.web_bind.rpartition(":")[0]
    url = f"http://{host}:{listening.getsockname()[1]}"
    draft = settings.var / "web.json.new"
    draft.write_text(json.dumps({"url": url, "ops": f"{url}/ops"}) + "\n")
    draft.replace(settings.var / "web.json")
    return url
