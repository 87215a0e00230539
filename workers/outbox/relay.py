"""Relay: carries recorded events to Redis Streams, at least once, in order for each subject."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any
from uuid import uuid4

import redis
import structlog
from sqlalchemy import Engine, select

from models.errors import TransientError, Unavailable
from workers.database import bulk, schema
from workers.database.engine import hold_lease, open_database, reading, release_lease, writing
from workers.outbox.counters import count_events
from workers.outbox.recovery import StreamRecovery
from workers.outbox.retention import Retention
from workers.outbox.streams import EVENTS_STREAM, OWN_SERVER_ID, StreamTimeline, publish
from workers.outbox.timeline import require_timeline
from workers.queue.redis import connect
from workers.runtime import RateLimiter
from workers.server_checks import check_servers
from workers.settings import RetentionLimits, Settings
from workers.timestamps import SECOND_US, now_us

log = structlog.get_logger()


NOTIFY_KEY = f"{EVENTS_STREAM}.bell"


BATCH_SIZE = 1_000
"""Events carried in one round: a round costs two transactions, however many it carries."""


LEASE_US = 10 * SECOND_US
"""How long a relay that fell silent keeps the others waiting."""


LEASE_RENEWAL_INTERVAL_S = 3.0
"""How often the lease is renewed: as seldom as one lost renewal allows, since each is a commit."""


IDLE_TIMEOUT_S = 1.0


def notify_relay(client: redis.Redis) -> None:
    """Tell the relay that there is something to carry; a call that is lost costs a second."""
    try:
        with client.pipeline(transaction=False) as pipe:
            pipe.rpush(NOTIFY_KEY, "1")
            pipe.ltrim(NOTIFY_KEY, 0, 3)
            pipe.execute()
    except redis.RedisError as error:
        log.warning("bell.unheard", error=str(error))


class Relay:
    """Publishes what is not yet published. Several may run: one works, the others stand by.

    Rows are found by being unpublished, never by a number larger than the last: numbers are
    given before commits, so a smaller one may appear later.
    """

    def __init__(
        self, engine: Engine, client: redis.Redis, limits: RetentionLimits | None = None
    ) -> None:
        """Keep both ends."""
        self.engine, self.client = engine, client
        self.retention = Retention(client, limits or RetentionLimits())
        self.recovery = StreamRecovery(engine, client)
        self.name = f"{socket.gethostname()}:{uuid4().hex[:8]}"
        self.lease_confirmed_at = -LEASE_RENEWAL_INTERVAL_S
        self.rate_limiter = RateLimiter()

    def run(self, stopping: threading.Event) -> None:
        """Carry events until told to stop; wait where a server is away."""
        while not stopping.is_set():
            try:
                if self._holds_lease():
                    self._round()
                else:
                    stopping.wait(IDLE_TIMEOUT_S)
            except (TransientError, redis.RedisError) as error:
                log.warning("relay.waiting", error=str(error)[:300])
                stopping.wait(IDLE_TIMEOUT_S)
        with suppress(TransientError):
            release_lease(self.engine, "relay", self.name)

    def _holds_lease(self) -> bool:
        asked_at = time.monotonic()
        if asked_at - self.lease_confirmed_at < LEASE_RENEWAL_INTERVAL_S:
            return True
        has_lease = hold_lease(self.engine, "relay", self.name, LEASE_US)
        self.lease_confirmed_at = asked_at if has_lease else -LEASE_RENEWAL_INTERVAL_S
        return has_lease

    def _round(self) -> None:
        """Carry what there is, then wait to be notified of whatever came later."""
        self.rate_limiter.wait()
        event_count = self.run_once()
        self.retention.run_if_due()
        if event_count:
            self.rate_limiter.note_work()
        if event_count < BATCH_SIZE:
            self.client.blpop([NOTIFY_KEY], timeout=IDLE_TIMEOUT_S)

    def run_once(self) -> int:
        """Publish one batch; return how many events it carried.

        What Redis has forgotten comes first: a consumer must not read what came after a gap
        before it has read what was in it. A database that has forgotten publishes nothing.
        """
        event_rows = self._unpublished()
        if not event_rows:
            self.recovery.refresh()
            return 0
        timeline = require_timeline(self.engine, self.client)
        if not publish(self.client, event_rows, timeline, OWN_SERVER_ID):
            self.recovery.refresh()
            if not publish(self.client, event_rows, timeline, OWN_SERVER_ID):
                raise Unavailable("Redis forgets what it is told")
        self._mark_published(event_rows, timeline)
        log.info("events.published", events=len(event_rows), lag_ms=_lag_ms(event_rows))
        return len(event_rows)

    def _unpublished(self) -> Sequence[Any]:
        table = schema.events
        query = select(table).where(table.c.published_at.is_(None))
        with reading(self.engine, once=True) as connection:
            return connection.execute(query.order_by(table.c.position).limit(BATCH_SIZE)).all()

    def _mark_published(self, event_rows: Sequence[Any], timeline: StreamTimeline) -> None:
        table, now = schema.events.c, now_us()
        positions = [row.position for row in event_rows]
        with writing(self.engine) as connection:
            # A relay that slept through its lease may come second: it must not count again.
            new_positions = bulk.set_where_null(
                connection, table.published_at, now, table.position, positions
            )
            if timeline.number > 1:
                bulk.set_where_null(
                    connection, table.timeline, timeline.number, table.position, new_positions
                )
            count_events(
                connection, [row for row in event_rows if row.position in new_positions], now
            )


def _lag_ms(event_rows: Sequence[Any]) -> int:
    return int(now_us() - event_rows[0].recorded_at) // 1_000


def run(settings: Settings, stopping: threading.Event, ready: Callable[[], None]) -> None:
    """Carry events until told to stop."""
    engine, client = open_database(settings.database_url), connect(settings.redis_url)
    check_servers(engine, client)
    ready()
    Relay(engine, client, settings.retention).run(stopping)
