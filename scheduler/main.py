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
from scheduler.auditor import BookAuditor, DeliveryAuditor
from scheduler.calendar_alerts import alert_calendar_ends
from scheduler.deadlines import DeadlineScheduler
from scheduler.maintenance import Archiver, sweep_inbox
from scheduler.rescuer import MessageRescuer
from workers.database.engine import hold_lease, open_database
from workers.database.repository import Store
from workers.queue.redis import connect
from workers.runtime import policy_in_force
from workers.server_checks import check_servers
from workers.settings import Settings
from workers.timestamps import SECOND_US

log = structlog.get_logger()


WAKE_INTERVAL_S = 0.25
"""How often overdue orders are looked for: half of it is what a deadline is late on average."""


RESCUE_INTERVAL_S = 2
"""How often the dead are looked for: with their silence, what they had is back after 17 s."""


SWEEP_INTERVAL_S = 1


PRESENCE_INTERVAL_S = 5


PRESENCE_LEASE_US = 15 * SECOND_US
"""How long people are told that a scheduler is there after it last said so."""


AUDIT_INTERVAL_S = 30


DELIVERY_CHECK_INTERVAL_S = 30


CALENDAR_INTERVAL_S = 60

ARCHIVE_INTERVAL_S = 1


TICK_TIMEOUT_S = 30
"""A tick that time depends on and that has not ended for so long is stuck: better to start anew."""


LONG_TICK_TIMEOUT_S = 1800
"""The same for a tick that reads everything there is."""


class Watchdog:
    """By when each tick has to end again, on a clock that nobody can set."""

    def __init__(self) -> None:
        """Watch nobody yet."""
        self.deadlines: dict[str, float] = {}

    def stuck(self) -> list[str]:
        """Name the ticks that have not ended for too long: none hides behind the others."""
        return [name for name, due_at in self.deadlines.items() if time.monotonic() > due_at]

    def wrap(
        self,
        name: str,
        tick: Callable[[], object],
        interval_s: float,
        timeout_s: float = TICK_TIMEOUT_S,
    ) -> Callable[[], None]:
        """Wrap a tick: trouble with a server is logged and waited out, the ticks go on.

        Each begins an interval after the one before has ended, and then takes no longer than the
        timeout.
        """
        self.deadlines[name] = time.monotonic() + interval_s + timeout_s

        def run() -> None:
            try:
                tick()
            except TransientError as error:
                log.warning("tick.waiting", tick=name, error=str(error)[:300])
            except Exception:
                log.exception("tick.failed", tick=name)
            self.deadlines[name] = time.monotonic() + interval_s + timeout_s

        return run


def run(settings: Settings, stopping: threading.Event, ready: Callable[[], None]) -> None:
    """Tick until told to stop.

    The job store is memory, the jobs are a few intervals: everything worth remembering stands in
    the database. A wall clock set back would silence an interval, hence the watchdog.
    """
    engine, client = open_database(settings.database_url), connect(settings.redis_url)
    check_servers(engine, client)
    watchdog, store = Watchdog(), Store(engine, policy_in_force(settings))
    instance_name, keys = f"{socket.gethostname()}:{os.getpid()}", settings.keyring
    defaults = {"misfire_grace_time": None, "coalesce": True, "max_instances": 1}
    scheduler = BackgroundScheduler(timezone="UTC", job_defaults=defaults)
    for name, tick, seconds, timeout_s in (
        ("wake", DeadlineScheduler(engine, client, keys).run_once, WAKE_INTERVAL_S, TICK_TIMEOUT_S),
        ("sweep", lambda: sweep_inbox(engine, client, keys), SWEEP_INTERVAL_S, TICK_TIMEOUT_S),
        (
            "show",
            lambda: hold_lease(engine, "scheduler", instance_name, PRESENCE_LEASE_US),
            PRESENCE_INTERVAL_S,
            TICK_TIMEOUT_S,
        ),
        ("rescue", MessageRescuer(client).run_once, RESCUE_INTERVAL_S, TICK_TIMEOUT_S),
        ("audit", BookAuditor(store, stopping).run_once, AUDIT_INTERVAL_S, LONG_TICK_TIMEOUT_S),
        (
            "checkup",
            DeliveryAuditor(store).run_once,
            DELIVERY_CHECK_INTERVAL_S,
            LONG_TICK_TIMEOUT_S,
        ),
        (
            "archive",
            Archiver(store, settings.archive_after).run_once,
            ARCHIVE_INTERVAL_S,
            LONG_TICK_TIMEOUT_S,
        ),
        ("calendar", lambda: alert_calendar_ends(store), CALENDAR_INTERVAL_S, TICK_TIMEOUT_S),
    ):
        watched_tick = watchdog.wrap(name, tick, seconds, timeout_s)
        scheduler.add_job(watched_tick, "interval", seconds=seconds, id=name)
    scheduler.start()
    ready()
    while not stopping.wait(1.0):
        if stuck := watchdog.stuck():
            log.error("scheduler.stuck", ticks=stuck)
            os._exit(70)
    scheduler.shutdown(wait=True)
