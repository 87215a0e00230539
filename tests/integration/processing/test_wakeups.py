"""Wake-ups: every order that is due is claimed by one process, and again if that one is lost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta

import pytest
from sqlalchemy import Engine, text

from tests.support.concurrency import at_once, engines_for
from tests.support.store_harness import StoreHarness
from tests.support.stories import MICRO, START, place, span
from workers.database.engine import open_database, writing
from workers.database.migrations import migrate
from workers.processing import wakeups
from workers.timestamps import from_us

LEASE = timedelta(microseconds=wakeups.LEASE_US)


@pytest.fixture
def offered(harness: StoreHarness) -> StoreHarness:
    """Give a harness with one order, offered now: its first reminder comes in twelve hours."""
    harness.admit().offer("o1")
    return harness


FIRST_REMINDER = START + span("12h")


def wake_at(harness: StoreHarness) -> datetime:
    (row,) = harness.rows("orders")
    return from_us(row.wake_at)


def test_an_order_is_claimed_from_its_wake_up_time_on(offered: StoreHarness) -> None:
    for at, claimed, idle in ((FIRST_REMINDER - MICRO, [], True), (FIRST_REMINDER, ["o1"], False)):
        assert wakeups.nothing_due(offered.engine, at) is idle
        assert wakeups.claim(offered.engine, at, 10) == claimed


def test_a_claim_lasts_as_long_as_its_lease_and_then_comes_again(offered: StoreHarness) -> None:
    assert wakeups.claim(offered.engine, FIRST_REMINDER, 10) == ["o1"]
    assert wakeups.nothing_due(offered.engine, FIRST_REMINDER + LEASE - MICRO)
    assert wakeups.claim(offered.engine, FIRST_REMINDER + LEASE - MICRO, 10) == []
    assert wakeups.claim(offered.engine, FIRST_REMINDER + LEASE, 10) == ["o1"]


def test_a_wake_up_that_finds_something_to_do_ends_the_lease(offered: StoreHarness) -> None:
    wakeups.claim(offered.engine, FIRST_REMINDER, 10)
    offered.wake("o1", FIRST_REMINDER)
    assert wake_at(offered) == START + span("20h")
    offered.check_database()


def test_a_wake_up_that_finds_nothing_to_do_ends_the_lease_and_says_nothing(
    offered: StoreHarness,
) -> None:
    events_before = offered.published()
    wakeups.claim(offered.engine, FIRST_REMINDER, 10)
    offered.wake("o1", FIRST_REMINDER - MICRO)
    assert wake_at(offered) == FIRST_REMINDER
    assert offered.published() == events_before
    offered.check_database()


def test_a_command_for_a_claimed_order_ends_the_lease(offered: StoreHarness) -> None:
    wakeups.claim(offered.engine, FIRST_REMINDER, 10)
    offered.ask("accept_order", "creator", FIRST_REMINDER, order_id="o1")
    assert wake_at(offered) == FIRST_REMINDER + span("4d")
    offered.check_database()


def test_waking_twice_has_the_effect_of_once(offered: StoreHarness) -> None:
    due_at = offered.order().due_at
    assert due_at
    for _ in range(3):
        offered.wake("o1", due_at + MICRO)
    assert [event["type"] for event in offered.published()].count("order.expired") == 1
    offered.check_database()


def test_waking_an_unknown_order_is_harmless(offered: StoreHarness) -> None:
    offered.wake_stored("nobody", "o1", "", "x" * 10_000)
    offered.check_database()


def test_the_most_overdue_are_claimed_first(harness: StoreHarness) -> None:
    harness.admit()
    for number in range(4):
        place(harness, f"o{number}")
        harness.now += MICRO
    now = START + span("41m")
    assert sorted(wakeups.claim(harness.engine, now, 2)) == ["o0", "o1"]
    assert sorted(wakeups.claim(harness.engine, now, 9)) == ["o2", "o3"]


def test_final_orders_are_never_claimed(harness: StoreHarness) -> None:
    harness.bring_to("expired_unpaid")
    assert wakeups.nothing_due(harness.engine, START + span("3650d"))


def test_of_a_final_order_only_the_money_it_owes_is_claimed(harness: StoreHarness) -> None:
    harness.bring_to("declined")
    (refund,) = harness.rows("refunds")
    assert wakeups.claim(harness.engine, START + span("3650d"), 10) == [
        f"refund:{refund.refund_id}"
    ]


def test_claimers_share_the_work_and_none_is_claimed_twice(harness: StoreHarness) -> None:
    harness.admit()
    for number in range(60):
        place(harness, f"o{number:02}")
    claimed: list[str] = []

    def claim_all(engine: Engine) -> Callable[[], None]:
        def run() -> None:
            while not wakeups.nothing_due(engine, START + span("1h")):
                claimed.extend(wakeups.claim(engine, START + span("1h"), 7))

        return run

    with engines_for(harness.engine, 3) as engines:
        at_once(*map(claim_all, engines))
    assert Counter(claimed) == Counter(f"o{number:02}" for number in range(60))


@pytest.mark.postgres
def test_a_claim_skips_an_order_that_another_transaction_has_locked(postgresql_url: str) -> None:
    engine = open_database(postgresql_url)
    migrate(engine)
    harness = StoreHarness(engine=engine).admit()
    for name in ("o1", "o2"):
        place(harness, name)
    with writing(engine) as connection:
        connection.execute(text("SELECT 1 FROM orders WHERE order_id = 'o1' FOR UPDATE"))
        assert wakeups.claim(engine, START + span("1h"), 10) == ["o2"]
    assert wakeups.claim(engine, START + span("1h"), 10) == ["o1"]
    engine.dispose()
