"""Timeline: whether the database still has all that was published, and a new beginning if not.

A database that was restored, or failed over to a standby that lagged, no longer knows what
consumers were told. Redis keeps what was published last; each look compares. A new timeline begins
when an operator says so: its events have ids and positions that were never given before.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple
from uuid import uuid4

import redis
import structlog
from sqlalchemy import Connection, Engine, func, select, text, update

from models.errors import Unavailable
from models.events.event import Event
from models.events.notifications import TimelineBegan
from models.events.parties import OperatorActed
from workers.database import archive_schema, bulk, mappers, schema
from workers.database.engine import reading, writing
from workers.outbox.streams import PUBLISHED_KEY, StreamTimeline, event_id
from workers.queue.redis import STAMP_KEY
from workers.timestamps import from_us, now_us, optional_text

log = structlog.get_logger()


class LastPublished(NamedTuple):
    """What was published last, as Redis remembers it: in which timeline, where, and its name."""

    timeline: StreamTimeline
    position: int
    event: str


class DatabaseSetBack(Unavailable):
    """The database lacks what was published: nothing is published, and no deadline ends."""


@dataclass(frozen=True, slots=True)
class Setback:
    """What was published last and is not in the database, and until when that knows of anything.

    `is_foreign`: the database never had that timeline.
    """

    published: LastPublished
    last_recorded_at: int | None
    is_foreign: bool

    def __str__(self) -> str:
        until = optional_text(self.last_recorded_at) or "its beginning"
        what = (
            "what was published before came from another database"
            if self.is_foreign
            else f"event {self.published.event} was published and is not in the database"
        )
        return f"{what}, which knows of nothing after {until}: `earnest recover` shows what to do"


def read_last_published(client: redis.Redis) -> LastPublished | None:
    """Return what Redis remembers, None where it was told nothing; raise `Unavailable`."""
    try:
        fields: Any = client.hmget(PUBLISHED_KEY, "timeline", "number", "position", "event")
    except redis.RedisError as error:
        raise Unavailable(f"Redis does not answer: {error}") from error
    identity, number, position, event = fields
    if identity is None:
        return None
    return LastPublished(
        StreamTimeline(int(number), identity.decode()), int(position), event.decode()
    )


def read_timeline(engine: Engine) -> StreamTimeline:
    """Return the present timeline."""
    with reading(engine, once=True) as connection:
        return _read_timeline(connection)


def _read_timeline(connection: Connection) -> StreamTimeline:
    table = schema.timelines.c
    query = select(table.number, table.identity).order_by(table.number.desc()).limit(1)
    return StreamTimeline(*connection.execute(query).one())


def find_setback(engine: Engine, client: redis.Redis) -> Setback | None:
    """Say what was published and is not in the database; None where all is well.

    Raise `Unavailable` where one of the two is away.
    """
    return _compare(engine, client)[1]


def require_timeline(engine: Engine, client: redis.Redis) -> StreamTimeline:
    """Return the present timeline; raise `DatabaseSetBack` where what was published is missing."""
    timeline, setback = _compare(engine, client)
    if setback is not None:
        raise DatabaseSetBack(str(setback))
    return timeline


def _compare(engine: Engine, client: redis.Redis) -> tuple[StreamTimeline, Setback | None]:
    """Read the present timeline, and compare the database with what was published last."""
    published = read_last_published(client)
    if published is None:
        return read_timeline(engine), None
    with reading(engine, once=True) as connection:
        rows = connection.execute(_timelines_and_event(published.position)).all()
    timeline = StreamTimeline(rows[-1].number, rows[-1].identity)
    numbers = {row.identity: row.number for row in rows}
    number = numbers.get(published.timeline.identity)
    if number is not None and number < timeline.number:
        # A new timeline has begun, and nothing of it was published yet.
        return timeline, None
    name = f"{rows[-1].subject}/{rows[-1].sequence}"
    if number is not None and (published.position == 0 or name == published.event):
        return timeline, None
    with reading(engine, once=True) as connection:
        last_recorded_at = connection.execute(select(func.max(schema.events.c.recorded_at)))
        return timeline, Setback(published, last_recorded_at.scalar(), is_foreign=number is None)


def _timelines_and_event(position: int) -> Any:  # noqa: ANN401 - a statement of many columns
    """Ask for all timelines, and for the event at a position: one trip."""
    tables = (schema.events, archive_schema.events)
    columns = {
        name: func.coalesce(
            *(
                select(table.c[name]).where(table.c.position == position).scalar_subquery()
                for table in tables
            )
        )
        for name in ("subject", "sequence")
    }
    timelines = schema.timelines.c
    labelled = (column.label(name) for name, column in columns.items())
    return select(timelines.number, timelines.identity, *labelled).order_by(timelines.number)


def begin_timeline(
    engine: Engine, client: redis.Redis, by: str, note: str, last_stamp: int
) -> StreamTimeline:
    """Begin a new timeline, whose first event tells consumers what to forget.

    What was recorded and not published comes after it. `last_stamp` is the largest that senders
    have heard of: those to come are larger. Raise `Unavailable` while Redis is away.
    """
    published, recorded_at = read_last_published(client), now_us()
    with writing(engine) as connection:
        last_number = _read_timeline(connection).number
        if published is not None:
            last_number = max(last_number, published.timeline.number)
        timeline = StreamTimeline(last_number + 1, uuid4().hex)
        first = _last_position(connection, published) + 1
        last_row = _last_published_row(connection)
        facts = (
            TimelineBegan(
                timeline=timeline.number,
                last_event=None if last_row is None else event_id(last_row, 1),
                by=by,
                note=note,
            ),
            OperatorActed(by=by, note=note, act="recover", before=None, after=None),
        )
        at, subject = from_us(recorded_at), f"timeline:{timeline.number}"
        events = [
            Event(subject, sequence, at, f"recovery:{by}", fact)
            for sequence, fact in enumerate(facts, 1)
        ]
        _move_unpublished(connection, first + len(events))
        rows = [
            mappers.event_row(event, recorded_at, {}) | {"position": position}
            for position, event in enumerate(events, first)
        ]
        bulk.insert(connection, schema.events, rows)
        _advance_positions(connection)
        row = {"number": timeline.number, "identity": timeline.identity, "began_at": recorded_at}
        bulk.insert(connection, schema.timelines, [row])
    _record_in_redis(client, timeline, last_stamp)
    log.warning("timeline.began", timeline=timeline.number, by=by, because=note)
    return timeline


def _last_position(connection: Connection, published: LastPublished | None) -> int:
    """Return the largest position that was ever given, as far as the two sides know."""
    tables = (schema.events, archive_schema.events)
    known = [connection.execute(select(func.max(table.c.position))).scalar() for table in tables]
    return max(0 if published is None else published.position, *(at or 0 for at in known))


def _last_published_row(connection: Connection) -> Any:  # noqa: ANN401 - a row, or None
    table = archive_schema.with_archive(schema.events)
    columns = (table.c.subject, table.c.sequence, table.c.timeline, table.c.published_at)
    query = select(*columns)
    query = query.where(table.c.published_at.is_not(None))
    return connection.execute(query.order_by(table.c.position.desc()).limit(1)).first()


def _move_unpublished(connection: Connection, first: int) -> None:
    """Give what was not published positions from `first` on, in the order that it has."""
    table = schema.events
    unpublished = table.c.published_at.is_(None)
    query = select(func.min(table.c.position)).where(unpublished)
    smallest = connection.execute(query).scalar()
    if smallest is not None:
        moved = {"position": table.c.position + (first - smallest)}
        connection.execute(update(table).where(unpublished).values(moved))


def _advance_positions(connection: Connection) -> None:
    """Let the positions to come be larger than all that were given; SQLite does so by itself."""
    if connection.dialect.name == "postgresql":
        largest = "(SELECT max(position) FROM events)"
        sequence = "pg_get_serial_sequence('events', 'position')"
        connection.execute(text(f"SELECT setval({sequence}, {largest})"))


_RECORD_SCRIPT = """
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], 'timeline', ARGV[1], 'number', ARGV[2], 'position', '0', 'event', '')
if tonumber(redis.call('GET', KEYS[2]) or '0') < tonumber(ARGV[3]) then
  redis.call('SET', KEYS[2], ARGV[3])
end
"""
"""KEYS: what was published last, and the last stamp; ARGV: the new timeline, the least stamp."""


def _record_in_redis(client: redis.Redis, timeline: StreamTimeline, last_stamp: int) -> None:
    try:
        script = client.register_script(_RECORD_SCRIPT)
        script(
            keys=[PUBLISHED_KEY, STAMP_KEY], args=[timeline.identity, timeline.number, last_stamp]
        )
    except redis.RedisError as error:
        raise Unavailable(f"Redis does not answer: {error}") from error


def known_events(engine: Engine, names: Sequence[str]) -> Iterator[tuple[str, str, datetime]]:
    """Give those events, named `subject/sequence`, that the database has: type and instant too."""
    subjects = sorted({name.rpartition("/")[0] for name in names})
    names_asked = set(names)
    table = archive_schema.with_archive(schema.events).c
    query = select(table.subject, table.sequence, table.type, table.at)
    with reading(engine) as connection:
        for row in connection.execute(query.where(table.subject.in_(subjects))):
            name = f"{row.subject}/{row.sequence}"
            if name in names_asked:
                yield name, row.type, from_us(row.at)
