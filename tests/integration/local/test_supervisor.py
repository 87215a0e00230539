"""Supervisor: it starts, restarts and stops real processes, and leaves none behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
import redis

from ops.local.process import (
    LOG_LIMIT_BYTES,
    ManagedProcess,
    Program,
    StartupError,
    child_environ,
)
from ops.local.supervisor import HEALTHY_AFTER_S, SupervisedProcess
from ops.local.up import AlreadyUpError, LocalStack, earnest_programs
from tests.support.programs.supervised import (
    EXITS_AT_ONCE,
    EXITS_WITH_AN_ERROR,
    HAS_A_CHILD,
    IGNORES_SIGTERM,
    LOGS_WITHOUT_END,
    NEVER_READY,
    program,
    ready_until_stopped,
)
from workers.settings import Settings

# As long as a slow machine may take; a healthy one is done in a fraction of it.
TIMEOUT_S = 60.0


def local_stack(
    var: Path, *programs: Program, redis: bool = False, timeout: float = 20
) -> LocalStack:
    settings = Settings.read({}, var=var, redis_url=None if redis else "redis://not.used/0")
    return LocalStack(settings, quiet=True, programs=programs, start_timeout_s=timeout)


def wait_for_process(condition: Callable[[], bool]) -> None:
    """Wait for something another process does, for which it can send us no signal."""
    deadline_s = time.monotonic() + TIMEOUT_S
    while not condition():
        assert time.monotonic() < deadline_s, "it never happened"
        time.sleep(0.01)


def is_running(pid: int) -> bool:
    """Tell whether a process lives; one that only waits to be collected does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def listed_pids(var: Path) -> dict[str, int]:
    pids: dict[str, int] = json.loads((var / "up.json").read_text())
    return pids


def test_programs_are_started_in_order_and_stopped_in_reverse(tmp_path: Path) -> None:
    ends = tmp_path / "ends"
    names = ["worker.1", "relay", "scheduler"]
    once = program("migrate", "import sys; open(sys.argv[1], 'w')", ends, once=True)
    with local_stack(tmp_path, once, *(ready_until_stopped(name, ends) for name in names)) as up:
        assert list(up.pids()) == names
        assert ends.read_text() == ""
    assert ends.read_text().split() == ["scheduler", "relay", "worker.1"]


def test_redis_is_there_before_the_first_program_and_after_the_last(tmp_path: Path) -> None:
    ping_code = "import os, redis; redis.Redis.from_url(os.environ['EARNEST_REDIS_URL']).ping()"
    worker_code = (
        "import os, redis, signal; from ops.local.process import notify_ready\n"
        "client = redis.Redis.from_url(os.environ['EARNEST_REDIS_URL'])\n"
        "def stop(*_): client.set('left', 'in order'); raise SystemExit\n"
        "signal.signal(signal.SIGTERM, stop); notify_ready(); signal.pause()"
    )
    once = program("migrate", ping_code, once=True)
    for expected_value in (None, b"in order"):
        up = local_stack(tmp_path, once, program("worker.1", worker_code), redis=True)
        with up, redis.Redis.from_url(up.settings.redis_url) as redis_client:
            assert redis_client.get("left") == expected_value


def test_processes_are_listed_while_they_run(tmp_path: Path) -> None:
    with local_stack(tmp_path, ready_until_stopped("relay", tmp_path / "ends")) as up:
        assert listed_pids(tmp_path) == {"up": os.getpid(), **up.pids()}
        assert is_running(up.pids()["relay"])
    assert not (tmp_path / "up.json").exists()
    assert not is_running(up.pids()["relay"])


@pytest.mark.fault
def test_a_process_that_dies_is_started_again(tmp_path: Path) -> None:
    with local_stack(tmp_path, ready_until_stopped("relay", tmp_path / "ends"), redis=True) as up:
        for name in ("relay", "redis"):
            kill_and_await_successor(tmp_path, name)
        with redis.Redis.from_url(up.settings.redis_url) as redis_client:
            wait_for_process(lambda: redis_answers(redis_client))


def kill_and_await_successor(var: Path, name: str) -> None:
    first = listed_pids(var)[name]
    os.kill(first, signal.SIGKILL)
    wait_for_process(lambda: listed_pids(var).get(name, first) != first)


def redis_answers(redis_client: redis.Redis) -> bool:
    try:
        return bool(redis_client.ping())
    except redis.ConnectionError:
        return False


@pytest.mark.fault
def test_children_of_a_process_that_dies_are_killed_too(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    with local_stack(tmp_path, program("worker.1", HAS_A_CHILD, pids)) as up:
        orphan_pid = int(pids.read_text())
        os.kill(up.pids()["worker.1"], signal.SIGKILL)
        wait_for_process(lambda: not is_running(orphan_pid))


def test_a_restart_waits_longer_each_time_until_one_lived_long(tmp_path: Path) -> None:
    supervised_process = SupervisedProcess(
        ManagedProcess(program("relay", EXITS_AT_ONCE, once=True), var=tmp_path, environ={})
    )
    now = supervised_process.process.started_at
    assert [supervised_process.schedule(now) for _ in range(7)] == [
        0.2,
        0.4,
        0.8,
        1.6,
        3.2,
        5.0,
        5.0,
    ]
    assert supervised_process.schedule(now + HEALTHY_AFTER_S + 1) == 0.2


@pytest.mark.parametrize(
    ("bad", "complaint"),
    [
        (program("migrate", EXITS_WITH_AN_ERROR, once=True), "migrate ended with exit code 3"),
        (program("relay", EXITS_WITH_AN_ERROR), "relay ended with exit code 3"),
        (program("relay", EXITS_AT_ONCE), "relay ended with exit code 0"),
        (Program("relay", ("/no/such/program",)), "cannot run /no/such/program"),
    ],
)
def test_a_process_that_cannot_start_is_named_and_the_rest_is_stopped(
    tmp_path: Path, bad: Program, complaint: str
) -> None:
    up = local_stack(tmp_path, ready_until_stopped("worker.1", tmp_path / "ends"), bad)
    with pytest.raises(StartupError, match=complaint):
        up.start()
    assert not is_running(up.pids()["worker.1"])


def test_a_startup_failure_shows_the_end_of_its_log_and_nothing_of_earlier_runs(
    tmp_path: Path,
) -> None:
    (tmp_path / "log").mkdir()
    (tmp_path / "log" / "relay.log").write_text("something old\n")
    with pytest.raises(StartupError, match="no such table") as failure:
        local_stack(tmp_path, program("relay", EXITS_WITH_AN_ERROR)).start()
    assert "something old" not in str(failure.value)


def test_a_process_that_never_becomes_ready_is_not_waited_for_for_ever(tmp_path: Path) -> None:
    up = local_stack(tmp_path, program("relay", NEVER_READY), timeout=0.5)
    with pytest.raises(StartupError, match="relay was not ready in time"):
        up.start()
    assert not is_running(up.pids()["relay"])


def test_one_folder_has_one_supervisor(tmp_path: Path) -> None:
    with local_stack(tmp_path, ready_until_stopped("relay", tmp_path / "ends")):
        with pytest.raises(AlreadyUpError, match="already up") as refusal:
            local_stack(tmp_path, ready_until_stopped("relay", tmp_path / "ends")).start()
        assert "\n" not in str(refusal.value)
        assert (tmp_path / "up.json").exists()
    local_stack(tmp_path).start()


def test_a_process_that_ignores_sigterm_is_killed_in_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ops.local.supervisor.STOP_TIMEOUT_S", 0.2)
    with local_stack(tmp_path, program("relay", IGNORES_SIGTERM)) as up:
        stubborn_pid = up.pids()["relay"]
    assert not is_running(stubborn_pid)


def test_a_large_log_is_put_aside_at_the_start(tmp_path: Path) -> None:
    log = tmp_path / "log" / "relay.log"
    log.parent.mkdir()
    log.write_bytes(b"x" * (LOG_LIMIT_BYTES + 1))
    with local_stack(tmp_path, ready_until_stopped("relay", tmp_path / "ends")):
        assert "steady.started" in log.read_text()
    assert log.with_suffix(".log.1").stat().st_size == LOG_LIMIT_BYTES + 1


def test_a_log_is_kept_short_while_somebody_writes_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ops.local.process.LOG_LIMIT_BYTES", 10_000)
    log, numbers = tmp_path / "log" / "relay.log", list[int]()

    def log_has_lines() -> bool:
        numbers[:] = map(int, log.read_text().splitlines()[:-1])
        return len(numbers) > 2

    with local_stack(tmp_path, program("relay", LOGS_WITHOUT_END)):
        for _ in range(2):
            log.with_suffix(".log.1").unlink(missing_ok=True)
            wait_for_process(log.with_suffix(".log.1").exists)
        wait_for_process(log_has_lines)
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    assert numbers[0] > 0


FOREGROUND_PROGRAM = """
import sys
from pathlib import Path
from ops.local.up import LocalStack
from tests.support.programs.supervised import ready_until_stopped
from workers.settings import Settings
var = Path(sys.argv[1])
settings = Settings.read({}, var=var, redis_url="redis://not.used/0")
LocalStack(settings, programs=[ready_until_stopped("relay", var / "ends")]).run_until_stopped()
"""


def in_foreground(var: Path) -> subprocess.Popen[str]:
    """Start a supervisor as a person would, in a terminal's process group of its own."""
    command = [sys.executable, "-c", FOREGROUND_PROGRAM, str(var)]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)


def read_until(lines: Iterable[str] | None, text: str) -> list[str]:
    seen_lines: list[str] = []
    for line in lines or ():
        seen_lines.append(line)
        if text in line:
            return seen_lines
    raise AssertionError(f"{text!r} was not found in {seen_lines}")


@pytest.mark.parametrize("stop_signal", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_to_the_process_group_stops_everything_in_order(
    tmp_path: Path, stop_signal: signal.Signals
) -> None:
    with in_foreground(tmp_path) as up:
        lines = read_until(up.stderr, "everything is ready")
        os.killpg(up.pid, stop_signal)
        assert up.wait(TIMEOUT_S) == 0
    assert (tmp_path / "ends").read_text() == "relay\n"
    assert 'relay     | {"event": "steady.started"}\n' in lines


@pytest.mark.fault
def test_processes_die_with_a_supervisor_that_is_killed(tmp_path: Path) -> None:
    with in_foreground(tmp_path) as up:
        read_until(up.stderr, "everything is ready")
        relay = listed_pids(tmp_path)["relay"]
        up.kill()
        wait_for_process(lambda: not is_running(relay))
    with local_stack(tmp_path, ready_until_stopped("relay", tmp_path / "ends")):
        assert listed_pids(tmp_path)["relay"] != relay


def test_earnest_consists_of_what_the_procfile_lists() -> None:
    names = [earnest_program.name for earnest_program in earnest_programs(workers=2)]
    assert names == ["migrate", "worker.1", "worker.2", "relay", "scheduler", "web"]
    procfile = (Path(__file__).parents[3] / "Procfile").read_text()
    assert {line.split(":")[0] for line in procfile.splitlines()} == {
        earnest_program.kind
        for earnest_program in earnest_programs(workers=1)
        if not earnest_program.once
    }


def test_each_program_really_starts_the_command_line(tmp_path: Path) -> None:
    environ = child_environ(os.environ, None)
    programs = earnest_programs(workers=1)
    for earnest_program in programs:
        completed = subprocess.run(
            [*earnest_program.argv, "--help"],
            env=environ,
            capture_output=True,
            text=True,
            check=True,
        )
        assert completed.stdout.startswith(f"usage: earnest {earnest_program.kind} ")
    subprocess.run([*programs[0].argv, "--var", str(tmp_path)], env=environ, check=True)
    assert (tmp_path / "earnest.db").exists()
