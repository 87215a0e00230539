"""Scheduler: it says that time has passed, once or twice or late, and the same comes of it."""

from __future__ import annotations

import signal
import threading
from collections import Counter
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

import pytest
import redis
from sqlalchemy import Engine

from models.errors import Unavailable
from scheduler.auditor import AuditTick
from scheduler.deadlines import MOST_WAITING, Waker
from scheduler.main import Pulse
from scheduler.rescuer import Rescuer
from tests.integration import letters
from tests.integration.desk import Desk
from tests.integration.races import at_once, engines_for
from tests.integration.terminal import started
from tests.integration.workplace import left, working
from tests.patience import eventually
from tests.unit.controls import place, span
from workers.client import Client
from workers.database.engine import writing
from workers.processing import wakeups
from workers.queue.redis import COMMANDS, HEARTBEATS, WAKEUPS, Keys, Scripts, Taking, connect
from workers.queue.watermark import RedisDoor


@pytest.fixture
def overdue(engine: Engine) -> Desk:
    """Give a desk with an order that nobody has paid for, since long ago."""
    desk = Desk(engine=engine, now=letters.LONG_AGO)
    desk.admit()
    place(desk)
    return desk


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
    Client(wire).submit(letters.ask("register_mcn", "platform", mcn_id="m9", name="M9"))
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


def test_what_a_dead_worker_had_is_given_to_another(overdue: Desk, wire: redis.Redis) -> None:
    command = letters.ask("cancel_order", "client", "o1")
    Client(wire).submit(command)
    die_with_everything(wire)
    assert left(wire)["commands taken"] == 1
    assert Rescuer(wire).run_once() == 1
    assert left(wire)["commands taken"] == 0
    with working(overdue.engine, wire) as workplace:
        eventually(lambda: workplace.settled(command["id"]))
        eventually(workplace.idle)


def die_with_everything(wire: redis.Redis) -> None:
    """Take every command as a worker does, and be silent from then on."""
    taking = Taking(100)
    assert Scripts(wire).fetch(Keys(COMMANDS), "dead", taking).found
    wire.zadd(HEARTBEATS, {"dead": 0})


def test_what_a_living_worker_has_stays_with_it(wire: redis.Redis) -> None:
    Client(wire).submit(letters.accept())
    die_with_everything(wire)
    seconds, micros = wire.time()
    wire.zadd(HEARTBEATS, {"dead": seconds * 1000 + micros // 1000})
    assert Rescuer(wire).run_once() == 0
    assert left(wire)["commands taken"] == 1


def test_the_audit_runs_and_rests(overdue: Desk) -> None:
    tick = AuditTick(overdue.store)
    report = tick.run_once()
    assert report
    assert (report.orders, report.findings) == (1, [])
    assert tick.run_once() is None


def test_an_audit_under_way_holds_up_nobody_who_wants_to_stop(overdue: Desk) -> None:
    stopping = threading.Event()
    tick = AuditTick(overdue.store, stopping)
    stopping.set()
    assert tick.run_once() is None
    assert overdue.rows("audits") == []
    stopping.clear()
    assert tick.run_once()
    assert len(overdue.rows("audits")) == 1


def test_the_audit_finds_what_does_not_add_up(overdue: Desk) -> None:
    with writing(overdue.engine) as connection:
        connection.exec_driver_sql(
            "INSERT INTO postings VALUES ('order:o1', 1, 1, 'psp', 'escrow:o1', 7)"
        )
    report = AuditTick(overdue.store).run_once()
    assert report
    assert {"posted", "escrow"} <= {finding.law for finding in report.findings}


@pytest.mark.parametrize("fault", [Unavailable("away"), RuntimeError("broken")])
def test_a_tick_that_fails_stops_nothing_and_counts_as_life(fault: Exception) -> None:
    def fail() -> None:
        raise fault

    pulse = Pulse()
    run = pulse.guard("failing", fail, timeout_s=60)
    before = pulse.due["failing"]
    run()
    assert pulse.due["failing"] > before


def test_a_tick_that_hangs_does_not_hide_behind_those_that_go_on() -> None:
    pulse = Pulse()
    pulse.guard("hanging", print, timeout_s=-1)
    pulse.guard("living", list, timeout_s=60)()
    assert pulse.stuck() == ["hanging"]


def test_the_process_starts_ticks_and_stops_when_asked(
    tmp_path: Path, sqlite_engine: Engine, wire: redis.Redis, redis_url: str
) -> None:
    desk = Desk(engine=sqlite_engine, now=datetime.fromisoformat("2020-01-01T00:00:00Z"))
    desk.admit()
    place(desk)
    url = sqlite_engine.url.render_as_string()
    options = ("--var", tmp_path, "--database-url", url, "--redis-url", redis_url)
    with started("scheduler", *options) as process:
        eventually(lambda: wakeups.waiting(wire) == 1)
        process.send_signal(signal.SIGTERM)
        assert process.stderr
        log = process.stderr.read()
        assert process.wait() == 0
    assert "orders.woken" in log
    assert "Traceback" not in log


def test_two_processes_tick_side_by_side(
    tmp_path: Path, sqlite_engine: Engine, wire: redis.Redis, redis_url: str
) -> None:
    url = sqlite_engine.url.render_as_string()
    options = ("--var", tmp_path, "--database-url", url, "--redis-url", redis_url)
    start = partial(started, "scheduler", *options)
    with start() as first_process, start() as second_process, working(sqlite_engine, wire):
        desk = Desk(engine=sqlite_engine, now=letters.LONG_AGO)
        desk.admit()
        for number in range(20):
            place(desk, f"o{number}")
        eventually(lambda: {row.state for row in desk.rows("orders")} == {"expired"})
        for process in (first_process, second_process):
            process.send_signal(signal.SIGTERM)
            assert process.stderr
            process.stderr.read()
            assert process.wait() == 0
    assert [event["type"] for event in desk.published()].count("order.expired") == 20
