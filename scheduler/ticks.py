"""Ticks: what the scheduler does, each once and then again."""

from __future__ import annotations

import time
from datetime import timedelta

import redis
import structlog
from sqlalchemy import Engine

from models.errors import Unavailable
from scheduler.alarm import Alarm
from workers import archive, redrive, wakeups
from workers.audit_tick import SHARE
from workers.clock import SECOND_US, from_us, now_us, to_us
from workers.door import RedisDoor
from workers.envelope import UNSIGNED
from workers.signing import Keyring
from workers.store import Store
from workers.wire import QUEUES, Keys, Scripts

BATCH = 500
"""Orders claimed at once."""

MOST_WAITING = 40
"""Wake-up messages that may wait: more would only be claimed again when their lease ends."""

SILENT_MS = 15_000
"""After this a worker counts as dead and its messages go to others."""

THOROUGH = 150
"""Looks after which every message is looked at even if the numbers agree: five minutes' worth."""

SWEPT_US = SECOND_US
"""After this a row of the inbox should be in Redis; if it is not, Redis has lost it."""

log = structlog.get_logger()


class Waker:
    """Wakes orders whose time has come, and raises the alarm where a backlog forbids it."""

    def __init__(self, engine: Engine, client: redis.Redis, keys: Keyring = UNSIGNED) -> None:
        """Keep both ends, and the keys that wake-ups are signed with."""
        self.engine, self.client, self.keys = engine, client, keys
        # One door for all ticks: it remembers since when the wire remembers.
        self.door = RedisDoor(client, engine)
        self.alarm = Alarm(engine)

    def run_once(self) -> int:
        """Wake every order whose time has passed; return how many were woken.

        The scheduler decides nothing. It says that time has passed, and the function that
        judges people judges the clock, so any number of schedulers may tick at once.
        """
        # Not past what we have heard: a command still in the queue may have been in time.
        watermark = self.door.watermark(without=())
        self.alarm.look(watermark, self.door.now())
        woken = 0
        while not wakeups.nothing_due(self.engine, watermark):
            if wakeups.waiting(self.client) >= MOST_WAITING:
                break
            claimed = wakeups.claim(self.engine, watermark, BATCH)
            wakeups.send(self.client, claimed, self.keys)
            woken += len(claimed)
            if len(claimed) < BATCH:
                break
        if woken:
            log.info("orders.woken", orders=woken)
        return woken


def wake_overdue(engine: Engine, client: redis.Redis) -> int:
    """Wake overdue orders once; return how many."""
    return Waker(engine, client).run_once()


def rescue_stranded(client: redis.Redis) -> int:
    """Give back the messages of workers that have died; return how many."""
    scripts, rescued = Scripts(client), 0
    try:
        for queue in QUEUES:
            message_ids = scripts.rescue(Keys(queue), SILENT_MS, last=queue == QUEUES[-1])
            rescued += len(message_ids)
    except redis.RedisError as error:
        raise Unavailable(str(error)) from error
    if rescued:
        log.warning("messages.rescued", messages=rescued)
    return rescued


class Rescuer:
    """Brings back what dead workers had, and what nobody has and does not wait either."""

    def __init__(self, client: redis.Redis) -> None:
        """Begin with a thorough look: who knows what was before."""
        self.client, self.scripts = client, Scripts(client)
        self.looks = 0
        self.odd = dict.fromkeys(QUEUES, False)

    def run_once(self) -> int:
        """Rescue, mend what does not agree twice in a row; return how many came back."""
        rescued = rescue_stranded(self.client)
        try:
            # Senders may be allowed to run the scripts, and not to teach them to Redis.
            self.scripts.load()
            for queue in QUEUES:
                rescued += self._mend(queue)
        except redis.RedisError as error:
            raise Unavailable(str(error)) from error
        self.looks += 1
        return rescued

    def _mend(self, queue: str) -> int:
        thoroughly = self.odd[queue] or self.looks % THOROUGH == 0
        restored, dropped_count, consistent = self.scripts.mend(Keys(queue), thoroughly=thoroughly)
        self.odd[queue] = not consistent
        if restored or dropped_count:
            log.error("queue.mended", queue=queue, put_back=restored, dropped=dropped_count)
        return restored


class Archiver:
    """Puts orders at rest away, a batch at a time; what it does not get to, the next tick does."""

    def __init__(self, store: Store, after: timedelta | None) -> None:
        """Keep how long orders stay after they have ended; None: for ever."""
        self.store, self.after = store, after
        self.not_before = 0.0

    def run_once(self) -> int:
        """Put away one batch, unless the last one was a moment ago; return how many orders."""
        began = time.monotonic()
        if self.after is None or began < self.not_before:
            return 0
        now = from_us(now_us())
        archived = archive.archive(self.store, archive.Due(now - self.after, now))
        took = time.monotonic() - began
        self.not_before = time.monotonic() + SHARE * took
        if archived:
            log.info("orders.archived", orders=archived, took_ms=round(1000 * took, 1))
        return archived


def sweep_inbox(engine: Engine, client: redis.Redis, keys: Keyring = UNSIGNED) -> int:
    """Hand in again what was accepted and Redis has lost; return how many messages."""
    before_us = to_us(RedisDoor(client, engine).now()) - SWEPT_US
    redelivered = redrive.sweep(engine, client, before_us, keys)
    if redelivered:
        log.warning("inbox.redriven", messages=redelivered)
    return redelivered
