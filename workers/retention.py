"""Retention: how long streams keep events, and whom they wait for."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import timedelta
from importlib.resources import files
from typing import Any

import redis
import structlog

from models.errors import Unavailable

EVENTS = "earnest:events"
REMINDERS = "earnest:reminders"
STREAMS = (EVENTS, REMINDERS)

STEP = 250
"""Entries dropped by number in one call: a call must not keep other clients waiting."""

EVERY_S = 5.0
"""How often streams are trimmed."""

REPEAT_S = 60.0
"""How often the same alarm is raised while its cause lasts."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Limits:
    """How much a stream keeps. Everything older is in the database, whole.

    Beyond `kept` and `age` it keeps only what a registered group has yet to settle, and says so;
    beyond `most` it keeps nothing: a consumer that is gone must not fill the server's memory.
    """

    kept: int = 1_000_000
    age: timedelta = timedelta(days=7)

    @property
    def most(self) -> int:
        """Return how many entries there may be at most: as many again as are kept."""
        return 2 * self.kept


class Retention:
    """Trims the streams, now and then, and raises the alarm where it hurts somebody."""

    def __init__(self, client: redis.Redis, limits: Limits) -> None:
        """Register the script; nothing is sent yet."""
        self.limits = limits
        text = (files("workers") / "lua" / "trim.lua").read_text(encoding="utf-8")
        self._trim = client.register_script(text)
        self._not_before = 0.0
        self._quiet_until: dict[tuple[str, str], float] = {}

    def run_sometimes(self) -> None:
        """Trim the streams unless that was done a moment ago."""
        if time.monotonic() >= self._not_before:
            self._not_before = time.monotonic() + EVERY_S
            self.run_once()

    def run_once(self) -> int:
        """Trim the streams; return how many entries were dropped, or raise `Unavailable`."""
        return sum(map(self._trim_whole, STREAMS))

    def _trim_whole(self, stream: str) -> int:
        total = total_unread = 0
        limits = self.limits
        age_ms = limits.age // timedelta(milliseconds=1)
        while True:
            try:
                arguments = [limits.kept, age_ms, limits.most, STEP]
                reply: Any = self._trim(keys=[stream], args=arguments)
            except redis.RedisError as error:
                raise Unavailable(str(error)) from error
            dropped_count, unread_count, holder = reply
            total, total_unread = total + int(dropped_count), total_unread + int(unread_count)
            if not dropped_count:
                break
        if total_unread:
            log.error("events.dropped_unread", stream=stream, entries=total_unread)
        if holder:
            self._complain(stream, holder.decode())
        return total

    def _complain(self, stream: str, group: str) -> None:
        if time.monotonic() >= self._quiet_until.get((stream, group), 0.0):
            self._quiet_until[stream, group] = time.monotonic() + REPEAT_S
            log.error("events.held_back", stream=stream, group=group)
