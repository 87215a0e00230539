"""Doctor, queues, deadlines and explain: what operators are shown, on both databases."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import redis
from sqlalchemy import Engine

from ops.cli.app import main
from ops.cli.doctor import HealthCheck, _check_skew
from tests.support.programs.foreign_writer import foreign_writer
from tests.support.store_harness import StoreHarness
from workers.database.engine import has_one_writer
from workers.outbox import streams as event_streams
from workers.outbox.streams import EVENTS_STREAM
from workers.queue.stalled import StalledCommand, StallNotes
from workers.timestamps import SECOND_US, from_us, now_us

RunCommand = Callable[..., str]


@pytest.fixture
def run_command(
    engine: Engine,
    redis_client: redis.Redis,
    redis_url: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> RunCommand:
    """Give the command line, on this database and this Redis, with a state folder of its own."""
    monkeypatch.setenv("EARNEST_VAR", str(tmp_path / "var"))
    event_streams.create_group(redis_client, EVENTS_STREAM, "mail", start="0")
    monkeypatch.setenv("EARNEST_REDIS_URL", redis_url)
    address = engine.url.render_as_string(hide_password=False)
    monkeypatch.setenv("EARNEST_DATABASE_URL", address)

    def run(*arguments: str, status: int = 0) -> str:
        capsys.readouterr()
        assert main(arguments) == status, capsys.readouterr()
        return capsys.readouterr().out

    return run


@pytest.fixture
def todays_harness(harness: StoreHarness) -> StoreHarness:
    """Give a harness with one offer that is due within the hour, and one that is overdue."""
    harness.now = from_us(now_us()) - timedelta(hours=25, minutes=30)
    harness.admit().offer("o2")
    harness.now += timedelta(hours=2)
    harness.offer("o1")
    return harness


def test_queues_are_shown_for_people_and_programs(
    todays_harness: StoreHarness, run_command: RunCommand
) -> None:
    assert todays_harness.events_of("order.offered")
    report = json.loads(run_command("queues", "--json"))
    assert report["redis"] == "up"
    assert report["outbox"]["events"] == len(todays_harness.published())
    assert [group["name"] for group in report["groups"]] == ["mail"]
    output = run_command("queues")
    assert "relay: NOT THERE" in output
    assert "group mail: 0 unread" in output


def test_queues_and_doctor_name_a_command_that_waits_for_long(
    run_command: RunCommand, redis_client: redis.Redis
) -> None:
    assert "STALLED" not in run_command("queues")
    now = redis_client.time()[0] * SECOND_US
    since = now - 12 * SECOND_US
    stalled = [
        StalledCommand(f"client:c1:cmd{number}", since + number, ("order:o1",), behind)
        for number, behind in enumerate(["m1", *[""] * 10])
    ]
    StallNotes(redis_client).note(stalled, now)
    output = run_command("queues")
    assert "STALLED: client:c1:cmd0, 1" in output
    assert "about order:o1, behind m1." in output
    assert "STALLED: 1 more commands." in output
    checks = json.loads(run_command("doctor", "--json"))["checks"]
    (check,) = [check for check in checks if check["name"] == "commands"]
    assert check["state"] == "warn"
    assert "11 wait for long, client:c1:cmd0 behind m1" in check["detail"]


def test_queues_and_doctor_name_a_program_that_has_locked_the_database(
    engine: Engine, run_command: RunCommand
) -> None:
    if not has_one_writer(engine):
        assert "database lock" not in run_command("doctor")
        return
    assert "LOCKED" not in run_command("queues")
    with foreign_writer(str(engine.url.database)) as process:
        assert f"LOCKED: nobody can write to the database but pid {process.pid} (" in run_command(
            "queues"
        )
        checks = json.loads(run_command("doctor", "--json", status=1))["checks"]
    (check,) = [check for check in checks if check["state"] == "fail"]
    assert check["name"] == "database lock"
    assert f"the database is locked by pid {process.pid} (" in check["detail"]
    assert "nothing is settled until it commits or ends" in check["detail"]


def test_deadlines_due_and_overdue_are_shown(
    todays_harness: StoreHarness, run_command: RunCommand
) -> None:
    assert todays_harness.events_of("order.offered")
    report = json.loads(run_command("deadlines", "--json"))
    assert (report["due_within"], report["overdue"]) == (1, 1)
    assert [order["order_id"] for order in report["next"]] == ["o2", "o1"]
    assert report["lateness"]["deadlines"] == 0
    todays_harness.wake("o2", from_us(now_us()))
    lateness = json.loads(run_command("deadlines", "--json"))["lateness"]
    assert lateness["deadlines"] == 1
    assert 5_300 < lateness["p50"] <= lateness["max"] + 0.001 < 5_500
    assert "1 due within the hour, 0 overdue." in run_command("deadlines")


def test_an_order_is_explained(todays_harness: StoreHarness, run_command: RunCommand) -> None:
    assert todays_harness.events_of("order.offered")
    report = json.loads(run_command("explain", "o1", "--json"))
    assert report["status"] == "offered"
    assert report["clock"]["watermark"] >= report["clock"]["at"]
    assert "it waits for the creator to accept or decline" in run_command("explain", "o1")
    run_command("explain", "nobody", status=2)


@pytest.mark.parametrize(
    ("day_count", "warning", "state"),
    [("elapsed", "P3650D", None), ("civil_cn", "P3650D", "fail"), ("civil_cn", "PT0S", "ok")],
)
def test_the_doctor_looks_how_far_the_calendar_reaches_where_it_is_in_force(
    run_command: RunCommand,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    day_count: str,
    warning: str,
    state: str | None,
) -> None:
    policy_file = tmp_path / "policy.json"
    policy_file.write_text(json.dumps({"day_count": day_count, "calendar_warning": warning}))
    monkeypatch.setenv("EARNEST_POLICY", str(policy_file))
    output = run_command("doctor", "--json", status=1 if state == "fail" else 0)
    checks = [check for check in json.loads(output)["checks"] if check["name"] == "calendar"]
    assert [check["state"] for check in checks] == ([] if state is None else [state])


def test_the_doctor_finds_a_healthy_pipeline_without_processes(
    harness: StoreHarness, run_command: RunCommand
) -> None:
    assert harness.events == []
    report = json.loads(run_command("doctor", "--json"))
    states = {check["name"]: check["state"] for check in report["checks"]}
    assert report["ok"]
    assert states.pop("workers") == states.pop("relay") == states.pop("scheduler") == "warn"
    assert set(states.values()) == {"ok"}
    assert "clock of Redis" in run_command("doctor")


def test_the_doctor_names_what_is_wrong(
    run_command: RunCommand, redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    redis_client.config_set("maxmemory-policy", "allkeys-lru")
    try:
        report: dict[str, Any] = json.loads(run_command("doctor", "--json", status=1))
    finally:
        redis_client.config_set("maxmemory-policy", "noeviction")
    failed_checks = {check["name"] for check in report["checks"] if check["state"] == "fail"}
    assert failed_checks == {"eviction"}
    monkeypatch.setenv("EARNEST_REDIS_URL", "unix:///nobody/listens")
    assert "FAIL  redis" in run_command("doctor", status=1)


@pytest.mark.parametrize(("skew_s", "state"), [(0.0, "ok"), (-1.0, "warn"), (60.0, "fail")])
def test_a_clock_that_is_off_is_noticed(skew_s: float, state: str) -> None:
    check: HealthCheck = _check_skew("Redis", lambda: now_us() / 1_000_000 + skew_s)
    assert check.state == state
