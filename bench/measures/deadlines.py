"""Deadlines: a million armed, a hundred thousand at once, and how late they are noticed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import func, select

from bench import workload
from bench.measures.latency import percentile
from bench.servers import (
    POLL_INTERVAL_S,
    TIMEOUT_S,
    BenchServers,
    process_command,
    running_servers,
    wait_until_empty,
)
from models.commands.parsing import parse_command
from models.events.event import Event
from models.orders.order import Order
from models.policy import Policy
from models.service.handlers import handle_without_waiting
from models.service.unit_of_work import UnitOfWork
from scheduler.deadlines import wake_overdue
from workers.client import CommandClient
from workers.database import bulk, mappers, schema
from workers.database.engine import reading, writing
from workers.database.repository import Store
from workers.queue.redis import COMMANDS, Keys
from workers.timestamps import SECOND_US

CHUNK = 10_000
TICKS = 200

STEADY_S = 30
"""When the first of many deadlines is due: processes have started, and a Redis that has just begun
no longer keeps all deadlines waiting, see `workers.queue.watermark.GRACE`."""


def idle_tick_ms(database: str, armed: int) -> float:
    """Return the median cost of a tick that finds nothing, with so many deadlines armed."""
    with running_servers(database) as servers:
        arm(servers, armed, iter(lambda: timedelta(hours=20), None))
        durations_ms = []
        for _ in range(TICKS):
            began = time.perf_counter()
            wake_overdue(servers.engine, servers.redis)
            durations_ms.append(1000 * (time.perf_counter() - began))
        return sorted(durations_ms)[TICKS // 2]


def storm(database: str, at_once: int, people_per_s: int) -> dict[str, float]:
    """Let many offers lapse in one second while people send; return rates and their latency."""
    with running_servers(database) as servers:
        lead = timedelta(seconds=20)
        arm(servers, at_once, iter(lambda: lead, None))
        client = CommandClient(servers.redis)
        client.submit(workload.registration())
        programs = [
            process_command(command) for command in ("worker", "worker", "relay", "scheduler")
        ]
        with servers.running(*programs):
            wait_until_empty(lambda: int(servers.redis.hlen(Keys(COMMANDS).messages)))
            while _count(servers, "expired") == 0:
                time.sleep(POLL_INTERVAL_S)
            began, sent_count, until = time.monotonic(), 0, time.monotonic() + TIMEOUT_S
            while (
                expired_count := _count(servers, "expired")
            ) < at_once and time.monotonic() < until:
                for _ in range(max(1, people_per_s // 10)):
                    client.submit(workload.place(10_000_000 + sent_count))
                    sent_count += 1
                time.sleep(0.1)
            took_s = time.monotonic() - began
        waits = _wait_times(servers)
    return {
        "storm_per_s": round(expired_count / took_s),
        "people": float(len(waits)),
        "people_p99_ms": round(percentile(waits, 99), 1) if waits else 0.0,
    }


def lateness(database: str, armed: int, per_second: int, seconds: int) -> list[float]:
    """Return how late deadlines are recorded, sorted, in seconds, in steady state."""
    with running_servers(database) as servers:
        arm(servers, armed, iter(lambda: timedelta(hours=20), None))
        due_count = per_second * seconds
        spread = (timedelta(seconds=STEADY_S + n / per_second) for n in range(due_count))
        arm(servers, due_count, spread, prefix="due")
        with servers.running(*map(process_command, ("worker", "relay", "scheduler"))):
            until = time.monotonic() + STEADY_S + seconds + 30
            while _count(servers, "expired") < due_count and time.monotonic() < until:
                time.sleep(0.2)
        table = schema.events
        query = select(table.c.recorded_at - table.c.at).where(table.c.type == "order.expired")
        with reading(servers.engine) as connection:
            return sorted(late / SECOND_US for late in connection.execute(query).scalars())


def arm(
    servers: BenchServers, count: int, leads: Iterator[timedelta], prefix: str = "armed"
) -> None:
    """Write offered orders straight into the table, each with its deadline so far ahead."""
    policy = Policy()
    Store(servers.engine, policy).adopt_policy()
    order, placed_fact = offered_order(policy)
    now = datetime.now(UTC)
    for first in range(0, count, CHUNK):
        order_rows = []
        for number in range(first, min(first + CHUNK, count)):
            due_at = now + next(leads)
            armed_order = replace(
                order, order_id=f"{prefix}{number:08}", due_at=due_at, reminded=LAST_REMINDER
            )
            order_rows.append(
                mappers.new_order_row(armed_order, armed_order.wake_at, placed_fact, None)
            )
        with writing(servers.engine) as connection:
            bulk.insert(connection, schema.orders, order_rows)


LAST_REMINDER = timedelta(hours=1)
"""The lead of the last reminder: these orders want nothing more before they lapse."""


def offered_order(policy: Policy, *further_steps: str) -> tuple[Order, Any]:
    """Make an order that is offered, or what further commands make of it, and its placement."""
    uow, at = UnitOfWork(policy=policy), datetime.now(UTC)
    events: list[Event] = []
    steps = (workload.registration(), workload.place(0), workload.pay(0), *further_steps)
    for text in steps:
        events += handle_without_waiting(uow, parse_command(text), at).events
    (order,) = uow.orders.values()
    return order, events[1].fact


def _count(servers: BenchServers, state: str) -> int:
    table = schema.events
    query = select(func.count()).where(table.c.type == f"order.{state}")
    with reading(servers.engine) as connection:
        return int(connection.execute(query).scalar_one())


def _wait_times(servers: BenchServers) -> list[float]:
    table = schema.events
    query = select(table.c.recorded_at - table.c.at).where(table.c.type == "order.placed")
    with reading(servers.engine) as connection:
        return sorted(late / 1000 for late in connection.execute(query).scalars())
