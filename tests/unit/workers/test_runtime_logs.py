"""Logs: one line an entry whatever it contains, nobody's words, and no error of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from models.errors import BrokenInvariant
from workers.settings import project_root

HOSTILE = 'x\n{"level":"info","event":"forged"}\r\x1b[2J\x00\u2028\u2029\x85\x0b\u202e\ud800'
BRIEF = "a brief that nobody must read"

PROGRAM = """
import sys
from models.errors import BrokenInvariant
from workers.runtime import configure_logs
import logging, structlog
configure_logs("test")
log = structlog.get_logger()
hostile, brief = sys.argv[1].encode().decode("unicode_escape"), sys.argv[2]
{body}
"""


def log_lines(body: str, **overrides: object) -> list[str]:
    """Run a few lines of code that log; return the lines of its standard error."""
    escaped = HOSTILE.encode("unicode_escape").decode()
    argv = [sys.executable, "-c", PROGRAM.format(body=body), escaped, BRIEF]
    streams: dict[str, Any] = {"stderr": subprocess.PIPE} | overrides
    # As most people run Python: without buffers nothing could be left in one.
    environ = {key: value for key, value in os.environ.items() if key != "PYTHONUNBUFFERED"}
    completed_process = subprocess.run(argv, cwd=project_root(), env=environ, check=True, **streams)
    return (completed_process.stderr or b"").decode("ascii").split("\n")


def test_a_log_entry_is_one_line_of_plain_ascii() -> None:
    line, end = log_lines("log.warning('x.happened', error=hostile)")
    assert end == ""
    assert line.isprintable()
    assert json.loads(line)["error"] == HOSTILE


def test_a_field_name_cannot_break_a_log_line() -> None:
    line, _ = log_lines("log.warning('x.happened', **{hostile: 1})")
    assert json.loads(line)[HOSTILE] == 1


def test_a_long_value_is_cut_in_the_log() -> None:
    line, _ = log_lines("log.warning('x.happened', error='x' * 1_000_000)")
    assert len(line) < 1_000


@pytest.mark.parametrize(
    "raising",
    [
        "raise KeyError(brief)",
        "int(brief)",
        "raise ExceptionGroup(brief, [ValueError(brief)])",
        "raise ValueError from KeyError(brief)",
        "(lambda text: 1 / 0)(brief)",
    ],
)
def test_a_logged_exception_is_named_and_not_quoted(raising: str) -> None:
    body = f"try:\n    {raising}\nexcept Exception:\n    log.exception('x.failed')"
    line, _ = log_lines(body)
    assert BRIEF not in line
    entry = json.loads(line)
    assert entry["error"] in {"KeyError", "ValueError", "ExceptionGroup", "ZeroDivisionError"}
    assert entry["at"]


def test_an_error_of_ours_is_logged_with_its_text() -> None:
    body = (
        "try:\n    raise BrokenInvariant('two and two')\nexcept Exception:\n    log.exception('x')"
    )
    line, _ = log_lines(body)
    assert json.loads(line)["said"] == "two and two"
    assert issubclass(BrokenInvariant, Exception)


def test_a_librarys_entry_is_logged_and_its_arguments_are_not() -> None:
    line, _ = log_lines("logging.getLogger('dramatiq').error('failed on %s', brief)")
    assert json.loads(line)["logger"] == "dramatiq"
    assert BRIEF not in line


def test_a_full_disk_under_the_log_stops_nobody() -> None:
    with open("/dev/full", "wb") as full:  # noqa: PTH123 - as a shell would open it
        log_lines("for _ in range(100): log.error('x.happened')", stderr=full)
    log_lines("sys.stderr.close()\nlog.error('x.happened')")
