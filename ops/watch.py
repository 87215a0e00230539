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
from workers.outbox import streams as event_streams
from workers.queries import monitoring
from workers.queries.reader import Reader
from workers.queue.redis import connect
from workers.queue.watermark import RedisDoor
from workers.settings import Settings
from workers.timestamps import from_us, now_us

HEADS = ("order", "state", "until", "in seconds", "client", "creator")


def queues(settings: Settings, *, as_json: bool) -> int:
    """Show what waits where, who is there to work, and how far the readers of events are."""
    with opened(settings) as (reader, client):
        status = monitoring.queues(reader.store.engine, client)
        consumer_groups = (
            event_streams.groups(client, settings.retention) if status["redis"] == "up" else []
        )
    if as_json:
        print(json.dumps(status | {"groups": [asdict(group) for group in consumer_groups]}))
        return 0
    rows = [
        (name, counts["waiting"], counts["in_flight"]) for name, counts in status["queues"].items()
    ]
    rows.append(("accepted over HTTP", status["inbox"]["commands"], None))
    rows.append(("events to publish", status["outbox"]["events"], None))
    print(tables.draw("Queues", ("queue", "waiting", "in flight"), rows))
    print(f"\nOldest command: {status['oldest_seconds']:.1f} s. Redis is {status['redis']}.")
    print(f"Oldest unpublished event: {status['outbox']['lag_seconds']:.1f} s.")
    print(f"Workers alive: {status['workers_alive']}. {_standing(status)}")
    print(f"Aside: {status['quarantine']} in quarantine, {status['dead_letters']} dead letters.")
    for group in consumer_groups:
        late_note = " TOO FAR BEHIND" if group.behind else ""
        print(f"{group.stream}, group {group.name}: {group.lag + group.pending} unread{late_note}")
    return 0


def _standing(status: dict[str, Any]) -> str:
    names = ("relay", "scheduler")
    return " ".join(f"{name}: {'at work' if status[name] else 'NOT THERE'}." for name in names)


def deadlines(settings: Settings, *, as_json: bool) -> int:
    """Show what falls due within the hour, what is overdue, and how late deadlines have been."""
    with opened(settings) as (reader, _):
        report = monitoring.deadlines(reader.store, from_us(now_us()))
        report["lateness"] = _lateness(reader.lateness())
    if as_json:
        print(json.dumps(report))
        return 0
    rows = [
        (
            deadline["order_id"],
            deadline["state"],
            deadline["due_at"],
            round(deadline["seconds"]),
            deadline["client_id"],
            deadline["creator_id"],
        )
        for deadline in report["next"]
    ]
    print(tables.draw("Due within the hour, and overdue", HEADS, rows))
    worst = f", the oldest by {report['worst_overdue_seconds']:.1f} s" if report["overdue"] else ""
    print(f"\n{report['due_within']} due within the hour, {report['overdue']} overdue{worst}.")
    armed = ", ".join(f"{count} {state}" for state, count in report["armed"].items())
    print(f"Waiting: {armed or 'nobody'}.")
    lateness = report["lateness"]
    if lateness["deadlines"]:
        print(
            f"{lateness['deadlines']} deadlines took effect, "
            f"half of them within {lateness['p50']:.3f} s, "
            f"99 % within {lateness['p99']:.3f} s, the last within {lateness['max']:.3f} s."
        )
    return 0


def _lateness(seconds: list[float]) -> dict[str, float]:
    """Sum up, in seconds, how late deadlines were on record."""
    if not seconds:
        return {"deadlines": 0, "p50": 0.0, "p99": 0.0, "max": 0.0}
    cuts = quantiles([*seconds, *seconds], n=100)
    max_s = max(seconds)
    return {"deadlines": len(seconds), "p50": cuts[49], "p99": min(cuts[98], max_s), "max": max_s}


def explain(settings: Settings, order_id: str, *, as_json: bool) -> int:
    """Account for one order."""
    with opened(settings) as (reader, client):
        at, watermark = present(RedisDoor(client, reader.store.engine))
        account = account_for(reader.store, order_id, at=at, watermark=watermark)
    if account is None:
        raise Refused(f"no order {order_id}: `earnest orders list` shows those there are")
    print(json.dumps(account, ensure_ascii=False) if as_json else as_text(account))
    return 0


def present(clock: RedisDoor) -> tuple[datetime, datetime | None]:
    """Return what time it is where that is decided, and until when everything is settled."""
    try:
        return clock.now(), clock.watermark(without=())
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
