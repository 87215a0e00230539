"""Task list pages: how long a page takes, whoever asks and whatever for."""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import timedelta
from itertools import product
from pathlib import Path

from sqlalchemy import Engine, text

from bench import dataset
from bench.measures.latency import percentile
from bench.servers import running_servers
from models.lifecycle import PublicStatus
from workers.database.engine import reading
from workers.queries.order_filters import OrderFilter
from workers.queries.order_lists import creator_tasks, write_cursor
from workers.timestamps import from_us

READERS = {
    "everybody": OrderFilter(),
    "a star": OrderFilter(creator="cr_1"),
    "a creator": OrderFilter(creator="cr_77"),
    "large agency": OrderFilter(mcn="mcn_large"),
    "small agency": OrderFilter(mcn="mcn_small"),
    "former agency": OrderFilter(mcn="mcn_former"),
}

STATUSES = (None, *PublicStatus)
PERIODS = ("ever", "a month", "long ago")
PREFIX_KINDS = (None, "whole", "few", "many", "many old", "all", "none")
POSITIONS = ("first", "later")
PAGE_SIZE = 50

Question = tuple[str, PublicStatus | None, str, str | None, str]


@dataclass(slots=True)
class Timings:
    """What the pages of one kind of reader took: real time and processors' time, in ms."""

    real: list[float] = field(default_factory=list)
    work: list[tuple[float, str]] = field(default_factory=list)
    short: int = 0

    def summary(self) -> dict[str, float]:
        """Say how long pages took, and how many were shorter than they might have been."""
        real, work = sorted(self.real), sorted(ms for ms, _ in self.work)
        figures = {"pages": float(len(real)), "short": float(self.short)}
        figures |= {f"p{percent}_ms": percentile(real, percent) for percent in (50, 99)}
        figures |= {f"work_p{percent}_ms": percentile(work, percent) for percent in (50, 99)}
        return {name: round(value, 2) for name, value in figures.items()}

    def slowest(self) -> str:
        """Name the question that took most work."""
        ms, question = max(self.work)
        return f"{question}: {ms:.1f} ms"


COLUMNS = ("pages", "short", "p50_ms", "p99_ms", "work_p50_ms", "work_p99_ms")


def table_rows(figures: dict[str, dict[str, float]]) -> list[tuple[str, ...]]:
    """Say it in a table, a line for each kind of reader."""
    return [
        (reader, *(f"{values[name]:g}" for name in COLUMNS)) for reader, values in figures.items()
    ]


def pages(database: str, orders: int, times: int) -> dict[str, dict[str, float]]:
    """Return, by who asks, how long pages take, over every combination of filters."""
    with running_servers(database) as servers:
        dataset.write_orders(servers.engine, orders)
        return measure_pages(servers.engine, orders, times)


def measure_pages(engine: Engine, orders: int, times: int) -> dict[str, dict[str, float]]:
    """Ask everything so many times, after a first time in which statements are prepared."""
    timings = {reader: Timings() for reader in READERS}
    rng, cpu_time = random.Random(orders), _cpu_time(engine)  # noqa: S311 - the same every time
    for repetition in range(1 + times):
        for question in _questions():
            order_filter, cursor = _filter_for(question, orders, rng)
            began, cpu_before = time.perf_counter(), cpu_time()
            page = creator_tasks(engine, order_filter, cursor=cursor, limit=PAGE_SIZE)
            real, work = time.perf_counter() - began, cpu_time() - cpu_before
            if repetition:
                timing = timings[question[0]]
                timing.real.append(1000 * real)
                timing.work.append((1000 * work, ", ".join(map(str, question))))
                timing.short += page.cursor is not None and len(page.tasks) < PAGE_SIZE
    for reader, timing in timings.items():
        print(f"  most work for {reader}: {timing.slowest()}", file=sys.stderr)
    return {reader: timing.summary() for reader, timing in timings.items()}


def _cpu_time(engine: Engine) -> Callable[[], float]:
    """Return what tells the processors' time used so far, ours and the server's for us, in s.

    On a machine that others use too, real time tells as much about them.
    """
    if engine.dialect.name == "sqlite":
        return time.thread_time
    with reading(engine) as connection:
        pid = connection.execute(text("SELECT pg_backend_pid()")).scalar_one()
    account = Path(f"/proc/{pid}/schedstat")
    return lambda: time.thread_time() + int(account.read_text().split()[0]) / 1e9


def _questions() -> Iterator[Question]:
    return product(READERS, STATUSES, PERIODS, PREFIX_KINDS, POSITIONS)


def _filter_for(
    question: Question, orders: int, rng: random.Random
) -> tuple[OrderFilter, str | None]:
    """Make one question of its kind, about orders that chance chooses."""
    reader, status, period, prefix_kind, position = question
    number = rng.randrange(orders)
    order_filter = replace(
        READERS[reader], status=status, prefix=_prefix(prefix_kind, number, orders)
    )
    if period != "ever":
        past = number if period == "a month" else orders // 20
        begin = from_us(dataset.placed_at(past))
        order_filter = replace(
            order_filter, placed_after=begin, placed_before=begin + timedelta(days=30)
        )
    cursor = (dataset.placed_at(rng.randrange(orders)), "ord_9") if position == "later" else None
    return order_filter, write_cursor(cursor)


def _prefix(prefix_kind: str | None, number: int, orders: int) -> str | None:
    """Return the beginning of an id, shared by one order, by some, or by very many."""
    tenth = len(str(max(1, orders // 10))) - 1
    whole, oldest = f"ord_{dataset.FIRST_ID + number}", f"ord_{dataset.FIRST_ID}"
    names = {
        "whole": whole,
        "few": whole[:-2],
        "many": whole[:-tenth],
        "many old": oldest[:-tenth],
        "all": "ord_",
        "none": "ord_9",
    }
    return None if prefix_kind is None else names[prefix_kind]
