"""Main: the APScheduler process."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable

import structlog
from apscheduler.schedulers.background import BackgroundScheduler

from models.errors import TransientError
from scheduler.auditor import AuditTick, Checkup
from scheduler.deadlines import Waker
from scheduler.maintenance import Archiver, sweep_inbox
from scheduler.rescuer import Rescuer
from workers.database.engine import hold, open_database
from workers.database.repository import Store
from workers.queue.redis import connect
from workers.runtime import policy_in_force
from workers.server_checks import check_servers
from workers.settings import Settings
from workers.timestamps import SECOND_US

log = structlog.get_logger()


TICK_S = 0.25
"""How often overdue orders are looked for: half of it is what a deadline is late on average."""

RESCUE_S = 2
"""How often the dead are looked for: with their silence, what they had is back after 17 s."""

SWEEP_S = 1
SHOW_S = 5
SHOWN_US = 15 * SECOND_US
"""How long people are told that a scheduler is there after it last said so."""

AUDIT_S = 30
CHECKUP_S = 30

ARCHIVE_S = 1

SILENCE_S = 30
"""A tick that time depends on and that has not ended for so long is stuck: better to start anew."""

AT_LENGTH_S = 1800
"""The same for a tick that reads everything there is."""


class Pulse:
    """By when each tick has to end again, on a clock that nobody can set."""

    def __init__(self) -> None:
        """Watch nobody yet."""
        self.due: dict[str, float] = {}

    def stuck(self) -> list[str]:
        """Name the ticks that have not ended for too long: none hides behind the others."""
        return [name for name, due_at in self.due.items() if time.monotonic() > due_at]

    def guard(
        self, name: str, tick: Callable[[], object], timeout_s: float = SILENCE_S
    ) -> Callable[[], None]:
        """Wrap a tick: trouble with a server is logged and waited out, the pulse goes on."""
        self.due[name] = time.monotonic() + timeout_s

        def run() -> None:
            try:
                tick()
            except TransientError as error:
                log.warning("tick.waiting", tick=name, error=str(error)[:300])
            except Exception:
                log.exception("tick.failed", tick=name)
            self.due[name] = time.monotonic() + timeout_s

        return run


def run(settings: Settings, stopping: threading.Event, ready: Callable[[], None]) -> None:
    """Tick until told to stop.

    The job store is memory, the jobs are a few intervals: everything worth remembering stands in
    the database. A wall clock set back would silence an interval, hence the pulse.
    """
    engine, client = open_database(settings.database_url), connect(settings.redis_url)
    check_servers(engine, client)
    pulse, store = Pulse(), Store(engine, policy_in_force(settings))
    instance_name, keys = f"{socket.gethostname()}:{os.getpid()}", settings.keyring
    defaults = {"misfire_grace_time": None, "coalesce": True, "max_instances": 1}
    scheduler = BackgroundScheduler(timezone="UTC", job_defaults=defaults)
    for name, tick, seconds, timeout_s in (
        ("wake", Waker(engine, client, keys).run_once, TICK_S, SILENCE_S),
        ("sweep", lambda: sweep_inbox(engine, client, keys), SWEEP_S, SILENCE_S),
        ("show", lambda: hold(engine, "scheduler", instance_name, SHOWN_US), SHOW_S, SILENCE_S),
        ("rescue", Rescuer(client).run_once, RESCUE_S, SILENCE_S),
        ("audit", AuditTick(store, stopping).run_once, AUDIT_S, AT_LENGTH_S),
        ("checkup", Checkup(store).run_once, CHECKUP_S, AT_LENGTH_S),
        ("archive", Archiver(store, settings.archive_after).run_once, ARCHIVE_S, AT_LENGTH_S),
    ):
        guarded = pulse.guard(name, tick, timeout_s)
        scheduler.add_job(guarded, "interval", seconds=seconds, id=name)
    scheduler.start()
    ready()
    while not stopping.wait(1.0):
        if stuck := pulse.stuck():
            log.error("scheduler.stuck", ticks=stuck)
            os._exit(70)
    scheduler.shutdown(wait=True)
