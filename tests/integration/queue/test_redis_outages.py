"""Redis outages: a Redis that refuses, forgets or is wiped costs time, and nothing else."""

from __future__ import annotations

import fcntl
from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
import redis
from sqlalchemy import Engine

from models.errors import Unavailable
from tests.support.broker_harness import KEYS, BrokerHarness, deliveries_of, require
from tests.support.concurrency import eventually
from tests.support.sample_commands import registration
from tests.support.store_harness import StoreHarness
from workers.client import CommandClient
from workers.database import engine as database_engine
from workers.database import schema
from workers.queue import watermark
from workers.queue.redis import EPOCH_KEY, STAMP_KEY, FetchLimits
from workers.queue.watermark import BEGINNING, ArrivalClock, begin_epoch
from workers.timestamps import to_us


@pytest.fixture
def broker_harness(redis_client: redis.Redis) -> BrokerHarness:
    return BrokerHarness(redis_client)


Outage = tuple[Callable[[redis.Redis], object], Callable[[redis.Redis], object]]


def allow_default_user(redis_client: redis.Redis, rule: str) -> object:
    return redis_client.execute_command("ACL", "SETUSER", "default", rule)  # type: ignore[no-untyped-call]


FAULTS: dict[str, Outage] = {
    "out of memory": (
        lambda client: client.config_set("maxmemory", 1),
        lambda client: client.config_set("maxmemory", 0),
    ),
    "read only": (
        lambda client: client.replicaof("127.0.0.1", 1),
        lambda client: client.replicaof("NO", "ONE"),
    ),
    "not allowed": (
        lambda client: allow_default_user(client, "-evalsha"),
        lambda client: allow_default_user(client, "+@all"),
    ),
}


@pytest.fixture(params=FAULTS)
def fault(
    request: pytest.FixtureRequest, redis_url: str
) -> Iterator[tuple[Callable[[], object], Callable[[], object]]]:
    """Give a fault of Redis as (begin, end); it is over when the test is."""
    begin, end = FAULTS[request.param]
    with redis.Redis.from_url(redis_url) as admin_client:
        try:
            yield partial(begin, admin_client), partial(end, admin_client)
        finally:
            end(admin_client)


def test_a_faulty_redis_puts_the_consumer_into_waiting_and_it_recovers(
    broker_harness: BrokerHarness, fault: tuple[Callable[[], object], Callable[[], object]]
) -> None:
    begin, end = fault
    CommandClient(broker_harness.redis_client).submit_many(
        [registration(n) for n in range(10)], per_message=1
    )
    begin()
    assert broker_harness.take() is None
    end()
    assert len(broker_harness.drain()) == 10


def test_messages_of_a_fetch_whose_reply_was_lost_come_again(broker_harness: BrokerHarness) -> None:
    CommandClient(broker_harness.redis_client).submit(registration(1))
    consumer = broker_harness.consumer
    # The script ran, and nobody heard what it returned.
    process = broker_harness.broker.process
    assert process.scripts.fetch(KEYS, process.name, FetchLimits(10)).messages
    consumer.failed = True
    assert broker_harness.drain() == [registration(1)]


def test_after_a_wipe_a_consumer_declares_again_what_is_in_flight(
    broker_harness: BrokerHarness, sqlite_engine: Engine
) -> None:
    client = broker_harness.redis_client
    begin_epoch(client, sqlite_engine, in_use=False)
    stamp = CommandClient(client).submit(registration(1))
    taken_message, arrival_clock = broker_harness.take(), ArrivalClock(client, None)
    assert arrival_clock.watermark() < arrival_clock.now()
    client.flushall()
    # Until everybody has had the time to speak, no deadline takes effect.
    assert arrival_clock.watermark() == BEGINNING
    assert broker_harness.take() is None
    (delivery,) = deliveries_of(taken_message)
    assert client.zscore(KEYS.pending, delivery.message_id) == stamp
    assert arrival_clock.watermark() == BEGINNING
    broker_harness.settle(require(taken_message))
    assert [client.hlen(KEYS.messages), client.zcard(KEYS.pending)] == [0, 0]


def test_after_a_wipe_no_command_is_judged_until_everybody_could_say_what_it_has(
    broker_harness: BrokerHarness, sqlite_engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watermark, "GRACE", timedelta(seconds=0.5))
    client = broker_harness.redis_client
    begin_epoch(client, sqlite_engine, in_use=False)
    arrival_clock = ArrivalClock(client, sqlite_engine)
    arrival_clock.watermark()
    CommandClient(client).submit(registration(1))
    broker_harness.take()
    client.flushall()
    with pytest.raises(Unavailable, match="wiped"):
        arrival_clock.frontier({}, 2**52)
    # Whoever lives says again what it has, and begins a new epoch.
    assert broker_harness.take() is None
    with pytest.raises(Unavailable, match="wiped"):
        arrival_clock.frontier({}, 2**52)
    eventually(lambda: arrival_clock.watermark() > BEGINNING)
    assert not arrival_clock.frontier({}, 2**52).is_clear()


def test_after_a_wipe_stamps_begin_above_all_that_were_judged(
    sqlite_engine: Engine, redis_client: redis.Redis
) -> None:
    harness = StoreHarness(engine=sqlite_engine)
    ahead = ArrivalClock(redis_client, None).now() + timedelta(seconds=60)
    judged = harness.settle_alone(registration(1), ahead)
    begin_epoch(redis_client, sqlite_engine, in_use=True)
    assert CommandClient(redis_client).submit(registration(2)) == judged.stamp + 1


def test_after_a_wipe_stamps_begin_above_all_that_wait_in_the_inbox(
    sqlite_engine: Engine, redis_client: redis.Redis
) -> None:
    ahead_us = to_us(ArrivalClock(redis_client, None).now()) + 60_000_000
    row: dict[str, Any] = {"command_id": "c", "sender": "platform:p", "fingerprint": b""}
    row |= {"command": "{}"}
    row |= {"received_at": ahead_us, "stamp": ahead_us, "message_id": "inbox-x", "reserved": 1}
    with database_engine.writing(sqlite_engine) as connection:
        connection.execute(schema.inbox.insert(), [row])
    begin_epoch(redis_client, sqlite_engine, in_use=True)
    assert CommandClient(redis_client).submit(registration(1)) == ahead_us + 1


def test_an_epoch_that_runs_is_not_begun_anew(
    sqlite_engine: Engine, redis_client: redis.Redis
) -> None:
    begin_epoch(redis_client, sqlite_engine, in_use=False)
    CommandClient(redis_client).submit(registration(1))
    before = [redis_client.get(key) for key in (EPOCH_KEY, STAMP_KEY)]
    begin_epoch(redis_client, sqlite_engine, in_use=True)
    assert [redis_client.get(key) for key in (EPOCH_KEY, STAMP_KEY)] == before


def test_a_worker_that_starts_after_a_wipe_gives_the_others_time(
    broker_harness: BrokerHarness, sqlite_engine: Engine
) -> None:
    CommandClient(broker_harness.redis_client).submit(registration(1))
    broker_harness.take()
    broker_harness.redis_client.flushall()
    begin_epoch(broker_harness.redis_client, sqlite_engine, in_use=True)
    assert ArrivalClock(broker_harness.redis_client, None).watermark() == BEGINNING


def test_a_redis_that_was_never_used_holds_nothing_back(
    broker_harness: BrokerHarness, sqlite_engine: Engine
) -> None:
    arrival_clock = ArrivalClock(broker_harness.redis_client, None)
    assert arrival_clock.watermark() <= arrival_clock.now()
    begin_epoch(broker_harness.redis_client, sqlite_engine, in_use=False)
    broker_harness.take()
    assert arrival_clock.watermark() > BEGINNING


def test_a_process_stopped_while_it_holds_sqlite_keeps_others_waiting_only_until_the_timeout(
    sqlite_engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database_engine, "WRITE_TIMEOUT_S", 0.05)
    with open(f"{sqlite_engine.url.database}.turn", "wb") as lock_file:  # noqa: PTH123
        fcntl.flock(lock_file, fcntl.LOCK_EX)
        with (
            pytest.raises(Unavailable, match="the database is locked by"),
            database_engine.writing(sqlite_engine),
        ):
            pytest.fail("another process holds the lock")
    with database_engine.writing(sqlite_engine) as connection:
        assert connection.exec_driver_sql("SELECT 1").scalar() == 1
