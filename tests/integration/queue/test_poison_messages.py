"""Poison messages: commands that kill their worker are quarantined, and neighbours settled."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import redis
from sqlalchemy import Engine

from models.policy import Policy
from ops.local.process import Program
from ops.local.up import LocalStack, earnest_program
from tests.support.concurrency import wait_until
from tests.support.programs.poisoned_worker import EXIT_STATUS
from tests.support.sample_commands import registration
from workers.client import CommandClient
from workers.database.engine import open_database
from workers.database.migrations import migrate
from workers.database.repository import Store
from workers.processing import failures
from workers.queries.reader import Reader
from workers.queue.messages import POISON_MESSAGE
from workers.queue.redis import QUEUES, Keys, Scripts, connect
from workers.settings import Settings, project_root

TIMEOUT_S = 120.0


@dataclass
class CrashingWorkers:
    """A database, a Redis, and a worker that is started again however often it dies."""

    settings: Settings
    engine: Engine
    redis_client: redis.Redis
    deaths: Path

    def settled(self) -> int:
        return Reader(Store(self.engine, Policy())).count_outcomes()

    def idle(self) -> bool:
        return not self.redis_client.hlen(Keys("commands").messages)

    def run_until_idle(self, *, max_deaths: int = 1_000) -> None:
        """Run workers one after the other until nothing waits; the dead are noticed at once."""
        deadline_s = time.monotonic() + TIMEOUT_S
        while not self.idle():
            assert time.monotonic() < deadline_s, self.redis_client.hgetall(
                Keys("commands").attempts
            )
            with self.worker(max_deaths) as worker:
                wait_until(lambda: worker.poll() is not None or self.idle())
                assert worker.poll() in {None, EXIT_STATUS}
            for queue in QUEUES:
                Scripts(self.redis_client).rescue(Keys(queue), 0, last=queue == QUEUES[-1])

    @contextmanager
    def worker(self, max_deaths: int) -> Iterator[subprocess.Popen[bytes]]:
        argv = [sys.executable, "-m", "tests.support.programs.poisoned_worker"]
        environ = {**os.environ, **self.settings.environ()}
        argv += [str(self.deaths), str(max_deaths)]
        with subprocess.Popen(argv, cwd=project_root(), env=environ, stderr=-3) as process:
            yield process
            process.terminate()


@pytest.fixture
def crashing_workers(tmp_path: Path, redis_url: str) -> Iterator[CrashingWorkers]:
    """Give a migrated database and an empty Redis, where no worker has died."""
    settings = Settings.read({}, var=tmp_path, redis_url=redis_url)
    engine, redis_client = open_database(settings.database_url), connect(redis_url)
    migrate(engine)
    (tmp_path / "deaths").touch()
    yield CrashingWorkers(settings, engine, redis_client, tmp_path / "deaths")
    engine.dispose()
    redis_client.close()


def test_a_command_that_kills_three_workers_is_quarantined_and_its_neighbours_are_settled(
    crashing_workers: CrashingWorkers,
) -> None:
    # One message with the poison command in it, and many messages around it.
    sender = CommandClient(crashing_workers.redis_client)
    sender.submit_many([registration(n) for n in range(100)], per_message=1)
    sender.submit_many([registration(100), registration(101, name="deadly"), registration(102)])
    sender.submit_many([registration(n) for n in range(103, 400)], per_message=3)
    crashing_workers.run_until_idle()
    assert len(crashing_workers.deaths.read_text()) == 3
    assert crashing_workers.settled() == 399
    (item,) = failures.list_quarantined(crashing_workers.engine)
    assert item.reason == POISON_MESSAGE
    (dead_letter,) = failures.list_dead_letters(crashing_workers.engine)
    assert dead_letter.command == registration(101, name="deadly")
    assert not crashing_workers.redis_client.zcard(Keys("commands").pending)
    assert not crashing_workers.redis_client.hlen(Keys("commands").attempts)


@pytest.mark.slow
def test_a_message_is_not_quarantined_after_two_worker_deaths(
    crashing_workers: CrashingWorkers,
) -> None:
    commands = [registration(n) for n in range(200)]
    CommandClient(crashing_workers.redis_client).submit_many(
        [*commands, registration(200, name="deadly")], per_message=10
    )
    crashing_workers.run_until_idle(max_deaths=2)
    assert len(crashing_workers.deaths.read_text()) == 2
    assert crashing_workers.settled() == 201
    assert not failures.list_quarantined(crashing_workers.engine)


@pytest.mark.slow
def test_two_poison_messages_are_told_apart(crashing_workers: CrashingWorkers) -> None:
    poison_commands = [registration(n, name="deadly") for n in (10, 150)]
    commands = [registration(n) for n in range(200) if n not in {10, 150}]
    CommandClient(crashing_workers.redis_client).submit_many(
        [*poison_commands, *commands], per_message=4
    )
    crashing_workers.run_until_idle()
    assert crashing_workers.settled() == 198
    assert [
        dead_letter.command for dead_letter in failures.list_dead_letters(crashing_workers.engine)
    ] == poison_commands


@pytest.mark.slow
def test_commands_in_flight_at_a_killed_worker_are_settled_within_thirty_seconds(
    crashing_workers: CrashingWorkers,
) -> None:
    argv = (
        sys.executable,
        "-m",
        "tests.support.programs.poisoned_worker",
        str(crashing_workers.deaths),
        "1",
    )
    programs = [Program("worker.1", argv), earnest_program("scheduler")]
    with LocalStack(crashing_workers.settings, programs=programs, quiet=True):
        commands = [registration(n) for n in range(300)]
        CommandClient(crashing_workers.redis_client).submit_many(
            [*commands, registration(300, name="deadly")], per_message=1
        )
        killed_at = wait_until(lambda: bool(crashing_workers.deaths.read_text()))
        settled_at = wait_until(lambda: crashing_workers.settled() == 301)
    assert settled_at - killed_at < 30
