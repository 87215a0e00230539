"""Throughput: how fast a full queue runs dry, ours beside an empty actor on stock Dramatiq.

Every process is started, and has worked, before it is stopped for as long as it takes to fill the
queue; the clock starts when it goes on. So a short run tells the same as a long one.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from functools import partial

from sqlalchemy import func, select

from bench import workload
from bench.measures.deadlines import arm
from bench.servers import (
    BenchServers,
    process_command,
    running_servers,
    stopped,
    wait_for,
    wait_until_empty,
)
from workers.client import CommandClient
from workers.database import schema
from workers.database.engine import reading
from workers.queue.redis import COMMANDS, WORKERS_KEY, Keys
from workers.timestamps import SECOND_US, now_us

PREFETCH = "128"
"""Stock Dramatiq's prefetch for the yardstick: with its default it would look slower."""

EMPTY_THREADS = "8"


WARM_UP_SHARE = 0.1
"""How much of the work is done beforehand, as warm-up, and not counted."""

WARM_UP_FIRST = 50_000_000
"""The first order of the warm-up: its ids are nobody else's."""

Orders = Callable[..., Iterator[str]]


def empty_actor(messages: int, processes: int) -> float:
    """Return messages a second of an actor that does nothing, on stock Dramatiq."""
    with running_servers("sqlite") as servers:
        os.environ["BENCH_REDIS_URL"] = servers.settings.redis_url
        from bench.baselines.empty_actor import fill  # noqa: PLC0415 - its broker is made at import

        url = servers.settings.redis_url
        fills = [partial(fill, url, count) for count in (_share(messages), messages)]
        return messages / _stock_drain_s(servers, "empty", processes, fills)


def naive(database: str, orders: int, processes: int) -> float:
    """Return commands a second of an actor that settles each in a transaction of its own."""
    with running_servers(database) as servers:
        from bench.baselines.naive_actor import fill  # noqa: PLC0415 - its broker is made at import

        url = servers.settings.redis_url
        warm_up = workload.orders(_share(orders), first=WARM_UP_FIRST)
        texts = list(workload.orders(orders))
        fills = [partial(fill, url, [workload.registration(), *warm_up]), partial(fill, url, texts)]
        return len(texts) / _stock_drain_s(servers, "naive", processes, fills)


def _stock_drain_s(
    servers: BenchServers, queue: str, processes: int, fills: Sequence[Callable[[], None]]
) -> float:
    """Return in how many seconds a stock actor, warm from the first fill, does the second."""
    warm_up, fill = fills
    program = [sys.executable, "-m", "dramatiq", f"bench.baselines.{queue}_actor"]
    program += ["--skip-logging", "-p", str(processes), "-t", EMPTY_THREADS]
    environ = {"BENCH_REDIS_URL": servers.settings.redis_url, "dramatiq_queue_prefetch": PREFETCH}
    with servers.running(program, **environ) as running:
        wait_for(lambda: servers.redis.zcard("dramatiq:__heartbeats__") >= processes)
        warm_up()
        resumed_at = _drain(servers, running, f"dramatiq:{queue}.msgs", fill)
        return (now_us() - resumed_at) / SECOND_US


def settle_rate(database: str, orders: int, per_message: int, processes: int) -> float:
    """Return commands a second that our workers settle, each commit durable."""
    with running_servers(database) as servers:
        return _settle_rate(servers, orders, per_message, processes)


def hurried_rate(database: str, orders: int, processes: int) -> float:
    """Return the same where order costs: five commands about each order, all within a second.

    As many commands as for `settle_rate`, each in a message of its own.
    """
    count = max(1, 3 * orders // len(workload.STEPS))
    with running_servers(database) as servers:
        return _settle_rate(servers, count, 1, processes, workload.hurried_orders)


def settle_rate_among(database: str, existing_orders: int, orders: int) -> float:
    """Return commands a second of two workers where so many orders are open already."""
    with running_servers(database) as servers:
        arm(servers, existing_orders, iter(lambda: timedelta(hours=20), None))
        return _settle_rate(servers, orders, 1, 2)


def _settle_rate(
    servers: BenchServers,
    orders: int,
    per_message: int,
    processes: int,
    texts_of: Orders = workload.orders,
) -> float:
    """Settle a full queue by workers that are warm; return the rate by what was recorded.

    Not by the queue's length: one batch may take thousands of commands out of it at once.
    """
    client, texts = CommandClient(servers.redis), list(texts_of(orders))
    with servers.running(*[process_command("worker")] * processes) as running:
        wait_for(lambda: servers.redis.zcard(WORKERS_KEY) >= processes)
        warm_up = texts_of(_share(orders), first=WARM_UP_FIRST)
        client.submit_many([workload.registration(), *warm_up], per_message=per_message)
        resumed_at = _drain(
            servers,
            running,
            Keys(COMMANDS).messages,
            lambda: client.submit_many(texts, per_message=per_message),
        )
    with reading(servers.engine) as connection:
        refused_count = connection.execute(REFUSED_QUERY).scalar_one()
        ended_at: int = connection.execute(LAST_SETTLED_QUERY).scalar_one()
    if refused_count:
        message = f"{refused_count} commands were not applied: this is another workload"
        raise ValueError(message)
    return len(texts) * SECOND_US / (ended_at - resumed_at)


REFUSED_QUERY = (
    select(func.count()).select_from(schema.receipts).where(schema.receipts.c.outcome != "applied")
)

LAST_SETTLED_QUERY = select(func.max(schema.events.c.recorded_at)).where(
    schema.events.c.type == "command.settled"
)


def _drain(
    servers: BenchServers,
    running: Sequence[subprocess.Popen[bytes]],
    queue: str,
    fill: Callable[[], object],
) -> int:
    """Let processes finish what they have, stop them, fill the queue, and let them empty it.

    Returns when they went on, in microseconds.
    """
    wait_until_empty(lambda: servers.count_messages(queue))
    with stopped(running):
        fill()
    resumed_at = now_us()
    wait_until_empty(lambda: servers.count_messages(queue))
    return resumed_at


def _share(count: int) -> int:
    return max(1, int(WARM_UP_SHARE * count))
