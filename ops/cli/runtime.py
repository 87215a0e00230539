"""Runtime: the commands that start something: everything, a demo, one process, tests, a benchmark.

Tests and benchmarks run as programs of their own, because ops knows neither.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ops.errors import UsageError
from ops.local import process
from ops.private_files import make_state_folder, private_umask
from ops.terminal import open_lines
from workers.runtime import configure_logs, policy_in_force, stop_on_signals
from workers.settings import PREFIX, Settings, project_root

CommandFunction = Callable[[Settings, argparse.Namespace], int]


def up(settings: Settings, options: argparse.Namespace) -> int:
    """Start the whole local stack and keep it up until a signal."""
    from ops.local.up import LocalStack

    if not 1 <= options.workers <= MAX_WORKERS:
        raise UsageError(f"--workers: 1 to {MAX_WORKERS} is wanted")
    policy_in_force(settings)
    with reporting_file_errors():
        LocalStack(settings, workers=options.workers, quiet=options.quiet).run_until_stopped()
    return 0


MAX_WORKERS = 64


def demo(_: Settings, options: argparse.Namespace) -> int:
    """Play the demo."""
    from ops.simulation.demo import run_demo

    with reporting_file_errors():
        return run_demo(keep=options.keep)


def simulate(settings: Settings, options: argparse.Namespace) -> int:
    """Play steps on simulated time."""
    from ops.simulation.simulate import simulate as run

    policy = policy_in_force(settings)
    with open_lines(options.steps) as lines:
        return run(lines, policy, sys.stdout, sys.stderr)


@private_umask()
def migrate(settings: Settings, _: argparse.Namespace) -> int:
    """Create or update the schema."""
    from workers.database.engine import open_database
    from workers.database.migrations import migrate as run
    from workers.server_checks import refuse_unsafe_postgresql

    engine = open_database(settings.database_url)
    try:
        if settings.embedded_database:
            with reporting_file_errors():
                _make_database_folder(settings, Path(engine.url.database or ""))
        refuse_unsafe_postgresql(engine)
        run(engine)
    finally:
        engine.dispose()
    return 0


def _make_database_folder(settings: Settings, database: Path) -> None:
    """Make the folder of SQLite's file; one that is not the state folder may hold other things."""
    if database.parent == settings.var:
        make_state_folder(settings.var)
    else:
        database.parent.mkdir(parents=True, exist_ok=True)


def run_process(name: str, load: Callable[[], Callable[..., None]]) -> CommandFunction:
    """Make the command that runs one of the long-running processes."""

    @private_umask()
    def run(settings: Settings, _: argparse.Namespace) -> int:
        stop_event = stop_on_signals()
        configure_logs(name)
        load()(settings, stop_event, process.notify_ready)
        return 0

    return run


def _load_worker() -> Callable[..., None]:
    from workers.main import run

    return run


def _load_relay() -> Callable[..., None]:
    from workers.outbox.relay import run

    return run


def _load_scheduler() -> Callable[..., None]:
    from scheduler.main import run

    return run


def _load_web() -> Callable[..., None]:
    from ops.web.app import run

    return run


@contextmanager
def reporting_file_errors() -> Iterator[None]:
    """Say in one line which file or folder cannot be used, where that is all that is wrong."""
    try:
        yield
    except OSError as error:
        if error.filename is None:
            raise
        raise UsageError(f"{error.filename}: {error.strerror}") from None


PROCESSES: dict[str, CommandFunction] = {
    "migrate": migrate,
    "worker": run_process("worker", _load_worker),
    "relay": run_process("relay", _load_relay),
    "scheduler": run_process("scheduler", _load_scheduler),
    "web": run_process("web", _load_web),
}

MAX_TEST_PROCESSES = 8
"""Processes that run tests: each has a Redis server and a PostgreSQL server of its own."""


def register_programs(subparsers: Any) -> None:  # noqa: ANN401 - argparse hides the type
    """Declare the commands whose arguments, `--help` too, go on to another program."""
    for name, run, about in (
        ("test", run_tests, "run the tests; arguments go to pytest"),
        (
            "faults",
            run_module("tests.fault.run"),
            "break everything on purpose and print what it cost",
        ),
        (
            "law",
            run_module("tests.law.run"),
            "compare what a pipeline makes of commands with what the rules do",
        ),
        (
            "mutants",
            run_module("tests.mutation.run"),
            "plant small faults in the rules and print those that no test notices",
        ),
        (
            "bench",
            run_module("bench.run"),
            "measure speed, side by side with others, on this machine",
        ),
    ):
        parser = subparsers.add_parser(name, help=about, add_help=False, prefix_chars="\0")
        parser.add_argument("arguments", nargs=argparse.REMAINDER)
        parser.set_defaults(run=run)


def run_tests(_: Settings, options: argparse.Namespace) -> int:
    """Run pytest on the project; without arguments, everything but the slow suites.

    Most tests wait for servers most of the time, so more of them run at once than there are cores.
    """
    process_count = min(MAX_TEST_PROCESSES, 1 + (os.cpu_count() or 1))
    default_arguments = [
        "-m",
        "not slow",
        "--numprocesses",
        str(process_count),
        "--dist",
        "loadfile",
    ]
    return _run_module("pytest", options.arguments or default_arguments, dict(os.environ))


def run_module(name: str) -> CommandFunction:
    """Make the command that runs a module of this checkout.

    No setting is passed on: faults and benchmarks have no business with anybody's database.
    """

    def run(_: Settings, options: argparse.Namespace) -> int:
        environ = {key: value for key, value in os.environ.items() if not key.startswith(PREFIX)}
        return _run_module(name, options.arguments, environ)

    return run


def _run_module(name: str, arguments: list[str], environ: dict[str, str]) -> int:
    root = project_root()
    command = [sys.executable, "-m", name, *arguments]
    environ |= {"PYTHONPATH": str(root)}
    return subprocess.run(command, cwd=root, env=environ, check=False).returncode
