"""Redis outages: a Redis that refuses, forgets or is wiped costs time, and nothing else."""

from __future__ import annotations

import fcntl
from collections.abc import Callable, Iterator
from functools import partial

import pytest
import redis
from sqlalchemy import Engine

from models.errors import Unavailable
from tests.support.broker_harness import KEYS, Bench, deliveries_of, present
from tests.support.sample_commands import registration
from workers.client import Client
from workers.database import engine as database_engine
from workers.queue.watermark import BEGINNING, RedisDoor, open_door


@pytest.fixture
def bench(wire: redis.Redis) -> Bench:
    return Bench(wire)


Fault = tuple[Callable[[redis.Redis], object], Callable[[redis.Redis], object]]


def set_default(wire: redis.Redis, rule: str) -> object:
    return wire.execute_command("ACL", "SETUSER", "default", rule)  # type: ignore[no-untyped-call]


FAULTS: dict[str, Fault] = {
    "out of memory": (
        lambda wire: wire.config_set("maxmemory", 1),
        lambda wire: wire.config_set("maxmemory", 0),
    ),
    "read only": (
        lambda wire: wire.replicaof("127.0.0.1", 1),
        lambda wire: wire.replicaof("NO", "ONE"),
    ),
    "not allowed": (
        lambda wire: set_default(wire, "-evalsha"),
        lambda wire: set_default(wire, "+@all"),
    ),
}


@pytest.fixture(params=FAULTS)
def fault(
    request: pytest.FixtureRequest, redis_url: str
) -> Iterator[tuple[Callable[[], object], Callable[[], object]]]:
    """Give a fault of Redis as (begin, end); it is over when the test is."""
    begin, end = FAULTS[request.param]
    with redis.Redis.from_url(redis_url) as operator:
        try:
            yield partial(begin, operator), partial(end, operator)
        finally:
            end(operator)


def test_a_faulty_redis_puts_the_consumer_into_waiting_and_it_recovers(
    bench: Bench, fault: tuple[Callable[[], object], Callable[[], object]]
) -> None:
    begin, end = fault
    Client(bench.wire).submit_many([registration(n) for n in range(10)], per_message=1)
    begin()
    assert bench.take() is None
    end()
    assert len(bench.drain()) == 10


def test_messages_of_a_reply_that_was_lost_come_again(bench: Bench) -> None:
    Client(bench.wire).submit(registration(1))
    consumer = bench.consumer
    # The script ran, and nobody heard what it returned.
    bench.broker.crew.scripts.fetch(KEYS, bench.broker.crew.name, consumer.taking(10, 0, 10))
    consumer.failed = True
    assert bench.drain() == [registration(1)]


def test_after_a_wipe_a_consumer_says_again_what_it_has(bench: Bench) -> None:
    open_door(bench.wire, in_use=False)
    stamp = Client(bench.wire).submit(registration(1))
    taken_message, arrival_clock = bench.take(), RedisDoor(bench.wire, None)
    assert arrival_clock.watermark(()) < arrival_clock.now()
    bench.wire.flushall()
    # Until everybody has had the time to speak, no deadline takes effect.
    assert arrival_clock.watermark(()) == BEGINNING
    assert bench.take() is None
    assert (
        bench.wire.zscore(KEYS.pending, deliveries_of(taken_message)[0].message_id) or 0
    ) <= stamp
    assert arrival_clock.watermark(()) == BEGINNING
    bench.settle(present(taken_message))
    assert [bench.wire.hlen(KEYS.messages), bench.wire.zcard(KEYS.pending)] == [0, 0]


def test_a_worker_that_starts_after_a_wipe_gives_the_others_time(bench: Bench) -> None:
    Client(bench.wire).submit(registration(1))
    bench.take()
    bench.wire.flushall()
    open_door(bench.wire, in_use=True)
    assert RedisDoor(bench.wire, None).watermark(()) == BEGINNING


def test_a_wire_that_was_never_used_holds_nothing_back(bench: Bench) -> None:
    arrival_clock = RedisDoor(bench.wire, None)
    assert arrival_clock.watermark(()) <= arrival_clock.now()
    open_door(bench.wire, in_use=False)
    bench.take()
    assert arrival_clock.watermark(()) > BEGINNING


def test_a_process_that_is_stopped_in_its_turn_keeps_others_waiting_and_not_for_ever(
    sqlite_engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database_engine, "PATIENCE_S", 0.05)
    with open(f"{sqlite_engine.url.database}.turn", "wb") as turn:  # noqa: PTH123
        fcntl.flock(turn, fcntl.LOCK_EX)
        with (
            pytest.raises(Unavailable, match="holds the database"),
            database_engine.writing(sqlite_engine),
        ):
            pytest.fail("it was not its turn")
    with database_engine.writing(sqlite_engine) as connection:
        assert connection.exec_driver_sql("SELECT 1").scalar() == 1
