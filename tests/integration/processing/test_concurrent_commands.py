"""Concurrent commands: whichever is first, the books are as if one had waited for the other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from datetime import datetime
from functools import partial

import pytest
from sqlalchemy import Engine

from tests.support import sample_commands
from tests.support.concurrency import at_once, engines_for
from tests.support.store_harness import (
    HarnessAndProcessors,
    StoreHarness,
    settle_all,
)
from tests.support.stories import BALANCE, DEPOSIT, MICRO, span
from workers.database.repository import Store
from workers.processing.processor import BatchProcessor
from workers.queue.messages import Received
from workers.timestamps import to_us

ROUNDS = 40
ORDERS = [f"o{number:02}" for number in range(ROUNDS)]


@pytest.fixture
def harness_and_processors(engine: Engine) -> Iterator[HarnessAndProcessors]:
    """Give a harness with forty orders on offer, and ten processors independent of each other."""
    harness = StoreHarness(engine=engine).admit()
    harness.offer(*ORDERS)
    with engines_for(engine, 10) as engines:
        stores = [Store(opened_engine, harness.policy) for opened_engine in engines]
        yield harness, [BatchProcessor(store, harness.clock, lambda: None) for store in stores]


def receive_at(
    harness: StoreHarness, command: sample_commands.SampleCommand, at: datetime
) -> Received:
    """Stamp a command with its very instant, whatever else was received at it."""
    return harness.receive(command, at, stamp=to_us(at))


def accept_all(harness: StoreHarness) -> None:
    """Let the creator accept every order, in one batch."""
    harness.settle(*(harness.receive(sample_commands.accept(order_id)) for order_id in ORDERS))


def settle_at_once(
    processors: list[BatchProcessor], *submissions: Received, wakes: Collection[str] = ()
) -> None:
    """Let each command, and each wake-up, come to a processor of its own at the same instant."""
    calls = [
        partial(settle_all, processor, [submission])
        for processor, submission in zip(processors, submissions, strict=False)
    ]
    calls += [partial(processors[-1].wake, [order_id]) for order_id in wakes]
    at_once(*calls)


def outcomes(harness: StoreHarness, *submissions: Received) -> list[tuple[str, str | None]]:
    """Return the outcomes of commands, sorted: which of them came first is not the question."""
    events_by_stamp = {event["sequence"]: event for event in harness.published("command.settled")}
    outcome_pairs = [
        (events_by_stamp[submission.stamp]["outcome"], events_by_stamp[submission.stamp]["reason"])
        for submission in submissions
    ]
    return sorted(outcome_pairs, key=str)


def order_states(harness: StoreHarness) -> Counter[str]:
    """Audit the books, and count where the orders are."""
    assert harness.findings_of_a_race() == []
    return Counter(row.state for row in harness.rows("orders"))


def event_counts(harness: StoreHarness) -> Counter[str]:
    return Counter(event["type"] for event in harness.published())


def test_an_acceptance_in_time_wins_against_its_expiry(
    harness_and_processors: HarnessAndProcessors,
) -> None:
    harness, processors = harness_and_processors
    due_at = harness.order("o00").due_at
    assert due_at
    harness.clock.present = due_at + span("1h")
    for order_id in ORDERS:
        acceptance = receive_at(harness, sample_commands.accept(order_id), due_at)
        harness.clock.waiting = {acceptance.message_id: acceptance}
        settle_at_once(processors, acceptance, wakes=[order_id])
        assert outcomes(harness, acceptance) == [("applied", None)]
    assert order_states(harness) == {"awaiting_balance": ROUNDS}


def test_an_acceptance_too_late_loses_whoever_notices_first(
    harness_and_processors: HarnessAndProcessors,
) -> None:
    harness, processors = harness_and_processors
    due_at = harness.order("o00").due_at
    assert due_at
    harness.clock.present = due_at + span("1h")
    for order_id in ORDERS:
        acceptance = receive_at(harness, sample_commands.accept(order_id), due_at + MICRO)
        harness.clock.waiting = {acceptance.message_id: acceptance}
        settle_at_once(processors, acceptance, wakes=[order_id] * 2)
        assert outcomes(harness, acceptance) == [("rejected", "late")]
    assert order_states(harness) == {"expired": ROUNDS}
    assert (
        event_counts(harness)["order.expired"]
        == event_counts(harness)["refund.requested"]
        == ROUNDS
    )


def test_of_the_creator_and_the_agency_one_accepts_and_the_other_is_refused(
    harness_and_processors: HarnessAndProcessors,
) -> None:
    harness, processors = harness_and_processors
    for order_id in ORDERS:
        acceptances = [
            harness.receive(sample_commands.accept(order_id, by)) for by in ("creator", "mcn")
        ]
        settle_at_once(processors, *acceptances)
        assert outcomes(harness, *acceptances) == [("applied", None), ("rejected", "wrong_state")]
    assert order_states(harness) == {"awaiting_balance": ROUNDS}
    assert len(harness.rows("receipts")) == harness.command_count + 2 * ROUNDS


def test_batches_with_the_same_orders_in_opposite_order_are_both_settled(
    harness_and_processors: HarnessAndProcessors,
) -> None:
    harness, processors = harness_and_processors
    batches = [
        [harness.receive(sample_commands.accept(order_id, by)) for order_id in order_ids]
        for by, order_ids in (("creator", ORDERS), ("mcn", ORDERS[::-1]))
    ]
    merged_payments = [
        harness.receive(sample_commands.pay(f"m{n}", dict.fromkeys(ORDERS, BALANCE)))
        for n in (1, 2)
    ]
    batches = [[*batch, payment] for batch, payment in zip(batches, merged_payments, strict=True)]
    at_once(
        *(
            partial(settle_all, processor, batch)
            for processor, batch in zip(processors, batches, strict=False)
        )
    )
    counts = Counter(outcomes(harness, *batches[0], *batches[1]))
    assert counts == {("applied", None): ROUNDS + 2, ("rejected", "wrong_state"): ROUNDS}
    assert order_states(harness) == {"in_fulfilment": ROUNDS}
    assert (
        event_counts(harness)["order.funded"]
        == event_counts(harness)["payment.unapplied"]
        == ROUNDS
    )


NOTICES = {
    # A notice that comes within the grace, one after it, and one of a payment made too late.
    "in_grace": ("7d10m", "7d", "in_fulfilment", 0),
    "after_forfeiture": ("7d10m+1us", "7d", "in_fulfilment", ROUNDS),
    "paid_too_late": ("7d10m", "7d+1us", "forfeited", 0),
}


@pytest.mark.parametrize("kind", NOTICES)
def test_a_payment_and_its_forfeiture_end_alike_whichever_is_settled_first(
    harness_and_processors: HarnessAndProcessors, kind: str
) -> None:
    harness, processors = harness_and_processors
    noticed_after, paid_after, state, reinstated = NOTICES[kind]
    accept_all(harness)
    start = harness.now
    harness.clock.present = start + span("8d")
    for order_id in ORDERS:
        command = sample_commands.pay(
            f"b_{order_id}", {order_id: BALANCE}, start + span(paid_after)
        )
        submission = receive_at(harness, command, start + span(noticed_after))
        harness.clock.waiting = {submission.message_id: submission}
        settle_at_once(processors, submission, wakes=[order_id] * 2)
        assert outcomes(harness, submission) == [("applied", None)]
    harness.clock.waiting = {}
    harness.wake_stored(*ORDERS)
    assert order_states(harness) == {state: ROUNDS}
    assert event_counts(harness)["order.reinstated"] == reinstated


def test_one_delivery_that_comes_ten_times_at_once_has_one_effect_and_one_answer(
    harness_and_processors: HarnessAndProcessors,
) -> None:
    harness, processors = harness_and_processors
    for order_id in ORDERS:
        settle_at_once(processors, *[harness.receive(sample_commands.accept(order_id))] * 10)
    assert order_states(harness) == {"awaiting_balance": ROUNDS}
    assert event_counts(harness)["order.accepted"] == ROUNDS
    assert event_counts(harness)["command.settled"] == harness.command_count + ROUNDS


def test_a_command_sent_ten_times_at_once_is_applied_once_and_answered_ten_times(
    harness_and_processors: HarnessAndProcessors,
) -> None:
    harness, processors = harness_and_processors
    for order_id in ORDERS[:10]:
        command = sample_commands.accept(order_id)
        submissions = [harness.receive(command) for _ in range(10)]
        settle_at_once(processors, *submissions)
        assert outcomes(harness, *submissions) == [("applied", None), *[("duplicate", None)] * 9]
    assert order_states(harness) == {"awaiting_balance": 10, "offered": ROUNDS - 10}


def test_one_payment_under_ten_ids_is_recorded_once(
    harness_and_processors: HarnessAndProcessors,
) -> None:
    harness, processors = harness_and_processors
    accept_all(harness)
    for order_id in ORDERS[:10]:
        shares = {order_id: BALANCE}
        payments = [
            harness.receive(sample_commands.pay(f"b_{order_id}", shares)) for _ in range(10)
        ]
        settle_at_once(processors, *payments)
        assert outcomes(harness, *payments) == [("applied", None), *[("duplicate", None)] * 9]
    assert order_states(harness) == {"in_fulfilment": 10, "awaiting_balance": ROUNDS - 10}
    assert harness.reader.balances()["psp"] == -(10 * BALANCE + ROUNDS * DEPOSIT)


def test_different_payments_for_one_order_are_used_once_and_sent_back_otherwise(
    harness_and_processors: HarnessAndProcessors,
) -> None:
    harness, processors = harness_and_processors
    accept_all(harness)
    for order_id in ORDERS[:10]:
        settle_at_once(
            processors,
            *(
                harness.receive(sample_commands.pay(f"b{n}_{order_id}", {order_id: BALANCE}))
                for n in "1234"
            ),
        )
    assert order_states(harness)["in_fulfilment"] == 10
    assert (
        event_counts(harness)["payment.unapplied"]
        == event_counts(harness)["refund.requested"]
        == 30
    )


@pytest.mark.parametrize("whole", [True, False])
def test_a_refund_leaves_once_however_many_confirm_it(
    harness_and_processors: HarnessAndProcessors,
    whole: bool,  # noqa: FBT001
) -> None:
    harness, processors = harness_and_processors
    for number, order_id in enumerate(ORDERS[:20]):
        command = sample_commands.pay(f"x{number}", {order_id: 1})
        harness.settle(harness.receive(command | {"amount_fen": 2} if whole else command))
        refund_id = f"rf_x{number}" if whole else f"rf_x{number}_{order_id}"
        confirm = partial(
            sample_commands.command, "confirm_refund", "payments", refund_id=refund_id
        )
        confirmations = [harness.receive(confirm()) for _ in range(3)]
        settle_at_once(processors, *confirmations)
        expected_outcomes = [("applied", None), *[("rejected", "already_confirmed")] * 2]
        assert outcomes(harness, *confirmations) == expected_outcomes
    assert order_states(harness) == {"offered": ROUNDS}
    assert event_counts(harness)["refund.confirmed"] == 20


def test_an_order_id_belongs_to_the_client_whose_placement_was_committed_first(
    harness_and_processors: HarnessAndProcessors,
) -> None:
    harness, processors = harness_and_processors
    for order_id in ORDERS:
        name = f"n{order_id}"
        placements = [
            harness.receive(sample_commands.place(name, f"client:{client_id}"))
            for client_id in ("c1", "c2")
        ]
        settle_at_once(processors, *placements)
        assert outcomes(harness, *placements) == [("applied", None), ("rejected", "order_exists")]
    assert order_states(harness) == {"offered": ROUNDS, "awaiting_deposit": ROUNDS}


def test_a_creator_registered_ten_times_at_once_has_a_history_without_gaps(
    harness_and_processors: HarnessAndProcessors,
) -> None:
    harness, processors = harness_and_processors
    for number in range(5):
        register = partial(
            sample_commands.command, "register_creator", "platform", creator_id=f"n{number}"
        )
        settle_at_once(
            processors,
            *(harness.receive(register(name=n, contract="direct")) for n in "abcdefghij"),
        )
    registrations = [
        event for event in harness.published("creator.registered") if event["creator_id"] == "n0"
    ]
    assert sorted(registration["sequence"] for registration in registrations) == list(range(1, 11))
    last = {row.creator_id: row.name for row in harness.rows("creators")}["n0"]
    assert [
        registration["name"] for registration in registrations if registration["sequence"] == 10
    ] == [last]
    assert harness.rows("dead_letters") == []
