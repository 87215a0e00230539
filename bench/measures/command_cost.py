"""Command cost: where the time of one command goes, and what the database alone would take.

The same commands are settled in this process, without a broker, and the statements that this took
are then carried out once more by themselves, in the same transactions: that is the floor.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from typing import Any, TypeVar

import structlog
from sqlalchemy import Engine, event

from bench import workload
from bench.servers import BenchServers, running_servers
from models.policy import Policy
from workers.database.engine import writing
from workers.database.repository import Store
from workers.processing.processor import MAX_COMMIT, BatchProcessor
from workers.queue.messages import Received
from workers.queue.watermark import ArrivalClock

T = TypeVar("T")
WRITES = ("INSERT", "UPDATE", "DELETE")
CRITICAL_LEVEL = 50

Transaction = list[tuple[str, Any]]


def figures(database: str, orders: int) -> dict[str, float]:
    """Settle orders in full batches; return microseconds a command, and commands a second.

    `settle_us` is everything but the broker, of which `parse_us` happens before a transaction
    begins and `engine_us` is what the written statements and their commits take by themselves.
    """
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(CRITICAL_LEVEL))
    texts = [workload.registration(), *workload.orders(orders)]
    now = datetime.now(UTC)

    def batches() -> list[list[Received]]:
        """Make them anew: each is parsed once."""
        received = [Received(text, now, stamp, "bench") for stamp, text in enumerate(texts, 1)]
        return [received[n : n + MAX_COMMIT] for n in range(0, len(received), MAX_COMMIT)]

    transactions: list[Transaction] = []
    with running_servers(database) as servers:
        processor = _processor(servers)
        with recording(servers.engine, transactions):
            settle_us = _timed(processor.settle, batches())
    parse_us = _timed(lambda batch: [received.parsed for received in batch], batches())
    with running_servers(database) as servers:
        engine_us = _timed(partial(_execute, servers.engine), transactions)
    per_command = {"settle": settle_us, "parse": parse_us, "engine": engine_us}
    averages = {
        f"{name}_us": round(took_us / len(texts), 1) for name, took_us in per_command.items()
    }
    return averages | {"engine_per_s": round(1e6 * len(texts) / engine_us)}


def _processor(servers: BenchServers) -> BatchProcessor:
    store = Store(servers.engine, Policy())
    store.adopt_policy()
    return BatchProcessor(store, ArrivalClock(servers.redis, servers.engine), lambda: None)


def _timed(step: Callable[[T], object], items: Sequence[T]) -> float:
    """Take a step with one item after the other; return all microseconds, garbage left alone."""
    gc.collect()
    gc.freeze()
    gc.disable()
    began = time.perf_counter()
    for item in items:
        step(item)
    took = time.perf_counter() - began
    gc.enable()
    gc.unfreeze()
    return took * 1e6


@contextmanager
def recording(engine: Engine, transactions: list[Transaction]) -> Iterator[None]:
    """Keep what is written through an engine, transaction by transaction."""

    def begin(_: object) -> None:
        transactions.append([])

    def note(*event_args: Any) -> None:  # noqa: ANN401 - what SQLAlchemy says of a statement
        _, __, statement, parameters, *___ = event_args
        if statement.startswith(WRITES):
            transactions[-1].append((statement, parameters))

    event.listen(engine, "begin", begin)
    event.listen(engine, "before_cursor_execute", note)
    yield
    event.remove(engine, "begin", begin)
    event.remove(engine, "before_cursor_execute", note)


def _execute(engine: Engine, transaction: Transaction) -> None:
    with writing(engine) as connection:
        for statement, parameters in transaction:
            connection.exec_driver_sql(statement, parameters)
