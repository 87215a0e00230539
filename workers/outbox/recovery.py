"""Recovery: what a Redis that was restarted or wiped may have forgotten, carried to it again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any

import redis
import structlog
from sqlalchemy import Engine, Select, func, select

from models.errors import Unavailable
from models.fields import MICROSECOND
from workers.database import archive_schema, schema
from workers.database.engine import reading
from workers.outbox.streams import SERVER_ID_KEY, publish, replace_server_id
from workers.outbox.timeline import require_timeline
from workers.timestamps import now_us, to_us

log = structlog.get_logger()


RESTART_WINDOW = timedelta(seconds=5)
"""What a restarted server may have forgotten: its append-only file is a second behind, or two."""


WIPE_WINDOW = timedelta(minutes=15)
"""What is told again to a server that knows nothing: a consumer behind by more than a quarter of
an hour asks the database, or an operator for `events replay`."""


MAX_RECENT_EVENTS = 200_000
"""How many of the last events can be as young as a restart, so that a look costs little."""


PAGE_SIZE = 1_000


RESENDING_PREFIX = b"since:"
"""How the id begins of a server that is being told again; the instant in microseconds follows,
so that whoever comes after a relay that died at it begins where that one did."""


class StreamRecovery:
    """The id that a server bears: its own, while it has forgotten nothing that we told it.

    Another's id is what a restart leaves behind, and none at all is what a wipe does. A repeat
    does no harm, since its id is the same; an event that never comes does. The events keep the
    mark that they were published: each is counted once.
    """

    def __init__(self, engine: Engine, client: redis.Redis) -> None:
        """Keep both ends."""
        self.engine, self.client = engine, client

    def refresh(self) -> None:
        """Tell the server again what it may have forgotten, until it bears its own id.

        Raise `Unavailable` while Redis is away, or forgets faster than it is told.
        """
        try:
            with self.client.pipeline(transaction=False) as pipe:
                pipe.get(SERVER_ID_KEY)
                pipe.info("server")
                known_id, info = pipe.execute()
            server_id = str(info["run_id"]).encode()
            if known_id == server_id:
                return
            since = _resend_since(known_id)
            resending_id = RESENDING_PREFIX + str(since).encode()
            self.client.set(SERVER_ID_KEY, resending_id)
        except redis.RedisError as error:
            raise Unavailable(str(error)) from error
        event_count, timeline = 0, require_timeline(self.engine, self.client)
        for page in _pages(self.engine, _recent_events(self.engine, since, whole=known_id is None)):
            if not publish(self.client, page, timeline, resending_id):
                raise Unavailable("Redis forgets what it is told again")
            event_count += len(page)
        if not replace_server_id(self.client, resending_id, server_id):
            raise Unavailable("Redis forgets what it was told again")
        if event_count:
            log.warning("events.resent", events=event_count, wiped=known_id is None)


def _resend_since(known_id: bytes | None) -> int:
    if known_id is not None and known_id.startswith(RESENDING_PREFIX):
        return int(known_id.removeprefix(RESENDING_PREFIX))
    return now_us() - (WIPE_WINDOW if known_id is None else RESTART_WINDOW) // MICROSECOND


def _recent_events(engine: Engine, since: int, *, whole: bool) -> Select[Any]:
    table = archive_schema.with_archive(schema.events)
    query = select(table).where(table.c.published_at > since)
    if whole:
        return query
    with reading(engine) as connection:
        last = connection.execute(select(func.max(schema.events.c.position))).scalar() or 0
    # Positions first: they have an index, instants have none.
    return query.where(table.c.position > last - MAX_RECENT_EVENTS)


def recorded_events(
    engine: Engine, since: datetime, until: datetime | None
) -> Iterator[Sequence[Any]]:
    """Give the published events recorded from `since` to `until`, in order, a page at a time."""
    table = archive_schema.with_archive(schema.events)
    query = select(table).where(table.c.recorded_at >= to_us(since))
    query = query.where(table.c.published_at.is_not(None))
    if until is not None:
        query = query.where(table.c.recorded_at <= to_us(until))
    return _pages(engine, query)


def _pages(engine: Engine, query: Select[Any]) -> Iterator[Sequence[Any]]:
    position, after = archive_schema.with_archive(schema.events).c.position, 0
    while True:
        with reading(engine) as connection:
            later = query.where(position > after).order_by(position)
            page = connection.execute(later.limit(PAGE_SIZE)).all()
        if not page:
            return
        yield page
        after = page[-1].position
