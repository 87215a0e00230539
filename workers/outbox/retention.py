"""Retention: how long streams keep events, and whom they wait for."""

from __future__ import annotations

import time
from datetime import timedelta
from importlib.resources import files
from typing import Any

import redis
import structlog

from models.errors import Unavailable
from workers.outbox.streams import STREAMS
from workers.settings import RetentionLimits

log = structlog.get_logger()


MAX_DROPPED_PER_CALL = 250
"""Entries dropped by number in one call: a call must not keep other clients waiting."""


TRIM_INTERVAL_S = 5.0
"""How often streams are trimmed."""


ALERT_INTERVAL_S = 60.0
"""How often the same alarm is raised while its cause lasts."""


class Retention:
    """Trims the streams, now and then, and raises the alarm where it hurts somebody."""

    def __init__(self, client: redis.Redis, limits: RetentionLimits) -> None:
        """Register the script; nothing is sent yet."""
        self.limits = limits
        text = (files("workers") / "outbox" / "lua" / "trim.lua").read_text(encoding="utf-8")
        self._trim = client.register_script(text)
        self._next_run_at = 0.0
        self._quiet_until: dict[tuple[str, str], float] = {}

    def run_if_due(self) -> None:
        """Trim the streams unless that was done a moment ago."""
        if time.monotonic() >= self._next_run_at:
            self._next_run_at = time.monotonic() + TRIM_INTERVAL_S
            self.run_once()

    def run_once(self) -> int:
        """Trim the streams; return how many entries were dropped, or raise `Unavailable`."""
        return sum(map(self._trim_stream, STREAMS))

    def _trim_stream(self, stream: str) -> int:
        total = total_unread = 0
        limits = self.limits
        age_ms = limits.max_age // timedelta(milliseconds=1)
        while True:
            try:
                arguments = [
                    limits.max_entries,
                    age_ms,
                    limits.hard_max_entries,
                    MAX_DROPPED_PER_CALL,
                ]
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
            self._alert_held_back(stream, holder.decode())
        return total

    def _alert_held_back(self, stream: str, group: str) -> None:
        if time.monotonic() >= self._quiet_until.get((stream, group), 0.0):
            self._quiet_until[stream, group] = time.monotonic() + ALERT_INTERVAL_S
            log.error("events.held_back", stream=stream, group=group)
