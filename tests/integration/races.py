"""Races: the same instant for several threads, each with connections of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

from sqlalchemy import Engine

from workers.database.engine import open_database

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
