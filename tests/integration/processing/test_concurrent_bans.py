"""Concurrent bans: no order misses what its creator's standing means for it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from functools import partial

import pytest
from sqlalchemy import Engine

from models.lifecycle import FINAL_STATES, State
from tests.support import sample_commands
from tests.support.concurrency import at_once, engines_for
from tests.support.sample_commands import SampleCommand
from tests.support.store_harness import (
    HarnessAndProcessors,
    StoreHarness,
    settle_all,
)
from tests.support.stories import DEPOSIT, MICRO, span
from workers.database.repository import Store
from workers.processing.processor import BatchProcessor

ROUNDS = 20
CREATORS = [f"k{number:02}" for number in range(10, 10 + ROUNDS)]


@pytest.fixture
def harness_and_processors(engine: Engine) -> Iterator[HarnessAndProcessors]:
    """Give a harness with creators one violation away from a ban, each with an order on offer."""
    harness = StoreHarness(engine=engine).admit()
    for creator_id in CREATORS:
        terms = {"creator_id": creator_id, "name": creator_id, "contract": "direct"}
        harness.ask("register_creator", "platform", **terms)
        harness.settle_alone(
            sample_commands.report_violation(f"first_{creator_id}", creator_id), harness.now
        )
        harness.settle_alone(
            sample_commands.place(f"o_{creator_id}", creator_id=creator_id), harness.now
        )
        harness.settle_alone(
            sample_commands.pay(f"d_{creator_id}", {f"o_{creator_id}": DEPOSIT}), harness.now
        )
    with engines_for(engine, 10) as engines:
        stores = [Store(opened_engine, harness.policy) for opened_engine in engines]
        yield harness, [BatchProcessor(store, harness.clock, lambda: None) for store in stores]


def settle_at_once(
    harness: StoreHarness, processors: list[BatchProcessor], *commands: SampleCommand
) -> Counter[tuple[str, str | None]]:
    """Let commands be settled at the same instant; return what became of them."""
    submissions = [harness.receive(command) for command in commands]
    at_once(
        *(
            partial(settle_all, processor, [submission])
            for processor, submission in zip(processors, submissions, strict=False)
        )
    )
    events_by_stamp = {event["sequence"]: event for event in harness.published("command.settled")}
    return Counter(
        (events_by_stamp[submission.stamp]["outcome"], events_by_stamp[submission.stamp]["reason"])
        for submission in submissions
    )


def open_orders(harness: StoreHarness) -> set[tuple[str, bool]]:
    """Spread bans, audit the books; return the states of open orders, and if a ban stops them."""
    harness.spread(harness.clock.present)
    assert harness.findings_of_a_race() == []
    unended_orders = [order for order in harness.reader.orders() if order.state not in FINAL_STATES]
    return {(order.state, "ban" in order.stoppers) for order in unended_orders}


def test_an_order_placed_while_its_creator_is_banned_does_not_stay(
    harness_and_processors: HarnessAndProcessors,
) -> None:
    harness, processors = harness_and_processors
    for creator_id in CREATORS:
        placements = (
            sample_commands.place(f"n{n}_{creator_id}", creator_id=creator_id) for n in range(4)
        )
        outcomes = settle_at_once(
            harness,
            processors,
            *placements,
            sample_commands.report_violation(f"second_{creator_id}", creator_id),
        )
        assert outcomes.total() == 5
        assert outcomes.keys() <= {("applied", None), ("rejected", "creator_banned")}
    assert open_orders(harness) == set()


def test_an_acceptance_during_a_ban_is_refused_or_its_clock_stands_still(
    harness_and_processors: HarnessAndProcessors,
) -> None:
    harness, processors = harness_and_processors
    for creator_id in CREATORS:
        accept = sample_commands.command("accept_order", f"creator:{creator_id}", f"o_{creator_id}")
        outcomes = settle_at_once(
            harness,
            processors,
            accept,
            sample_commands.report_violation(f"second_{creator_id}", creator_id),
        )
        assert outcomes.keys() <= {("applied", None), ("rejected", "wrong_state")}
    assert open_orders(harness) <= {(State.AWAITING_BALANCE, True)}


def test_a_violation_reported_by_ten_at_once_counts_once(
    harness_and_processors: HarnessAndProcessors,
) -> None:
    harness, processors = harness_and_processors
    for creator_id in CREATORS:
        reports = [
            sample_commands.report_violation(f"second_{creator_id}", creator_id) for _ in range(10)
        ]
        outcomes = settle_at_once(harness, processors, *reports)
        assert outcomes == {("applied", None): 1, ("duplicate", None): 9}
    assert Counter(
        event["creator_id"] for event in harness.published("creator.banned")
    ) == dict.fromkeys(CREATORS, 1)
    assert open_orders(harness) == set()


def test_the_end_of_a_ban_is_published_once_however_many_workers_notice(
    harness_and_processors: HarnessAndProcessors,
) -> None:
    harness, processors = harness_and_processors
    for creator_id in CREATORS:
        accept = sample_commands.command("accept_order", f"creator:{creator_id}", f"o_{creator_id}")
        harness.settle_alone(accept, harness.now)
        harness.settle_alone(
            sample_commands.report_violation(f"second_{creator_id}", creator_id), harness.now
        )
    harness.clock.present = harness.now + span("7d") + MICRO
    for creator_id in CREATORS:
        subjects = (f"creator:{creator_id}", f"o_{creator_id}")
        wakes = [
            partial(processor.wake, [subjects[n % 2]]) for n, processor in enumerate(processors)
        ]
        at_once(*wakes)
    assert len(harness.published("creator.ban_lifted")) == ROUNDS
    assert len(harness.published("clock.resumed")) == ROUNDS
    assert open_orders(harness) == {(State.AWAITING_BALANCE, False)}
    assert {order.due_at for order in harness.reader.orders()} == {harness.now + 2 * span("7d")}
