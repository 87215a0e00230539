"""Concurrent commands: whoever is first, the books are as if one had waited for the other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator
from functools import partial

import pytest
from sqlalchemy import Engine

from tests.support import sample_commands
from tests.support.concurrency import at_once, engines_for
from tests.support.store_harness import StoreHarness
from tests.support.stories import BALANCE, DEPOSIT, MICRO, span
from workers.database.repository import Store
from workers.processing.processor import BatchProcessor
from workers.queue.messages import Received

ROUNDS = 40


ORDERS = [f"o{number:02}" for number in range(ROUNDS)]


ProcessBatch = Callable[..., list[Received]]


@pytest.fixture
def harness_and_processors(engine: Engine) -> Iterator[tuple[StoreHarness, list[ProcessBatch]]]:
    """Give a desk with forty orders on offer, and ten settlers that know nothing of each other."""
    desk = StoreHarness(engine=engine).admit()
    desk.offer(*ORDERS)
    with engines_for(engine, 10) as engines:
        stores = [Store(opened_engine, desk.policy) for opened_engine in engines]
        yield desk, [BatchProcessor(store, desk.door, lambda: None).settle for store in stores]


HarnessAndProcessors = tuple[StoreHarness, list[ProcessBatch]]


def accept_all(harness: StoreHarness) -> None:
    """Let the creator accept every order, in one batch."""
    harness.settle(*(harness.receive(sample_commands.accept(order_id)) for order_id in ORDERS))


def settle_at_once(
    settlers: list[ProcessBatch], *submissions: Received, wakes: Collection[str] = ()
) -> None:
    """Let each command, and each wake-up, come to a settler of its own at the same instant."""
    calls = [
        partial(settle, [submission])
        for settle, submission in zip(settlers, submissions, strict=False)
    ]
    calls += [partial(settlers[-1], (), [order_id]) for order_id in wakes]
    assert [submission for deferred in at_once(*calls) for submission in deferred] == []


def outcomes(harness: StoreHarness, *submissions: Received) -> list[tuple[str, str | None]]:
    """Return what became of commands, sorted: which of them came first is not the question."""
    events_by_stamp = {event["sequence"]: event for event in harness.published("command.settled")}
    outcome_pairs = [
        (events_by_stamp[submission.stamp]["outcome"], events_by_stamp[submission.stamp]["reason"])
        for submission in submissions
    ]
    return sorted(outcome_pairs, key=str)


def states(harness: StoreHarness) -> Counter[str]:
    """Audit the books, and count where the orders are."""
    assert harness.reader.audit().findings == []
    return Counter(row.state for row in harness.rows("orders"))


def types(harness: StoreHarness) -> Counter[str]:
    return Counter(event["type"] for event in harness.published())


def test_an_acceptance_in_time_wins_against_its_expiry(
    harness_and_processors: HarnessAndProcessors,
) -> None:
    desk, settlers = harness_and_processors
    due_at = desk.order("o00").due_at
    assert due_at
    desk.door.present = due_at + span("1h")
    for order_id in ORDERS:
        acceptance = desk.receive(sample_commands.accept(order_id), due_at)
        desk.door.waiting = {acceptance.message_id: due_at}
        settle_at_once(settlers, acceptance, wakes=[order_id])
        assert outcomes(desk, acceptance) == [("applied", None)]
    assert states(desk) == {"awaiting_balance": ROUNDS}


def test_an_acceptance_too_late_loses_whoever_notices_first(
    harness_and_processors: HarnessAndProcessors,
) -> None:
    desk, settlers = harness_and_processors
    due_at = desk.order("o00").due_at
    assert due_at
    desk.door.present = due_at + span("1h")
    for order_id in ORDERS:
        acceptance = desk.receive(sample_commands.accept(order_id), due_at + MICRO)
        desk.door.waiting = {acceptance.message_id: acceptance.at}
        settle_at_once(settlers, acceptance, wakes=[order_id] * 2)
        assert outcomes(desk, acceptance) == [("rejected", "late")]
    assert states(desk) == {"expired": ROUNDS}
    assert types(desk)["order.expired"] == types(desk)["refund.requested"] == ROUNDS


def test_of_the_creator_and_the_agency_one_accepts_and_the_other_is_told(
    harness_and_processors: HarnessAndProcessors,
) -> None:
    desk, settlers = harness_and_processors
    for order_id in ORDERS:
        pair = [desk.receive(sample_commands.accept(order_id, by)) for by in ("creator", "mcn")]
        settle_at_once(settlers, *pair)
        assert outcomes(desk, *pair) == [("applied", None), ("rejected", "wrong_state")]
    assert states(desk) == {"awaiting_balance": ROUNDS}
    assert len(desk.rows("receipts")) == desk.asked + 2 * ROUNDS


def test_batches_that_want_the_same_orders_the_other_way_round_both_get_through(
    harness_and_processors: HarnessAndProcessors,
) -> None:
    desk, settlers = harness_and_processors
    batches = [
        [desk.receive(sample_commands.accept(order_id, by)) for order_id in order]
        for by, order in (("creator", ORDERS), ("mcn", ORDERS[::-1]))
    ]
    merged = [
        desk.receive(sample_commands.pay(f"m{n}", dict.fromkeys(ORDERS, BALANCE))) for n in (1, 2)
    ]
    batches = [[*batch, payment] for batch, payment in zip(batches, merged, strict=True)]
    at_once(*(partial(settle, batch) for settle, batch in zip(settlers, batches, strict=False)))
    counts = Counter(outcomes(desk, *batches[0], *batches[1]))
    assert counts == {("applied", None): ROUNDS + 2, ("rejected", "wrong_state"): ROUNDS}
    assert states(desk) == {"in_fulfilment": ROUNDS}
    assert types(desk)["order.funded"] == types(desk)["payment.unapplied"] == ROUNDS


NOTICES = {
    # A notice that comes within the grace, one after it, and one of a payment made too late.
    "in_grace": ("7d10m", "7d", "in_fulfilment", 0),
    "after_forfeiture": ("7d10m+1us", "7d", "in_fulfilment", ROUNDS),
    "paid_too_late": ("7d10m", "7d+1us", "forfeited", 0),
}


@pytest.mark.parametrize("kind", NOTICES)
def test_a_payment_and_its_forfeiture_come_out_the_same_either_way(
    harness_and_processors: HarnessAndProcessors, kind: str
) -> None:
    desk, settlers = harness_and_processors
    noticed_after, paid_after, state, reinstated = NOTICES[kind]
    accept_all(desk)
    start = desk.now
    desk.door.present = start + span("8d")
    for order_id in ORDERS:
        command = sample_commands.pay(
            f"b_{order_id}", {order_id: BALANCE}, start + span(paid_after)
        )
        submission = desk.receive(command, start + span(noticed_after))
        desk.door.waiting = {submission.message_id: submission.at}
        settle_at_once(settlers, submission, wakes=[order_id] * 2)
        assert outcomes(desk, submission) == [("applied", None)]
    desk.door.waiting = {}
    desk.settle(wakes=ORDERS)
    assert states(desk) == {state: ROUNDS}
    assert types(desk)["order.reinstated"] == reinstated


def test_one_delivery_that_comes_ten_times_at_once_has_one_effect_and_one_answer(
    harness_and_processors: HarnessAndProcessors,
) -> None:
    desk, settlers = harness_and_processors
    for order_id in ORDERS:
        settle_at_once(settlers, *[desk.receive(sample_commands.accept(order_id))] * 10)
    assert states(desk) == {"awaiting_balance": ROUNDS}
    assert types(desk)["order.accepted"] == ROUNDS
    assert types(desk)["command.settled"] == desk.asked + ROUNDS


def test_a_sender_that_asks_ten_times_at_once_is_heard_once_and_answered_ten_times(
    harness_and_processors: HarnessAndProcessors,
) -> None:
    desk, settlers = harness_and_processors
    for order_id in ORDERS[:10]:
        command = sample_commands.accept(order_id)
        submissions = [desk.receive(command) for _ in range(10)]
        settle_at_once(settlers, *submissions)
        assert outcomes(desk, *submissions) == [("applied", None), *[("duplicate", None)] * 9]
    assert states(desk) == {"awaiting_balance": 10, "offered": ROUNDS - 10}


def test_one_payment_under_ten_ids_is_recorded_once(
    harness_and_processors: HarnessAndProcessors,
) -> None:
    desk, settlers = harness_and_processors
    accept_all(desk)
    for order_id in ORDERS[:10]:
        shares = {order_id: BALANCE}
        payments = [desk.receive(sample_commands.pay(f"b_{order_id}", shares)) for _ in range(10)]
        settle_at_once(settlers, *payments)
        assert outcomes(desk, *payments) == [("applied", None), *[("duplicate", None)] * 9]
    assert states(desk) == {"in_fulfilment": 10, "awaiting_balance": ROUNDS - 10}
    assert desk.reader.balances()["psp"] == -(10 * BALANCE + ROUNDS * DEPOSIT)


def test_different_payments_for_one_order_are_used_once_and_sent_back_otherwise(
    harness_and_processors: HarnessAndProcessors,
) -> None:
    desk, settlers = harness_and_processors
    accept_all(desk)
    for order_id in ORDERS[:10]:
        settle_at_once(
            settlers,
            *(
                desk.receive(sample_commands.pay(f"b{n}_{order_id}", {order_id: BALANCE}))
                for n in "1234"
            ),
        )
    assert states(desk)["in_fulfilment"] == 10
    assert types(desk)["payment.unapplied"] == types(desk)["refund.requested"] == 30


@pytest.mark.parametrize("whole", [True, False])
def test_a_refund_leaves_once_however_many_confirm_it(
    harness_and_processors: HarnessAndProcessors,
    whole: bool,  # noqa: FBT001
) -> None:
    desk, settlers = harness_and_processors
    for number, order_id in enumerate(ORDERS[:20]):
        command = sample_commands.pay(f"x{number}", {order_id: 1})
        desk.settle(desk.receive(command | {"amount_fen": 2} if whole else command))
        refund_id = f"rf_x{number}" if whole else f"rf_x{number}_{order_id}"
        confirm = partial(
            sample_commands.command, "confirm_refund", "payments", refund_id=refund_id
        )
        confirmations = [desk.receive(confirm()) for _ in range(3)]
        settle_at_once(settlers, *confirmations)
        expected_outcomes = [("applied", None), *[("rejected", "already_confirmed")] * 2]
        assert outcomes(desk, *confirmations) == expected_outcomes
    assert states(desk) == {"offered": ROUNDS}
    assert types(desk)["refund.confirmed"] == 20


def test_an_order_id_belongs_to_the_client_who_was_written_down_first(
    harness_and_processors: HarnessAndProcessors,
) -> None:
    desk, settlers = harness_and_processors
    for order_id in ORDERS:
        name = f"n{order_id}"
        pair = [
            desk.receive(sample_commands.place(name, f"client:{client_id}"))
            for client_id in ("c1", "c2")
        ]
        settle_at_once(settlers, *pair)
        assert outcomes(desk, *pair) == [("applied", None), ("rejected", "order_exists")]
    assert states(desk) == {"offered": ROUNDS, "awaiting_deposit": ROUNDS}


def test_a_creator_who_is_registered_from_all_sides_has_a_history_without_gaps(
    harness_and_processors: HarnessAndProcessors,
) -> None:
    desk, settlers = harness_and_processors
    for number in range(5):
        register = partial(
            sample_commands.command, "register_creator", "platform", creator_id=f"n{number}"
        )
        settle_at_once(
            settlers, *(desk.receive(register(name=n, contract="direct")) for n in "abcdefghij")
        )
    registrations = [
        event for event in desk.published("creator.registered") if event["creator_id"] == "n0"
    ]
    assert sorted(registration["sequence"] for registration in registrations) == list(range(1, 11))
    last = {row.creator_id: row.name for row in desk.rows("creators")}["n0"]
    assert [
        registration["name"] for registration in registrations if registration["sequence"] == 10
    ] == [last]
    assert desk.rows("dead_letters") == []
