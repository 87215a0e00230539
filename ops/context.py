"""Context: the database and Redis, open for as long as a command of the command line runs."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import redis
from sqlalchemy import Engine

from models.errors import Unavailable
from ops import terminal
from ops.errors import UsageError
from workers.database.engine import CACHE_KIB, open_database
from workers.database.migrations import is_current
from workers.database.repository import Store
from workers.queries.reader import Reader
from workers.queue.redis import connect
from workers.queue.watermark import ArrivalClock
from workers.runtime import policy_in_force
from workers.settings import Settings, redis_socket
from workers.timestamps import from_us, now_us


@contextmanager
def open_reader(settings: Settings, cache_kib: int = CACHE_KIB) -> Iterator[Reader]:
    """Open the database for reading, and leave no connection behind.

    Raise `UsageError` where there is no database yet, or one that was never prepared.
    """
    engine = open_database(settings.database_url, cache_kib=cache_kib)
    try:
        _require_prepared(engine, settings)
        yield Reader(Store(engine, policy_in_force(settings)))
    finally:
        engine.dispose()


def _require_prepared(engine: Engine, settings: Settings) -> None:
    file = engine.url.database or ""
    # Looking must not create what it looks for.
    if settings.embedded_database and not Path(file).exists():
        raise UsageError(f"no database at {file} yet: `earnest up` or `earnest demo` begins")
    if not is_current(engine):
        raise UsageError(
            "the database is not prepared: `earnest migrate` does it, `earnest up` too"
        )


@contextmanager
def open_redis(settings: Settings) -> Iterator[redis.Redis]:
    """Open a connection to Redis; raise `UsageError` where it is ours to start and was not started.

    Only for what cannot be done without it: what can uses `connect`, which asks for nothing yet.
    """
    socket = redis_socket(settings.var)
    if settings.embedded_redis and not socket.exists():
        raise UsageError(f"Redis is not there, at {socket}: `earnest up` starts it")
    with connect(settings.redis_url) as redis_client:
        yield redis_client


def now_and_watermark(clock: ArrivalClock) -> tuple[datetime, datetime | None]:
    """Return what time it is where that is decided, and until when everything is settled.

    While Redis is away the time is this host's, and the watermark is None.
    """
    try:
        return clock.now(), clock.watermark()
    except Unavailable as error:
        # On stderr: what follows may be read by a program.
        print(f"by this host's clock: {terminal.without_controls(str(error))}", file=sys.stderr)
        return from_us(now_us()), None
