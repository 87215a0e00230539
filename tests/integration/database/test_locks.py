"""Locks: another program that keeps SQLite's only writer from writing is named at once."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import redis
import structlog
from sqlalchemy import Engine, select
from structlog.typing import EventDict

from models.errors import Unavailable
from ops.web.routes.metrics import queue_gauges
from tests.support.concurrency import eventually
from tests.support.programs.foreign_writer import BEGIN, foreign_writer
from workers.database.engine import WRITE_TIMEOUT_S, insert_new, reading, writing
from workers.database.locks import find_lock_holder, find_turn_holder
from workers.database.schema import leases
from workers.queries import monitoring

# SQLite keeps readers out, too, while whoever says so has the file open.
SHUT_OUT = ("PRAGMA locking_mode = EXCLUSIVE", BEGIN, "DELETE FROM leases")

NO_TIME_S = 0.01


def database_of(engine: Engine) -> str:
    return str(engine.url.database)


def write(engine: Engine, timeout_s: float = WRITE_TIMEOUT_S) -> None:
    with writing(engine, timeout_s=timeout_s) as connection:
        insert_new(connection, leases, [{"name": "any", "holder": "nobody", "until": 0}])


@contextmanager
def writing_elsewhere(engine: Engine) -> Iterator[None]:
    """Let another thread have the turn to write, as another process of ours would."""
    has_begun, may_end = threading.Event(), threading.Event()

    def keep_the_turn() -> None:
        with writing(engine):
            has_begun.set()
            may_end.wait()

    thread = threading.Thread(target=keep_the_turn)
    thread.start()
    has_begun.wait()
    try:
        yield
    finally:
        may_end.set()
        thread.join()


@pytest.mark.parametrize("statements", [(BEGIN,), (BEGIN, "DELETE FROM leases"), SHUT_OUT])
def test_another_program_that_has_locked_the_file_is_named(
    sqlite_engine: Engine, statements: tuple[str, ...]
) -> None:
    assert find_lock_holder(sqlite_engine) is None
    with foreign_writer(database_of(sqlite_engine), *statements) as process:
        holder = find_lock_holder(sqlite_engine)
        assert holder is not None
        assert (holder.pid, holder.is_ours) == (process.pid, False)
        assert "foreign_writer" in holder.command
    assert find_lock_holder(sqlite_engine) is None


def test_another_program_that_only_reads_is_not_named(sqlite_engine: Engine) -> None:
    with foreign_writer(database_of(sqlite_engine), "BEGIN", "SELECT * FROM leases"):
        assert find_lock_holder(sqlite_engine) is None
        with writing(sqlite_engine, timeout_s=NO_TIME_S) as connection:
            connection.execute(leases.delete())


def test_whoever_writes_in_turn_is_one_of_ours(sqlite_engine: Engine) -> None:
    assert find_turn_holder(sqlite_engine) is None
    with writing_elsewhere(sqlite_engine):
        holder = find_lock_holder(sqlite_engine)
        assert holder is not None
        assert holder.is_ours
        assert find_turn_holder(sqlite_engine) == holder
        with pytest.raises(Unavailable, match=f"locked by pid {holder.pid} "):
            write(sqlite_engine, timeout_s=NO_TIME_S)


def names_logged(logs: list[EventDict]) -> list[str]:
    entries = [entry for entry in logs if entry["event"] == "database.locked"]
    assert {entry["log_level"] for entry in entries} <= {"error"}
    return [str(entry["because"]) for entry in entries]


def test_whoever_gives_up_says_for_whom_it_waited(sqlite_engine: Engine) -> None:
    with (
        foreign_writer(database_of(sqlite_engine)) as process,
        pytest.raises(Unavailable) as raised,
    ):
        write(sqlite_engine, timeout_s=NO_TIME_S)
    assert f"locked by pid {process.pid} (" in str(raised.value)
    write(sqlite_engine, timeout_s=NO_TIME_S)


def test_whoever_waits_says_for_whom_and_goes_on_when_the_lock_is_gone(
    sqlite_engine: Engine,
) -> None:
    in_front, behind = (threading.Thread(target=write, args=[sqlite_engine]) for _ in range(2))
    with structlog.testing.capture_logs() as logs:
        with foreign_writer(database_of(sqlite_engine)) as process:
            in_front.start()
            eventually(lambda: find_turn_holder(sqlite_engine))
            behind.start()
            eventually(lambda: len(names_logged(logs)) == len([in_front, behind]))
        for thread in (in_front, behind):
            thread.join()
    assert all(f"pid {process.pid} (" in name for name in names_logged(logs))
    with reading(sqlite_engine) as connection:
        holders = connection.execute(select(leases.c.holder)).scalars().all()
    assert holders == ["nobody"]


def test_readers_are_not_kept(sqlite_engine: Engine) -> None:
    with foreign_writer(database_of(sqlite_engine)), reading(sqlite_engine) as connection:
        assert connection.execute(leases.select()).all() == []


def test_a_locked_database_is_told_by_status_and_metric(
    sqlite_engine: Engine, redis_client: redis.Redis
) -> None:
    def is_locked() -> float:
        snapshot = monitoring.queue_status(sqlite_engine, redis_client)
        samples = [sample for family in queue_gauges(snapshot) for sample in family.samples]
        (sample,) = [sample for sample in samples if sample.name == "earnest_database_locked"]
        return float(sample.value)

    with foreign_writer(database_of(sqlite_engine)) as process:
        locked_by = monitoring.queue_status(sqlite_engine, redis_client)["locked_by"]
        assert locked_by.startswith(f"pid {process.pid} (")
        assert is_locked() == 1
    with writing_elsewhere(sqlite_engine):
        assert is_locked() == 0
