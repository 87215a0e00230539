"""Strangers: other sessions, programs and senders, who hold what we need or are in the way."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import ExitStack, suppress
from random import Random
from subprocess import Popen

from sqlalchemy import Connection, text
from sqlalchemy.exc import OperationalError

from tests.fault.bad_messages import forged_command
from tests.fault.processes.stack import FaultStack
from tests.support.concurrency import wait_until
from tests.support.programs.foreign_writer import foreign_writer
from workers.database.engine import reading
from workers.queue.messages import wrap
from workers.queue.redis import COMMANDS, Keys, Scripts

LATEST_ORDERS = text(
    "SELECT order_id FROM orders WHERE ended_at IS NULL ORDER BY placed_at DESC LIMIT :number"
    " FOR UPDATE"
)


def hold_rows(number: int) -> Callable[[FaultStack, Random], None]:
    """Hold the rows of so many orders that people are busy with, longer than their windows."""

    def inject(stack: FaultStack, rng: Random) -> None:
        with stack.engine.connect() as session:

            def holds_some() -> bool:
                # On a busy machine there may be no order yet, or none still open.
                session.rollback()
                return bool(session.execute(LATEST_ORDERS, {"number": number}).all())

            wait_until(holds_some)
            stack.sender.stopping.wait(rng.uniform(2.0, 5.0))
            session.rollback()

    return inject


def lock_sqlite(stack: FaultStack, rng: Random) -> None:
    """Keep another program in a transaction that writes, for seconds."""
    with foreign_writer(str(stack.engine.url.database)):
        stack.sender.stopping.wait(rng.uniform(2.0, 6.0))


FLOOD_MESSAGES, FLOOD_ITEMS = 20, 100


def flood_unsigned(stack: FaultStack, _: Random) -> None:
    """Enqueue thousands of commands that nobody has signed, in good order otherwise."""
    texts = [forged_command()] * FLOOD_ITEMS
    messages = [
        wrap(COMMANDS, texts, message_id=f"bad-{stack.bad_message_count + n}")
        for n in range(FLOOD_MESSAGES)
    ]
    stack.bad_message_count += len(messages)
    Scripts(stack.redis_client).enqueue(Keys(COMMANDS), messages)


HOGS, HOG_S = 3, 10.0


def hog_processors(stack: FaultStack, _: Random) -> None:
    """Run programs that do nothing but compute, more of them than most machines have cores."""
    with ExitStack() as exit_stack:
        for _number in range(HOGS):
            process = exit_stack.enter_context(Popen([sys.executable, "-c", "while True: pass"]))
            exit_stack.callback(process.kill)
        stack.sender.stopping.wait(HOG_S)


DEADLOCKS = 6
"""More than the attempts that a worker makes with a batch before it takes it apart."""

WRITER_AT_THE_DOOR = text(
    "SELECT 1 FROM pg_locks wanted JOIN pg_locks taken USING (pid)"
    " WHERE wanted.relation = 'events'::regclass AND NOT wanted.granted"
    " AND taken.relation = 'orders'::regclass AND taken.mode = 'RowExclusiveLock' AND taken.granted"
)


def deadlock(stack: FaultStack, _: Random) -> None:
    """Lock tables the other way round than workers do: PostgreSQL ends their transactions."""
    deadlock_count = 0
    for _number in range(2 * DEADLOCKS):
        with suppress(OperationalError), stack.engine.begin() as session:
            _deadlock(stack, session)
            deadlock_count += 1
        if deadlock_count == DEADLOCKS:
            return
    raise AssertionError(f"only {deadlock_count} transactions came to a deadlock")


def _deadlock(stack: FaultStack, session: Connection) -> None:
    """Wait for a worker that waits for us; raise `OperationalError` where we are who must end."""

    def is_writer_waiting() -> bool:
        with reading(stack.engine) as connection:
            return connection.execute(WRITER_AT_THE_DOOR).first() is not None

    session.execute(text("LOCK TABLE events IN SHARE MODE"))
    wait_until(is_writer_waiting)
    session.execute(text("LOCK TABLE orders IN SHARE MODE"))
