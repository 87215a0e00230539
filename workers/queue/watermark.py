"""Watermark: the one clock that decides rights, and up to when everything received is settled."""

from __future__ import annotations

import threading
import time
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Any

import redis
import structlog
from sqlalchemy import Engine

from models.errors import Unavailable
from workers import inbox
from workers.queue.redis import COMMANDS, EPOCH_KEY, Keys
from workers.timestamps import EPOCH, SECOND_US, from_us

log = structlog.get_logger()


GRACE = timedelta(seconds=15)
"""How long no deadline takes effect after Redis was wiped: by then every worker that lives has
said again what it has, for one silent as long counts as dead."""


BEGINNING = EPOCH
"""The watermark while nobody can know what is still to be settled."""


class ArrivalClock:
    """Redis says what time it is; Redis and the inbox say who was there before.

    What came by HTTP is in both, and in the inbox alone when Redis has lost it.
    """

    def __init__(self, client: redis.Redis, engine: Engine | None) -> None:
        """Keep the client whose server's clock counts, and the database with the inbox, if any."""
        self.client, self.engine = client, engine
        self._epoch: bytes | None = None
        self._calm_at = 0.0

    def now(self) -> datetime:
        """Return the present by Redis's clock."""
        return self.watermark(without=(), wait=False)

    def watermark(self, without: Collection[str], *, wait: bool = True) -> datetime:
        """Return an instant before which every command is settled, but for `without`.

        It is the receipt of the oldest command still in the inbox, queued or in flight, or the
        present. After Redis has been wiped it is the beginning of time, until workers have had
        the chance to say again what they have in flight. The clock is read first: whatever the
        inbox gets later is stamped later too.
        """
        try:
            with self.client.pipeline(transaction=True) as pipe:
                pipe.time()
                if wait:
                    pipe.get(EPOCH_KEY)
                    pipe.zrange(Keys(COMMANDS).pending, 0, len(without), withscores=True)
                now, *replies = pipe.execute()
        except redis.RedisError as error:
            raise Unavailable(str(error)) from error
        present = now[0] * SECOND_US + now[1]
        if not wait:
            return from_us(present)
        epoch, oldest = replies
        if self._wiped(epoch, present):
            return BEGINNING
        inbox_oldest = inbox.oldest(self.engine, without) if self.engine else None
        mark = _oldest(oldest, without, present)
        return mark if inbox_oldest is None else min(mark, from_us(inbox_oldest))

    def excuse(self, message_ids: Collection[str]) -> None:
        """Let these messages hold no deadline back: they concern no order that exists."""
        if not message_ids:
            return
        if self.engine:
            inbox.excuse(self.engine, message_ids)
        try:
            self.client.zrem(Keys(COMMANDS).pending, *message_ids)
        except redis.RedisError as error:
            # They hold deadlines back a moment longer, and that is all.
            log.warning("excuse.failed", error=str(error))

    def _wiped(self, epoch: bytes | None, present: int) -> bool:
        """Tell whether somebody who lives may have something that Redis has forgotten."""
        if epoch is None:
            # Never used, or wiped a moment ago: whoever knew an epoch knows which.
            return self._epoch is not None
        if self._epoch is not None and epoch != self._epoch:
            self._calm_at = time.monotonic() + GRACE.total_seconds()
        self._epoch = epoch
        recent = present - int(epoch) < GRACE.total_seconds() * SECOND_US and int(epoch) > 0
        return recent or time.monotonic() < self._calm_at


def _oldest(entries: Sequence[Any], without: Collection[str], present: int) -> datetime:
    for message_id, received_at in entries:
        if message_id.decode("utf-8", "surrogateescape") not in without:
            # Scores may be forged; whoever does it gains nothing but a delay.
            return from_us(int(max(0, min(present, received_at))))
    return from_us(present)


def open_door(client: redis.Redis, *, in_use: bool) -> None:
    """Begin an epoch where Redis remembers none.

    `in_use` says that orders exist: then others may have in flight what was wiped, and deadlines
    must give them time. Raise `Unavailable` while Redis is away.
    """
    try:
        seconds, micros = client.time()
        now = seconds * SECOND_US + micros
        client.set(EPOCH_KEY, now if in_use else -now, nx=True)
    except redis.RedisError as error:
        raise Unavailable(str(error)) from error


MARGIN_US = 100
"""How far `LocalArrivalClock` may run ahead of Redis: what clocks drift between looks."""


class LocalArrivalClock:
    """Redis's clock, told without asking each time, and while Redis is away.

    It never runs behind Redis: a stamp is never earlier than a watermark already given out.
    """

    def __init__(self, client: redis.Redis) -> None:
        """Look once; raise `Unavailable` where that fails: without a clock nobody may stamp."""
        self.client = client
        self._lock, self._last, self._ahead = threading.Lock(), 0, 0
        if not self.look():
            raise Unavailable("Redis does not tell the time")

    def look(self) -> bool:
        """Compare with Redis's own clock, if it can be reached."""
        asked_at_us = time.monotonic_ns() // 1_000
        try:
            seconds, micros = self.client.time()
        except redis.RedisError:
            return False
        # As if Redis had looked the moment we asked: never behind, at most a trip ahead.
        self._ahead = seconds * SECOND_US + micros - asked_at_us + MARGIN_US
        return True

    def now(self) -> int:
        """Return the present in microseconds."""
        return time.monotonic_ns() // 1_000 + self._ahead

    def take(self, count: int) -> int:
        """Return the first of `count` stamps that nobody else gets here."""
        with self._lock:
            first = max(self.now(), self._last)
            self._last = first + count
        return first
