"""Paging: whoever reads a list while orders come in meets each one that was there, once."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta

import pytest
from sqlalchemy import Engine

from models.orders.order import PublicStatus
from tests.support import sample_commands
from tests.support.concurrency import engines_for
from tests.support.datasets import simultaneous_orders
from tests.support.store_harness import Desk
from tests.support.stories import START
from workers.queries.order_filters import Wanted
from workers.queries.order_lists import tasks

SECOND = timedelta(seconds=1)


ENOUGH = 60


LISTS = (Wanted(), Wanted(creator="k1"), Wanted(mcn="m1"), Wanted(prefix="w"))


def record(engine: Engine, *names: str) -> None:
    """Record orders by the second of their receipt: `w035` was received 3.5 s after the start."""
    order_rows = [
        simultaneous_orders.order(
            "awaiting_deposit", name, "k1", START + int(name[1:]) * SECOND / 10
        )
        for name in names
    ]
    simultaneous_orders.write(engine, "orders", order_rows)


def read(engine: Engine, order_filter: Wanted, cursor: str | None = None) -> list[str]:
    """Read on to the end, three at a time."""
    names = []
    while True:
        page = tasks(engine, order_filter, cursor=cursor, limit=3)
        names += [task.task_id for task in page.tasks]
        cursor = page.cursor
        if cursor is None:
            return names


@pytest.mark.parametrize("order_filter", LISTS)
def test_what_is_recorded_between_two_pages_comes_once_or_the_next_time(
    engine: Engine, order_filter: Wanted
) -> None:
    simultaneous_orders.write(engine, "creators", simultaneous_orders.sign([("k1", "m1")]))
    record(engine, "w010", "w020", "w030", "w040", "w050", "w060")
    first = tasks(engine, order_filter, limit=3)
    assert [task.task_id for task in first.tasks] == ["w060", "w050", "w040"]
    record(engine, "w070", "w055", "w025")
    assert read(engine, order_filter, first.cursor) == ["w030", "w025", "w020", "w010"]
    expected_ids = ["w070", "w060", "w055", "w050", "w040", "w030", "w025", "w020", "w010"]
    assert read(engine, order_filter) == expected_ids


def test_orders_of_one_instant_stand_by_their_ids(engine: Engine) -> None:
    order_rows = [
        simultaneous_orders.order("offered", name, "k1", START)
        for name in ("w_b", "wB", "w-a", "w1")
    ]
    simultaneous_orders.write(engine, "orders", order_rows)
    assert read(engine, Wanted(creator="k1")) == ["w_b", "wB", "w1", "w-a"]


def test_an_order_that_moves_on_leaves_a_list_by_status_and_no_gap(engine: Engine) -> None:
    record(engine, "w010", "w020", "w030", "w040", "w050")
    pending = Wanted(status=PublicStatus.PENDING_PAYMENT)
    first = tasks(engine, pending, limit=3)
    with engine.begin() as connection:
        connection.exec_driver_sql(
            "UPDATE orders SET state = 'offered', public_status = 'pending_acceptance'"
            " WHERE order_id IN ('w040', 'w020')"
        )
    assert read(engine, pending, first.cursor) == ["w010"]


@dataclass
class Placing:
    """Somebody who has orders placed without a pause, each received a little before it is kept."""

    desk: Desk
    recorded: list[str] = field(default_factory=list)
    stopping: threading.Event = field(default_factory=threading.Event)
    failed: list[BaseException] = field(default_factory=list)

    def run(self) -> None:
        """Go on until told to stop; what is in `recorded` is committed."""
        chance = random.Random(7)  # noqa: S311 - the same delays every time
        number = 0
        try:
            while not self.stopping.is_set():
                names = [f"w{number + n:05}" for n in range(chance.randint(1, 9))]
                number += len(names)
                self.desk.now += SECOND
                delays = [chance.random() * 3 * SECOND for _ in names]
                submissions = [
                    self.desk.receive(sample_commands.place(name), self.desk.now - delay)
                    for name, delay in zip(names, delays, strict=True)
                ]
                assert self.desk.settle(*submissions) == []
                self.recorded += names
        except BaseException as error:  # noqa: BLE001 - told to whoever waits
            self.failed.append(error)


@contextmanager
def placing(engine: Engine) -> Iterator[Placing]:
    """Have orders placed in another thread for as long as the block lasts."""
    desk = Desk(engine=engine)
    desk.admit()
    placer = Placing(desk)
    desk.door.present = START + timedelta(days=300)
    thread = threading.Thread(target=placer.run)
    thread.start()
    try:
        yield placer
    finally:
        placer.stopping.set()
        thread.join()
    assert placer.failed == []


@pytest.mark.parametrize("order_filter", LISTS)
def test_nobody_is_met_twice_or_missed_while_orders_are_placed(
    engine: Engine, order_filter: Wanted
) -> None:
    with engines_for(engine, 1) as (other_engine,), placing(other_engine) as writer:
        while len(writer.recorded) < ENOUGH and not writer.failed:
            recorded_before = set(writer.recorded)
            names = read(engine, order_filter)
            assert len(names) == len(set(names))
            assert recorded_before <= set(names)
    assert sorted(read(engine, order_filter)) == sorted(writer.recorded)
