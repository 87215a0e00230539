"""Arrival order: the order of receipt decides, and not luck.

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
    """Give a desk with an order placed, ten seconds behind, and something received before."""
    harness.admit()
    harness.settle_alone(sample_commands.place(), START)
    harness.door.present = START + LONG_AGO
    harness.door.waiting["elsewhere"] = START + MICRO
    return harness


def test_an_acceptance_waits_for_the_deposit_that_another_worker_has(
    backlogged_harness: StoreHarness,
) -> None:
    desk = backlogged_harness
    accept = desk.receive(sample_commands.accept(), START + 2 * MICRO)
    receipt_count = len(desk.rows("receipts"))
    assert desk.settle(accept) == [accept]
    assert len(desk.rows("receipts")) == receipt_count
    del desk.door.waiting["elsewhere"]
    desk.settle_alone(sample_commands.pay("p1", {"o1": DEPOSIT}), START + MICRO)
    assert desk.settle(accept) == []
    assert desk.outcome_of(accept)[:2] == ("applied", None)


def test_a_refusal_stands_once_everybody_earlier_is_settled(
    backlogged_harness: StoreHarness,
) -> None:
    desk = backlogged_harness
    accept = desk.receive(sample_commands.accept(), START + 2 * MICRO)
    assert desk.settle(accept) == [accept]
    del desk.door.waiting["elsewhere"]
    assert desk.settle(accept) == []
    assert desk.outcome_of(accept)[:2] == ("rejected", "wrong_state")


def test_a_refusal_waits_though_it_would_end_a_wait_that_is_over(harness: StoreHarness) -> None:
    harness.bring_to("script_review")
    silent_until = harness.order().lapses_at
    assert silent_until is not None
    harness.door.present = silent_until + LONG_AGO
    harness.door.waiting["elsewhere"] = silent_until + 2 * MICRO
    approve = harness.receive(
        sample_commands.command("approve_content", "client", "o1"), silent_until + 3 * MICRO
    )
    assert harness.settle(approve) == [approve]
    del harness.door.waiting["elsewhere"]
    links = ["https://pan.example/film.mp4"]
    content = sample_commands.command("submit_content", "creator", "o1", links=links)
    harness.settle_alone(content, silent_until + 2 * MICRO)
    assert harness.settle(approve) == []
    assert harness.outcome_of(approve)[:2] == ("applied", None)


def test_money_is_not_sent_back_while_what_it_pays_for_may_be_on_its_way(
    backlogged_harness: StoreHarness,
) -> None:
    desk = backlogged_harness
    balance = desk.receive(sample_commands.pay("p2", {"o1": BALANCE}), START + 2 * MICRO)
    assert desk.settle(balance) == [balance]
    assert (desk.rows("payments"), desk.rows("refunds"), desk.rows("postings")) == ([], [], [])
    del desk.door.waiting["elsewhere"]
    desk.settle_alone(sample_commands.pay("p1", {"o1": DEPOSIT}), START + MICRO)
    assert desk.settle(balance) == []
    assert desk.rows("orders")[0].held_fen == DEPOSIT + BALANCE


def test_no_command_overtakes_a_deferred_one_about_the_same_order(
    backlogged_harness: StoreHarness,
) -> None:
    desk = backlogged_harness
    accept = desk.receive(sample_commands.accept(), START + 2 * MICRO)
    cancel = desk.receive(
        sample_commands.command("cancel_order", "client", "o1"), START + 3 * MICRO
    )
    assert desk.settle(accept, cancel) == [accept, cancel]
    del desk.door.waiting["elsewhere"]
    desk.settle_alone(sample_commands.pay("p1", {"o1": DEPOSIT}), START + MICRO)
    assert desk.settle(accept, cancel) == []
    assert desk.outcome_of(accept)[0] == "applied"
    assert desk.outcome_of(cancel)[:2] == ("rejected", "would_forfeit")


def test_a_command_that_can_be_applied_waits_for_nobody(backlogged_harness: StoreHarness) -> None:
    deposit = backlogged_harness.receive(
        sample_commands.pay("p1", {"o1": DEPOSIT}), START + 2 * MICRO
    )
    assert backlogged_harness.settle(deposit) == []
    assert backlogged_harness.outcome_of(deposit)[0] == "applied"


@pytest.fixture
def warned_harness(backlogged_harness: StoreHarness) -> StoreHarness:
    """Give the desk with the backlog, and a creator whose next violation means a ban."""
    backlogged_harness.settle_alone(sample_commands.report_violation("x1"), START)
    return backlogged_harness


def test_a_ban_waits_for_everybody_received_before_it(warned_harness: StoreHarness) -> None:
    desk = warned_harness
    ban = desk.receive(sample_commands.report_violation("x2"), START + 2 * MICRO)
    assert desk.settle(ban) == [ban]
    del desk.door.waiting["elsewhere"]
    desk.settle_alone(sample_commands.pay("p1", {"o1": DEPOSIT}), START + MICRO)
    assert desk.settle(ban) == []
    assert [event["type"] for event in desk.published() if event.get("order_id") == "o1"][-2:] == [
        "order.declined",
        "refund.requested",
    ]


def test_no_command_overtakes_a_deferred_ban(warned_harness: StoreHarness) -> None:
    desk = warned_harness
    ban = desk.receive(sample_commands.report_violation("x2"), START + 2 * MICRO)
    placement = desk.receive(sample_commands.place("o2"), START + 3 * MICRO)
    cancel = desk.receive(
        sample_commands.command("cancel_order", "client", "o1"), START + 3 * MICRO
    )
    unrelated_placement = desk.receive(
        sample_commands.place("o3", creator_id="k2"), START + 3 * MICRO
    )
    assert desk.settle(ban, placement, cancel, unrelated_placement) == [ban, placement, cancel]
    assert desk.outcome_of(unrelated_placement)[0] == "applied"
    del desk.door.waiting["elsewhere"]
    assert desk.settle(ban, placement, cancel) == []
    answers = [desk.outcome_of(submission)[1] for submission in (ban, placement, cancel)]
    assert answers == [None, "creator_banned", "wrong_state"]


def test_what_was_settled_before_a_ban_that_came_first_keeps_its_time(
    warned_harness: StoreHarness,
) -> None:
    desk = warned_harness
    desk.settle_alone(sample_commands.place("o2"), START + 3 * MICRO)
    del desk.door.waiting["elsewhere"]
    desk.settle_alone(sample_commands.report_violation("x2"), START + 2 * MICRO)
    last = desk.reader.timeline("o2")[-1]
    assert (last.fact.type, last.at) == ("order.cancelled", START + 3 * MICRO)
    assert desk.reader.audit().findings == []


LATER = span("1h")


def test_a_command_waits_for_its_order_and_is_applied_when_that_comes(
    harness: StoreHarness,
) -> None:
    harness.admit()
    harness.door.present = START + 3 * MICRO
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
    harness.door.present = START
    accept = harness.receive(sample_commands.accept(), START)
    harness.door.present = START + PATIENCE - MICRO
    assert harness.settle(accept) == [accept]
    assert harness.published() == []
    harness.door.present = START + PATIENCE
    assert harness.settle(accept) == []
    assert harness.outcome_of(accept)[:2] == ("rejected", "unknown_order")


def test_money_for_an_order_that_never_comes_ends_in_suspense(harness: StoreHarness) -> None:
    payment = harness.receive(sample_commands.pay("p1", {"o1": DEPOSIT}), START)
    assert harness.settle(payment) == [payment]
    assert harness.rows("payments") == []
    harness.door.present = START + PATIENCE
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
    early = harness.receive(sample_commands.accept("o9"), START, message_id="shared")
    placement = harness.receive(sample_commands.place("o1"), START, message_id="shared")
    assert harness.settle(early, placement) == [early]
    assert harness.outcome_of(placement)[0] == "applied"
    harness.door.present = START + PATIENCE
    assert harness.settle(early, placement) == []
    command_ids = [event["command_id"] for event in harness.published("command.settled")]
    assert len(command_ids) == len(set(command_ids)), "the neighbour was answered again"


@pytest.fixture
def offered(harness: StoreHarness) -> StoreHarness:
    """Give a desk with one order, offered now."""
    harness.admit().offer("o1")
    return harness


def test_who_would_end_a_wait_waits_for_those_who_were_heard_in_time(offered: StoreHarness) -> None:
    due_at = offered.order().due_at
    assert due_at
    in_time = offered.receive(sample_commands.accept(), due_at)
    too_late = offered.receive(
        sample_commands.command("decline_order", "creator", "o1"), due_at + MICRO
    )
    offered.door.waiting = {in_time.message_id: in_time.at, too_late.message_id: too_late.at}
    offered.door.present = due_at + LATER
    assert offered.settle(too_late) == [too_late]
    assert offered.settle(in_time) == []
    offered.door.waiting.pop(in_time.message_id)
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
def test_whatever_would_end_a_wait_is_held_while_anybody_earlier_is_on_the_way(
    offered: StoreHarness, command: sample_commands.SampleCommand
) -> None:
    due_at = offered.order().due_at
    assert due_at
    submission = offered.receive(command, due_at + MICRO)
    offered.door.present = due_at + LATER
    offered.door.waiting = {"somebody": due_at, submission.message_id: submission.at}
    assert offered.settle(submission) == [submission]
    assert [row.state for row in offered.rows("orders")] == ["offered"]
    offered.door.waiting["somebody"] = due_at + MICRO
    assert offered.settle(submission) == []
    assert [row.state for row in offered.rows("orders")] == ["expired"]


def test_nobody_waits_for_a_command_that_was_received_too_late_anyway(
    offered: StoreHarness,
) -> None:
    due_at = offered.order().due_at
    assert due_at
    offered.door.waiting = {"somebody": due_at + MICRO}
    offered.door.present = due_at + LATER
    late = offered.receive(sample_commands.accept(), due_at + 2 * MICRO)
    assert offered.settle(late) == []
    assert offered.outcome_of(late)[:2] == ("rejected", "late")


def test_a_command_in_time_is_not_deferred(offered: StoreHarness) -> None:
    due_at = offered.order().due_at
    assert due_at
    offered.door.waiting = {"somebody": START}
    offered.door.present = due_at + LATER
    assert offered.settle(offered.receive(sample_commands.accept(), due_at)) == []
    assert [row.state for row in offered.rows("orders")] == ["awaiting_balance"]


def test_one_batch_with_both_sides_of_a_deadline_waits_for_nobody(offered: StoreHarness) -> None:
    due_at = offered.order().due_at
    assert due_at
    in_time = offered.receive(sample_commands.accept(), due_at)
    too_late = offered.receive(
        sample_commands.command("decline_order", "creator", "o1"), due_at + MICRO
    )
    offered.door.waiting = {in_time.message_id: in_time.at, too_late.message_id: too_late.at}
    offered.door.present = due_at + LATER
    assert offered.settle(too_late, in_time, wakes=["o1"]) == []
    assert [offered.outcome_of(submission)[0] for submission in (in_time, too_late)] == [
        "applied",
        "rejected",
    ]


def test_time_does_not_pass_while_somebody_in_time_is_on_the_way(offered: StoreHarness) -> None:
    due_at = offered.order().due_at
    assert due_at
    offered.door.present = due_at + LATER
    offered.door.waiting = {"somebody": due_at}
    offered.settle(wakes=["o1"])
    assert [row.state for row in offered.rows("orders")] == ["offered"]
    offered.door.waiting = {}
    offered.settle(wakes=["o1"])
    assert [row.state for row in offered.rows("orders")] == ["expired"]


def test_what_waits_for_an_order_that_does_not_exist_holds_no_deadline_back(
    offered: StoreHarness,
) -> None:
    nobodys_acceptance = offered.receive(sample_commands.accept("o9"), START)
    split_payment = offered.receive(sample_commands.pay("p9", {"o1": BALANCE, "o9": 1}), START)
    waiting = {nobodys_acceptance.message_id: START, split_payment.message_id: START}
    offered.door.present, offered.door.waiting = START, dict(waiting)
    assert offered.settle(nobodys_acceptance, split_payment) == [nobodys_acceptance, split_payment]
    assert offered.door.waiting == {split_payment.message_id: START}


SOON = timedelta(seconds=0.5)


class DeadlineRace:
    """An order whose deadline is near, a worker's hands, and another worker that ticks."""

    def __init__(self, engine: Engine, redis_client: redis.Redis) -> None:
        self.wire, self.bench = redis_client, BrokerHarness(redis_client)
        self.store, self.door = Store(engine, Policy()), ArrivalClock(redis_client, engine)
        self.store.adopt_policy()
        open_door(redis_client, in_use=False)
        self.door.watermark(())
        self.settler = BatchProcessor(self.store, self.door, lambda: None)
        steps = [
            *sample_commands.admit(),
            sample_commands.place(),
            sample_commands.pay("p1", {"o1": DEPOSIT}),
        ]
        at = self.door.now() - Policy().accept_window + SOON
        for number, step in enumerate(steps, start=1):
            self.settler.settle([Received(json.dumps(step), at, number, f"m{number}")])
        self.due_at = at + Policy().accept_window
        assert self.order.due_at == self.due_at

    @property
    def order(self) -> Order:
        order = Reader(self.store).order("o1")
        assert order is not None
        return order

    def accept(self) -> MessageProxy:
        """Hand in the acceptance, in time, and have the worker take it."""
        CommandClient(self.wire).submit(sample_commands.accept())
        taken_message = require(self.bench.take())
        assert self.door.now() < self.due_at
        return taken_message

    def tick(self) -> State:
        """Let the deadline pass, wake the order, and say what it is now."""
        wait_until(lambda: self.door.now() > self.due_at)
        self.settler.settle([], ["o1"])
        return self.order.state

    def settle(self, message: MessageProxy) -> State:
        """Settle what the worker has, late as it is."""
        for delivery in deliveries_of(message):
            assert self.settler.settle(delivery.commands) == []
        self.bench.settle(message)
        return self.order.state


@pytest.fixture
def deadline_race(sqlite_engine: Engine, redis_client: redis.Redis) -> DeadlineRace:
    return DeadlineRace(sqlite_engine, redis_client)


def test_with_nothing_on_its_way_the_deadline_takes_effect(deadline_race: DeadlineRace) -> None:
    assert deadline_race.tick() is State.EXPIRED


def test_a_deadline_does_not_overtake_a_command_in_the_queue(deadline_race: DeadlineRace) -> None:
    CommandClient(deadline_race.wire).submit(sample_commands.accept())
    assert deadline_race.tick() is State.OFFERED
    assert deadline_race.settle(require(deadline_race.bench.take())) is State.AWAITING_BALANCE


def test_a_deadline_does_not_overtake_a_command_in_flight(deadline_race: DeadlineRace) -> None:
    taken_message = deadline_race.accept()
    assert deadline_race.tick() is State.OFFERED
    assert deadline_race.settle(taken_message) is State.AWAITING_BALANCE


def test_a_deadline_does_not_overtake_a_command_whose_worker_was_killed(
    deadline_race: DeadlineRace,
) -> None:
    deadline_race.accept()
    for queue in QUEUES:
        Scripts(deadline_race.wire).rescue(Keys(queue), 0, last=queue == QUEUES[-1])
    assert deadline_race.tick() is State.OFFERED
    heir = BrokerHarness(deadline_race.wire)
    assert deadline_race.settle(require(heir.take())) is State.AWAITING_BALANCE


def test_a_deadline_does_not_overtake_a_command_of_a_partly_settled_message(
    deadline_race: DeadlineRace,
) -> None:
    CommandClient(deadline_race.wire).submit_many(
        [registration(1), json.dumps(sample_commands.accept())]
    )
    taken_message = require(deadline_race.bench.take())
    (delivery,) = deliveries_of(taken_message)
    deadline_race.settler.settle(delivery.commands[:1])
    assert deadline_race.tick() is State.OFFERED
    assert deadline_race.settle(taken_message) is State.AWAITING_BALANCE


def test_a_deadline_does_not_overtake_a_command_that_only_its_worker_remembers(
    deadline_race: DeadlineRace,
) -> None:
    taken_message = deadline_race.accept()
    deadline_race.wire.flushall()
    assert deadline_race.tick() is State.OFFERED
    # The worker says again what it has, at its next sign of life.
    assert deadline_race.bench.take() is None
    assert deadline_race.tick() is State.OFFERED
    assert deadline_race.settle(taken_message) is State.AWAITING_BALANCE


def test_a_command_declared_again_after_a_wipe_outlives_its_worker(
    deadline_race: DeadlineRace,
) -> None:
    deadline_race.accept()
    deadline_race.wire.flushall()
    assert deadline_race.bench.take() is None
    for queue in QUEUES:
        Scripts(deadline_race.wire).rescue(Keys(queue), 0, last=queue == QUEUES[-1])
    heir = BrokerHarness(deadline_race.wire)
    assert deadline_race.settle(require(heir.take())) is State.AWAITING_BALANCE


def test_after_a_wipe_deadlines_take_effect_again(
    deadline_race: DeadlineRace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watermark, "GRACE", SOON)
    deadline_race.wire.flushall()
    assert deadline_race.bench.take() is None
    deadline_race.door.watermark(())
    wait_until(lambda: deadline_race.tick() is State.EXPIRED)


def test_a_tick_after_the_acknowledgement_finds_the_command_settled(
    deadline_race: DeadlineRace,
) -> None:
    assert deadline_race.settle(deadline_race.accept()) is State.AWAITING_BALANCE
    assert deadline_race.tick() is State.AWAITING_BALANCE
    assert deadline_race.wire.zcard(KEYS.pending) == 0
