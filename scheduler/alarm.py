"""Alarm: says so when a backlog of commands keeps deadlines from taking effect."""

from __future__ import annotations

import time
from datetime import datetime, timedelta

import structlog
from sqlalchemy import Engine

from workers.door import BEGINNING
from workers.wakeups import count_due

BACKLOG = timedelta(seconds=5)
"""A backlog of commands that holds deadlines back longer than this is worth an alarm."""

AGAIN_S = 10.0
"""How often the alarm is repeated while it lasts."""

MOST_COUNTED = 10_000
"""Deadlines counted for an alarm: whoever reads of so many knows enough."""

log = structlog.get_logger()


class Alarm:
    """Raised while the watermark lags and deadlines wait for it; lifted once, when it is over."""

    def __init__(self, engine: Engine) -> None:
        """Begin in silence."""
        self.engine = engine
        self.since: float | None = None
        self.not_before = 0.0

    def look(self, watermark: datetime, present: datetime) -> int:
        """Compare the watermark with the present; return how many deadlines are held back.

        Only counts when an alarm may be due, so that a quiet tick costs nothing.
        """
        if present - watermark <= BACKLOG:
            self._lift()
            return 0
        if time.monotonic() < self.not_before:
            return 0
        self.not_before = time.monotonic() + AGAIN_S
        held_back = count_due(self.engine, present, MOST_COUNTED)
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

    def _lift(self) -> None:
        if self.since is not None:
            log.warning("deadlines.released", after_s=round(time.monotonic() - self.since, 1))
        self.since, self.not_before = None, 0.0
