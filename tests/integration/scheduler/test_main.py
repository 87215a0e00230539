"""Scheduler process: a duty that fails or hangs is noticed, and several run side by side."""

from __future__ import annotations

import signal
from datetime import datetime
from functools import partial
from pathlib import Path

import pytest
import redis
from sqlalchemy import Engine

from models.errors import Unavailable
from scheduler.main import Watchdog
from tests.support import sample_commands
from tests.support.command_line import start_earnest
from tests.support.concurrency import eventually
from tests.support.store_harness import StoreHarness
from tests.support.stories import place
from tests.support.worker import running_worker
from workers.processing import wakeups


@pytest.mark.parametrize("fault", [Unavailable("away"), RuntimeError("broken")])
def test_a_tick_that_fails_stops_nothing_and_counts_as_a_sign_of_life(fault: Exception) -> None:
    def fail() -> None:
        raise fault

    watchdog = Watchdog()
    run = watchdog.wrap("failing", fail, interval_s=1, timeout_s=60)
    before = watchdog.deadlines["failing"]
    run()
    assert watchdog.deadlines["failing"] > before


def test_a_tick_that_hangs_does_not_hide_behind_those_that_go_on() -> None:
    watchdog = Watchdog()
    watchdog.wrap("hanging", print, interval_s=0, timeout_s=-1)
    watchdog.wrap("living", list, interval_s=1, timeout_s=60)()
    assert watchdog.stuck() == ["hanging"]


def test_a_tick_is_not_stuck_before_it_is_due() -> None:
    watchdog = Watchdog()
    watchdog.wrap("rare", list, interval_s=60, timeout_s=-1)
    assert watchdog.stuck() == []


def test_the_process_starts_ticks_and_stops_when_asked(
    tmp_path: Path, sqlite_engine: Engine, redis_client: redis.Redis, redis_url: str
) -> None:
    harness = StoreHarness(engine=sqlite_engine, now=datetime.fromisoformat("2020-01-01T00:00:00Z"))
    harness.admit()
    place(harness)
    url = sqlite_engine.url.render_as_string()
    options = ("--var", tmp_path, "--database-url", url, "--redis-url", redis_url)
    with start_earnest("scheduler", *options) as process:
        eventually(lambda: wakeups.count_waiting(redis_client) == 1)
        process.send_signal(signal.SIGTERM)
        assert process.stderr
        log = process.stderr.read()
        assert process.wait() == 0
    assert "orders.woken" in log
    assert "Traceback" not in log


def test_two_scheduler_processes_side_by_side_end_each_order_once(
    tmp_path: Path, sqlite_engine: Engine, redis_client: redis.Redis, redis_url: str
) -> None:
    url = sqlite_engine.url.render_as_string()
    options = ("--var", tmp_path, "--database-url", url, "--redis-url", redis_url)
    start = partial(start_earnest, "scheduler", *options)
    with (
        start() as first_process,
        start() as second_process,
        running_worker(sqlite_engine, redis_client),
    ):
        harness = StoreHarness(engine=sqlite_engine, now=sample_commands.LONG_AGO)
        harness.admit()
        for number in range(20):
            place(harness, f"o{number}")
        eventually(lambda: {row.state for row in harness.rows("orders")} == {"expired"})
        for process in (first_process, second_process):
            process.send_signal(signal.SIGTERM)
            assert process.stderr
            process.stderr.read()
            assert process.wait() == 0
    assert [event["type"] for event in harness.published()].count("order.expired") == 20
