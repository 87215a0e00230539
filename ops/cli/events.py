"""Events: the published streams, followed, sent again, and who reads them."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import redis

from models.errors import Unavailable
from ops import order_views, terminal
from ops.cli.operate import operator_name
from ops.context import open_reader
from ops.errors import UsageError
from ops.recovery import LostEvents, find_lost_events, write_lost_events
from ops.terminal import read_instant
from workers.outbox import streams as event_streams
from workers.outbox.recovery import recorded_events
from workers.outbox.streams import EVENTS_STREAM, StreamTimeline, publish
from workers.outbox.timeline import Setback, begin_timeline, find_setback, read_timeline
from workers.queue.redis import NAMESPACE, connect
from workers.settings import Settings

BLOCK_MS = 1_000
"""How long one call listens; below the connection's own timeout."""

PAGE_SIZE = 500

GROUP_HEADS = ("stream", "group", "consumers", "not taken", "not settled", "oldest", "")


def tail_events(settings: Settings, options: argparse.Namespace) -> int:
    """Print events as they come, until interrupted or `--count` of them were printed."""
    redis_client, printed_count = connect(settings.redis_url), 0
    # Asked in any case: a server that is away from the start is nobody's to wait for.
    newest_id = _last_entry_id(redis_client)
    last_id = newest_id if options.start == "$" else options.start
    while options.count is None or printed_count < options.count:
        for entry_id, fields in _read_entries(redis_client, last_id):
            last_id = entry_id
            event = json.loads(fields[b"event"])
            if _matches(event, options) and (
                options.count is None or printed_count < options.count
            ):
                print(terminal.format_json(event) if options.json else _event_line(event))
                printed_count += 1
        # What is read through a pipe should come as it happens.
        print(end="", flush=True)
    return 0


def _last_entry_id(redis_client: redis.Redis) -> str:
    """Return where the stream ends now: `$` would mean another place after each interruption."""
    try:
        entries: Any = redis_client.xrevrange(EVENTS_STREAM, count=1)
    except redis.RedisError as error:
        raise Unavailable(f"Redis does not answer: {error}") from error
    return str(entries[0][0].decode()) if entries else "0"


def _read_entries(redis_client: redis.Redis, last_id: str) -> list[Any]:
    try:
        streams: Any = redis_client.xread({EVENTS_STREAM: last_id}, count=PAGE_SIZE, block=BLOCK_MS)
    except redis.ResponseError as error:
        raise UsageError(f"--from {last_id}: {error}") from None
    except redis.RedisError:
        # It may be restarting; whoever follows wants to see what comes after that.
        time.sleep(BLOCK_MS / 1_000)
        return []
    return list(streams[0][1]) if streams else []


def _matches(event: dict[str, Any], options: argparse.Namespace) -> bool:
    if options.order and event["data"].get("order_id") != options.order:
        return False
    patterns = options.type or ["*"]
    return any(fnmatchcase(event["type"], pattern) for pattern in patterns)


def _event_line(event: dict[str, Any]) -> str:
    columns = (
        event["time"],
        event["type"],
        event["subject"],
        order_views.event_details(event["data"]),
    )
    return terminal.without_controls("  ".join(columns))


def replay_events(settings: Settings, since: str, until: str | None, *, as_json: bool) -> int:
    """Publish again what was recorded from one instant to another, under the same ids."""
    event_count = 0
    with open_reader(settings) as reader, connect(settings.redis_url) as redis_client:
        first = read_instant("--since", since)
        last = read_instant("--until", until) if until else None
        timeline = read_timeline(reader.store.engine)
        for page in recorded_events(reader.store.engine, first, last):
            publish(redis_client, page, timeline)
            event_count += len(page)
    message = f"{event_count} events published again; consumers know a repeat by its id."
    print(json.dumps({"events": event_count}) if as_json else message)
    return 0


def recover(settings: Settings, options: argparse.Namespace) -> int:
    """Show what the database no longer knows, write it down, and begin a new timeline if told to.

    Return 1 where there is something to recover and nothing was done about it.
    """
    if options.yes and not options.reason:
        raise UsageError("recover --yes: say why, with --reason")
    with open_reader(settings) as reader, connect(settings.redis_url) as redis_client:
        engine = reader.store.engine
        setback = find_setback(engine, redis_client)
        lost = find_lost_events(engine, redis_client)
        files, timeline = [], None
        if setback is not None or lost.events:
            folder = (
                options.output or settings.var / "recover" / f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
            )
            files = write_lost_events(lost, folder)
        if setback is not None and options.yes:
            by = f"operator:{operator_name(options.operator)}"
            timeline = begin_timeline(engine, redis_client, by, options.reason, lost.last_stamp)
    if options.json:
        summary = {
            "behind": None if setback is None else str(setback),
            "compared": lost.compared,
            "lost": lost.count_types(),
            "commands": lost.count_senders(),
            "files": list(map(str, files)),
            "timeline": timeline and timeline.number,
        }
        print(terminal.format_json(summary))
    else:
        _print_recovery(setback, lost, files, timeline)
    return 1 if setback is not None and timeline is None else 0


def _print_recovery(
    setback: Setback | None,
    lost: LostEvents,
    files: Sequence[Path],
    timeline: StreamTimeline | None,
) -> None:
    since = "" if lost.first_kept_at is None else f", since {lost.first_kept_at}"
    print(f"{lost.compared} events that the streams hold were compared{since}.")
    if setback is None and not lost.events:
        print("The database knows all of them: there is nothing to recover.")
        return
    if setback is not None:
        print(terminal.without_controls(f"Behind: {setback}."))
    print(terminal.draw_table("Lost", ("type", "events"), list(lost.count_types().items())))
    if lost.commands:
        print(
            terminal.draw_table(
                "Commands to send again", ("sender", "commands"), list(lost.count_senders().items())
            )
        )
    print("\n".join(map(str, files)))
    if timeline is not None:
        print(
            f"Timeline {timeline.number} has begun: events are published and deadlines end again. "
            "Let senders send these commands again, under the same ids."
        )
    elif setback is not None:
        print(
            "Nothing is published, and no deadline ends, until `earnest recover --yes --reason …`"
        )


def manage_groups(settings: Settings, options: argparse.Namespace) -> int:
    """List, create or delete consumer groups."""
    redis_client, name = connect(settings.redis_url), options.name
    stream = f"{NAMESPACE}:{options.stream}"
    if options.change == "list":
        return _list_groups(redis_client, settings, as_json=options.json)
    if not name:
        raise UsageError(f"events groups {options.change}: which one? Give its name")
    if options.change == "create":
        try:
            is_done = event_streams.create_group(redis_client, stream, name, start=options.start)
        except redis.ResponseError as error:
            raise UsageError(f"--from {options.start}: {error}") from None
        message = (
            f"{name} reads {stream} from now on" if is_done else f"{stream} has a group {name}"
        )
    else:
        is_done = event_streams.delete_group(redis_client, stream, name)
        message = (
            f"nothing is kept for {name} any more" if is_done else f"{stream} has no group {name}"
        )
    print(
        json.dumps({"stream": stream, "group": name, "done": is_done}) if options.json else message
    )
    return 0 if is_done else 1


def _list_groups(redis_client: redis.Redis, settings: Settings, *, as_json: bool) -> int:
    consumer_groups = event_streams.list_groups(redis_client, settings.retention)
    if as_json:
        print(json.dumps({"groups": [asdict(group) for group in consumer_groups]}))
        return 0
    rows = [
        (
            group.stream,
            group.name,
            group.consumers,
            group.lag,
            group.pending,
            None if group.oldest_s is None else f"{group.oldest_s:.0f} s",
            "TOO FAR BEHIND" if group.behind else "",
        )
        for group in consumer_groups
    ]
    print(
        terminal.draw_table("Consumer groups", GROUP_HEADS, rows) if rows else "No consumer groups."
    )
    return 0
