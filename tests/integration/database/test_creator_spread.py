"""Creator spread: what a ban means for many orders is written down in small transactions."""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta

from sqlalchemy import Engine, text, update

from models.lifecycle import State
from tests.support import sample_commands
from tests.support.datasets.simultaneous_orders import order_row, write_rows
from tests.support.store_harness import StoreHarness
from tests.support.stories import MICRO, START, as_stored_before, span
from workers.database import schema
from workers.database.engine import open_database, reading, writing
from workers.database.mappers import CREATORS
from workers.database.repository import MAX_ORDERS_TOLD, Store, orders_to_tell_query
from workers.processing import wakeups
from workers.processing.processor import BatchProcessor
from workers.timestamps import from_us, to_us

COUNT = 1_200
BANNED_AT = START + span("1h")
LEASE = timedelta(microseconds=wakeups.LEASE_US)


def harness_with_orders(engine: Engine, situation: str, count: int = COUNT) -> StoreHarness:
    """Give a harness with one creator and many orders alike, which learn of it when told."""
    harness = StoreHarness(engine=engine).admit()
    harness.spreads = False
    write_rows(
        engine, "orders", [order_row(situation, f"o{n:04}", "k1", START) for n in range(count)]
    )
    return harness


def ban(harness: StoreHarness) -> None:
    """Report two violations, and say nothing to any order."""
    harness.clock.present = BANNED_AT
    for violation_id in ("x1", "x2"):
        report = harness.receive(sample_commands.report_violation(violation_id), BANNED_AT)
        assert harness.settle(report) == []


def states(harness: StoreHarness) -> Counter[State]:
    return Counter(order.state for order in harness.reader.orders())


def wake_at(harness: StoreHarness) -> dict[str, int | None]:
    return {row.creator_id: row.wake_at for row in harness.rows("creators")}


def test_a_ban_spreads_over_many_orders_in_batches_and_is_taken_up_after_a_restart(
    engine: Engine,
) -> None:
    harness = harness_with_orders(engine, "offered")
    ban(harness)
    assert states(harness) == {State.OFFERED: COUNT}
    now = BANNED_AT
    for round_number in range(1, 4):
        # A worker dies with the wake-up: it comes again when its lease ends, to another process.
        assert wakeups.claim(engine, now, 10) == ["creator:k1"]
        assert wakeups.claim(engine, now, 10) == []
        now += LEASE
        assert wakeups.claim(engine, now, 10) == ["creator:k1"]
        harness.clock.present = now
        successor = open_database(engine.url.render_as_string(hide_password=False))
        processor = BatchProcessor(Store(successor, harness.policy), harness.clock, harness.notify)
        processor.wake(["creator:k1"])
        successor.dispose()
        declined = min(round_number * MAX_ORDERS_TOLD, COUNT)
        assert states(harness)[State.DECLINED] == declined
    assert wake_at(harness)["k1"] == to_us(BANNED_AT + span("7d"))
    assert wakeups.claim(engine, now + LEASE, 10) == []
    declined_events = harness.published("order.declined")
    assert len({event["order_id"] for event in declined_events}) == len(declined_events) == COUNT
    assert {order.entered_at for order in harness.reader.orders()} == {BANNED_AT}


def test_orders_for_which_a_change_means_nothing_are_looked_at_once(engine: Engine) -> None:
    harness = harness_with_orders(engine, "published")
    ban(harness)
    events_before = len(harness.rows("events"))
    for seen in (MAX_ORDERS_TOLD, 2 * MAX_ORDERS_TOLD, COUNT):
        harness.wake_stored("creator:k1")
        assert Counter(order.creator_sequence > 0 for order in harness.reader.orders())[True] == (
            seen
        )
    assert len(harness.rows("events")) == events_before
    assert wake_at(harness)["k1"] == to_us(BANNED_AT + span("7d"))


def test_those_that_have_learned_are_not_looked_through_again(engine: Engine) -> None:
    harness_with_orders(engine, "published")
    with writing(engine) as connection:
        connection.execute(update(schema.orders).values(creator_sequence=5))
        connection.execute(text("ANALYZE"))
    query = orders_to_tell_query("k1", 5).limit(MAX_ORDERS_TOLD)
    sql = str(query.compile(engine, compile_kwargs={"literal_binds": True}))
    is_sqlite = engine.dialect.name == "sqlite"
    with reading(engine) as connection:
        explain = "EXPLAIN QUERY PLAN" if is_sqlite else "EXPLAIN"
        plan = "\n".join(str(row) for row in connection.execute(text(f"{explain} {sql}")))
    assert "ix_orders_creator_sequence" in plan
    bounds = "creator_id=? AND creator_sequence<?" if is_sqlite else "creator_sequence < "
    assert bounds in plan
    assert "TEMP B-TREE" not in plan
    assert "Sort" not in plan


def test_how_far_time_has_passed_for_a_creator_is_asked_once_for_all_orders(
    engine: Engine,
) -> None:
    harness = harness_with_orders(engine, "offered", 10)
    ban(harness)
    asked_about: Counter[str] = Counter()

    def horizon(subject: str) -> datetime:
        asked_about[subject] += 1
        return BANNED_AT

    with reading(engine) as connection:
        uow = harness.store.load(connection, [], ["creator:k1"]).uow
    assert len(uow.wake("creator:k1", horizon)) == 20, "each is declined and refunded"
    assert asked_about == Counter(["creator:k1", *(f"order:{name}" for name in uow.orders)])


def test_an_order_placed_as_of_before_a_recorded_ban_learns_of_it_by_itself(
    engine: Engine,
) -> None:
    harness = harness_with_orders(engine, "published", 1)
    ban(harness)
    harness.spread(BANNED_AT)
    placement = harness.receive(sample_commands.place("late"), BANNED_AT - MICRO)
    assert harness.settle(placement) == []
    assert harness.outcome_of(placement)[0] == "applied"
    (row,) = (row for row in harness.rows("orders") if row.order_id == "late")
    assert from_us(row.wake_at) == BANNED_AT
    assert wakeups.claim(engine, BANNED_AT, 10) == ["late"]
    harness.wake_stored("late")
    (cancelled,) = harness.published("order.cancelled")
    assert (cancelled["order_id"], cancelled["reason"]) == ("late", "creator_banned")
    assert harness.reader.timeline("late")[-1].at == BANNED_AT
    assert wakeups.claim(engine, BANNED_AT + LEASE, 10) == []


def test_the_end_of_a_ban_spreads_as_its_beginning_did(engine: Engine) -> None:
    harness = harness_with_orders(engine, "awaiting_balance", MAX_ORDERS_TOLD + 1)
    ban(harness)
    harness.spread(BANNED_AT)
    assert len(harness.published("clock.stopped")) == MAX_ORDERS_TOLD + 1
    over = BANNED_AT + span("7d") + MICRO
    harness.spreads = True
    harness.clock.present = over
    harness.wake_stored("creator:k1")
    assert len(harness.published("creator.ban_lifted")) == 1
    harness.spread(over)
    assert len(harness.published("clock.resumed")) == MAX_ORDERS_TOLD + 1
    assert {order.due_at for order in harness.reader.orders()} == {START + 2 * span("7d")}


def test_a_creator_stored_by_a_former_version_is_banned_like_any_other(engine: Engine) -> None:
    harness = harness_with_orders(engine, "offered", 3)
    table = schema.creators
    with writing(engine) as connection:
        for row in connection.execute(table.select()).all():
            document = as_stored_before(CREATORS.read(row))
            condition = table.c.creator_id == row.creator_id
            connection.execute(update(table).where(condition).values(document=document))
    ban(harness)
    harness.spread(BANNED_AT)
    assert states(harness) == {State.DECLINED: 3}
    assert [f for f in harness.reader.audit().findings if f.where.startswith("creator:")] == []
