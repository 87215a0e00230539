"""Deadlines: orders whose time has come are woken, and an alert says when a backlog forbids it."""

from __future__ import annotations

import time
from datetime import datetime, timedelta

import redis
import structlog
from sqlalchemy import Engine

from workers.outbox.timeline import require_timeline
from workers.processing import wakeups
from workers.processing.wakeups import count_due
from workers.queue.messages import UNSIGNED
from workers.queue.watermark import BEGINNING, ArrivalClock
from workers.signing import Keyring

log = structlog.get_logger()


MAX_LAG = timedelta(seconds=5)
"""A backlog of commands that holds deadlines back longer than this is worth an alarm."""


ALERT_INTERVAL_S = 10.0
"""How often the alarm is repeated while it lasts."""


MAX_COUNTED = 10_000
"""Deadlines counted for an alarm: whoever reads of so many knows enough."""


class LagAlert:
    """Raised while the watermark lags and deadlines wait for it; lifted once, when it is over."""

    def __init__(self, engine: Engine) -> None:
        """Begin in silence."""
        self.engine = engine
        self.since: float | None = None
        self.not_before = 0.0

    def check(self, watermark: datetime, present: datetime) -> int:
        """Compare the watermark with the present; return how many deadlines are held back.

        Only counts when an alarm may be due, so that a quiet tick costs nothing.
        """
        if present - watermark <= MAX_LAG:
            self._clear()
            return 0
        if time.monotonic() < self.not_before:
            return 0
        self.not_before = time.monotonic() + ALERT_INTERVAL_S
        held_back = count_due(self.engine, present, MAX_COUNTED)
        if held_back:
            self.since = self.since or time.monotonic()
            wiped = watermark == BEGINNING
            log.error(
                "deadlines.held_back",
                deadlines=held_back,
                because="the wire was wiped" if wiped else "commands wait to be settled",
                oldest_command_s=None if wiped else round((present - watermark).total_seconds(), 1),
                for_s=round(time.monotonic() - self.since, 1),
            )
        return held_back

    def _clear(self) -> None:
        if self.since is not None:
            log.warning("deadlines.released", after_s=round(time.monotonic() - self.since, 1))
        self.since, self.not_before = None, 0.0


BATCH_SIZE = 500
"""Orders claimed at once."""


MAX_WAITING_MESSAGES = 40
"""Wake-up messages that may wait: more would only be claimed again when their lease ends."""


class DeadlineScheduler:
    """Wakes orders whose time has come, and raises the alarm where a backlog forbids it."""

    def __init__(self, engine: Engine, client: redis.Redis, keys: Keyring = UNSIGNED) -> None:
        """Keep both ends, and the keys that wake-ups are signed with."""
        self.engine, self.client, self.keys = engine, client, keys
        # One clock for all ticks: it remembers since when Redis remembers.
        self.clock = ArrivalClock(client, engine)
        self.lag_alert = LagAlert(engine)

    def run_once(self) -> int:
        """Wake every order whose time has passed; return how many were woken.

        The scheduler decides nothing. It says that time has passed, and the function that
        decides about people decides about time, so any number of schedulers may tick at once.
        """
        # Not past what we have heard: a command still in the queue may have been in time.
        watermark = self.clock.watermark()
        self.lag_alert.check(watermark, self.clock.now())
        woken, is_checked = 0, False
        while not wakeups.nothing_due(self.engine, watermark):
            if not is_checked:
                # What a database has forgotten may have been in time.
                require_timeline(self.engine, self.client)
                is_checked = True
            if wakeups.count_waiting(self.client) >= MAX_WAITING_MESSAGES:
                break
            claimed = wakeups.claim(self.engine, watermark, BATCH_SIZE)
            wakeups.send(self.client, claimed, self.keys)
            woken += len(claimed)
            if len(claimed) < BATCH_SIZE:
                break
        if woken:
            log.info("orders.woken", orders=woken)
        return woken


def wake_overdue(engine: Engine, client: redis.Redis) -> int:
    """Wake overdue orders once; return how many."""
    return DeadlineScheduler(engine, client).run_once()
