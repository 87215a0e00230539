"""Call counter: counts every call to the database and to Redis, and makes one of them fail."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import psycopg
import redis
from sqlalchemy import Engine, event


class FailureMode(StrEnum):
    """How a call fails: refused or lost, or with the process; before or after it took effect."""

    ERROR_BEFORE = "error before"
    ERROR_AFTER = "error after"
    DEATH_BEFORE = "death before"
    DEATH_AFTER = "death after"

    @property
    def after(self) -> bool:
        return self in (FailureMode.ERROR_AFTER, FailureMode.DEATH_AFTER)

    @property
    def kills_process(self) -> bool:
        return self in (FailureMode.DEATH_BEFORE, FailureMode.DEATH_AFTER)


class ProcessDied(BaseException):
    """The process ends here; no handler of ours may catch it."""


@dataclass(slots=True)
class CallCounter:
    """Counts calls and lets them through, but for the `at`-th, which fails in the given mode."""

    at: int = 0
    mode: FailureMode = FailureMode.ERROR_BEFORE
    calls: int = 0
    failed_call: str = ""
    calls_seen: list[str] = field(default_factory=list)

    def fail_call(self, at: int, mode: FailureMode) -> None:
        """Begin to count anew, and let the `at`-th call fail; 0 for none."""
        self.at, self.mode, self.calls, self.failed_call = at, mode, 0, ""
        self.calls_seen.clear()

    def count(self, call_name: str) -> bool:
        """Count a call; tell whether it is the one that fails."""
        self.calls += 1
        self.calls_seen.append(call_name)
        if self.calls != self.at:
            return False
        self.failed_call = call_name
        return True

    def watch_engine(self, engine: Engine) -> Engine:
        """Stand between SQLAlchemy and its driver."""
        event.listen(engine, "do_execute", self._execute)
        event.listen(engine, "do_executemany", self._execute_many)
        event.listen(engine, "do_execute_no_params", self._execute_bare)
        commit = engine.dialect.do_commit
        dialect: Any = engine.dialect

        def do_commit(connection: Any) -> None:  # noqa: ANN401 - the driver's own type
            self._around("COMMIT", connection.driver_connection, lambda: commit(connection))

        dialect.do_commit = do_commit
        return engine

    def _execute(self, cursor: Any, statement: str, parameters: Any, _: object) -> bool:  # noqa: ANN401
        driver_connection = cursor.connection
        self._around(statement, driver_connection, lambda: cursor.execute(statement, parameters))
        return True

    def _execute_many(self, cursor: Any, statement: str, parameters: Any, _: object) -> bool:  # noqa: ANN401
        driver_connection = cursor.connection
        self._around(
            statement, driver_connection, lambda: cursor.executemany(statement, parameters)
        )
        return True

    def _execute_bare(self, cursor: Any, statement: str, _: object) -> bool:  # noqa: ANN401
        self._around(statement, cursor.connection, lambda: cursor.execute(statement))
        return True

    def _around(self, call_name: str, connection: Any, call: Any) -> None:  # noqa: ANN401
        fails = self.count(call_name[:60])
        if fails and not self.mode.after:
            self._fail(connection)
        call()
        if fails:
            self._fail(connection)

    def _fail(self, connection: Any) -> None:  # noqa: ANN401
        if self.mode.kills_process:
            # What a dead process leaves behind: a transaction undone, a connection closed.
            if isinstance(connection, sqlite3.Connection):
                connection.rollback()
            connection.close()
            raise ProcessDied
        if isinstance(connection, sqlite3.Connection):
            raise sqlite3.OperationalError("disk I/O error")
        connection.close()
        raise psycopg.OperationalError("server closed the connection unexpectedly")

    def watch_redis(self, client: redis.Redis) -> redis.Redis:
        """Stand between redis-py and its socket."""
        pool: Any = client.connection_pool
        pool.connection_class = failing_connection_class(pool.connection_class, self)
        return client


def failing_connection_class(connection_class: type[Any], counter: CallCounter) -> type[Any]:
    """Make a class of connections whose commands are counted, and of which one fails."""

    class Failing(connection_class):  # type: ignore[misc]
        fails_on_response = False
        ready = False

        def on_connect_check_health(self, check_health: bool = True) -> None:  # noqa: FBT001, FBT002
            self.ready = False
            super().on_connect_check_health(check_health=check_health)
            self.ready = True

        def send_packed_command(self, command: Any, check_health: bool = True) -> None:  # noqa: ANN401, FBT001, FBT002
            # What redis-py says of its own accord when it connects is no call of ours.
            fails = self.ready and counter.count(_command_text(command))
            if fails and not counter.mode.after:
                self.fail()
            super().send_packed_command(command, check_health=check_health)
            self.fails_on_response = fails

        def read_response(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
            response = super().read_response(*args, **kwargs)
            if self.fails_on_response:
                self.fails_on_response = False
                self.fail()
            return response

        def fail(self) -> None:
            self.disconnect()
            if counter.mode.kills_process:
                raise ProcessDied
            raise redis.TimeoutError("no answer")

    return Failing


def _command_text(command: Any) -> str:  # noqa: ANN401 - what redis-py packed
    packed_bytes = b"".join(command) if isinstance(command, list) else bytes(command)
    return " ".join(packed_bytes[:80].decode(errors="replace").split())
