"""Opened: books and wire, open for as long as one word of the command line needs them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import redis

from ops.refused import Refused
from ops.show import reader
from workers.database.engine import CACHE_KIB
from workers.queries.reader import Reader
from workers.queue.redis import connect
from workers.settings import Settings, redis_socket


@contextmanager
def books(settings: Settings, cache_kib: int = CACHE_KIB) -> Iterator[Reader]:
    """Open the database for reading, and leave no connection behind; raise as `show.reader`."""
    source = reader(settings, cache_kib)
    try:
        yield source
    finally:
        source.store.engine.dispose()


@contextmanager
def wire(settings: Settings) -> Iterator[redis.Redis]:
    """Open a connection to Redis; refuse where it is ours to start and was not started."""
    socket = redis_socket(settings.var)
    if settings.embedded_redis and not socket.exists():
        raise Refused(f"Redis is not there, at {socket}: `earnest up` starts it")
    with connect(settings.redis_url) as client:
        yield client
