"""Deadlines: orders are woken once, twice or late, and the same comes of it.

Where a backlog holds deadlines back, somebody is told, now and then and how many.
"""

from __future__ import annotations

from collections import Counter
from datetime import timedelta

import pytest
import redis
from sqlalchemy import Engine
from structlog.testing import capture_logs

from models.errors import Unavailable
from scheduler import deadlines
from scheduler.deadlines import BACKLOG, MOST_WAITING, Alarm, Waker
from scheduler.rescuer import Rescuer
from tests.support import sample_commands
from tests.support.concurrency import at_once, engines_for, eventually
from tests.support.store_harness import Desk
from tests.support.stories import START, place, span
from tests.support.worker import working
from workers.client import Client
from workers.database.engine import writing
from workers.processing import wakeups
from workers.queue.redis import COMMANDS, EPOCH, WAKEUPS, Keys, connect
from workers.queue.watermark import BEGINNING, RedisDoor


def state(desk: Desk) -> str:
    return str(desk.rows("orders")[0].state)


def test_a_tick_sends_the_orders_whose_time_has_come_once(overdue: Desk, wire: redis.Redis) -> None:
    waker = Waker(overdue.engine, wire)
    assert [waker.run_once() for _ in range(3)] == [1, 0, 0]
    assert wakeups.waiting(wire) == 1
    assert state(overdue) == "awaiting_deposit"
    with working(overdue.engine, wire) as workplace:
        eventually(lambda: state(overdue) == "expired")
        eventually(workplace.idle)
    assert overdue.reader.audit().findings == []


def test_a_tick_without_anything_due_sends_nothing(desk: Desk, wire: redis.Redis) -> None:
    assert Waker(desk.engine, wire).run_once() == 0
    assert wakeups.waiting(wire) == 0


def test_two_schedulers_at_once_end_each_order_once(overdue: Desk, wire: redis.Redis) -> None:
    for number in range(30):
        place(overdue, f"n{number}")
    with engines_for(overdue.engine, 3) as engines, working(overdue.engine, wire):
        ticks = [Waker(engine, connect_like(wire)).run_once for engine in engines]
        assert sum(at_once(*ticks, *ticks)) == 31
        eventually(lambda: Counter(r.state for r in overdue.rows("orders")) == {"expired": 31})
    assert [event["type"] for event in overdue.published()].count("order.expired") == 31
    assert overdue.reader.audit().findings == []


def connect_like(wire: redis.Redis) -> redis.Redis:
    """Open the same wire again, as another process would."""
    return redis.Redis(connection_pool=wire.connection_pool)


def test_the_same_wake_up_delivered_twice_ends_the_order_once(
    overdue: Desk, wire: redis.Redis
) -> None:
    for _ in range(3):
        wakeups.send(wire, ["o1", "o1"])
    with working(overdue.engine, wire) as workplace:
        eventually(lambda: state(overdue) == "expired")
        eventually(workplace.idle)
    assert [event["type"] for event in overdue.published()].count("order.expired") == 1


def test_a_wake_up_that_is_lost_is_sent_again_when_its_lease_ends(
    overdue: Desk, wire: redis.Redis
) -> None:
    assert Waker(overdue.engine, wire).run_once() == 1
    wire.delete(Keys(WAKEUPS).waiting, Keys(WAKEUPS).messages)
    with writing(overdue.engine) as connection:
        # As if the lease's fifteen seconds had gone by.
        connection.exec_driver_sql("UPDATE orders SET wake_at = wake_at - 15000000")
    assert Waker(overdue.engine, wire).run_once() == 1


def test_time_stands_still_behind_a_command_that_was_heard_before(
    engine: Engine, wire: redis.Redis
) -> None:
    arrival_clock = RedisDoor(wire, None)
    desk = Desk(engine=engine, now=arrival_clock.now() - span("40m") + timedelta(milliseconds=300))
    desk.admit()
    place(desk)
    lapses_at = desk.order().lapses_at
    assert lapses_at
    Client(wire).submit(sample_commands.ask("register_mcn", "platform", mcn_id="m9", name="M9"))
    assert arrival_clock.now() < lapses_at, "the machine was too slow for this test"
    eventually(lambda: arrival_clock.now() > lapses_at)
    waker = Waker(engine, wire)
    assert [waker.run_once() for _ in range(3)] == [0, 0, 0]
    wire.delete(Keys(COMMANDS).pending)
    assert waker.run_once() == 1


def test_no_more_wake_ups_are_sent_than_anybody_takes(overdue: Desk, wire: redis.Redis) -> None:
    wakeups.send(wire, ["nobody"] * wakeups.PER_MESSAGE * MOST_WAITING)
    assert wakeups.waiting(wire) == MOST_WAITING
    assert Waker(overdue.engine, wire).run_once() == 0
    wire.lpop(Keys(WAKEUPS).waiting)
    assert Waker(overdue.engine, wire).run_once() == 1


def test_without_redis_nobody_is_claimed(overdue: Desk) -> None:
    nowhere = connect("redis://127.0.0.1:1/0")
    with pytest.raises(Unavailable):
        Waker(overdue.engine, nowhere).run_once()
    with pytest.raises(Unavailable):
        Rescuer(nowhere).run_once()
    nowhere.close()
    assert not wakeups.nothing_due(overdue.engine, overdue.now + span("1h"))


LATER = timedelta(days=2)


@pytest.fixture
def offered(desk: Desk) -> Desk:
    """Give a database with three orders whose time will come."""
    desk.admit().offer("o1", "o2", "o3")
    return desk


def test_an_alarm_says_how_many_deadlines_are_held_back_and_since_when(offered: Desk) -> None:
    backlog_alarm, present = Alarm(offered.engine), START + LATER
    with capture_logs() as logs:
        assert backlog_alarm.look(present - 2 * BACKLOG, present) == 3
    (entry,) = logs
    assert entry["event"] == "deadlines.held_back"
    assert entry["log_level"] == "error"
    assert [entry["deadlines"], entry["oldest_command_s"]] == [3, 10.0]


def test_it_is_not_repeated_with_every_tick_and_lifted_once(
    offered: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    backlog_alarm, present = Alarm(offered.engine), START + LATER
    with capture_logs() as logs:
        for _ in range(50):
            backlog_alarm.look(present - 2 * BACKLOG, present)
        monkeypatch.setattr(deadlines, "AGAIN_S", 0.0)
        backlog_alarm.not_before = 0.0
        backlog_alarm.look(present - 2 * BACKLOG, present)
        for _ in range(50):
            backlog_alarm.look(present, present)
    assert [entry["event"] for entry in logs] == ["deadlines.held_back"] * 2 + [
        "deadlines.released"
    ]


def test_a_backlog_that_holds_nothing_back_is_no_alarm(desk: Desk) -> None:
    with capture_logs() as logs:
        assert Alarm(desk.engine).look(START, START + LATER) == 0
    assert logs == []


def test_a_tick_holds_back_what_an_older_command_may_still_save(
    offered: Desk, wire: redis.Redis
) -> None:
    waker = Waker(offered.engine, wire)
    wire.zadd(Keys(COMMANDS).pending, {"older": 5})
    with capture_logs() as logs:
        assert waker.run_once() == 0
    assert [entry["event"] for entry in logs] == ["deadlines.held_back"]
    wire.delete(Keys(COMMANDS).pending)
    assert waker.run_once() == 3


def test_after_a_wipe_the_alarm_says_why(offered: Desk, wire: redis.Redis) -> None:
    waker = Waker(offered.engine, wire)
    wire.set(EPOCH, -1)
    assert waker.door.watermark(()) > BEGINNING
    wire.flushall()
    with capture_logs() as logs:
        assert waker.run_once() == 0
    assert logs[0]["because"] == "the wire was wiped"
