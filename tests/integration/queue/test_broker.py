"""Broker: a real worker between a real Redis and a real database, through bad input and outages."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
import redis
from sqlalchemy import Engine

from tests.support import sample_commands
from tests.support.concurrency import eventually
from tests.support.store_harness import StoreHarness
from tests.support.stories import place
from tests.support.worker import RunningWorker, queue_contents, running_worker
from workers.database.engine import open_database, writing
from workers.database.migrations import migrate
from workers.queue.redis import COMMANDS, QUEUES, WAKEUPS, Keys

ACTORS = {COMMANDS: "settle_commands", WAKEUPS: "wake_orders"}


def write_raw(redis_client: redis.Redis, queue: str, message_id: str, payload: str | bytes) -> None:
    """Write a message into Redis past the scripts, with everything that an honest one has."""
    keys, (seconds, micros) = Keys(queue), redis_client.time()
    with redis_client.pipeline(transaction=True) as pipe:
        pipe.hset(keys.messages, message_id, payload)
        pipe.zadd(keys.pending, {message_id: seconds * 1_000_000 + micros})
        pipe.rpush(keys.waiting, message_id)
        pipe.rpush(keys.notify, "1")
        pipe.execute()


def message_text(queue: str = COMMANDS, /, kwargs: Any = None, **changes: Any) -> str:  # noqa: ANN401 - what strangers write
    """Write a message as Dramatiq does, with some of its fields replaced."""
    items = {"commands": [json.dumps(sample_commands.accept("nobody"))], "orders": ["nobody"]}
    message_kwargs = items if kwargs is None else kwargs
    fields: dict[str, Any] = {
        "queue_name": queue,
        "actor_name": ACTORS[queue],
        "args": [],
        "kwargs": message_kwargs,
    }
    envelope = {"options": {}, "message_id": "m", "message_timestamp": 5}
    return json.dumps(fields | envelope | changes)


POISON: dict[str, str | bytes] = {
    "no JSON": "{",
    "nothing": "null",
    "not UTF-8": b"\xff\xfe\xfd\x00",
    "NUL": "\0",
    "100 000 deep": "[" * 100_000 + "]" * 100_000,
    "huge": json.dumps("x" * 5_000_000),
    "a number without end": '{"kwargs": ' + "9" * 100_000 + "}",
    "another queue": message_text(queue_name="default"),
    "no queue": message_text(queue_name=None),
    "an unknown actor": message_text(actor_name="pay_out_everything"),
    "the other queue's actor": message_text(actor_name=ACTORS[WAKEUPS]),
    "no arguments": message_text(kwargs={}),
    "arguments that are none": message_text(kwargs=[1]),
    "no commands": message_text(kwargs={"commands": []}),
    "commands that are numbers": message_text(kwargs={"commands": [5]}),
    "commands that are lists": message_text(kwargs={"commands": [["{}"]]}),
    "too many arguments": message_text(args=[["{}"], ["{}"]]),
}


@pytest.fixture
def settled_worker(engine: Engine, redis_client: redis.Redis) -> Iterator[RunningWorker]:
    with running_worker(engine, redis_client) as worker:
        worker.client.submit_many(map(json.dumps, sample_commands.admit()))
        eventually(lambda: len(worker.rows("receipts")) == 2)
        yield worker


def test_poison_is_quarantined_once_and_costs_its_neighbours_nothing(
    settled_worker: RunningWorker,
) -> None:
    placements = [sample_commands.place(f"o{number}") for number in range(len(POISON) + 1)]
    for neighbour, (name, payload) in zip(placements, POISON.items(), strict=False):
        settled_worker.client.submit(neighbour)
        write_raw(settled_worker.redis_client, COMMANDS, name, payload)
    write_raw(
        settled_worker.redis_client,
        WAKEUPS,
        "bad wake-up",
        message_text(WAKEUPS, kwargs={"orders": [7]}),
    )
    settled_worker.client.submit(placements[-1])
    eventually(lambda: settled_worker.settled(*(placement["id"] for placement in placements)))
    eventually(settled_worker.idle)
    assert settled_worker.alive()
    items = sorted(row.message_id for row in settled_worker.rows("quarantine"))
    assert items == sorted([*POISON, "bad wake-up"])
    assert len(settled_worker.rows("orders")) == len(placements)
    assert settled_worker.rows("dead_letters") == []


FORGED_OPTIONS = {
    "pipe_target": json.loads(message_text(actor_name="pay_out")),
    "max_retries": 99,
    "eta": 32_503_680_000_000,
    "on_success": "pay_out",
    "redis_message_id": "another",
    "time_limit": 1,
}


@pytest.mark.parametrize("option", FORGED_OPTIONS)
def test_a_forged_option_of_a_message_is_ignored(
    settled_worker: RunningWorker, option: str
) -> None:
    command = sample_commands.place("o1")
    kwargs = {"commands": [json.dumps(command)]}
    options = {option: FORGED_OPTIONS[option]}
    write_raw(
        settled_worker.redis_client,
        COMMANDS,
        "forged",
        message_text(kwargs=kwargs, options=options),
    )
    eventually(lambda: settled_worker.settled(command["id"]))
    eventually(settled_worker.idle)
    assert settled_worker.alive()
    assert [
        key for key in settled_worker.redis_client.scan_iter("*") if b".DQ" in key or b".XQ" in key
    ] == []


def test_a_forged_wake_up_cannot_make_time_pass(engine: Engine, redis_client: redis.Redis) -> None:
    harness = StoreHarness(engine=engine, now=sample_commands.LONG_AGO).admit()
    with running_worker(engine, redis_client) as worker:
        placement = sample_commands.place("o1")
        worker.client.submit(placement)
        eventually(lambda: worker.settled(placement["id"]))
        kwargs = {"orders": ["o1"], "received_at": 2**52, "stamp": 2**52, "now": 2**52}
        write_raw(redis_client, WAKEUPS, "forged", message_text(WAKEUPS, kwargs=kwargs))
        forged_command = json.dumps(sample_commands.command("enforce_deadline", "client", "o1"))
        worker.client.submit(forged_command)
        eventually(lambda: worker.idle() and len(harness.published("command.settled")) > 4)
        assert worker.alive()
    assert [row.state for row in harness.rows("orders")] == ["awaiting_deposit"]
    assert harness.published("command.settled")[-1]["reason"] == "malformed"


NAMES = ["", "\0", "a\0b", "\ud800", "x" * 100_000, "o1'; DROP TABLE orders; --", "春"]


def test_a_wake_up_for_names_that_no_order_can_have_is_harmless(
    engine: Engine, redis_client: redis.Redis
) -> None:
    harness = StoreHarness(engine=engine, now=sample_commands.LONG_AGO)
    harness.admit()
    place(harness)
    with running_worker(engine, redis_client) as worker:
        for number, name in enumerate(NAMES):
            kwargs = {"orders": [name, "o1"]}
            write_raw(
                redis_client, WAKEUPS, f"forged {number}", message_text(WAKEUPS, kwargs=kwargs)
            )
        write_raw(
            redis_client,
            WAKEUPS,
            "right",
            message_text(WAKEUPS, kwargs=kwargs | {"orders": ["o1"]}),
        )
        eventually(worker.idle)
        assert worker.alive()
    assert [row.state for row in harness.rows("orders")] == ["expired"]
    assert harness.reader.audit().findings == []


def test_thousands_of_commands_in_one_go_are_all_settled(settled_worker: RunningWorker) -> None:
    # A client of its own for each: those of one would be over its limit of unpaid orders.
    placements = [
        sample_commands.place(f"o{number}") | {"by": {"role": "client", "id": f"c{number}"}}
        for number in range(3_000)
    ]
    payments = [
        sample_commands.pay(f"p_{placement['order_id']}", {placement["order_id"]: 7})
        for placement in placements
    ]
    settled_worker.client.submit_many(map(json.dumps, [*placements, *payments]))
    eventually(lambda: settled_worker.settled(*(payment["id"] for payment in payments)))
    eventually(settled_worker.idle)
    assert len(settled_worker.rows("refunds")) == len(placements)
    assert settled_worker.reader.audit().findings == []


def test_a_worker_that_stops_gives_back_what_it_had_and_another_settles_it(
    engine: Engine, redis_client: redis.Redis
) -> None:
    placements = [sample_commands.place(f"o{number}") for number in range(400)]
    with running_worker(engine, redis_client) as worker:
        worker.client.submit_many(map(json.dumps, sample_commands.admit()))
        eventually(lambda: len(worker.rows("receipts")) == 2)
        worker.client.submit_many(map(json.dumps, placements), per_message=1)
        eventually(lambda: worker.rows("orders"))
    counts = queue_contents(redis_client)
    assert counts["commands taken"] == 0
    assert counts["commands waiting"] == counts["commands stored"] == counts["commands pending"]
    with running_worker(engine, redis_client) as worker:
        eventually(lambda: worker.settled(*(placement["id"] for placement in placements)))
        eventually(worker.idle)
    assert worker.reader.audit().findings == []


@contextmanager
def writer_locked(engine: Engine) -> Iterator[None]:
    """Keep SQLite's only writer busy."""
    with writing(engine):
        yield


@contextmanager
def database_closed(engine: Engine) -> Iterator[None]:
    """Close a PostgreSQL database to everybody, and throw out who is in it."""
    url = engine.url
    conninfo = f"host={url.query['host']} user={url.username} dbname=postgres"
    with psycopg.connect(conninfo, autocommit=True) as admin:
        admin.execute(f"ALTER DATABASE {url.database} ALLOW_CONNECTIONS false")
        query = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s"
        admin.execute(query, [url.database])
        try:
            yield
        finally:
            admin.execute(f"ALTER DATABASE {url.database} ALLOW_CONNECTIONS true")


def check_worker_waits(settled_worker: RunningWorker, command_id: str) -> None:
    """Submit while the database is away: messages are taken, and neither lost nor acknowledged."""
    write_raw(settled_worker.redis_client, COMMANDS, "poison", "{")
    eventually(lambda: queue_contents(settled_worker.redis_client)["commands taken"] == 1)
    settled_worker.client.submit(sample_commands.place("o1") | {"id": command_id})
    eventually(lambda: queue_contents(settled_worker.redis_client)["commands taken"] == 2)


def test_while_sqlite_is_busy_a_worker_waits_and_acknowledges_nothing(
    sqlite_engine: Engine, redis_client: redis.Redis
) -> None:
    with running_worker(sqlite_engine, redis_client) as worker:
        with writer_locked(sqlite_engine):
            check_worker_waits(worker, "waiting_0001")
            assert queue_contents(redis_client)["commands stored"] == 2
        eventually(lambda: worker.settled("waiting_0001"))
        eventually(worker.idle)
        assert worker.alive()
        assert [row.message_id for row in worker.rows("quarantine")] == ["poison"]


@pytest.mark.postgres
def test_while_postgresql_is_away_a_worker_waits_and_goes_on_when_it_is_back(
    postgresql_url: str, redis_client: redis.Redis
) -> None:
    engine = open_database(postgresql_url)
    migrate(engine)
    with running_worker(engine, redis_client) as worker:
        worker.client.submit_many(map(json.dumps, sample_commands.admit()))
        eventually(lambda: len(worker.rows("receipts")) == 2 and worker.idle())
        with database_closed(engine):
            check_worker_waits(worker, "waiting_0001")
            assert queue_contents(redis_client)["commands stored"] == 2
        eventually(lambda: worker.settled("waiting_0001"))
        eventually(worker.idle)
        assert worker.alive()
        assert [row.message_id for row in worker.rows("quarantine")] == ["poison"]
        assert [row.order_id for row in worker.rows("orders")] == ["o1"]
    engine.dispose()


def test_commands_that_redis_forgets_while_they_are_settled_are_settled_once(
    settled_worker: RunningWorker,
) -> None:
    placements = [sample_commands.place(f"o{number}") for number in range(300)]
    texts = [json.dumps(placement) for placement in placements]
    settled_worker.client.submit_many(texts, per_message=1)
    eventually(lambda: settled_worker.rows("orders"))
    settled_worker.redis_client.flushall()
    settled_worker.client.submit_many(texts, per_message=10)
    eventually(lambda: settled_worker.settled(*(placement["id"] for placement in placements)))
    eventually(settled_worker.idle)
    assert settled_worker.alive()
    assert len(settled_worker.rows("orders")) == len(placements)
    assert settled_worker.reader.audit().findings == []
    assert all(settled_worker.redis_client.hlen(Keys(queue).messages) == 0 for queue in QUEUES)
