"""Example consumers: whatever dies, every event has its effect once."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import redis

from models.errors import TransientError
from ops.local.up import LocalStack
from tests.e2e.example_programs import EXAMPLES, node_command, python_command, running_consumer
from tests.support import sample_commands
from tests.support.concurrency import eventually
from tests.support.stories import DEPOSIT
from workers.client import CommandClient
from workers.outbox import streams as event_streams
from workers.outbox.streams import EVENTS_STREAM
from workers.queue.redis import connect
from workers.settings import RetentionLimits

ORDER_COUNT = 60
IDLE_MS = "300"


def read_python_notices(output_path: Path) -> list[str]:
    """Read what a consumer in Python has done, and check that each effect was counted once."""
    with closing(sqlite3.connect(output_path, isolation_level=None)) as connection:
        connection.execute("BEGIN")
        try:
            event_ids = [
                event_id for (event_id,) in connection.execute("SELECT event_id FROM notices")
            ]
            (effect_count,) = connection.execute(
                "SELECT COALESCE(SUM(times), 0) FROM told"
            ).fetchone()
        except sqlite3.OperationalError:
            # The consumer has not made its tables yet.
            return []
    assert effect_count == len(event_ids)
    return event_ids


def read_node_notices(output_path: Path) -> list[str]:
    """Read what a consumer in Node.js has done: one file is one effect."""
    return [json.loads(path.read_text("utf-8"))["event_id"] for path in output_path.glob("*.json")]


ReadNotices = Callable[[Path], list[str]]
LANGUAGES = {"py": (python_command, read_python_notices), "mjs": (node_command, read_node_notices)}


def consumer_command(language: str, url: str, output_path: Path) -> list[str]:
    program = [
        *LANGUAGES[language][0](),
        str(EXAMPLES / f"consumer.{language}"),
        url,
        str(output_path),
    ]
    options = ["--stream", EVENTS_STREAM, "--idle-ms", IDLE_MS]
    return program + (options if language == "py" else [EVENTS_STREAM, IDLE_MS])


def submit_orders(pipeline: LocalStack, tag: str) -> None:
    """Let a crowd of orders be placed, paid and accepted."""
    commands: list[dict[str, Any]] = sample_commands.admit()
    for number in range(ORDER_COUNT):
        order = f"{tag}_{number}"
        commands += [
            sample_commands.place(order),
            sample_commands.pay(f"pay_{order}", {order: DEPOSIT}),
        ]
        commands += [sample_commands.accept(order)]
    client = connect(pipeline.settings.redis_url)
    eventually(lambda: try_to_submit(client, commands))
    client.close()


def try_to_submit(client: redis.Redis, commands: list[dict[str, Any]]) -> bool:
    try:
        return bool(CommandClient(client).submit_many(commands))
    except TransientError:
        # Redis is about to be back; whatever arrived already is a repeat.
        return False


def published_event_ids(client: redis.Redis, start: str, kind: str = "") -> set[str]:
    entries: Any = client.xrange(EVENTS_STREAM, min=f"({start}")
    events = [json.loads(fields[b"event"]) for _, fields in entries]
    return {event["id"] for event in events if kind in event["type"]}


def all_settled(client: redis.Redis, start: str, tag: str) -> bool:
    """Tell whether the consumers have settled the events of all submitted orders."""
    try:
        accepted_ids = published_event_ids(client, start, "order.accepted")
        (group,) = event_streams.list_groups(client, RetentionLimits())
    except (redis.RedisError, TransientError):
        return False
    # A relay that finds Redis restarted publishes its last events again: other tests' too.
    own_ids = [event_id for event_id in accepted_ids if event_id.startswith(f"order:{tag}_")]
    return len(own_ids) == 2 * ORDER_COUNT and group.oldest_s is None


def create_group(client: redis.Redis) -> str:
    """Register the consumers' group, alone, where the stream ends now; return where that is."""
    for group in event_streams.list_groups(client, RetentionLimits()):
        event_streams.delete_group(client, group.stream, group.name)
    entries: Any = client.xrevrange(EVENTS_STREAM, count=1)
    start = entries[0][0].decode() if entries else "0-0"
    event_streams.create_group(client, EVENTS_STREAM, "notices", start=start)
    return start


@pytest.mark.fault
@pytest.mark.parametrize("language", LANGUAGES)
def test_every_event_has_its_effect_once_whatever_process_dies(
    pipeline: LocalStack, pipeline_redis: redis.Redis, tmp_path: Path, language: str
) -> None:
    _, read_notices = LANGUAGES[language]
    output_path, log = tmp_path / "notices", tmp_path / "log"
    start = create_group(pipeline_redis)
    submit_orders(pipeline, f"{language}_first")
    # A sibling that takes some, acts on none, and is never heard of again.
    eventually(lambda: pipeline_redis.xreadgroup("notices", "dead", {EVENTS_STREAM: ">"}, count=20))
    command = consumer_command(language, pipeline.settings.redis_url, output_path)
    with running_consumer(command, log) as victim:
        eventually(lambda: read_notices(output_path))
        victim.send_signal(signal.SIGKILL)
        victim.wait()
    with running_consumer(command, log) as first, running_consumer(command, log) as second:
        restart_redis(pipeline)
        submit_orders(pipeline, f"{language}_second")
        eventually(lambda: all_settled(pipeline_redis, start, language))
        notified_ids = read_notices(output_path)
        for sibling in (first, second):
            sibling.send_signal(signal.SIGTERM)
            assert sibling.wait(60) == 0, log.read_text()
    assert sorted(notified_ids) == sorted(published_event_ids(pipeline_redis, start))


def restart_redis(pipeline: LocalStack) -> None:
    """Kill Redis; the supervisor starts it again from its append-only file."""
    old_pid = pipeline.pids()["redis"]
    os.kill(old_pid, signal.SIGKILL)
    eventually(lambda: pipeline.pids().get("redis", old_pid) != old_pid)
