"""Procrastinate: three jobs in PostgreSQL, one transaction each, on the same database."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import version
from typing import Any

import ground
import procrastinate
from psycopg_pool import ConnectionPool

DSN = os.environ.get("PEER_DSN", "")
app = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=DSN))
pool: ConnectionPool[Any] = ConnectionPool(DSN, min_size=1, max_size=8, open=False)


@app.task(queue="peer")
def place(number: int) -> None:
    """Place an order."""
    with pool.connection() as connection:
        ground.place(connection, number)


@app.task(queue="peer")
def move(number: int, to: str, fen: int) -> None:
    """Move an order on."""
    with pool.connection() as connection:
        ground.move(connection, number, to, fen)


def work() -> None:
    """Run one worker process."""
    pool.open()
    app.run_worker(queues=["peer"], concurrency=8, install_signal_handlers=True)


def main(orders: int) -> None:
    """Fill the queue in three waves, start two processes, and watch it run dry."""
    ground.prepare(DSN)
    sync = procrastinate.SyncPsycopgConnector(conninfo=DSN)
    with app.replace_connector(sync) as filling, filling.open():
        filling.schema_manager.apply_schema()
        place.batch_defer(*({"number": number} for number in range(orders)))
        for to, fen in (("accepted", 0), ("funded", 105_000)):
            move.batch_defer(*({"number": n, "to": to, "fen": fen} for n in range(orders)))
    workers = [subprocess.Popen([sys.executable, __file__, "work"]) for _ in range(2)]
    try:
        rate = ground.step_rate(ground.step_counter(DSN), 3 * orders)
        ground.print_result(f"procrastinate {version('procrastinate')}", rate)
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()


if __name__ == "__main__":
    work() if sys.argv[1] == "work" else main(int(sys.argv[1]))
