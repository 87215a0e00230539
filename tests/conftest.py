"""Fixtures: fresh databases and an empty Redis for whoever asks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import servers


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Run one embedded Redis server for all tests; give its URL."""
    with servers.running_redis(tmp_path_factory.mktemp("redis")) as url:
        yield url


@pytest.fixture
def redis_url(redis_server: str) -> str:
    """Give a Redis server with nothing in it."""
    return servers.emptied(redis_server)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[servers.Postgres]:
    """Run one PostgreSQL server for all tests; skip at home if there is none to run."""
    with servers.running_postgres() as postgres:
        yield postgres


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """Give a SQLite database that does not exist yet."""
    return f"sqlite:///{tmp_path / 'earnest.db'}"


@pytest.fixture
def postgresql_url(postgres_server: servers.Postgres) -> Iterator[str]:
    """Give an empty PostgreSQL database."""
    with postgres_server.database() as url:
        yield url


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def database_url(request: pytest.FixtureRequest) -> str:
    """Give an empty database, once of each kind: what holds must hold on both."""
    url: str = request.getfixturevalue(f"{request.param}_url")
    return url
