"""Fixtures: migrated databases, a store harness over each, and a connection to Redis."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import redis
import structlog
from sqlalchemy import Engine

from tests.support.store_harness import StoreHarness
from workers.database.engine import open_database
from workers.queue.redis import connect


@pytest.fixture(autouse=True, scope="session")
def _short_logs() -> None:
    """Log a line for a fault, not a picture of it."""
    structlog.configure(processors=[structlog.processors.JSONRenderer()])


@pytest.fixture
def engine(migrated_url: str) -> Iterator[Engine]:
    """Give a migrated database, once of each kind."""
    migrated_engine = open_database(migrated_url)
    yield migrated_engine
    migrated_engine.dispose()


@pytest.fixture
def sqlite_engine(migrated_sqlite_url: str) -> Iterator[Engine]:
    """Give a migrated SQLite database, where the kind of database is not the question."""
    migrated_engine = open_database(migrated_sqlite_url)
    yield migrated_engine
    migrated_engine.dispose()


@pytest.fixture
def harness(engine: Engine) -> StoreHarness:
    """Give a store harness over an empty database."""
    return StoreHarness(engine=engine)


@pytest.fixture
def redis_client(redis_url: str) -> Iterator[redis.Redis]:
    """Give a connection to an empty Redis."""
    client = connect(redis_url)
    yield client
    client.close()
