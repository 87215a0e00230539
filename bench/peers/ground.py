"""Ground: the table and the three steps that every peer carries out, one transaction each."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import Any

import psycopg

SCHEMA = """
CREATE TABLE peer_orders (order_id bigint PRIMARY KEY, state text NOT NULL, held bigint NOT NULL);
CREATE TABLE peer_steps (step text PRIMARY KEY, order_id bigint NOT NULL, fen bigint NOT NULL);
"""


def prepare(dsn: str) -> None:
    """Create the tables."""
    with psycopg.connect(dsn) as connection:
        connection.execute(SCHEMA)


def place(connection: psycopg.Connection[Any], number: int) -> None:
    """Place one order, once."""
    if _record_step(connection, f"place_{number}", number, 0):
        connection.execute("INSERT INTO peer_orders VALUES (%s, 'offered', 0)", (number,))


def move(connection: psycopg.Connection[Any], number: int, to: str, fen: int) -> None:
    """Move one order on, once: the row is locked, the step is noted, the money is counted."""
    row = "SELECT state FROM peer_orders WHERE order_id = %s FOR UPDATE"
    connection.execute(row, (number,)).fetchone()
    if _record_step(connection, f"{to}_{number}", number, fen):
        change = "UPDATE peer_orders SET state = %s, held = held + %s WHERE order_id = %s"
        connection.execute(change, (to, fen, number))


def _record_step(connection: psycopg.Connection[Any], step: str, number: int, fen: int) -> bool:
    note = "INSERT INTO peer_steps VALUES (%s, %s, %s) ON CONFLICT DO NOTHING"
    return connection.execute(note, (step, number, fen)).rowcount == 1


def step_counter(dsn: str) -> Callable[[], int]:
    """Return a function that counts the steps taken so far."""
    connection = psycopg.connect(dsn, autocommit=True)

    def count() -> int:
        row = connection.execute("SELECT count(*) FROM peer_steps").fetchone()
        return int(row[0]) if row else 0

    return count


def step_rate(count: Callable[[], int], total: int) -> float:
    """Return steps a second until all are taken, the first tenth left out."""
    warm_start: tuple[float, int] | None = None
    until = time.monotonic() + 300
    while (steps_done := count()) < total and time.monotonic() < until:
        if warm_start is None and steps_done >= total / 10:
            warm_start = (time.monotonic(), steps_done)
        time.sleep(0.05)
    start, steps_at_start = warm_start or (time.monotonic() - 0.05, 0)
    return (steps_done - steps_at_start) / (time.monotonic() - start)


def print_result(version: str, steps_per_s: float) -> None:
    """Print the result as the last line."""
    print(json.dumps({"version": version, "commands_per_s": round(steps_per_s, 1)}))
    sys.stdout.flush()
