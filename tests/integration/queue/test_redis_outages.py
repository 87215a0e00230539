"""Redis outages: a Redis that refuses, forgets or is wiped costs time, and nothing else."""

from __future__ import annotations

import fcntl
from collections.abc import Callable, Iterator
from functools import partial

import pytest
import redis
from sqlalchemy import Engine

from models.errors import Unavailable
from tests.support.broker_harness import KEYS, BrokerHarness, deliveries_of, require
from tests.support.sample_commands import registration
from workers.client import CommandClient
from workers.database import engine as database_engine
from workers.queue.watermark import BEGINNING, ArrivalClock, open_door


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
    broker_harness.broker.crew.scripts.fetch(
        KEYS, broker_harness.broker.crew.name, consumer.taking(10, 0, 10)
    )
    consumer.failed = True
    assert broker_harness.drain() == [registration(1)]


def test_after_a_wipe_a_consumer_declares_again_what_is_in_flight(
    broker_harness: BrokerHarness,
) -> None:
    open_door(broker_harness.redis_client, in_use=False)
    stamp = CommandClient(broker_harness.redis_client).submit(registration(1))
    taken_message, arrival_clock = (
        broker_harness.take(),
        ArrivalClock(broker_harness.redis_client, None),
    )
    assert arrival_clock.watermark(()) < arrival_clock.now()
    broker_harness.redis_client.flushall()
    # Until everybody has had the time to speak, no deadline takes effect.
    assert arrival_clock.watermark(()) == BEGINNING
    assert broker_harness.take() is None
    assert (
        broker_harness.redis_client.zscore(KEYS.pending, deliveries_of(taken_message)[0].message_id)
        or 0
    ) <= stamp
    assert arrival_clock.watermark(()) == BEGINNING
    broker_harness.settle(require(taken_message))
    assert [
        broker_harness.redis_client.hlen(KEYS.messages),
        broker_harness.redis_client.zcard(KEYS.pending),
    ] == [
        0,
        0,
    ]


def test_a_worker_that_starts_after_a_wipe_gives_the_others_time(
    broker_harness: BrokerHarness,
) -> None:
    CommandClient(broker_harness.redis_client).submit(registration(1))
    broker_harness.take()
    broker_harness.redis_client.flushall()
    open_door(broker_harness.redis_client, in_use=True)
    assert ArrivalClock(broker_harness.redis_client, None).watermark(()) == BEGINNING


def test_a_redis_that_was_never_used_holds_nothing_back(broker_harness: BrokerHarness) -> None:
    arrival_clock = ArrivalClock(broker_harness.redis_client, None)
    assert arrival_clock.watermark(()) <= arrival_clock.now()
    open_door(broker_harness.redis_client, in_use=False)
    broker_harness.take()
    assert arrival_clock.watermark(()) > BEGINNING


def test_a_process_stopped_while_it_holds_sqlite_keeps_others_waiting_only_until_the_timeout(
    sqlite_engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database_engine, "WRITE_TIMEOUT_S", 0.05)
    with open(f"{sqlite_engine.url.database}.turn", "wb") as lock_file:  # noqa: PTH123
        fcntl.flock(lock_file, fcntl.LOCK_EX)
        with (
            pytest.raises(Unavailable, match="holds the database"),
            database_engine.writing(sqlite_engine),
        ):
            pytest.fail("another process holds the lock")
    with database_engine.writing(sqlite_engine) as connection:
        assert connection.exec_driver_sql("SELECT 1").scalar() == 1
