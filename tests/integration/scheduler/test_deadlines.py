"""Deadlines: orders woken once, twice or late end alike, and a backlog that delays is reported."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta

import pytest
import redis
from sqlalchemy import Engine
from structlog.testing import capture_logs

from models.errors import Unavailable
from scheduler import deadlines
from scheduler.deadlines import MAX_LAG, MAX_WAITING_MESSAGES, DeadlineScheduler, LagAlert
from scheduler.rescuer import MessageRescuer
from tests.support import sample_commands
from tests.support.concurrency import at_once, engines_for, eventually
from tests.support.store_harness import StoreHarness
from tests.support.stories import MICRO, START, place, span
from tests.support.worker import running_worker
from workers.client import CommandClient
from workers.database.engine import writing
from workers.processing import wakeups
from workers.queue.redis import COMMANDS, EPOCH_KEY, WAKEUPS, Keys, connect
from workers.queue.watermark import BEGINNING, ArrivalClock


def order_state(harness: StoreHarness) -> str:
    return str(harness.rows("orders")[0].state)


def test_a_tick_sends_the_orders_whose_time_has_come_once(
    overdue: StoreHarness, redis_client: redis.Redis
) -> None:
    deadline_scheduler = DeadlineScheduler(overdue.engine, redis_client)
    assert [deadline_scheduler.run_once() for _ in range(3)] == [1, 0, 0]
    assert wakeups.count_waiting(redis_client) == 1
    assert order_state(overdue) == "awaiting_deposit"
    with running_worker(overdue.engine, redis_client) as worker:
        eventually(lambda: order_state(overdue) == "expired")
        eventually(worker.idle)
    assert overdue.reader.audit().findings == []


def test_a_tick_without_anything_due_sends_nothing(
    harness: StoreHarness, redis_client: redis.Redis
) -> None:
    assert DeadlineScheduler(harness.engine, redis_client).run_once() == 0
    assert wakeups.count_waiting(redis_client) == 0


def test_two_schedulers_at_once_end_each_order_once(
    overdue: StoreHarness, redis_client: redis.Redis
) -> None:
    for number in range(30):
        place(overdue, f"n{number}")
    with engines_for(overdue.engine, 3) as engines, running_worker(overdue.engine, redis_client):
        ticks = [
            DeadlineScheduler(engine, another_client(redis_client)).run_once for engine in engines
        ]
        assert sum(at_once(*ticks, *ticks)) == 31
        eventually(lambda: Counter(r.state for r in overdue.rows("orders")) == {"expired": 31})
    assert [event["type"] for event in overdue.published()].count("order.expired") == 31
    assert overdue.reader.audit().findings == []


def another_client(redis_client: redis.Redis) -> redis.Redis:
    """Open another client of the same Redis, as another process would."""
    return redis.Redis(connection_pool=redis_client.connection_pool)


def test_the_same_wake_up_delivered_twice_ends_the_order_once(
    overdue: StoreHarness, redis_client: redis.Redis
) -> None:
    for _ in range(3):
        wakeups.send(redis_client, ["o1", "o1"])
    with running_worker(overdue.engine, redis_client) as worker:
        eventually(lambda: order_state(overdue) == "expired")
        eventually(worker.idle)
    assert [event["type"] for event in overdue.published()].count("order.expired") == 1


def test_a_wake_up_that_is_lost_is_sent_again_when_its_lease_ends(
    overdue: StoreHarness, redis_client: redis.Redis
) -> None:
    assert DeadlineScheduler(overdue.engine, redis_client).run_once() == 1
    redis_client.delete(Keys(WAKEUPS).waiting, Keys(WAKEUPS).messages)
    with writing(overdue.engine) as connection:
        # As if the lease's fifteen seconds had gone by.
        connection.exec_driver_sql("UPDATE orders SET wake_at = wake_at - 15000000")
    assert DeadlineScheduler(overdue.engine, redis_client).run_once() == 1


def test_no_deadline_takes_effect_while_a_command_received_before_it_waits(
    engine: Engine, redis_client: redis.Redis
) -> None:
    arrival_clock = ArrivalClock(redis_client, None)
    harness = StoreHarness(
        engine=engine, now=arrival_clock.now() - span("40m") + timedelta(milliseconds=1_500)
    )
    harness.admit()
    place(harness)
    # Its deposit is overdue: nothing but the end of the grace is left for time to do.
    harness.wake("o1", harness.order().pay_by + MICRO)
    lapses_at = harness.order().lapses_at
    assert lapses_at
    CommandClient(redis_client).submit(
        sample_commands.command("register_mcn", "platform", mcn_id="m9", name="M9")
    )
    assert arrival_clock.now() < lapses_at, "the machine was too slow for this test"
    eventually(lambda: arrival_clock.now() > lapses_at)
    deadline_scheduler = DeadlineScheduler(engine, redis_client)
    assert [deadline_scheduler.run_once() for _ in range(3)] == [0, 0, 0]
    redis_client.delete(Keys(COMMANDS).pending)
    assert deadline_scheduler.run_once() == 1


def test_no_wake_ups_are_sent_while_too_many_wait(
    overdue: StoreHarness, redis_client: redis.Redis
) -> None:
    wakeups.send(redis_client, ["nobody"] * wakeups.PER_MESSAGE * MAX_WAITING_MESSAGES)
    assert wakeups.count_waiting(redis_client) == MAX_WAITING_MESSAGES
    assert DeadlineScheduler(overdue.engine, redis_client).run_once() == 0
    redis_client.lpop(Keys(WAKEUPS).waiting)
    assert DeadlineScheduler(overdue.engine, redis_client).run_once() == 1


def test_without_redis_no_order_is_claimed(overdue: StoreHarness) -> None:
    nowhere = connect("redis://127.0.0.1:1/0")
    with pytest.raises(Unavailable):
        DeadlineScheduler(overdue.engine, nowhere).run_once()
    with pytest.raises(Unavailable):
        MessageRescuer(nowhere).run_once()
    nowhere.close()
    assert not wakeups.nothing_due(overdue.engine, overdue.now + span("1h"))


LATER = timedelta(days=2)


@pytest.fixture
def offered(harness: StoreHarness) -> StoreHarness:
    """Give a database with three orders whose time will come."""
    harness.admit().offer("o1", "o2", "o3")
    return harness


def test_a_lag_alert_says_how_many_deadlines_are_held_back_and_since_when(
    offered: StoreHarness,
) -> None:
    lag_alert, now = LagAlert(offered.engine), START + LATER
    with capture_logs() as logs:
        assert lag_alert.check(now - 2 * MAX_LAG, now) == 3
    (entry,) = logs
    assert entry["event"] == "deadlines.held_back"
    assert entry["log_level"] == "error"
    assert [entry["deadlines"], entry["oldest_command_s"]] == [3, 10.0]


def test_a_lag_alert_is_not_repeated_with_every_tick_and_lifted_once(
    offered: StoreHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    lag_alert, now = LagAlert(offered.engine), START + LATER
    with capture_logs() as logs:
        for _ in range(50):
            lag_alert.check(now - 2 * MAX_LAG, now)
        monkeypatch.setattr(deadlines, "ALERT_INTERVAL_S", 0.0)
        lag_alert.not_before = 0.0
        lag_alert.check(now - 2 * MAX_LAG, now)
        for _ in range(50):
            lag_alert.check(now, now)
    assert [entry["event"] for entry in logs] == ["deadlines.held_back"] * 2 + [
        "deadlines.released"
    ]


def test_a_backlog_that_holds_nothing_back_raises_no_lag_alert(harness: StoreHarness) -> None:
    with capture_logs() as logs:
        assert LagAlert(harness.engine).check(START, START + LATER) == 0
    assert logs == []


def test_a_tick_holds_back_what_an_older_command_may_still_save(
    offered: StoreHarness, redis_client: redis.Redis
) -> None:
    deadline_scheduler = DeadlineScheduler(offered.engine, redis_client)
    redis_client.hset(Keys(COMMANDS).messages, "older", "{}")
    redis_client.zadd(Keys(COMMANDS).pending, {"older": 5})
    with capture_logs() as logs:
        assert deadline_scheduler.run_once() == 0
    assert [entry["event"] for entry in logs] == ["deadlines.held_back"]
    redis_client.delete(Keys(COMMANDS).pending)
    assert deadline_scheduler.run_once() == 3


def test_after_a_wipe_the_lag_alert_says_why(
    offered: StoreHarness, redis_client: redis.Redis
) -> None:
    deadline_scheduler = DeadlineScheduler(offered.engine, redis_client)
    redis_client.set(EPOCH_KEY, -1)
    assert deadline_scheduler.clock.watermark() > BEGINNING
    redis_client.flushall()
    with capture_logs() as logs:
        assert deadline_scheduler.run_once() == 0
    assert logs[0]["because"] == "the wire was wiped"
