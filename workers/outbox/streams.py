"""Streams: how events are written to Redis Streams, and which consumer groups read them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import redis

from models.errors import Unavailable
from workers.queue.redis import NAMESPACE
from workers.settings import RetentionLimits
from workers.timestamps import SECOND_US, from_us

EVENTS_STREAM = f"{NAMESPACE}:events"


REMINDERS_STREAM = f"{NAMESPACE}:reminders"


STREAMS = (EVENTS_STREAM, REMINDERS_STREAM)


REMINDER_TYPES = frozenset({"creator.reminded", "client.reminded"})


SERVER_ID_KEY = f"{EVENTS_STREAM}.memory"
"""The key of the id that a server bears while it has forgotten nothing; see `StreamRecovery`."""


PUBLISHED_KEY = f"{EVENTS_STREAM}.published"
"""The key of what was published last: its timeline, its position and its name."""


OWN_SERVER_ID = b"server"
"""For `publish`: the server's own id, which it bears while it has forgotten nothing."""


@dataclass(frozen=True, slots=True)
class StreamTimeline:
    """A line of events that only grows: `number` counts the beginnings, `identity` is its own."""

    number: int
    identity: str


def publish(
    client: redis.Redis,
    event_rows: Sequence[Any],
    timeline: StreamTimeline,
    server_id: bytes | None = None,
) -> bool:
    """Write rows of the events table to the streams; raise `Unavailable` while Redis is away.

    All or none; and none, which is told by False, where the server bears another id than given.
    What is published for the first time belongs to `timeline`.
    """
    arguments = [
        part
        for row in event_rows
        for part in (int(row.type in REMINDER_TYPES), cloud_event(row, timeline.number))
    ]
    last = event_rows[-1]
    name = f"{last.subject}/{last.sequence}"
    record = [timeline.identity, timeline.number, last.position, name]
    try:
        script = client.register_script(_publish_script())
        return bool(
            script(
                keys=[SERVER_ID_KEY, EVENTS_STREAM, REMINDERS_STREAM, PUBLISHED_KEY],
                args=[server_id or b"", *record, *arguments],
            )
        )
    except redis.RedisError as error:
        raise Unavailable(str(error)) from error


@cache
def _publish_script() -> str:
    return (files("workers") / "outbox" / "lua" / "publish.lua").read_text(encoding="utf-8")


def replace_server_id(client: redis.Redis, before: bytes, after: bytes) -> bool:
    """Replace the id that a server bears, unless it has forgotten that, too."""
    try:
        with client.pipeline(transaction=True) as pipe:
            pipe.watch(SERVER_ID_KEY)  # type: ignore[no-untyped-call]
            current_id: Any = pipe.get(SERVER_ID_KEY)
            if current_id != before:
                return False
            pipe.multi()
            pipe.set(SERVER_ID_KEY, after)
            pipe.execute()
    except redis.WatchError:
        return False
    except redis.RedisError as error:
        raise Unavailable(str(error)) from error
    return True


def event_id(row: Any, timeline: int) -> str:  # noqa: ANN401 - a row of the events table
    """Return the id by which consumers drop a repeat.

    An event belongs to the timeline in which it was first published: the present one, if it was
    not. What began anew may use a subject's numbers again, but not the ids of the first timeline.
    """
    number = row.timeline or (timeline if row.published_at is None else 1)
    return f"{row.subject}/{row.sequence}" + (f"~{number}" if number > 1 else "")


def cloud_event(row: Any, timeline: int = 1) -> str:  # noqa: ANN401 - a row of the events table
    """Write an event as CloudEvents 1.0 JSON; its id is the same however often it is sent."""
    at = from_us(row.at).isoformat().replace("+00:00", "Z")
    head = {
        "specversion": "1.0",
        "id": event_id(row, timeline),
        "source": "earnest",
        "type": row.type,
        "subject": row.subject,
        "time": at,
        "datacontenttype": "application/json",
    }
    if row.trace:
        head["traceparent"] = row.trace
    # The body is JSON already; writing it again would only cost time.
    return json.dumps(head, separators=(",", ":"))[:-1] + f',"data":{row.body}}}'


MAX_COUNTED = 10_000
"""Unread entries counted one by one where an old server does not know their number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsumerGroup:
    """One consumer group: `pending` was taken and not acknowledged, `lag` was never taken.

    `oldest_s` is the age of the oldest entry that it has yet to settle, None if it has settled
    all. `behind` tells that retention waits for it, which it does not do for ever.
    """

    stream: str
    name: str
    consumers: int
    pending: int
    lag: int
    oldest_s: float | None
    behind: bool


@contextmanager
def _translated_errors() -> Iterator[None]:
    try:
        yield
    except redis.ResponseError:
        raise
    except redis.RedisError as error:
        raise Unavailable(f"Redis does not answer: {error}") from error


def list_groups(client: redis.Redis, limits: RetentionLimits) -> list[ConsumerGroup]:
    """Describe every registered group; raise `Unavailable` while Redis is away."""
    with _translated_errors():
        return [
            _describe_group(client, limits, stream, info)
            for stream in STREAMS
            if client.exists(stream)
            for info in client.xinfo_groups(stream)
        ]


def _describe_group(
    client: redis.Redis, limits: RetentionLimits, stream: str, info: dict[str, Any]
) -> ConsumerGroup:
    last_id, pending = info["last-delivered-id"].decode(), int(info["pending"])
    lag = info.get("lag")
    if lag is None:
        lag = len(_entries(client, stream, f"({last_id}", MAX_COUNTED))
    # By now the last of them may have been acknowledged; then there is no oldest.
    oldest_id = client.xpending(stream, info["name"])["min"] if pending else None
    first_id = oldest_id.decode() if oldest_id else f"({last_id}"
    oldest_entries = _entries(client, stream, first_id, 1)
    oldest_s = _age_s(client, oldest_entries[0][0]) if oldest_entries else None
    late = oldest_s is not None and oldest_s > limits.max_age.total_seconds()
    return ConsumerGroup(
        stream=stream,
        name=info["name"].decode(),
        consumers=int(info["consumers"]),
        pending=pending,
        lag=int(lag),
        oldest_s=oldest_s,
        behind=late or pending + int(lag) > limits.max_entries,
    )


def _entries(client: redis.Redis, stream: str, first_id: str, limit: int) -> list[Any]:
    entries: Any = client.xrange(stream, min=first_id, count=limit)
    return list(entries)


def _age_s(client: redis.Redis, entry_id: bytes) -> float:
    seconds, micros = client.time()
    written_ms = int(entry_id.partition(b"-")[0])
    return max(0.0, seconds + micros / SECOND_US - written_ms / 1_000)


def create_group(client: redis.Redis, stream: str, name: str, *, start: str) -> bool:
    """Register a group that reads from `start` on: `0` for everything kept, `$` for what is new.

    Return False if there is one of that name. Raise `Unavailable` while Redis is away.
    """
    try:
        with _translated_errors():
            client.xgroup_create(stream, name, id=start, mkstream=True)
    except redis.ResponseError as error:
        if "BUSYGROUP" not in str(error):
            raise
        return False
    return True


def delete_group(client: redis.Redis, stream: str, name: str) -> bool:
    """Forget a group, so that nothing is kept for it; return False if there was none."""
    with _translated_errors():
        return bool(client.exists(stream)) and bool(client.xgroup_destroy(stream, name))
