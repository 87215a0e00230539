"""Engine: SQLite or PostgreSQL, opened so that a commit is a promise; transactions and leases."""

from __future__ import annotations

import fcntl
import os
import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import IO, Any

import structlog
from sqlalchemy import Connection, Engine, Table, create_engine, event
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import make_url
from sqlalchemy.exc import (
    DBAPIError,
    IntegrityError,
    InterfaceError,
    OperationalError,
    SQLAlchemyError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeout

from models.errors import BrokenInvariant, Conflict, Unavailable
from workers.database import schema
from workers.database.locks import LockHolder, find_lock_holder, find_turn_holder, turn_path
from workers.timestamps import now_us

log = structlog.get_logger()


MAX_CONNECTIONS = 3
"""Connections a process may hold: one that writes, one that reads, one to spare."""


# PostgreSQL: serialization_failure, deadlock_detected, unique_violation;
# and the names of what SQLite finds when another writer came first.
_CONFLICTS = {"40001", "40P01", "23505"} | {
    "SQLITE_CONSTRAINT_UNIQUE",
    "SQLITE_CONSTRAINT_PRIMARYKEY",
}


# PostgreSQL: read_only_sql_transaction, which is a standby until it is promoted; and
# lock_not_available, where somebody who has fallen silent holds what we need.
_UNAVAILABLE = {"25006", "55P03"}


CACHE_KIB = 65_536
"""Pages of SQLite's that a connection keeps."""


WRITE_TIMEOUT_S = 15.0
"""How long a writer waits for SQLite's turn; whoever holds it for longer is stopped or stuck."""


READ_TIMEOUT_MS = 15_000
"""How long SQLite's readers wait, where somebody has locked even them out."""


PRIVATE_MODE = 0o600
"""What a file of the database lets its owner do, and nobody else, whatever the umask."""


LOCK_POLL_INTERVAL_S = 0.001


LOCK_NOTICE_S = 1.0
"""How long a writer waits before it says for whom: transactions of ours take milliseconds."""


def open_database(
    url: str, connections: int = MAX_CONNECTIONS, cache_kib: int = CACHE_KIB
) -> Engine:
    """Return an engine whose commits are durable; connects only when first used."""
    if make_url(url).get_backend_name() == "sqlite":
        engine = create_engine(
            url, pool_size=connections, max_overflow=0, pool_timeout=30, hide_parameters=True
        )
        event.listen(engine, "do_connect", _create_private)
        event.listen(engine, "connect", partial(_prepare_sqlite, cache_kib))
        event.listen(engine, "begin", _begin_sqlite)
        return engine
    return create_engine(
        url,
        pool_size=connections,
        max_overflow=0,
        pool_timeout=30,
        pool_pre_ping=False,
        hide_parameters=True,
        connect_args={
            "connect_timeout": 5,
            # Whatever PGCLIENTENCODING says: what people write must fit.
            "client_encoding": "utf8",
            # Nobody waits for ever: not for a lock, not for a server that has gone silent.
            # And nobody keeps the plan of a table that was empty when it was made.
            "options": "-c lock_timeout=5s -c idle_in_transaction_session_timeout=60s"
            " -c plan_cache_mode=force_custom_plan",
            "keepalives_idle": 5,
            "keepalives_interval": 2,
            "keepalives_count": 3,
            "tcp_user_timeout": 15_000,
        },
    )


def _create_private(_: object, __: object, arguments: Sequence[str], ___: object) -> None:
    """Create the file for its owner alone; SQLite gives the files beside it the same mode.

    Only one that is not there: to close a file that SQLite has open would drop its locks.
    """
    with suppress(OSError):
        os.close(os.open(arguments[0], os.O_RDWR | os.O_CREAT | os.O_EXCL, PRIVATE_MODE))


def _open_private(path: str, flags: int) -> int:
    return os.open(path, flags, PRIVATE_MODE)


def _prepare_sqlite(cache_kib: int, connection: Any, _: object) -> None:  # noqa: ANN401 - a driver's
    try:
        _set_pragmas(connection, cache_kib)
    except BaseException:
        # Nobody else knows of it yet.
        connection.close()
        raise


def _set_pragmas(connection: Any, cache_kib: int) -> None:  # noqa: ANN401 - a driver's
    # The driver's implicit BEGIN would come too late to be IMMEDIATE.
    connection.isolation_level = None
    for pragma in (
        "journal_mode = WAL",
        "synchronous = FULL",
        "foreign_keys = ON",
        f"busy_timeout = {READ_TIMEOUT_MS}",
        f"cache_size = -{cache_kib}",
        "temp_store = MEMORY",
        "wal_autocheckpoint = 4000",
    ):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Connection) -> None:
    # IMMEDIATE takes the write lock at once: what is read is still true when it is written.
    if only_reads(connection):
        connection.exec_driver_sql("BEGIN")
    else:
        _begin_writing(connection)


def _begin_writing(connection: Connection) -> None:
    """Begin once nobody else writes; say who does, where that is none of ours and takes long."""
    timeout_s = connection.get_execution_options().get("write_timeout_s", WRITE_TIMEOUT_S)
    give_up_at = time.monotonic() + timeout_s
    driver: Any = connection.connection.driver_connection
    driver.execute(f"PRAGMA busy_timeout = {round(1000 * min(timeout_s, LOCK_NOTICE_S))}")
    has_noticed = False
    try:
        while not _try_begin(connection):
            if time.monotonic() >= give_up_at:
                raise Unavailable(_lock_text(find_lock_holder(connection.engine)))
            if not has_noticed:
                has_noticed = True
                log.error(
                    "database.locked", because=_lock_text(find_lock_holder(connection.engine))
                )
    finally:
        # Where the connection was closed meanwhile there is nothing left to set.
        with suppress(sqlite3.ProgrammingError):
            driver.execute(f"PRAGMA busy_timeout = {READ_TIMEOUT_MS}")


def _try_begin(connection: Connection) -> bool:
    try:
        connection.exec_driver_sql("BEGIN IMMEDIATE")
    except OperationalError as error:
        if getattr(error.orig, "sqlite_errorname", "") != "SQLITE_BUSY":
            raise
        return False
    return True


def _lock_text(holder: LockHolder | None) -> str:
    return f"the database is locked by {holder or 'a program that cannot be seen from here'}"


def insert_new(connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert rows, passing over those whose key is there already."""
    if not rows:
        return
    if connection.dialect.name == "sqlite":
        connection.execute(sqlite.insert(table).on_conflict_do_nothing(), rows)
    else:
        connection.execute(postgresql.insert(table).on_conflict_do_nothing(), rows)


def has_one_writer(engine: Engine) -> bool:
    """Tell whether whoever writes keeps all others from writing anything: SQLite does."""
    return engine.dialect.name == "sqlite"


@contextmanager
def writing(engine: Engine, *, timeout_s: float = WRITE_TIMEOUT_S) -> Iterator[Connection]:
    """Open a transaction that commits at the end, or leaves no trace.

    Raise `Conflict` where another writer came first, `Unavailable` where the server is away, or
    SQLite's turn to write has not come within `timeout_s`.
    """
    writer = engine
    if timeout_s != WRITE_TIMEOUT_S:
        writer = engine.execution_options(write_timeout_s=timeout_s)
    try:
        with _write_lock(engine, timeout_s), writer.begin() as connection:
            yield connection
    except SQLAlchemyError as error:
        raise _translated(error) from error


@contextmanager
def _write_lock(engine: Engine, timeout_s: float) -> Iterator[None]:
    """Queue for SQLite's only writer: it would poll for its lock, sleeping up to 100 ms a time."""
    file = engine.url.database
    if not has_one_writer(engine) or file is None:
        yield
        return
    # Not `Path.open`: as cheap as it gets, per commit.
    with open(turn_path(file), "wb", opener=_open_private) as lock_file:
        began_at = time.monotonic()
        has_noticed = False
        while not _try_lock(lock_file):
            waited_s = time.monotonic() - began_at
            if waited_s > timeout_s:
                raise Unavailable(_lock_text(find_lock_holder(engine) or find_turn_holder(engine)))
            if waited_s > LOCK_NOTICE_S and not has_noticed:
                has_noticed = True
                holder = find_lock_holder(engine)
                if holder is not None and not holder.is_ours:
                    log.error("database.locked", because=_lock_text(holder))
            time.sleep(LOCK_POLL_INTERVAL_S)
        yield


def _try_lock(lock_file: IO[bytes]) -> bool:
    try:
        fcntl.flock(lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextmanager
def reading(engine: Engine, *, once: bool = False) -> Iterator[Connection]:
    """Open a transaction that sees one state of the database and changes nothing.

    `once` is for a single statement, which sees one state by itself: two trips less.
    """
    try:
        options: dict[str, Any] = {"reading": True}
        if engine.dialect.name == "postgresql":
            options["isolation_level"] = "AUTOCOMMIT" if once else "REPEATABLE READ"
        with engine.connect() as connection:
            yield connection.execution_options(**options)
    except SQLAlchemyError as error:
        raise _translated(error) from error


def only_reads(connection: Connection) -> bool:
    """Tell whether a connection is one of `reading`: whoever has it locks and moves nothing."""
    return bool(connection.get_execution_options().get("reading"))


def _translated(error: SQLAlchemyError) -> Exception:
    """Say in our words whether trying again will help."""
    if isinstance(error, PoolTimeout):
        return Unavailable(str(error))
    if isinstance(error, DBAPIError):
        code = getattr(error.orig, "sqlstate", None) or getattr(error.orig, "sqlite_errorname", "")
        if code in _CONFLICTS:
            return Conflict(_error_text(error))
        if isinstance(error, IntegrityError):
            return BrokenInvariant(_error_text(error))
        away = error.connection_invalidated or code in _UNAVAILABLE
        if away or isinstance(error, OperationalError | InterfaceError):
            return Unavailable(_error_text(error))
    return error


def _error_text(error: DBAPIError) -> str:
    """Return what the database said, in a line, without the rows it spoke of."""
    report = getattr(error.orig, "diag", None)
    primary = report.message_primary if report else None
    return str(primary or " ".join(str(error.orig).split()))


def hold_lease(engine: Engine, name: str, holder: str, length_us: int) -> bool:
    """Take or renew a lease; tell whether the holder has it now.

    A holder that sleeps through its lease may act once more when it wakes, so what a lease guards
    must survive that: it saves work, it does not protect money.
    """
    table, now = schema.leases, now_us()
    row = {"name": name, "holder": holder, "until": now + length_us}
    is_available = (table.c.holder == holder) | (table.c.until < now)
    take = table.update().where(table.c.name == name, is_available).values(row)
    with writing(engine) as connection:
        if connection.execute(take).rowcount:
            return True
        insert_new(connection, table, [row])
        lease = connection.execute(table.select().where(table.c.name == name)).one()
        return bool(lease.holder == holder)


def release_lease(engine: Engine, name: str, holder: str) -> None:
    """End a lease that is ours, so that the next in line need not wait for its end."""
    table = schema.leases
    is_own_lease = (table.c.name == name) & (table.c.holder == holder)
    with writing(engine) as connection:
        connection.execute(table.delete().where(is_own_lease))
