"""Servers: those of the benchmark's own, and how the rate of a queue running dry is measured."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import redis
from sqlalchemy import Engine

from ops.local.redis_server import start_redis
from tests.support.servers import running_postgres
from workers.database.engine import open_database
from workers.database.migrations import migrate
from workers.queue.redis import connect
from workers.settings import Settings, project_root

POLL_INTERVAL_S = 0.02

TIMEOUT_S = 600.0


@dataclass(frozen=True, slots=True)
class BenchServers:
    """An empty Redis server, an empty migrated database, and the settings that lead there."""

    settings: Settings
    redis: redis.Redis
    engine: Engine

    def environ(self) -> dict[str, str]:
        """Return the environment of a process that uses these servers."""
        return {**os.environ, **self.settings.environ(), "PYTHONPATH": str(project_root())}

    @contextmanager
    def running(
        self, *programs: Sequence[str], **environ: str
    ) -> Iterator[list[subprocess.Popen[bytes]]]:
        """Run programs for as long as the block lasts."""
        process_environ = {**self.environ(), **environ}
        with (self.settings.var / "programs.log").open("ab") as log:
            processes = [
                subprocess.Popen(
                    program,
                    env=process_environ,
                    stdout=log,
                    stderr=log,
                    cwd=project_root(),
                    # A group of its own, so that it can be stopped with its children.
                    start_new_session=True,
                )
                for program in programs
            ]
            try:
                yield processes
            finally:
                for process in processes:
                    process.terminate()
                for process in processes:
                    process.wait(timeout=30)

    def count_messages(self, key: str) -> int:
        """Return how many messages a hash holds."""
        return int(self.redis.hlen(key))


@contextmanager
def stopped(processes: Sequence[subprocess.Popen[bytes]]) -> Iterator[None]:
    """Stop processes and their children for as long as the block lasts: they stay warm."""
    for process in processes:
        os.killpg(process.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for process in processes:
            os.killpg(process.pid, signal.SIGCONT)


@contextmanager
def running_servers(database: str) -> Iterator[BenchServers]:
    """Set up servers for one measurement and take them down again.

    `database` is sqlite or postgresql. Everything lies in one temporary folder under var/.
    """
    parent = project_root() / "var"
    parent.mkdir(exist_ok=True)
    with ExitStack() as stack:
        var = Path(tempfile.mkdtemp(prefix="bench-", dir=parent))
        stack.callback(shutil.rmtree, var, ignore_errors=True)
        url = None
        if database == "postgresql":
            url = stack.enter_context(stack.enter_context(running_postgres()).database())
        settings = Settings.read({}, var=var, database_url=url)
        server = start_redis(var)
        stack.callback(server.stop)
        engine = open_database(settings.database_url)
        stack.callback(engine.dispose)
        migrate(engine)
        yield BenchServers(settings, connect(settings.redis_url), engine)


def wait_until_empty(count_left: Callable[[], int]) -> None:
    """Wait until nothing is left."""
    wait_for(lambda: not count_left())


def wait_for(condition: Callable[[], object]) -> None:
    """Wait until a condition holds."""
    until = time.monotonic() + TIMEOUT_S
    while not condition():
        if time.monotonic() > until:
            message = f"it has not come true after {TIMEOUT_S:.0f} s"
            raise TimeoutError(message)
        time.sleep(POLL_INTERVAL_S)


def process_command(command: str) -> list[str]:
    """Return the command line of one of Earnest's processes, by its command."""
    return [sys.executable, "-m", "ops.cli", command]
