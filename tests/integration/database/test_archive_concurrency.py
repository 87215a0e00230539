"""Archive concurrency: orders are archived while commands about the same orders are settled."""

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
from tests.support.command_line import EARNEST, clean_environ, run_earnest
from tests.support.concurrency import at_once, engines_for
from tests.support.datasets.archived_orders import ArchivingHarness, count_live_and_archived
from tests.support.datasets.many_orders import write_orders
from tests.support.store_harness import settle_all
from tests.support.stories import DEPOSIT
from workers.database import archive, schema
from workers.database.engine import open_database, writing
from workers.database.repository import Store
from workers.processing.processor import BatchProcessor
from workers.queue.messages import Received

ROUNDS = 8
"""Orders raced for: in some rounds one comes first, in some the other."""
COUNT = 3_000
"""Orders enough for several batches of the archiver."""


@pytest.fixture
def harness(engine: Engine) -> ArchivingHarness:
    return ArchivingHarness(engine=engine)


def other_processors(harness: ArchivingHarness, number: int) -> list[BatchProcessor]:
    """Give processors as other processes would have them, over the same database."""
    url = harness.engine.url.render_as_string(hide_password=False)
    stores = (Store(open_database(url), harness.policy) for _ in range(number))
    return [BatchProcessor(store, harness.clock, harness.notify) for store in stores]


def payment(harness: ArchivingHarness, payment_id: str, order_id: str = "o1") -> Received:
    """Receive a payment that comes long after everything has ended."""
    share = {"order_id": order_id, "amount_fen": DEPOSIT}
    body: dict[str, Any] = {"id": f"late_pay_{payment_id}", "kind": "confirm_payment"}
    body["payment_id"] = payment_id
    body |= {"by": {"role": "payments", "id": "psp"}, "amount_fen": DEPOSIT, "shares": [share]}
    body |= {"paid_at": "2026-03-02T02:00:00Z"}
    return harness.receive(json.dumps(body))


def outcomes_of(harness: ArchivingHarness) -> list[tuple[str, str]]:
    """Return the order of each unapplied payment, and why it was not applied."""
    events = [
        json.loads(row.body) for row in harness.rows("events") if row.type == "payment.unapplied"
    ]
    return [(event.get("order_id", "nobody"), event["reason"]) for event in events]


def test_a_late_payment_that_races_the_archiver_finds_its_order_closed(
    harness: ArchivingHarness,
) -> None:
    harness.admit()
    names = [f"o{number}" for number in range(ROUNDS)]
    for name in names:
        harness.offer(name)
        harness.ask("decline_order", "creator", order_id=name)
    harness.confirm_obligations()
    harness.publish()
    (processor,) = other_processors(harness, 1)
    for name in names:
        late_payment = payment(harness, f"late_{name}", name)
        due = maintenance.ArchiveCutoff(harness.order(name).entered_at, harness.now)
        at_once(
            partial(settle_all, processor, [late_payment]),
            partial(maintenance.archive_orders, harness.store, due, limit=1),
        )
    assert outcomes_of(harness) == [(name, "order_closed") for name in names]
    assert sum(count_live_and_archived(harness.engine)) == ROUNDS
    assert sum(count_live_and_archived(harness.engine, "refunds")) == 2 * ROUNDS
    assert harness.reader.audit().findings == []
    processor.store.engine.dispose()


def test_two_workers_that_need_the_same_archived_order_restore_it_once(
    harness: ArchivingHarness,
) -> None:
    harness.bring_to("declined")
    harness.archive_all()
    first_processor, second_processor = other_processors(harness, 2)
    first_payment, second_payment = payment(harness, "p1"), payment(harness, "p2")
    at_once(
        lambda: settle_all(first_processor, [first_payment]),
        lambda: settle_all(second_processor, [second_payment]),
    )
    assert outcomes_of(harness) == [("o1", "order_closed")] * 2
    assert count_live_and_archived(harness.engine) == (1, 0)
    assert harness.findings_of_a_race() == []
    for processor in (first_processor, second_processor):
        processor.store.engine.dispose()


def payment_while_uncommitted(harness: ArchivingHarness, change: Callable[[Any], object]) -> None:
    """Let a payment come while a change of the archive is not committed yet."""
    (processor,) = other_processors(harness, 1)
    late_payment = payment(harness, "p1")
    with writing(harness.engine) as connection:
        change(connection)
        payment_thread = threading.Thread(target=lambda: settle_all(processor, [late_payment]))
        payment_thread.start()
        payment_thread.join(0.3)
        assert payment_thread.is_alive()
    payment_thread.join()
    assert outcomes_of(harness) == [("o1", "order_closed")]
    assert count_live_and_archived(harness.engine) == (1, 0)
    assert harness.reader.audit().findings == []
    processor.store.engine.dispose()


def test_a_payment_that_waits_for_the_archiver_finds_the_order_in_the_archive(
    harness: ArchivingHarness,
) -> None:
    harness.bring_to("declined")
    harness.confirm_obligations()
    harness.publish()
    payment_while_uncommitted(
        harness,
        lambda connection: archive.move_to_archive(
            connection, connection.execute(select(schema.orders)).all()
        ),
    )


def test_a_payment_that_waits_for_another_restore_finds_the_order_restored(
    harness: ArchivingHarness,
) -> None:
    harness.bring_to("declined")
    harness.archive_all()
    payment_while_uncommitted(harness, lambda connection: archive.restore(connection, ["o1"]))


def test_two_archivers_at_once_archive_each_order_once(harness: ArchivingHarness) -> None:
    write_orders(harness.engine, 120, declined=True)
    harness.publish()
    due = maintenance.ArchiveCutoff(harness.now.replace(year=2100), harness.now.replace(year=2100))
    with engines_for(harness.engine, 2) as engines:
        stores = [Store(engine, harness.policy) for engine in engines]

        def work(store: Store) -> int:
            return sum(iter(lambda: maintenance.archive_orders(store, due, limit=7), 0))

        archived_counts = at_once(*(lambda store=store: work(store) for store in stores))
    remaining = sum(iter(lambda: maintenance.archive_orders(harness.store, due), 0))
    assert sum(archived_counts) + remaining == 120
    assert count_live_and_archived(harness.engine) == (0, 120)
    assert harness.reader.audit().findings == []


def test_the_archiver_archives_orders_that_ended_long_enough_ago(harness: ArchivingHarness) -> None:
    write_orders(harness.engine, 3, declined=True)
    harness.publish()
    assert Archiver(harness.store, None).run_once() == 0
    assert Archiver(harness.store, timedelta(days=365_00)).run_once() == 0
    archiver = Archiver(harness.store, timedelta(0))
    assert archiver.run_once() == 3
    assert archiver.run_once() == 0
    assert count_live_and_archived(harness.engine) == (0, 3)


@pytest.mark.slow
def test_kill_9_between_two_archive_batches_leaves_books_without_findings(
    harness: ArchivingHarness,
) -> None:
    write_orders(harness.engine, COUNT, declined=True)
    harness.publish()
    url = harness.engine.url.render_as_string(hide_password=False)
    arguments = ("archive", "--older-than", "PT0S")
    assert (
        f"{COUNT} orders that ended before" in run_earnest(*arguments, EARNEST_DATABASE_URL=url).out
    )
    assert count_live_and_archived(harness.engine) == (COUNT, 0)
    process = subprocess.Popen(
        [*EARNEST, *arguments, "--yes"],
        env=clean_environ(EARNEST_DATABASE_URL=url),
        stderr=subprocess.DEVNULL,
    )
    for _, archived_count in counts_during(harness.engine, process):
        if archived_count:
            process.kill()
            break
    assert process.wait() == -9
    live_count, archived_count = count_live_and_archived(harness.engine)
    assert live_count + archived_count == COUNT
    assert live_count > 0
    assert archived_count > 0
    assert harness.reader.audit().findings == []
    result = run_earnest(*arguments, "--yes", "--json", EARNEST_DATABASE_URL=url)
    assert result.lines() == [{"archived": live_count}]
    assert count_live_and_archived(harness.engine) == (0, COUNT)
    assert harness.reader.audit().findings == []


def counts_during(engine: Engine, worker: subprocess.Popen[bytes]) -> Iterator[tuple[int, int]]:
    """Count both halves for as long as somebody is at work."""
    while worker.poll() is None:
        yield count_live_and_archived(engine)
        time.sleep(0.005)
