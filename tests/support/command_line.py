"""Command line: `earnest` as a person runs it, in a process of its own or in this one."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ops.cli.app import main
from ops.local.process import child_environ
from workers.settings import PREFIX

EARNEST = (sys.executable, "-P", "-m", "ops.cli")
TIMEOUT_S = 300.0


@dataclass(frozen=True, slots=True)
class CommandResult:
    """What a command wrote, and its exit status."""

    status: int
    out: str
    err: str

    def lines(self) -> list[dict[str, Any]]:
        """Return the JSON objects of the output, one a line."""
        return [json.loads(line) for line in self.out.splitlines()]

    def error_line(self) -> str:
        """Return the one line on standard error that there must be; nothing else was written."""
        (line,) = self.err.splitlines()
        assert line.startswith("earnest: ")
        assert self.status != 0
        assert self.out == ""
        return line


def clean_environ(**settings: str) -> dict[str, str]:
    """Return an environment in which nothing of ours is set but `settings`."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    # Where nothing else listens: several of us may be tested at once.
    return child_environ(plain, None) | {"EARNEST_WEB_BIND": "127.0.0.1:0"} | settings


def run_earnest(*words: Path | str, stdin: str | bytes = "", **settings: str) -> CommandResult:
    """Run one command to its end, in a process of its own with `settings` and no others."""
    stdin_bytes = stdin if isinstance(stdin, bytes) else stdin.encode()
    process = subprocess.run(
        [*EARNEST, *map(str, words)],
        input=stdin_bytes,
        capture_output=True,
        check=False,
        env=clean_environ(**settings),
        timeout=TIMEOUT_S,
    )
    return CommandResult(process.returncode, process.stdout.decode(), process.stderr.decode())


def run_in_process(*words: Path | str) -> CommandResult:
    """Run one command in this process: the same arguments, without the time a process takes."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        try:
            status = main([*map(str, words)])
        except SystemExit as end:
            status = int(end.code or 0)
    return CommandResult(status, out.getvalue(), err.getvalue())


@contextmanager
def start_earnest(*words: Path | str, **settings: str) -> Iterator[subprocess.Popen[str]]:
    """Start a command that goes on; kill it if the test has not ended it."""
    command = [*EARNEST, *map(str, words)]
    with subprocess.Popen(
        command,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        env=clean_environ(**settings),
    ) as process:
        try:
            yield process
        finally:
            process.kill()
