"""Paging: a list read while orders come in shows each order that was there, once."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta

import pytest
from sqlalchemy import Engine

from models.lifecycle import PublicStatus
from tests.support import sample_commands
from tests.support.concurrency import engines_for
from tests.support.datasets import simultaneous_orders
from tests.support.store_harness import StoreHarness
from tests.support.stories import START
from workers.queries.order_filters import OrderFilter
from workers.queries.order_lists import creator_tasks

SECOND = timedelta(seconds=1)
MIN_PAGES = 60
LISTS = (OrderFilter(), OrderFilter(creator="k1"), OrderFilter(mcn="m1"), OrderFilter(prefix="w"))


def record_orders(engine: Engine, *names: str) -> None:
    """Record orders by the second of their receipt: `w035` was received 3.5 s after the start."""
    order_rows = [
        simultaneous_orders.order_row(
            "awaiting_deposit", name, "k1", START + int(name[1:]) * SECOND / 10
        )
        for name in names
    ]
    simultaneous_orders.write_rows(engine, "orders", order_rows)


def read_pages(engine: Engine, order_filter: OrderFilter, cursor: str | None = None) -> list[str]:
    """Read on to the end, three at a time."""
    names = []
    while True:
        page = creator_tasks(engine, order_filter, cursor=cursor, limit=3)
        names += [task.task_id for task in page.tasks]
        cursor = page.cursor
        if cursor is None:
            return names


@pytest.mark.parametrize("order_filter", LISTS)
def test_an_order_recorded_between_two_pages_is_listed_once_or_the_next_time(
    engine: Engine, order_filter: OrderFilter
) -> None:
    simultaneous_orders.write_rows(
        engine, "creators", simultaneous_orders.creator_rows([("k1", "m1")])
    )
    record_orders(engine, "w010", "w020", "w030", "w040", "w050", "w060")
    first = creator_tasks(engine, order_filter, limit=3)
    assert [task.task_id for task in first.tasks] == ["w060", "w050", "w040"]
    record_orders(engine, "w070", "w055", "w025")
    assert read_pages(engine, order_filter, first.cursor) == ["w030", "w025", "w020", "w010"]
    expected_ids = ["w070", "w060", "w055", "w050", "w040", "w030", "w025", "w020", "w010"]
    assert read_pages(engine, order_filter) == expected_ids


def test_orders_of_one_instant_are_listed_by_their_ids(engine: Engine) -> None:
    order_rows = [
        simultaneous_orders.order_row("offered", name, "k1", START)
        for name in ("w_b", "wB", "w-a", "w1")
    ]
    simultaneous_orders.write_rows(engine, "orders", order_rows)
    assert read_pages(engine, OrderFilter(creator="k1")) == ["w_b", "wB", "w1", "w-a"]


def test_an_order_that_moves_on_leaves_a_list_by_status_and_no_gap(engine: Engine) -> None:
    record_orders(engine, "w010", "w020", "w030", "w040", "w050")
    pending = OrderFilter(status=PublicStatus.PENDING_PAYMENT)
    first = creator_tasks(engine, pending, limit=3)
    with engine.begin() as connection:
        connection.exec_driver_sql(
            "UPDATE orders SET state = 'offered', public_status = 'pending_acceptance'"
            " WHERE order_id IN ('w040', 'w020')"
        )
    assert read_pages(engine, pending, first.cursor) == ["w010"]


@dataclass
class OrderPlacer:
    """A sender that places orders without a pause, each received a little before it is recorded."""

    harness: StoreHarness
    recorded: list[str] = field(default_factory=list)
    stopping: threading.Event = field(default_factory=threading.Event)
    errors: list[BaseException] = field(default_factory=list)

    def run(self) -> None:
        """Place orders until `stopping` is set; those in `recorded` are committed."""
        rng = random.Random(7)  # noqa: S311 - the same delays every time
        number = 0
        try:
            while not self.stopping.is_set():
                names = [f"w{number + n:05}" for n in range(rng.randint(1, 9))]
                number += len(names)
                self.harness.now += SECOND
                delays = [rng.random() * 3 * SECOND for _ in names]
                submissions = [
                    self.harness.receive(sample_commands.place(name), self.harness.now - delay)
                    for name, delay in zip(names, delays, strict=True)
                ]
                assert self.harness.settle(*submissions) == []
                self.recorded += names
        except BaseException as error:  # noqa: BLE001 - reported by the test's thread
            self.errors.append(error)


@contextmanager
def placing_orders(engine: Engine) -> Iterator[OrderPlacer]:
    """Have orders placed in another thread for as long as the block lasts."""
    harness = StoreHarness(engine=engine)
    harness.admit()
    harness.now += timedelta(minutes=1)
    placer = OrderPlacer(harness)
    harness.clock.present = START + timedelta(days=300)
    thread = threading.Thread(target=placer.run)
    thread.start()
    try:
        yield placer
    finally:
        placer.stopping.set()
        thread.join()
    assert placer.errors == []


@pytest.mark.parametrize("order_filter", LISTS)
def test_no_order_is_listed_twice_or_missed_while_orders_are_placed(
    engine: Engine, order_filter: OrderFilter
) -> None:
    with engines_for(engine, 1) as (writer_engine,), placing_orders(writer_engine) as placer:
        while len(placer.recorded) < MIN_PAGES and not placer.errors:
            recorded_before = set(placer.recorded)
            names = read_pages(engine, order_filter)
            assert len(names) == len(set(names))
            assert recorded_before <= set(names)
    assert sorted(read_pages(engine, order_filter)) == sorted(placer.recorded)
