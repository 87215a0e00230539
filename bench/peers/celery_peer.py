"""Celery: three tasks on Redis, one PostgreSQL transaction each, acknowledged late."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import cache
from typing import Any

import celery
import ground
import psycopg

DSN = os.environ.get("PEER_DSN", "")
app = celery.Celery("peer", broker=os.environ.get("PEER_REDIS", "memory://"))
app.conf.update(
    task_acks_late=True,
    task_ignore_result=True,
    worker_prefetch_multiplier=64,
    broker_connection_retry_on_startup=True,
)


@cache
def connection() -> psycopg.Connection[Any]:
    """Connect once a process."""
    return psycopg.connect(DSN)


@app.task(name="peer.place")
def place(number: int) -> None:
    """Place an order."""
    with connection().transaction():
        ground.place(connection(), number)


@app.task(name="peer.move", max_retries=None, default_retry_delay=0.1)
def move(number: int, to: str, fen: int) -> None:
    """Move an order on."""
    with connection().transaction():
        ground.move(connection(), number, to, fen)


def main(orders: int) -> None:
    """Fill the queue in three waves, start two processes, and watch it run dry."""
    ground.prepare(DSN)
    for number in range(orders):
        place.delay(number)
    for to, fen in (("accepted", 0), ("funded", 105_000)):
        for number in range(orders):
            move.delay(number, to, fen)
    command = [sys.executable, "-m", "celery", "-A", "celery_peer", "worker"]
    command += ["-c", "2", "-l", "error"]
    # Its banner goes where people look: our output is the figure.
    worker = subprocess.Popen(command, stdout=sys.stderr)
    try:
        ground.print_result(
            f"celery {celery.__version__}", ground.step_rate(ground.step_counter(DSN), 3 * orders)
        )
    finally:
        worker.terminate()
        worker.wait()


if __name__ == "__main__":
    main(int(sys.argv[1]))
