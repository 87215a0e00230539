"""Throughput: how fast a full queue runs dry, ours beside an empty actor on stock Dramatiq."""

from __future__ import annotations

import os
import sys
from bisect import bisect_right
from datetime import timedelta

from sqlalchemy import select

from bench import workload
from bench.measures.deadlines import arm
from bench.servers import (
    WARM_UP_SHARE,
    BenchServers,
    drain_rate,
    process_command,
    running_servers,
    wait_until_empty,
)
from workers.client import CommandClient
from workers.database import schema
from workers.database.engine import reading
from workers.queue.redis import COMMANDS, Keys
from workers.timestamps import SECOND_US

PREFETCH = "128"
"""Stock Dramatiq's prefetch for the yardstick: with its default it would look slower."""

EMPTY_THREADS = "8"


def empty_actor(messages: int, processes: int) -> float:
    """Return messages a second of an actor that does nothing, on stock Dramatiq."""
    with running_servers("sqlite") as servers:
        os.environ["BENCH_REDIS_URL"] = servers.settings.redis_url
        from bench.baselines.empty_actor import fill  # noqa: PLC0415 - its broker is made at import

        fill(servers.settings.redis_url, messages)
        program = [sys.executable, "-m", "dramatiq", "bench.baselines.empty_actor"]
        program += ["--skip-logging", "-p", str(processes), "-t", EMPTY_THREADS]
        url = servers.settings.redis_url
        with servers.running(program, BENCH_REDIS_URL=url, dramatiq_queue_prefetch=PREFETCH):
            return drain_rate(lambda: _length(servers, "dramatiq:empty.msgs"), messages)


def settle_rate(database: str, orders: int, per_message: int, processes: int) -> float:
    """Return commands a second that our workers settle, each commit durable."""
    with running_servers(database) as servers:
        return _settle_rate(servers, orders, per_message, processes)


def settle_rate_among(database: str, existing_orders: int, orders: int) -> float:
    """Return commands a second of two workers where so many orders are open already."""
    with running_servers(database) as servers:
        arm(servers, existing_orders, iter(lambda: timedelta(hours=20), None))
        return _settle_rate(servers, orders, 1, 2)


def _settle_rate(servers: BenchServers, orders: int, per_message: int, processes: int) -> float:
    """Settle a full queue; return the rate by what was recorded, the warm-up left out.

    Not by the queue's length: one batch may take thousands of commands out of it at once.
    """
    client = CommandClient(servers.redis)
    client.submit(workload.registration())
    client.submit_many(workload.orders(orders), per_message=per_message)
    with servers.running(*[process_command("worker")] * processes):
        wait_until_empty(lambda: _length(servers, Keys(COMMANDS).messages))
    table = schema.events
    query = select(table.c.recorded_at).where(table.c.type == "command.settled")
    with reading(servers.engine) as connection:
        instants: list[int] = sorted(connection.execute(query).scalars())
    warm_index = bisect_right(instants, instants[int(WARM_UP_SHARE * len(instants))])
    return (len(instants) - warm_index) * SECOND_US / (instants[-1] - instants[warm_index - 1])


def naive(database: str, orders: int, processes: int) -> float:
    """Return commands a second of an actor that settles each in a transaction of its own."""
    with running_servers(database) as servers:
        from bench.baselines.naive_actor import fill  # noqa: PLC0415 - its broker is made at import

        texts = [workload.registration(), *workload.orders(orders)]
        fill(servers.settings.redis_url, texts)
        program = [sys.executable, "-m", "dramatiq", "bench.baselines.naive_actor"]
        program += ["--skip-logging", "-p", str(processes), "-t", EMPTY_THREADS]
        url = servers.settings.redis_url
        with servers.running(program, BENCH_REDIS_URL=url, dramatiq_queue_prefetch=PREFETCH):
            return drain_rate(lambda: _length(servers, "dramatiq:naive.msgs"), len(texts))


def _length(servers: BenchServers, key: str) -> int:
    return int(servers.redis.hlen(key))
