"""Arrival order: commands are decided in the order of their receipt, whoever settles them.

A command waits while an earlier one may change its outcome, and no deadline overtakes a command
that was received in time, wherever that command is.
"""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
import redis
from dramatiq.broker import MessageProxy
from sqlalchemy import Engine

from models.lifecycle import State
from models.orders.order import Order
from models.policy import Policy
from tests.support import sample_commands
from tests.support.broker_harness import KEYS, BrokerHarness, deliveries_of, require
from tests.support.concurrency import wait_until
from tests.support.sample_commands import registration
from tests.support.store_harness import StoreHarness
from tests.support.stories import BALANCE, DEPOSIT, MICRO, START, span
from workers.client import CommandClient
from workers.database.repository import Store
from workers.processing.batch import PATIENCE
from workers.processing.processor import BatchProcessor
from workers.queries.reader import Reader
from workers.queue import watermark
from workers.queue.messages import Received
from workers.queue.redis import QUEUES, Keys, Scripts
from workers.queue.watermark import ArrivalClock, open_door

LONG_AGO = span("10s")


@pytest.fixture
def backlogged_harness(harness: StoreHarness) -> StoreHarness:
    """Give a store harness ten seconds behind, with an order and a command received earlier."""
    harness.admit()
    harness.settle_alone(sample_commands.place(), START)
    harness.clock.present = START + LONG_AGO
    harness.clock.waiting["elsewhere"] = START + MICRO
    return harness


def test_an_acceptance_waits_for_the_deposit_that_another_worker_has(
    backlogged_harness: StoreHarness,
) -> None:
    harness = backlogged_harness
    accept = harness.receive(sample_commands.accept(), START + 2 * MICRO)
    receipt_count = len(harness.rows("receipts"))
    assert harness.settle(accept) == [accept]
    assert len(harness.rows("receipts")) == receipt_count
    del harness.clock.waiting["elsewhere"]
    harness.settle_alone(sample_commands.pay("p1", {"o1": DEPOSIT}), START + MICRO)
    assert harness.settle(accept) == []
    assert harness.outcome_of(accept)[:2] == ("applied", None)


def test_a_refusal_stands_once_every_earlier_command_is_settled(
    backlogged_harness: StoreHarness,
) -> None:
    harness = backlogged_harness
    accept = harness.receive(sample_commands.accept(), START + 2 * MICRO)
    assert harness.settle(accept) == [accept]
    del harness.clock.waiting["elsewhere"]
    assert harness.settle(accept) == []
    assert harness.outcome_of(accept)[:2] == ("rejected", "wrong_state")


def test_a_refusal_waits_though_it_would_end_a_wait_that_is_over(harness: StoreHarness) -> None:
    harness.bring_to("script_review")
    silent_until = harness.order().lapses_at
    assert silent_until is not None
    harness.clock.present = silent_until + LONG_AGO
    harness.clock.waiting["elsewhere"] = silent_until + 2 * MICRO
    approve = harness.receive(
        sample_commands.command("approve_content", "client", "o1"), silent_until + 3 * MICRO
    )
    assert harness.settle(approve) == [approve]
    del harness.clock.waiting["elsewhere"]
    links = ["https://pan.example/film.mp4"]
    content = sample_commands.command("submit_content", "creator", "o1", links=links)
    harness.settle_alone(content, silent_until + 2 * MICRO)
    assert harness.settle(approve) == []
    assert harness.outcome_of(approve)[:2] == ("applied", None)


def test_money_is_not_sent_back_while_what_it_pays_for_may_be_on_its_way(
    backlogged_harness: StoreHarness,
) -> None:
    harness = backlogged_harness
    balance = harness.receive(sample_commands.pay("p2", {"o1": BALANCE}), START + 2 * MICRO)
    assert harness.settle(balance) == [balance]
    assert (harness.rows("payments"), harness.rows("refunds"), harness.rows("postings")) == (
        [],
        [],
        [],
    )
    del harness.clock.waiting["elsewhere"]
    harness.settle_alone(sample_commands.pay("p1", {"o1": DEPOSIT}), START + MICRO)
    assert harness.settle(balance) == []
    assert harness.rows("orders")[0].held_fen == DEPOSIT + BALANCE


def test_no_command_overtakes_a_deferred_one_about_the_same_order(
    backlogged_harness: StoreHarness,
) -> None:
    harness = backlogged_harness
    accept = harness.receive(sample_commands.accept(), START + 2 * MICRO)
    cancel = harness.receive(
        sample_commands.command("cancel_order", "client", "o1"), START + 3 * MICRO
    )
    assert harness.settle(accept, cancel) == [accept, cancel]
    del harness.clock.waiting["elsewhere"]
    harness.settle_alone(sample_commands.pay("p1", {"o1": DEPOSIT}), START + MICRO)
    assert harness.settle(accept, cancel) == []
    assert harness.outcome_of(accept)[0] == "applied"
    assert harness.outcome_of(cancel)[:2] == ("rejected", "would_forfeit")


def test_a_command_that_can_be_applied_does_not_wait_for_earlier_ones(
    backlogged_harness: StoreHarness,
) -> None:
    deposit = backlogged_harness.receive(
        sample_commands.pay("p1", {"o1": DEPOSIT}), START + 2 * MICRO
    )
    assert backlogged_harness.settle(deposit) == []
    assert backlogged_harness.outcome_of(deposit)[0] == "applied"


@pytest.fixture
def warned_harness(backlogged_harness: StoreHarness) -> StoreHarness:
    """Give the harness with the backlog, and a creator whose next violation means a ban."""
    backlogged_harness.settle_alone(sample_commands.report_violation("x1"), START)
    return backlogged_harness


def test_a_ban_waits_for_every_command_received_before_it(warned_harness: StoreHarness) -> None:
    harness = warned_harness
    ban = harness.receive(sample_commands.report_violation("x2"), START + 2 * MICRO)
    assert harness.settle(ban) == [ban]
    del harness.clock.waiting["elsewhere"]
    harness.settle_alone(sample_commands.pay("p1", {"o1": DEPOSIT}), START + MICRO)
    assert harness.settle(ban) == []
    assert [event["type"] for event in harness.published() if event.get("order_id") == "o1"][
        -2:
    ] == [
        "order.declined",
        "refund.requested",
    ]


def test_no_command_overtakes_a_deferred_ban(warned_harness: StoreHarness) -> None:
    harness = warned_harness
    ban = harness.receive(sample_commands.report_violation("x2"), START + 2 * MICRO)
    placement = harness.receive(sample_commands.place("o2"), START + 3 * MICRO)
    cancel = harness.receive(
        sample_commands.command("cancel_order", "client", "o1"), START + 3 * MICRO
    )
    unrelated_placement = harness.receive(
        sample_commands.place("o3", creator_id="k2"), START + 3 * MICRO
    )
    assert harness.settle(ban, placement, cancel, unrelated_placement) == [ban, placement, cancel]
    assert harness.outcome_of(unrelated_placement)[0] == "applied"
    del harness.clock.waiting["elsewhere"]
    assert harness.settle(ban, placement, cancel) == []
    reasons = [harness.outcome_of(submission)[1] for submission in (ban, placement, cancel)]
    assert reasons == [None, "creator_banned", "wrong_state"]


def test_a_ban_received_before_an_order_but_settled_after_it_cancels_it_at_its_own_instant(
    warned_harness: StoreHarness,
) -> None:
    harness = warned_harness
    harness.settle_alone(sample_commands.place("o2"), START + 3 * MICRO)
    del harness.clock.waiting["elsewhere"]
    harness.settle_alone(sample_commands.report_violation("x2"), START + 2 * MICRO)
    last = harness.reader.timeline("o2")[-1]
    assert (last.fact.type, last.at) == ("order.cancelled", START + 3 * MICRO)
    assert harness.reader.audit().findings == []


LATER = span("1h")


def test_a_command_waits_for_its_order_and_is_applied_when_that_comes(
    harness: StoreHarness,
) -> None:
    harness.admit()
    harness.clock.present = START + 3 * MICRO
    accept = harness.receive(sample_commands.accept(), START + 2 * MICRO)
    deposit = harness.receive(sample_commands.pay("p1", {"o1": DEPOSIT}), START + MICRO)
    assert harness.settle(accept, deposit) == [deposit, accept]
    harness.settle_alone(sample_commands.place(), START)
    assert harness.settle(accept, deposit) == []
    assert [harness.outcome_of(submission)[:2] for submission in (deposit, accept)] == [
        ("applied", None)
    ] * 2
    assert harness.rows("receipts")[-1].received_at
    assert [row.state for row in harness.rows("orders")] == ["awaiting_balance"]


def test_a_command_waits_for_its_order_no_longer_than_the_timeout(harness: StoreHarness) -> None:
    harness.clock.present = START
    accept = harness.receive(sample_commands.accept(), START)
    harness.clock.present = START + PATIENCE - MICRO
    assert harness.settle(accept) == [accept]
    assert harness.published() == []
    harness.clock.present = START + PATIENCE
    assert harness.settle(accept) == []
    assert harness.outcome_of(accept)[:2] == ("rejected", "unknown_order")


def test_money_for_an_order_that_never_comes_ends_in_suspense(harness: StoreHarness) -> None:
    payment = harness.receive(sample_commands.pay("p1", {"o1": DEPOSIT}), START)
    assert harness.settle(payment) == [payment]
    assert harness.rows("payments") == []
    harness.clock.present = START + PATIENCE
    assert harness.settle(payment) == []
    assert harness.reader.balances()["suspense"] == DEPOSIT


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        (sample_commands.place(), "unknown_creator"),
        (
            sample_commands.command("confirm_refund", "payments", refund_id="rf_p1_o1"),
            "unknown_refund",
        ),
    ],
)
def test_a_command_that_needs_no_order_does_not_wait_for_one(
    harness: StoreHarness, command: sample_commands.SampleCommand, reason: str
) -> None:
    submission = harness.receive(command, START)
    assert harness.settle(submission) == []
    assert harness.outcome_of(submission)[:2] == ("rejected", reason)


def test_a_deferred_command_does_not_defer_its_neighbours(harness: StoreHarness) -> None:
    harness.admit()
    early_acceptance = harness.receive(sample_commands.accept("o9"), START, message_id="shared")
    placement = harness.receive(sample_commands.place("o1"), START, message_id="shared")
    assert harness.settle(early_acceptance, placement) == [early_acceptance]
    assert harness.outcome_of(placement)[0] == "applied"
    harness.clock.present = START + PATIENCE
    assert harness.settle(early_acceptance, placement) == []
    command_ids = [event["command_id"] for event in harness.published("command.settled")]
    assert len(command_ids) == len(set(command_ids)), "the neighbour was settled again"


@pytest.fixture
def offered(harness: StoreHarness) -> StoreHarness:
    """Give a store harness with one order, offered now."""
    harness.admit().offer("o1")
    return harness


def test_a_late_command_that_would_end_a_wait_waits_for_one_received_in_time(
    offered: StoreHarness,
) -> None:
    due_at = offered.order().due_at
    assert due_at
    in_time = offered.receive(sample_commands.accept(), due_at)
    too_late = offered.receive(
        sample_commands.command("decline_order", "creator", "o1"), due_at + MICRO
    )
    offered.clock.waiting = {in_time.message_id: in_time.at, too_late.message_id: too_late.at}
    offered.clock.present = due_at + LATER
    assert offered.settle(too_late) == [too_late]
    assert offered.settle(in_time) == []
    offered.clock.waiting.pop(in_time.message_id)
    assert offered.settle(too_late) == []
    assert offered.outcome_of(in_time)[:2] == ("applied", None)
    assert offered.outcome_of(too_late)[:2] == ("rejected", "wrong_state")


@pytest.mark.parametrize(
    "command",
    [
        sample_commands.accept(),
        sample_commands.pay("late", {"o1": BALANCE}),
        sample_commands.command("confirm_refund", "payments", refund_id="rf_deposits_of_o1_o1"),
    ],
    ids=lambda command: command["kind"],
)
def test_a_command_that_would_end_a_wait_is_deferred_while_an_earlier_one_is_on_the_way(
    offered: StoreHarness, command: sample_commands.SampleCommand
) -> None:
    due_at = offered.order().due_at
    assert due_at
    submission = offered.receive(command, due_at + MICRO)
    offered.clock.present = due_at + LATER
    offered.clock.waiting = {"somebody": due_at, submission.message_id: submission.at}
    assert offered.settle(submission) == [submission]
    assert [row.state for row in offered.rows("orders")] == ["offered"]
    offered.clock.waiting["somebody"] = due_at + MICRO
    assert offered.settle(submission) == []
    assert [row.state for row in offered.rows("orders")] == ["expired"]


def test_a_late_command_does_not_wait_for_another_that_is_late_too(
    offered: StoreHarness,
) -> None:
    due_at = offered.order().due_at
    assert due_at
    offered.clock.waiting = {"somebody": due_at + MICRO}
    offered.clock.present = due_at + LATER
    late = offered.receive(sample_commands.accept(), due_at + 2 * MICRO)
    assert offered.settle(late) == []
    assert offered.outcome_of(late)[:2] == ("rejected", "late")


def test_a_command_in_time_is_not_deferred(offered: StoreHarness) -> None:
    due_at = offered.order().due_at
    assert due_at
    offered.clock.waiting = {"somebody": START}
    offered.clock.present = due_at + LATER
    assert offered.settle(offered.receive(sample_commands.accept(), due_at)) == []
    assert [row.state for row in offered.rows("orders")] == ["awaiting_balance"]


def test_a_batch_with_commands_on_both_sides_of_a_deadline_is_settled_whole(
    offered: StoreHarness,
) -> None:
    due_at = offered.order().due_at
    assert due_at
    in_time = offered.receive(sample_commands.accept(), due_at)
    too_late = offered.receive(
        sample_commands.command("decline_order", "creator", "o1"), due_at + MICRO
    )
    offered.clock.waiting = {in_time.message_id: in_time.at, too_late.message_id: too_late.at}
    offered.clock.present = due_at + LATER
    assert offered.settle(too_late, in_time, wakes=["o1"]) == []
    assert [offered.outcome_of(submission)[0] for submission in (in_time, too_late)] == [
        "applied",
        "rejected",
    ]


def test_no_deadline_takes_effect_while_a_command_in_time_is_on_the_way(
    offered: StoreHarness,
) -> None:
    due_at = offered.order().due_at
    assert due_at
    offered.clock.present = due_at + LATER
    offered.clock.waiting = {"somebody": due_at}
    offered.settle(wakes=["o1"])
    assert [row.state for row in offered.rows("orders")] == ["offered"]
    offered.clock.waiting = {}
    offered.settle(wakes=["o1"])
    assert [row.state for row in offered.rows("orders")] == ["expired"]


def test_a_command_for_an_order_that_does_not_exist_holds_no_deadline_back(
    offered: StoreHarness,
) -> None:
    nobodys_acceptance = offered.receive(sample_commands.accept("o9"), START)
    split_payment = offered.receive(sample_commands.pay("p9", {"o1": BALANCE, "o9": 1}), START)
    waiting = {nobodys_acceptance.message_id: START, split_payment.message_id: START}
    offered.clock.present, offered.clock.waiting = START, dict(waiting)
    assert offered.settle(nobodys_acceptance, split_payment) == [nobodys_acceptance, split_payment]
    assert offered.clock.waiting == {split_payment.message_id: START}


SOON = timedelta(seconds=0.5)


class DeadlineRace:
    """An order whose deadline is near, a worker that takes commands, and another that ticks."""

    def __init__(self, engine: Engine, redis_client: redis.Redis) -> None:
        self.redis_client, self.broker_harness = redis_client, BrokerHarness(redis_client)
        self.store, self.arrival_clock = Store(engine, Policy()), ArrivalClock(redis_client, engine)
        self.store.adopt_policy()
        open_door(redis_client, in_use=False)
        self.arrival_clock.watermark(())
        self.processor = BatchProcessor(self.store, self.arrival_clock, lambda: None)
        steps = [
            *sample_commands.admit(),
            sample_commands.place(),
            sample_commands.pay("p1", {"o1": DEPOSIT}),
        ]
        at = self.arrival_clock.now() - Policy().accept_window + SOON
        for number, step in enumerate(steps, start=1):
            self.processor.settle([Received(json.dumps(step), at, number, f"m{number}")])
        self.due_at = at + Policy().accept_window
        assert self.order.due_at == self.due_at

    @property
    def order(self) -> Order:
        order = Reader(self.store).order("o1")
        assert order is not None
        return order

    def accept(self) -> MessageProxy:
        """Hand in the acceptance, in time, and have the worker take it."""
        CommandClient(self.redis_client).submit(sample_commands.accept())
        taken_message = require(self.broker_harness.take())
        assert self.arrival_clock.now() < self.due_at
        return taken_message

    def tick(self) -> State:
        """Let the deadline pass, wake the order, and say what it is now."""
        wait_until(lambda: self.arrival_clock.now() > self.due_at)
        self.processor.settle([], ["o1"])
        return self.order.state

    def settle(self, message: MessageProxy) -> State:
        """Settle what the worker has, late as it is."""
        for delivery in deliveries_of(message):
            assert self.processor.settle(delivery.commands) == []
        self.broker_harness.settle(message)
        return self.order.state


@pytest.fixture
def deadline_race(sqlite_engine: Engine, redis_client: redis.Redis) -> DeadlineRace:
    return DeadlineRace(sqlite_engine, redis_client)


def test_with_nothing_on_its_way_the_deadline_takes_effect(deadline_race: DeadlineRace) -> None:
    assert deadline_race.tick() is State.EXPIRED


def test_a_deadline_does_not_overtake_a_command_in_the_queue(deadline_race: DeadlineRace) -> None:
    CommandClient(deadline_race.redis_client).submit(sample_commands.accept())
    assert deadline_race.tick() is State.OFFERED
    assert (
        deadline_race.settle(require(deadline_race.broker_harness.take())) is State.AWAITING_BALANCE
    )


def test_a_deadline_does_not_overtake_a_command_in_flight(deadline_race: DeadlineRace) -> None:
    taken_message = deadline_race.accept()
    assert deadline_race.tick() is State.OFFERED
    assert deadline_race.settle(taken_message) is State.AWAITING_BALANCE


def test_a_deadline_does_not_overtake_a_command_whose_worker_was_killed(
    deadline_race: DeadlineRace,
) -> None:
    deadline_race.accept()
    for queue in QUEUES:
        Scripts(deadline_race.redis_client).rescue(Keys(queue), 0, last=queue == QUEUES[-1])
    assert deadline_race.tick() is State.OFFERED
    next_worker = BrokerHarness(deadline_race.redis_client)
    assert deadline_race.settle(require(next_worker.take())) is State.AWAITING_BALANCE


def test_a_deadline_does_not_overtake_a_command_of_a_partly_settled_message(
    deadline_race: DeadlineRace,
) -> None:
    CommandClient(deadline_race.redis_client).submit_many(
        [registration(1), json.dumps(sample_commands.accept())]
    )
    taken_message = require(deadline_race.broker_harness.take())
    (delivery,) = deliveries_of(taken_message)
    deadline_race.processor.settle(delivery.commands[:1])
    assert deadline_race.tick() is State.OFFERED
    assert deadline_race.settle(taken_message) is State.AWAITING_BALANCE


def test_a_deadline_does_not_overtake_a_command_that_only_its_worker_remembers(
    deadline_race: DeadlineRace,
) -> None:
    taken_message = deadline_race.accept()
    deadline_race.redis_client.flushall()
    assert deadline_race.tick() is State.OFFERED
    # The worker says again what it has, at its next sign of life.
    assert deadline_race.broker_harness.take() is None
    assert deadline_race.tick() is State.OFFERED
    assert deadline_race.settle(taken_message) is State.AWAITING_BALANCE


def test_a_command_declared_again_after_a_wipe_outlives_its_worker(
    deadline_race: DeadlineRace,
) -> None:
    deadline_race.accept()
    deadline_race.redis_client.flushall()
    assert deadline_race.broker_harness.take() is None
    for queue in QUEUES:
        Scripts(deadline_race.redis_client).rescue(Keys(queue), 0, last=queue == QUEUES[-1])
    next_worker = BrokerHarness(deadline_race.redis_client)
    assert deadline_race.settle(require(next_worker.take())) is State.AWAITING_BALANCE


def test_after_a_wipe_deadlines_take_effect_again(
    deadline_race: DeadlineRace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watermark, "GRACE", SOON)
    deadline_race.redis_client.flushall()
    assert deadline_race.broker_harness.take() is None
    deadline_race.arrival_clock.watermark(())
    wait_until(lambda: deadline_race.tick() is State.EXPIRED)


def test_a_tick_after_the_acknowledgement_finds_the_command_settled(
    deadline_race: DeadlineRace,
) -> None:
    assert deadline_race.settle(deadline_race.accept()) is State.AWAITING_BALANCE
    assert deadline_race.tick() is State.AWAITING_BALANCE
    assert deadline_race.redis_client.zcard(KEYS.pending) == 0
