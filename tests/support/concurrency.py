"""Concurrency: wait for another process or thread, and let several act at one instant."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

from sqlalchemy import Engine

from workers.database.engine import open_database

# As long as a machine may take that computes for others; a healthy one is done in a fraction of it.
TIMEOUT_S = 60.0

POLL_INTERVAL_S = 0.01


def eventually(condition: Callable[[], object], timeout_s: float = TIMEOUT_S) -> None:
    """Poll until a condition holds; fail if it does not in time."""
    wait_until(condition, timeout_s)


def wait_until(condition: Callable[[], object], timeout_s: float = TIMEOUT_S) -> float:
    """Poll until another process has made a condition true; return the monotonic instant, in s."""
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline_s, "it never became true"
        time.sleep(POLL_INTERVAL_S)
    return time.monotonic()


T = TypeVar("T")


def at_once(*actions: Callable[[], T]) -> list[T]:
    """Run actions in threads that start together; return what they return, or raise it."""
    barrier = threading.Barrier(len(actions))

    def run(action: Callable[[], T]) -> T:
        barrier.wait()
        return action()

    with ThreadPoolExecutor(len(actions)) as pool:
        return list(pool.map(run, actions))


@contextmanager
def engines_for(engine: Engine, number: int) -> Iterator[list[Engine]]:
    """Open a database several times over, as that many processes would."""
    url = engine.url.render_as_string(hide_password=False)
    engines = [open_database(url) for _ in range(number)]
    try:
        yield engines
    finally:
        for opened_engine in engines:
            opened_engine.dispose()
