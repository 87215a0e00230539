"""Servers: the real Redis and PostgreSQL that tests run against, each in a folder of its own."""

from __future__ import annotations

import itertools
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
import pytest
import redis
from psycopg import sql
from sqlalchemy import make_url

from ops.local.redis_server import start_redis
from workers.database.engine import open_database
from workers.database.migrations import migrate
from workers.settings import embedded_redis_url

SUPERUSER = "earnest"


@contextmanager
def running_redis(var: Path) -> Iterator[str]:
    """Run the embedded server under a folder; give its URL."""
    server = start_redis(var)
    try:
        yield embedded_redis_url(var)
    finally:
        server.stop()


def migrate_database(url: str) -> None:
    """Give a database its tables."""
    engine = open_database(url)
    migrate(engine)
    engine.dispose()


def empty_redis_at(url: str) -> str:
    with redis.Redis.from_url(url) as client:
        client.flushall()
    return url


@dataclass
class PostgresServer:
    """A PostgreSQL server that makes fresh databases; `folder` holds its socket and its data."""

    folder: Path
    numbers: Iterator[int] = field(default_factory=itertools.count)

    @contextmanager
    def database(self, encoding: str = "UTF8", like: str = "template0") -> Iterator[str]:
        """Create a database for one test and give its URL; drop it afterwards.

        It is a copy of the one called `like`, to which nobody may be connected.
        """
        name = f"test_{next(self.numbers)}"
        self.execute(f"CREATE DATABASE {{}} TEMPLATE {like} ENCODING '{encoding}'", name)
        try:
            yield self.url(name)
        finally:
            self.execute("DROP DATABASE {} WITH (FORCE)", name)

    @staticmethod
    def name(url: str) -> str:
        return make_url(url).database or ""

    def url(self, name: str) -> str:
        return f"postgresql+psycopg://{SUPERUSER}@/{name}?host={self.folder}"

    def execute(self, statement: str, name: str) -> None:
        conninfo = f"host={self.folder} user={SUPERUSER} dbname=postgres"
        with psycopg.connect(conninfo, autocommit=True) as connection:
            connection.execute(sql.SQL(statement).format(sql.Identifier(name)))


@contextmanager
def running_postgres() -> Iterator[PostgresServer]:
    """Run a server of our own on a socket of its own, with every safety it has left on."""
    binaries = postgres_binaries() or skip_or_fail("PostgreSQL (initdb, pg_ctl) is not installed")
    # Not below pytest's folder: that is closed to the user the server must run as.
    folder = Path(tempfile.mkdtemp(prefix="earnest-postgres-"))
    user = server_user()
    shutil.chown(folder, user)
    data = str(folder / "data")
    pg_ctl = [str(binaries / "pg_ctl"), "-D", data, "-w"]
    options = f"-c listen_addresses='' -c unix_socket_directories='{folder}' -c fsync=on"
    initdb = [str(binaries / "initdb"), "-D", data, "-U", SUPERUSER, "-A", "trust"]
    try:
        run_as(user, folder, [*initdb, "-E", "UTF8", "--locale=C", "--no-sync"])
        run_as(user, folder, [*pg_ctl, "-l", str(folder / "log"), "-o", options, "start"])
        try:
            yield PostgresServer(folder)
        finally:
            run_as(user, folder, [*pg_ctl, "-m", "fast", "stop"])
    finally:
        shutil.rmtree(folder)


def postgres_binaries() -> Path | None:
    """Find the newest PostgreSQL; Debian keeps its programs off PATH."""
    packaged = Path("/usr/lib/postgresql").glob("*/bin/initdb")
    initdb_paths = sorted(packaged, key=lambda path: int(path.parent.parent.name))
    if initdb_paths:
        return initdb_paths[-1].parent
    on_path = shutil.which("initdb")
    return Path(on_path).resolve().parent if on_path else None


def skip_or_fail(message: str) -> Path:
    """Skip at home, where a server is a favour; fail in CI, where it is the point."""
    if os.environ.get("CI"):
        pytest.fail(message)
    pytest.skip(message)


def server_user() -> str:
    """Choose who runs PostgreSQL, which refuses to run as root."""
    if os.geteuid() != 0:
        return pwd.getpwuid(os.geteuid()).pw_name
    user_names = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in user_names else "nobody"


def run_as(user: str, folder: Path, command: list[str]) -> None:
    """Run one of PostgreSQL's tools, and show what it said if it fails.

    Its output goes to a file: the server inherits it, and would keep a pipe open.
    """
    account = pwd.getpwnam(user)
    is_other_user = account.pw_uid != os.geteuid()
    with (folder / "tools.log").open("a+b") as out:
        completed_process = subprocess.run(
            command,
            cwd=folder,
            stdout=out,
            stderr=subprocess.STDOUT,
            check=False,
            user=account.pw_uid if is_other_user else None,
            group=account.pw_gid if is_other_user else None,
            extra_groups=[] if is_other_user else None,
        )
        out.seek(0)
        output = out.read().decode(errors="replace")
    assert completed_process.returncode == 0, f"{command[0]} failed:\n{output}"
