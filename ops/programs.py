"""Programs: what runs as a program of its own, because ops knows neither tests nor benchmarks."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

from workers.settings import PREFIX, Settings, project_root

MOST_AT_ONCE = 8
"""Processes that run tests: each has a Redis server and a PostgreSQL server of its own."""

Run = Callable[[Settings, argparse.Namespace], int]


def register(subparsers: Any) -> None:  # noqa: ANN401 - argparse hides the type
    """Declare the words whose arguments, `--help` too, go on to another program."""
    for name, run, about in (
        ("test", test, "run the tests; arguments go to pytest"),
        ("faults", module("tests.fault.run"), "break everything on purpose and print what it cost"),
        ("bench", module("bench.run"), "measure speed, side by side with others, on this machine"),
    ):
        parser = subparsers.add_parser(name, help=about, add_help=False, prefix_chars="\0")
        parser.add_argument("arguments", nargs=argparse.REMAINDER)
        parser.set_defaults(run=run)


def test(_: Settings, options: argparse.Namespace) -> int:
    """Run pytest on the project; without arguments, everything but the slow suites.

    Most tests wait for servers most of the time, so more of them run at once than there are cores.
    """
    process_count = min(MOST_AT_ONCE, 1 + (os.cpu_count() or 1))
    default_arguments = [
        "-m",
        "not slow",
        "--numprocesses",
        str(process_count),
        "--dist",
        "loadfile",
    ]
    return _run("pytest", options.arguments or default_arguments, dict(os.environ))


def module(name: str) -> Run:
    """Make the command that runs a module of this checkout.

    No setting is passed on: faults and benchmarks have no business with anybody's database.
    """

    def run(_: Settings, options: argparse.Namespace) -> int:
        environ = {key: value for key, value in os.environ.items() if not key.startswith(PREFIX)}
        return _run(name, options.arguments, environ)

    return run


def _run(name: str, arguments: list[str], environ: dict[str, str]) -> int:
    root = project_root()
    command = [sys.executable, "-m", name, *arguments]
    environ |= {"PYTHONPATH": str(root)}
    return subprocess.run(command, cwd=root, env=environ, check=False).returncode
