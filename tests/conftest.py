"""Fixtures: fresh databases, an empty Redis, and the servers that hold them."""

from __future__ import annotations

import shutil
import signal
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.support import servers


def pytest_configure() -> None:
    """Restore the default handling of the signals that a shell ignores for background jobs.

    What is ignored here every process would inherit, and some tests are about being told to stop.
    """
    for signal_number, default_handler in (
        (signal.SIGINT, signal.default_int_handler),
        (signal.SIGHUP, signal.SIG_DFL),
    ):
        if signal.getsignal(signal_number) is signal.SIG_IGN:
            signal.signal(signal_number, default_handler)


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Run one embedded Redis server for all tests; give its URL."""
    with servers.running_redis(tmp_path_factory.mktemp("redis")) as url:
        yield url


@pytest.fixture
def redis_url(redis_server: str) -> str:
    """Give a Redis server with nothing in it."""
    return servers.empty_redis_at(redis_server)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[servers.PostgresServer]:
    """Run one PostgreSQL server for all tests; skip at home if there is none to run."""
    with servers.running_postgres() as postgres:
        yield postgres


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """Give a SQLite database that does not exist yet."""
    return f"sqlite:///{tmp_path / 'earnest.db'}"


@pytest.fixture
def postgresql_url(postgres_server: servers.PostgresServer) -> Iterator[str]:
    """Give an empty PostgreSQL database."""
    with postgres_server.database() as url:
        yield url


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def database_url(request: pytest.FixtureRequest) -> str:
    """Give an empty database, once of each kind: what holds must hold on both."""
    url: str = request.getfixturevalue(f"{request.param}_url")
    return url


@pytest.fixture(scope="session")
def sqlite_blueprint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Migrate one SQLite database; whoever needs one like it takes a copy."""
    path = tmp_path_factory.mktemp("blueprint") / "earnest.db"
    servers.migrate_database(f"sqlite:///{path}")
    with closing(sqlite3.connect(path)) as connection:
        # A copy of the file alone is a copy of the database.
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return path


@pytest.fixture
def migrated_sqlite_url(sqlite_blueprint: Path, tmp_path: Path) -> str:
    """Give a SQLite database with tables, and nothing in them."""
    path = shutil.copy(sqlite_blueprint, tmp_path / "earnest.db")
    return f"sqlite:///{path}"


@pytest.fixture(scope="session")
def postgresql_blueprint(postgres_server: servers.PostgresServer) -> Iterator[str]:
    """Migrate one PostgreSQL database; name it for whoever needs one like it."""
    with postgres_server.database() as url:
        servers.migrate_database(url)
        yield postgres_server.name(url)


@pytest.fixture
def migrated_postgresql_url(
    postgres_server: servers.PostgresServer, postgresql_blueprint: str
) -> Iterator[str]:
    """Give a PostgreSQL database with tables, and nothing in them."""
    with postgres_server.database(like=postgresql_blueprint) as url:
        yield url


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def migrated_url(request: pytest.FixtureRequest) -> str:
    """Give a migrated database, once of each kind; migrating costs more than most tests."""
    url: str = request.getfixturevalue(f"migrated_{request.param}_url")
    return url
