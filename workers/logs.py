"""Logs: JSON lines that hold no one's words, one line an entry, and never an error of their own."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Mapping, MutableMapping
from contextlib import suppress
from types import TracebackType
from typing import Any, TextIO, cast

import redis
import structlog

from models.errors import EarnestError

LONGEST = 500
"""Characters of a value worth logging."""

FRAMES = 8
"""Places of a traceback worth logging: the innermost ones."""

Entry = MutableMapping[str, Any]


def configure_logs(name: str) -> None:
    """Write JSON lines to standard error, one line an entry whatever it contains."""
    structlog.configure(
        processors=[
            lambda _, __, entry: {**entry, "process": name},
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            explain,
            bound,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.WriteLoggerFactory(cast("TextIO", Steadfast(sys.stderr))),
    )
    logging.basicConfig(level=logging.ERROR, handlers=[_LibraryLogs(name)])


def explain(_: object, __: str, entry: Entry) -> Mapping[str, Any]:
    """Say of an exception what it is and where it came from.

    What it says itself only where it is ours or the wire's: any other may repeat what it choked
    on, and that may be a brief or a name.
    """
    error = entry.pop("exc_info", None)
    error = sys.exc_info()[1] if error is True else error
    error = error[1] if isinstance(error, tuple) else error
    if isinstance(error, BaseException):
        entry["error"] = type(error).__name__
        if isinstance(error, EarnestError | redis.RedisError):
            entry["said"] = str(error)
        entry["at"] = _places(error.__traceback__)
    return entry


def _places(traceback: TracebackType | None) -> list[str]:
    places = []
    while traceback is not None:
        code = traceback.tb_frame.f_code
        places.append(f"{code.co_filename}:{traceback.tb_lineno} {code.co_name}")
        traceback = traceback.tb_next
    return places[-FRAMES:]


def bound(_: object, __: str, entry: Entry) -> Mapping[str, Any]:
    """Cut what is too long for a line."""
    return {
        key: value[:LONGEST] + "…" if isinstance(value, str) and len(value) > LONGEST else value
        for key, value in entry.items()
    }


class Steadfast:
    """A stream that cannot hurt its writer: a full disk under the log must not stop the work."""

    def __init__(self, stream: TextIO) -> None:
        """Keep the stream."""
        self.stream = stream

    def write(self, text: str) -> None:
        """Write, or lose a line of log.

        Past the stream's own buffer: what a full disk left in it would fail once more at the end,
        and a process that has ended well would be taken for one that failed.
        """
        with suppress(OSError, ValueError):
            os.write(self.stream.fileno(), text.encode("utf-8", "backslashreplace"))

    def flush(self) -> None:
        """Do nothing: nothing is kept back."""


class _LibraryLogs(logging.Handler):
    """Passes on that a library complained, and where; its words may contain what we may not."""

    def __init__(self, name: str) -> None:
        super().__init__(logging.ERROR)
        self.process = name

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line; the exception by its type, never by its arguments."""
        kind = record.exc_info[0] if record.exc_info else None
        error = kind.__name__ if kind else None
        structlog.get_logger().error("library.failed", logger=record.name, error=error)
