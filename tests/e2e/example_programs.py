"""Example programs: the examples, run as those who copy them would run them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support.servers import skip_or_fail
from workers.settings import project_root

EXAMPLES = project_root() / "examples"


def python_command() -> list[str]:
    # -I: neither our folder nor PYTHONPATH is there to import from.
    return [sys.executable, "-I"]


def node_command() -> list[str]:
    """Find Node.js with the examples' one package."""
    program = shutil.which("node") or str(skip_or_fail("Node.js is not installed"))
    if not (EXAMPLES / "node_modules" / "redis").exists():
        skip_or_fail("`npm ci` was not run in examples/")
    return [program]


def shell_command() -> list[str]:
    """Find redis-cli."""
    shutil.which("redis-cli") or skip_or_fail("redis-cli is not installed")
    return ["sh"]


def run_producer(command: list[str], lines: Iterable[dict[str, Any]] = ()) -> list[dict[str, Any]]:
    """Run a producer to its end; return the outcomes that it printed."""
    text = "".join(json.dumps(line) + "\n" for line in lines)
    process = subprocess.run(
        command,
        input=text,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env=bare_environ(),
    )
    assert process.returncode == 0, process.stderr
    return [json.loads(line) for line in process.stdout.splitlines()]


@contextmanager
def running_consumer(command: list[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run a consumer in the background; kill it at the end if it still lives."""
    with log.open("ab") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, env=bare_environ())
        try:
            yield process
        finally:
            process.kill()
            process.wait()


def bare_environ() -> dict[str, str]:
    """Leave nothing of ours in the environment."""
    allowed_names = ("PATH", "HOME", "LANG", "LD_LIBRARY_PATH", "TMPDIR")
    return {name: os.environ[name] for name in allowed_names if name in os.environ}
