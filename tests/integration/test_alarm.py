"""Alarm: where a backlog holds deadlines back somebody is told, now and then and how many."""

from __future__ import annotations

from datetime import timedelta

import pytest
import redis
from structlog.testing import capture_logs

from scheduler import deadlines
from scheduler.deadlines import BACKLOG, Alarm, Waker
from tests.integration.desk import Desk
from tests.unit.controls import START
from workers.queue.redis import COMMANDS, EPOCH, Keys
from workers.queue.watermark import BEGINNING

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
