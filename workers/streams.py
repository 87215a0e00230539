"""Streams: how events are written to Redis."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import Any

import redis

from models.errors import Unavailable
from workers.clock import from_us
from workers.retention import EVENTS, REMINDERS

REMINDING = frozenset({"creator.reminded", "client.reminded"})

MEMORY = "earnest:events.memory"
"""The key under which a server keeps what it remembers of what it was told; see `resend`."""

ITS_OWN_NAME = b"server"
"""For `publish`: what a server remembers that has forgotten nothing."""


def publish(client: redis.Redis, event_rows: Sequence[Any], memory: bytes | None = None) -> bool:
    """Write rows of the events table to the streams; raise `Unavailable` while Redis is away.

    All or none; and none, which is told by False, where the server's memory is another than given.
    """
    flat = [part for row in event_rows for part in (int(row.type in REMINDING), cloud_event(row))]
    try:
        script = client.register_script(_script())
        return bool(script(keys=[MEMORY, EVENTS, REMINDERS], args=[memory or b"", *flat]))
    except redis.RedisError as error:
        raise Unavailable(str(error)) from error


@cache
def _script() -> str:
    return (files("workers") / "lua" / "publish.lua").read_text(encoding="utf-8")


def remember(client: redis.Redis, before: bytes, after: bytes) -> bool:
    """Replace what a server remembers, unless it has forgotten that, too."""
    try:
        with client.pipeline(transaction=True) as pipe:
            pipe.watch(MEMORY)  # type: ignore[no-untyped-call]
            now: Any = pipe.get(MEMORY)
            if now != before:
                return False
            pipe.multi()
            pipe.set(MEMORY, after)
            pipe.execute()
    except redis.WatchError:
        return False
    except redis.RedisError as error:
        raise Unavailable(str(error)) from error
    return True


def cloud_event(row: Any) -> str:  # noqa: ANN401 - a row of the events table
    """Write an event as CloudEvents 1.0 JSON; its id is the same however often it is sent."""
    at = from_us(row.at).isoformat().replace("+00:00", "Z")
    head = {
        "specversion": "1.0",
        "id": f"{row.subject}/{row.sequence}",
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
