"""Watch: queues, deadlines and single orders, for operators at a terminal."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime
from statistics import quantiles
from typing import Any

import redis

from models.errors import Unavailable
from ops import show, tables
from ops.explain import explain as account_for
from ops.narrate import as_text
from ops.refused import Refused
from workers import groups, watching
from workers.clock import from_us, now_us
from workers.door import RedisDoor
from workers.reading import Reader
from workers.settings import Settings
from workers.wire import connect

HEADS = ("order", "state", "until", "in seconds", "client", "creator")


def queues(settings: Settings, *, as_json: bool) -> int:
    """Show what waits where, who is there to work, and how far the readers of events are."""
    with opened(settings) as (reader, client):
        found = watching.queues(reader.store.engine, client)
        readers = groups.groups(client, settings.retention) if found["redis"] == "up" else []
    if as_json:
        print(json.dumps(found | {"groups": [asdict(one) for one in readers]}))
        return 0
    rows = [(name, one["waiting"], one["in_flight"]) for name, one in found["queues"].items()]
    rows.append(("accepted over HTTP", found["inbox"]["commands"], None))
    rows.append(("events to publish", found["outbox"]["events"], None))
    print(tables.draw("Queues", ("queue", "waiting", "in flight"), rows))
    print(f"\nOldest command: {found['oldest_seconds']:.1f} s. Redis is {found['redis']}.")
    print(f"Oldest unpublished event: {found['outbox']['lag_seconds']:.1f} s.")
    print(f"Workers alive: {found['workers_alive']}. {_standing(found)}")
    print(f"Aside: {found['quarantine']} in quarantine, {found['dead_letters']} dead letters.")
    for one in readers:
        late = " TOO FAR BEHIND" if one.behind else ""
        print(f"{one.stream}, group {one.name}: {one.lag + one.pending} unread{late}")
    return 0


def _standing(found: dict[str, Any]) -> str:
    names = ("relay", "scheduler")
    return " ".join(f"{one}: {'at work' if found[one] else 'NOT THERE'}." for one in names)


def deadlines(settings: Settings, *, as_json: bool) -> int:
    """Show what falls due within the hour, what is overdue, and how late deadlines have been."""
    with opened(settings) as (reader, _):
        found = watching.deadlines(reader.store, from_us(now_us()))
        found["lateness"] = _lateness(reader.lateness())
    if as_json:
        print(json.dumps(found))
        return 0
    rows = [
        (
            one["order_id"],
            one["state"],
            one["due_at"],
            round(one["seconds"]),
            one["client_id"],
            one["creator_id"],
        )
        for one in found["next"]
    ]
    print(tables.draw("Due within the hour, and overdue", HEADS, rows))
    worst = f", the oldest by {found['worst_overdue_seconds']:.1f} s" if found["overdue"] else ""
    print(f"\n{found['due_within']} due within the hour, {found['overdue']} overdue{worst}.")
    armed = ", ".join(f"{count} {state}" for state, count in found["armed"].items())
    print(f"Waiting: {armed or 'nobody'}.")
    late = found["lateness"]
    if late["deadlines"]:
        print(
            f"{late['deadlines']} deadlines took effect, half of them within {late['p50']:.3f} s, "
            f"99 % within {late['p99']:.3f} s, the last within {late['max']:.3f} s."
        )
    return 0


def _lateness(seconds: list[float]) -> dict[str, float]:
    """Sum up, in seconds, how late deadlines were on record."""
    if not seconds:
        return {"deadlines": 0, "p50": 0.0, "p99": 0.0, "max": 0.0}
    cuts = quantiles([*seconds, *seconds], n=100)
    most = max(seconds)
    return {"deadlines": len(seconds), "p50": cuts[49], "p99": min(cuts[98], most), "max": most}


def explain(settings: Settings, order_id: str, *, as_json: bool) -> int:
    """Account for one order."""
    with opened(settings) as (reader, client):
        at, watermark = present(RedisDoor(client, reader.store.engine))
        found = account_for(reader.store, order_id, at=at, watermark=watermark)
    if found is None:
        raise Refused(f"no order {order_id}: `earnest orders list` shows those there are")
    print(json.dumps(found, ensure_ascii=False) if as_json else as_text(found))
    return 0


def present(door: RedisDoor) -> tuple[datetime, datetime | None]:
    """Return what time it is where that is decided, and until when everything is settled."""
    try:
        return door.now(), door.watermark(without=())
    except Unavailable as error:
        # On stderr: what follows may be read by a program.
        print(f"by this host's clock: {tables.plain(str(error))}", file=sys.stderr)
        return from_us(now_us()), None


@contextmanager
def opened(settings: Settings) -> Iterator[tuple[Reader, redis.Redis]]:
    """Open both ends for one command, and close them after it."""
    reader, client = show.reader(settings), connect(settings.redis_url)
    try:
        yield reader, client
    finally:
        reader.store.engine.dispose()
        client.close()
