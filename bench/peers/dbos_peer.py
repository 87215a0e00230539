"""DBOS: one durable workflow an order, which waits 24 h for an answer and 7 d for the balance."""

from __future__ import annotations

import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from typing import Any

import ground
from dbos import DBOS
from psycopg_pool import ConnectionPool

DSN = os.environ.get("PEER_DSN", "")
DAY_S = 86_400
pool: ConnectionPool[Any] = ConnectionPool(DSN, min_size=1, max_size=8, open=False)


@DBOS.step()
def place(number: int) -> None:
    """Place an order."""
    with pool.connection() as connection:
        ground.place(connection, number)


@DBOS.step()
def move(number: int, to: str, fen: int) -> None:
    """Move an order on."""
    with pool.connection() as connection:
        ground.move(connection, number, to, fen)


@DBOS.workflow()
def live(number: int) -> None:
    """Live an order's life: expire or forfeit where nobody answers in time."""
    place(number)
    answer = DBOS.recv("answer", timeout_seconds=DAY_S)
    move(number, "accepted" if answer else "expired", 0)
    paid = answer and DBOS.recv("balance", timeout_seconds=7 * DAY_S)
    move(number, "funded" if paid else "forfeited", 105_000 if paid else 0)


def main(orders: int) -> None:
    """Start every order, answer and pay for each, and wait for all of them."""
    ground.prepare(DSN)
    DBOS(
        config={
            "name": "peer",
            "system_database_url": DSN,
            "log_level": "ERROR",
            "max_executor_threads": orders + 16,
        }
    )
    pool.open()
    DBOS.launch()
    began = time.monotonic()
    handles = [DBOS.start_workflow(live, number) for number in range(orders)]

    def drive(handle: Any) -> None:  # noqa: ANN401 - DBOS's own handle
        DBOS.send(handle.workflow_id, "accept", "answer")
        DBOS.send(handle.workflow_id, "paid", "balance")

    with ThreadPoolExecutor(8) as senders:
        list(senders.map(drive, handles))
    for handle in handles:
        handle.get_result()
    ground.print_result(f"dbos {version('dbos')}", 3 * orders / (time.monotonic() - began))
    DBOS.destroy()


if __name__ == "__main__":
    main(int(sys.argv[1]))
