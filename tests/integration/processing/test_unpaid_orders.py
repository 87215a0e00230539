"""Unpaid orders across workers: near a client's limit, placements wait for each other."""

from __future__ import annotations

import pytest
from sqlalchemy import Engine

from models.lifecycle import State
from models.policy import Policy
from tests.support import sample_commands
from tests.support.sample_commands import SampleCommand
from tests.support.store_harness import StoreHarness
from tests.support.stories import DEPOSIT, MICRO, place, span
from workers.database import bulk, schema
from workers.database.engine import reading

LIMIT = 4
FEW = Policy(unpaid_orders_limit=LIMIT)


@pytest.fixture
def crowded(engine: Engine) -> StoreHarness:
    """Give a client one unpaid order less than it may have."""
    harness = StoreHarness(FEW, engine=engine)
    harness.admit()
    for number in range(1, LIMIT):
        assert place(harness, f"o{number}", creator_id="k2").outcome == "applied"
    harness.now += span("1m")
    return harness


def placement(order_id: str) -> SampleCommand:
    return sample_commands.place(order_id, creator_id="k2")


def reason_of(harness: StoreHarness, body: SampleCommand) -> str | None:
    events = harness.published("command.settled")
    reasons: list[str | None] = [e["reason"] for e in events if e["command_id"] == body["id"]]
    (reason,) = reasons
    return reason


def state_of(harness: StoreHarness, order_id: str) -> State:
    order = harness.reader.order(order_id)
    assert order is not None
    return order.state


def test_a_placement_waits_for_an_earlier_one_of_a_client_near_its_limit(
    crowded: StoreHarness,
) -> None:
    first, second = placement("a"), placement("b")
    elsewhere = crowded.elsewhere(first)
    waiting = crowded.receive(second)
    assert crowded.settle(waiting) == [waiting]
    crowded.settle_elsewhere(elsewhere)
    assert crowded.settle(waiting) == []
    assert (reason_of(crowded, first), reason_of(crowded, second)) == (None, "too_many_unpaid")


def test_a_placement_of_another_client_waits_for_nobody(crowded: StoreHarness) -> None:
    crowded.elsewhere(placement("a"))
    other = crowded.receive(sample_commands.place("b", "client:c2", creator_id="k2"))
    assert crowded.settle(other) == []


def test_placements_are_judged_at_once_while_all_in_flight_have_room(engine: Engine) -> None:
    harness = StoreHarness(FEW, engine=engine)
    harness.admit()
    for number in range(LIMIT - 1):
        harness.elsewhere(placement(f"o{number}"))
    assert harness.settle(harness.receive(placement("b"))) == []


def test_a_placement_waits_where_all_in_flight_may_have_no_room(engine: Engine) -> None:
    harness = StoreHarness(FEW, engine=engine)
    harness.admit()
    bodies = [placement(f"o{number}") for number in range(LIMIT)]
    elsewhere = [harness.elsewhere(body) for body in bodies]
    last = placement("last")
    waiting = harness.receive(last)
    assert harness.settle(waiting) == [waiting]
    for submission in elsewhere:
        harness.settle_elsewhere(submission)
    assert harness.settle(waiting) == []
    assert [reason_of(harness, body) for body in bodies] == [None] * LIMIT
    assert reason_of(harness, last) == "too_many_unpaid"


def test_what_makes_room_later_makes_none_for_an_earlier_placement(crowded: StoreHarness) -> None:
    fourth, fifth = placement("a"), placement("b")
    assert crowded.settle(crowded.receive(fourth)) == []
    elsewhere = crowded.elsewhere(fifth)
    cancellation = crowded.receive(sample_commands.command("cancel_order", "client", "o1"))
    assert crowded.settle(cancellation) == [cancellation]
    crowded.settle_elsewhere(elsewhere)
    assert reason_of(crowded, fifth) == "too_many_unpaid"
    assert crowded.settle(cancellation) == []
    assert crowded.settle(crowded.receive(placement("c"))) == []
    assert state_of(crowded, "c") is State.AWAITING_DEPOSIT


def test_a_placement_waits_for_what_makes_room_earlier(crowded: StoreHarness) -> None:
    crowded.settle(crowded.receive(placement("a")))
    payment = crowded.elsewhere(sample_commands.pay("p1", {"o1": DEPOSIT}))
    waiting = crowded.receive(placement("b"))
    assert crowded.settle(waiting) == [waiting]
    crowded.settle_elsewhere(payment)
    assert crowded.settle(waiting) == []
    assert state_of(crowded, "b") is State.AWAITING_DEPOSIT


def test_time_ends_no_order_that_an_earlier_placement_has_still_to_count(
    crowded: StoreHarness,
) -> None:
    crowded.settle(crowded.receive(placement("a")))
    lapses_at = crowded.order("o1").lapses_at
    assert lapses_at is not None
    body = placement("b")
    elsewhere = crowded.elsewhere(body, lapses_at)
    crowded.advance(lapses_at + span("1s"))
    assert state_of(crowded, "o1") is State.AWAITING_DEPOSIT
    crowded.settle_elsewhere(elsewhere)
    assert reason_of(crowded, body) == "too_many_unpaid"
    crowded.advance(lapses_at + span("2s"))
    assert state_of(crowded, "o1") is State.EXPIRED
    later = crowded.receive(placement("c"), lapses_at + span("2s") + MICRO)
    assert crowded.settle(later) == []
    assert state_of(crowded, "c") is State.AWAITING_DEPOSIT


def test_in_one_batch_the_limit_is_reached_in_the_order_of_receipt(engine: Engine) -> None:
    harness = StoreHarness(FEW, engine=engine)
    harness.admit()
    bodies = [placement(f"o{number}") for number in range(LIMIT + 2)]
    assert harness.settle(*map(harness.receive, bodies)) == []
    reasons = [reason_of(harness, body) for body in bodies]
    assert reasons == [*[None] * LIMIT, "too_many_unpaid", "too_many_unpaid"]


def test_what_is_unpaid_is_counted_no_further_than_needed(
    crowded: StoreHarness,
) -> None:
    clients = ["c1", "c2"]
    column = schema.orders.c.client_id
    with reading(crowded.engine) as connection:
        for limit, count in ((9, LIMIT - 1), (2, 2)):
            counts = bulk.count_up_to(connection, limit, column, schema.IS_UNPAID, clients)
            assert counts == {"c1": count, "c2": 0}


def test_counting_what_is_unpaid_needs_no_look_at_the_orders(sqlite_engine: Engine) -> None:
    query = "SELECT 1 FROM orders WHERE client_id = 'c1' AND state = 'awaiting_deposit'"
    with reading(sqlite_engine) as connection:
        plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {query}").all()
    assert "USING COVERING INDEX ix_orders_unpaid" in plan[0][-1]
