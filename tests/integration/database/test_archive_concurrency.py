"""Archive concurrency: orders are archived while somebody is about to name the very order."""

from __future__ import annotations

import json
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from sqlalchemy import Engine, select

from scheduler import maintenance
from scheduler.maintenance import Archiver
from tests.support.command_line import EARNEST, earnest, environ
from tests.support.concurrency import at_once, engines_for
from tests.support.datasets.archived_orders import Resting, halves
from tests.support.datasets.many_orders import fill
from tests.support.stories import DEPOSIT
from workers.database import archive, schema
from workers.database.engine import open_database, writing
from workers.database.repository import Store
from workers.processing.processor import Settler
from workers.queue.messages import Received

ROUNDS = 8
"""Orders raced for: in some rounds one comes first, in some the other."""


@pytest.fixture
def desk(engine: Engine) -> Resting:
    return Resting(engine=engine)


def others(desk: Resting, number: int) -> list[Settler]:
    """Stand for other processes at the same database."""
    url = desk.engine.url.render_as_string(hide_password=False)
    stores = (Store(open_database(url), desk.policy) for _ in range(number))
    return [Settler(store, desk.door, desk.ring) for store in stores]


def payment(desk: Resting, payment_id: str, order_id: str = "o1") -> Received:
    """Write a payment that comes long after everything has ended."""
    share = {"order_id": order_id, "amount_fen": DEPOSIT}
    body: dict[str, Any] = {"id": f"late_pay_{payment_id}", "kind": "confirm_payment"}
    body["payment_id"] = payment_id
    body |= {"by": {"role": "payments", "id": "psp"}, "amount_fen": DEPOSIT, "shares": [share]}
    body |= {"paid_at": "2026-03-02T02:00:00Z"}
    return desk.receive(json.dumps(body))


def fates(desk: Resting) -> list[tuple[str, str]]:
    """Say what became of each late payment: of which subject, and why."""
    events = [
        json.loads(row.body) for row in desk.rows("events") if row.type == "payment.unapplied"
    ]
    return [(event.get("order_id", "nobody"), event["reason"]) for event in events]


def test_a_late_payment_and_the_archiver_come_at_once(desk: Resting) -> None:
    desk.admit()
    names = [f"o{number}" for number in range(ROUNDS)]
    for name in names:
        desk.offer(name)
        desk.ask("decline_order", "creator", order_id=name)
    desk.settle_debts()
    desk.publish()
    (settler,) = others(desk, 1)
    for name in names:
        late_payment = payment(desk, f"late_{name}", name)
        due = maintenance.Due(desk.order(name).entered_at, desk.now)
        at_once(
            partial(settler.settle, [late_payment]),
            partial(maintenance.archive, desk.store, due, limit=1),
        )
    assert fates(desk) == [(name, "order_closed") for name in names]
    assert sum(halves(desk.engine)) == ROUNDS
    assert sum(halves(desk.engine, "refunds")) == 2 * ROUNDS
    assert desk.reader.audit().findings == []
    settler.store.engine.dispose()


def test_two_who_need_the_same_order_bring_it_back_once(desk: Resting) -> None:
    desk.bring("declined")
    desk.rest()
    first, second = others(desk, 2)
    first_payment, second_payment = payment(desk, "p1"), payment(desk, "p2")
    at_once(lambda: first.settle([first_payment]), lambda: second.settle([second_payment]))
    assert fates(desk) == [("o1", "order_closed")] * 2
    assert halves(desk.engine) == (1, 0)
    assert desk.reader.audit().findings == []
    for settler in (first, second):
        settler.store.engine.dispose()


def while_open(desk: Resting, change: Callable[[Any], object]) -> None:
    """Let a payment come while a change of the archive is not committed yet."""
    (settler,) = others(desk, 1)
    late_payment = payment(desk, "p1")
    with writing(desk.engine) as connection:
        change(connection)
        payment_thread = threading.Thread(target=lambda: settler.settle([late_payment]))
        payment_thread.start()
        payment_thread.join(0.3)
        assert payment_thread.is_alive()
    payment_thread.join()
    assert fates(desk) == [("o1", "order_closed")]
    assert halves(desk.engine) == (1, 0)
    assert desk.reader.audit().findings == []
    settler.store.engine.dispose()


def test_a_payment_that_waits_for_the_archiver_finds_the_order_where_it_went(
    desk: Resting,
) -> None:
    desk.bring("declined")
    desk.settle_debts()
    desk.publish()
    while_open(
        desk,
        lambda connection: archive.put_away(
            connection, connection.execute(select(schema.orders)).all()
        ),
    )


def test_a_payment_that_waits_for_another_who_needs_the_order_finds_it_back(desk: Resting) -> None:
    desk.bring("declined")
    desk.rest()
    while_open(desk, lambda connection: archive.bring_back(connection, ["o1"]))


def test_two_archivers_share_the_work(desk: Resting) -> None:
    fill(desk.engine, 120, declined=True)
    desk.publish()
    due = maintenance.Due(desk.now.replace(year=2100), desk.now.replace(year=2100))
    with engines_for(desk.engine, 2) as engines:
        stores = [Store(engine, desk.policy) for engine in engines]

        def work(store: Store) -> int:
            return sum(iter(lambda: maintenance.archive(store, due, limit=7), 0))

        shares = at_once(*(lambda store=store: work(store) for store in stores))
    remaining = sum(iter(lambda: maintenance.archive(desk.store, due), 0))
    assert sum(shares) + remaining == 120
    assert halves(desk.engine) == (0, 120)
    assert desk.reader.audit().findings == []


def test_the_scheduler_puts_away_what_ended_long_enough_ago(desk: Resting) -> None:
    fill(desk.engine, 3, declined=True)
    desk.publish()
    assert Archiver(desk.store, None).run_once() == 0
    assert Archiver(desk.store, timedelta(days=365_00)).run_once() == 0
    archiver = Archiver(desk.store, timedelta(0))
    assert archiver.run_once() == 3
    assert archiver.run_once() == 0
    assert halves(desk.engine) == (0, 3)


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_kill_9_between_two_batches_leaves_books_that_are_right(desk: Resting) -> None:
    fill(desk.engine, COUNT, declined=True)
    desk.publish()
    url = desk.engine.url.render_as_string(hide_password=False)
    words = ("archive", "--older-than", "PT0S")
    assert f"{COUNT} orders that ended before" in earnest(*words, EARNEST_DATABASE_URL=url).out
    assert halves(desk.engine) == (COUNT, 0)
    process = subprocess.Popen(
        [*EARNEST, *words, "--yes"],
        env=environ(EARNEST_DATABASE_URL=url),
        stderr=subprocess.DEVNULL,
    )
    for _, archived_count in looks(desk.engine, process):
        if archived_count:
            process.kill()
            break
    assert process.wait() == -9
    live_count, archived_count = halves(desk.engine)
    assert live_count + archived_count == COUNT
    assert live_count > 0
    assert archived_count > 0
    assert desk.reader.audit().findings == []
    result = earnest(*words, "--yes", "--json", EARNEST_DATABASE_URL=url)
    assert result.lines() == [{"archived": live_count}]
    assert halves(desk.engine) == (0, COUNT)
    assert desk.reader.audit().findings == []


COUNT = 3_000


def looks(engine: Engine, worker: subprocess.Popen[bytes]) -> Iterator[tuple[int, int]]:
    """Count both halves for as long as somebody is at work."""
    while worker.poll() is None:
        yield halves(engine)
        time.sleep(0.005)
