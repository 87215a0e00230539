"""Wake-ups: every order that time concerns is claimed by one, and again if that one is lost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta

import pytest
from sqlalchemy import Engine, text

from tests.support.concurrency import at_once, engines_for
from tests.support.store_harness import Desk
from tests.support.stories import MICRO, START, place, span
from workers.database.engine import open_database, writing
from workers.database.migrations import migrate
from workers.processing import wakeups
from workers.timestamps import from_us

LEASE = timedelta(microseconds=wakeups.LEASE_US)


@pytest.fixture
def offered(desk: Desk) -> Desk:
    """Give a desk with one order, offered now: its first reminder comes in twelve hours."""
    desk.admit().offer("o1")
    return desk


FIRST = START + span("12h")


def wakes(desk: Desk) -> datetime:
    (row,) = desk.rows("orders")
    return from_us(row.wake_at)


def test_an_order_is_claimed_from_the_instant_it_wants_attention(offered: Desk) -> None:
    for at, claimed, idle in ((FIRST - MICRO, [], True), (FIRST, ["o1"], False)):
        assert wakeups.nothing_due(offered.engine, at) is idle
        assert wakeups.claim(offered.engine, at, 10) == claimed


def test_a_claim_lasts_as_long_as_its_lease_and_then_comes_again(offered: Desk) -> None:
    assert wakeups.claim(offered.engine, FIRST, 10) == ["o1"]
    assert wakeups.nothing_due(offered.engine, FIRST + LEASE - MICRO)
    assert wakeups.claim(offered.engine, FIRST + LEASE - MICRO, 10) == []
    assert wakeups.claim(offered.engine, FIRST + LEASE, 10) == ["o1"]


def test_a_wake_up_that_finds_something_to_do_ends_the_lease(offered: Desk) -> None:
    wakeups.claim(offered.engine, FIRST, 10)
    offered.wake("o1", FIRST)
    assert wakes(offered) == START + span("20h")
    offered.check()


def test_a_wake_up_that_finds_nothing_to_do_ends_the_lease_and_says_nothing(
    offered: Desk,
) -> None:
    events_before = offered.published()
    wakeups.claim(offered.engine, FIRST, 10)
    offered.wake("o1", FIRST - MICRO)
    assert wakes(offered) == FIRST
    assert offered.published() == events_before
    offered.check()


def test_whatever_settles_a_claimed_order_ends_the_lease(offered: Desk) -> None:
    wakeups.claim(offered.engine, FIRST, 10)
    offered.ask("accept_order", "creator", FIRST, order_id="o1")
    assert wakes(offered) == FIRST + span("4d")
    offered.check()


def test_waking_twice_has_the_effect_of_once(offered: Desk) -> None:
    due_at = offered.order().due_at
    assert due_at
    for _ in range(3):
        offered.wake("o1", due_at + MICRO)
    assert [event["type"] for event in offered.published()].count("order.expired") == 1
    offered.check()


def test_to_wake_an_order_that_nobody_knows_is_harmless(offered: Desk) -> None:
    offered.settle(wakes=["nobody", "o1", "", "x" * 10_000])
    offered.check()


def test_the_most_overdue_are_claimed_first(desk: Desk) -> None:
    desk.admit()
    for number in range(4):
        place(desk, f"o{number}")
        desk.now += MICRO
    later = START + span("41m")
    assert sorted(wakeups.claim(desk.engine, later, 2)) == ["o0", "o1"]
    assert sorted(wakeups.claim(desk.engine, later, 9)) == ["o2", "o3"]


def test_final_orders_are_never_claimed(desk: Desk) -> None:
    desk.bring("expired_unpaid")
    assert wakeups.nothing_due(desk.engine, START + span("3650d"))


def test_of_a_final_order_only_the_money_it_owes_is_claimed(desk: Desk) -> None:
    desk.bring("declined")
    (refund,) = desk.rows("refunds")
    assert wakeups.claim(desk.engine, START + span("3650d"), 10) == [f"refund:{refund.refund_id}"]


def test_claimers_share_the_work_and_none_is_claimed_twice(desk: Desk) -> None:
    desk.admit()
    for number in range(60):
        place(desk, f"o{number:02}")
    claimed: list[str] = []

    def claim_all(engine: Engine) -> Callable[[], None]:
        def run() -> None:
            while not wakeups.nothing_due(engine, START + span("1h")):
                claimed.extend(wakeups.claim(engine, START + span("1h"), 7))

        return run

    with engines_for(desk.engine, 3) as engines:
        at_once(*map(claim_all, engines))
    assert Counter(claimed) == Counter(f"o{number:02}" for number in range(60))


@pytest.mark.postgres
def test_a_claimer_passes_over_what_another_is_at_work_on(postgresql_url: str) -> None:
    engine = open_database(postgresql_url)
    migrate(engine)
    desk = Desk(engine=engine).admit()
    for name in ("o1", "o2"):
        place(desk, name)
    with writing(engine) as connection:
        connection.execute(text("SELECT 1 FROM orders WHERE order_id = 'o1' FOR UPDATE"))
        assert wakeups.claim(engine, START + span("1h"), 10) == ["o2"]
    assert wakeups.claim(engine, START + span("1h"), 10) == ["o1"]
    engine.dispose()
