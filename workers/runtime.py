"""Runtime: what a long-running process needs: logs, signals, policy, tracing, a loop's pace.

The trace context itself travels without OpenTelemetry: see `workers.queue.messages.Received`.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from types import TracebackType
from typing import Any, TextIO, cast

import redis
import structlog

from models.errors import EarnestError
from models.policy import Policy, read_policy
from workers.settings import Settings, SettingsError

MAX_VALUE_LENGTH = 500
"""Characters of a value worth logging."""


MAX_FRAMES = 8
"""Places of a traceback worth logging: the innermost ones."""


LogEntry = MutableMapping[str, Any]


def configure_logs(name: str, stream: TextIO | None = None) -> None:
    """Write JSON lines, one line an entry whatever it contains: to standard error, unless told.

    `stream` must be a file: it is written to past its own methods.
    """
    structlog.configure(
        processors=[
            lambda _, __, entry: {**entry, "process": name},
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            describe_exception,
            truncate_values,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.WriteLoggerFactory(
            cast("TextIO", NonFailingStream(stream or sys.stderr))
        ),
    )
    # Who runs us has set up logs of its own: none of them is careful about what it tells.
    handlers: list[logging.Handler] = [_LibraryLogs(name)]
    logging.basicConfig(level=logging.ERROR, handlers=handlers, force=stream is not None)


def describe_exception(_: object, __: str, entry: LogEntry) -> Mapping[str, Any]:
    """Say of an exception what it is and where it came from.

    What it says itself only where it is ours or Redis's: any other may repeat what it choked
    on, and that may be a brief or a name.
    """
    error = entry.pop("exc_info", None)
    error = sys.exc_info()[1] if error is True else error
    error = error[1] if isinstance(error, tuple) else error
    if isinstance(error, BaseException):
        entry["error"] = type(error).__name__
        if isinstance(error, EarnestError | redis.RedisError):
            entry["said"] = str(error)
        entry["at"] = _frames(error.__traceback__)
    return entry


def _frames(traceback: TracebackType | None) -> list[str]:
    places = []
    while traceback is not None:
        code = traceback.tb_frame.f_code
        places.append(f"{code.co_filename}:{traceback.tb_lineno} {code.co_name}")
        traceback = traceback.tb_next
    return places[-MAX_FRAMES:]


def truncate_values(_: object, __: str, entry: LogEntry) -> Mapping[str, Any]:
    """Cut what is too long for a line."""
    return {
        key: value[:MAX_VALUE_LENGTH] + "…"
        if isinstance(value, str) and len(value) > MAX_VALUE_LENGTH
        else value
        for key, value in entry.items()
    }


class NonFailingStream:
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


def stop_on_signals() -> threading.Event:
    """Return an event that SIGTERM or SIGINT sets."""
    stopping = threading.Event()

    def stop(*_: Any) -> None:  # noqa: ANN401 - a signal handler's own arguments
        stopping.set()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    return stopping


def policy_in_force(settings: Settings) -> Policy:
    """Read the policy file, or take the defaults; raise `InvalidPolicy` or `SettingsError`."""
    if settings.policy is None:
        return Policy()
    try:
        text = settings.policy.read_bytes()
    except OSError as error:
        raise SettingsError(f"policy {settings.policy}: {error.strerror}") from None
    return read_policy(text)


MAX_LINKS = 128
"""Commands that the span of one batch is linked to: what the SDK keeps by default."""


OPENTELEMETRY_INSTALLED = (
    find_spec("opentelemetry") is not None and find_spec("opentelemetry.sdk") is not None
)


@contextmanager
def span(
    name: str,
    *,
    parent: str | None = None,
    links: Iterable[str] = (),
    attributes: Mapping[str, Any] | None = None,
) -> Iterator[str | None]:
    """Be a span for as long as something lasts; give the trace context of what follows from it.

    `parent` and `links` are W3C trace contexts. Without the SDK the parent is what is given.
    """
    if not OPENTELEMETRY_INSTALLED:
        yield parent
        return
    from opentelemetry import trace  # noqa: PLC0415 - it may not be there

    tracer = trace.get_tracer("earnest")
    span_links = [
        trace.Link(trace.get_current_span(_context(traceparent)).get_span_context())
        for traceparent in links
    ]
    with tracer.start_as_current_span(
        name,
        context=_context(parent),
        links=span_links[:MAX_LINKS],
        attributes=dict(attributes or {}),
    ) as current:
        span_context = current.get_span_context()
        yield _traceparent(span_context) if span_context.is_valid else parent


def _context(traceparent: str | None) -> Any:  # noqa: ANN401 - a type that may not be there
    from opentelemetry.trace.propagation import tracecontext  # noqa: PLC0415

    carrier = {"traceparent": traceparent} if traceparent else {}
    return tracecontext.TraceContextTextMapPropagator().extract(carrier)


def _traceparent(span: Any) -> str:  # noqa: ANN401
    return f"00-{span.trace_id:032x}-{span.span_id:016x}-{span.trace_flags:02x}"


MIN_INTERVAL_S = 0.008
"""From the beginning of one round with work to the next: a round costs some milliseconds, however
little it carries, so what comes in meanwhile goes together. Longer rounds are not held up."""


class RateLimiter:
    """Keeps the rounds of one loop apart. The first after a silence waits for nothing."""

    def __init__(self, interval_s: float = MIN_INTERVAL_S) -> None:
        """Begin as if there had been a silence."""
        self.interval_s, self.began_at, self.next_at = interval_s, 0.0, 0.0

    def wait(self) -> None:
        """Wait until the next round may begin; it begins on return."""
        rest_s = self.next_at - time.monotonic()
        if rest_s > 0:
            time.sleep(rest_s)
        self.began_at = time.monotonic()

    def note_work(self) -> None:
        """Note that there was something to do in this round."""
        self.next_at = self.began_at + self.interval_s
