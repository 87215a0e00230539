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
from tests.support.broker_harness import KEYS, Bench, deliveries_of, present
from tests.support.concurrency import wait_for
from tests.support.sample_commands import registration
from tests.support.store_harness import Desk
from tests.support.stories import BALANCE, DEPOSIT, MICRO, START, span
from workers.client import Client
from workers.database.repository import Store
from workers.processing.batch import PATIENCE
from workers.processing.processor import Settler
from workers.queries.reader import Reader
from workers.queue import watermark
from workers.queue.messages import Received
from workers.queue.redis import QUEUES, Keys, Scripts
from workers.queue.watermark import RedisDoor, open_door

LONG_AGO = span("10s")


@pytest.fixture
def backlogged(desk: Desk) -> Desk:
    """Give a desk with an order placed, ten seconds behind, and something received before."""
    desk.admit()
    desk.say(sample_commands.place(), START)
    desk.door.present = START + LONG_AGO
    desk.door.waiting["elsewhere"] = START + MICRO
    return desk


def test_an_acceptance_waits_for_the_deposit_that_another_worker_has(backlogged: Desk) -> None:
    desk = backlogged
    accept = desk.receive(sample_commands.accept(), START + 2 * MICRO)
    receipt_count = len(desk.rows("receipts"))
    assert desk.settle(accept) == [accept]
    assert len(desk.rows("receipts")) == receipt_count
    del desk.door.waiting["elsewhere"]
    desk.say(sample_commands.pay("p1", {"o1": DEPOSIT}), START + MICRO)
    assert desk.settle(accept) == []
    assert desk.answer(accept)[:2] == ("applied", None)


def test_a_refusal_stands_once_everybody_earlier_is_settled(backlogged: Desk) -> None:
    desk = backlogged
    accept = desk.receive(sample_commands.accept(), START + 2 * MICRO)
    assert desk.settle(accept) == [accept]
    del desk.door.waiting["elsewhere"]
    assert desk.settle(accept) == []
    assert desk.answer(accept)[:2] == ("rejected", "wrong_state")


def test_a_refusal_waits_though_it_would_end_a_wait_that_is_over(desk: Desk) -> None:
    desk.bring("script_review")
    silent_until = desk.order().lapses_at
    assert silent_until is not None
    desk.door.present = silent_until + LONG_AGO
    desk.door.waiting["elsewhere"] = silent_until + 2 * MICRO
    approve = desk.receive(
        sample_commands.ask("approve_content", "client", "o1"), silent_until + 3 * MICRO
    )
    assert desk.settle(approve) == [approve]
    del desk.door.waiting["elsewhere"]
    links = ["https://pan.example/film.mp4"]
    content = sample_commands.ask("submit_content", "creator", "o1", links=links)
    desk.say(content, silent_until + 2 * MICRO)
    assert desk.settle(approve) == []
    assert desk.answer(approve)[:2] == ("applied", None)


def test_money_is_not_sent_back_while_what_it_pays_for_may_be_on_its_way(backlogged: Desk) -> None:
    desk = backlogged
    balance = desk.receive(sample_commands.pay("p2", {"o1": BALANCE}), START + 2 * MICRO)
    assert desk.settle(balance) == [balance]
    assert (desk.rows("payments"), desk.rows("refunds"), desk.rows("postings")) == ([], [], [])
    del desk.door.waiting["elsewhere"]
    desk.say(sample_commands.pay("p1", {"o1": DEPOSIT}), START + MICRO)
    assert desk.settle(balance) == []
    assert desk.rows("orders")[0].held_fen == DEPOSIT + BALANCE


def test_nobody_slips_in_front_of_a_held_command_about_the_same_order(backlogged: Desk) -> None:
    desk = backlogged
    accept = desk.receive(sample_commands.accept(), START + 2 * MICRO)
    cancel = desk.receive(sample_commands.ask("cancel_order", "client", "o1"), START + 3 * MICRO)
    assert desk.settle(accept, cancel) == [accept, cancel]
    del desk.door.waiting["elsewhere"]
    desk.say(sample_commands.pay("p1", {"o1": DEPOSIT}), START + MICRO)
    assert desk.settle(accept, cancel) == []
    assert desk.answer(accept)[0] == "applied"
    assert desk.answer(cancel)[:2] == ("rejected", "would_forfeit")


def test_what_can_be_applied_waits_for_nobody(backlogged: Desk) -> None:
    deposit = backlogged.receive(sample_commands.pay("p1", {"o1": DEPOSIT}), START + 2 * MICRO)
    assert backlogged.settle(deposit) == []
    assert backlogged.answer(deposit)[0] == "applied"


@pytest.fixture
def warned(backlogged: Desk) -> Desk:
    """Give the desk with the backlog, and a creator whose next violation means a ban."""
    backlogged.say(sample_commands.report("x1"), START)
    return backlogged


def test_a_ban_waits_for_everybody_received_before_it(warned: Desk) -> None:
    desk = warned
    ban = desk.receive(sample_commands.report("x2"), START + 2 * MICRO)
    assert desk.settle(ban) == [ban]
    del desk.door.waiting["elsewhere"]
    desk.say(sample_commands.pay("p1", {"o1": DEPOSIT}), START + MICRO)
    assert desk.settle(ban) == []
    assert [event["type"] for event in desk.published() if event.get("order_id") == "o1"][-2:] == [
        "order.declined",
        "refund.requested",
    ]


def test_nobody_slips_in_front_of_a_held_ban(warned: Desk) -> None:
    desk = warned
    ban = desk.receive(sample_commands.report("x2"), START + 2 * MICRO)
    placement = desk.receive(sample_commands.place("o2"), START + 3 * MICRO)
    cancel = desk.receive(sample_commands.ask("cancel_order", "client", "o1"), START + 3 * MICRO)
    unrelated_placement = desk.receive(
        sample_commands.place("o3", creator_id="k2"), START + 3 * MICRO
    )
    assert desk.settle(ban, placement, cancel, unrelated_placement) == [ban, placement, cancel]
    assert desk.answer(unrelated_placement)[0] == "applied"
    del desk.door.waiting["elsewhere"]
    assert desk.settle(ban, placement, cancel) == []
    answers = [desk.answer(submission)[1] for submission in (ban, placement, cancel)]
    assert answers == [None, "creator_banned", "wrong_state"]


def test_what_was_settled_before_a_ban_that_came_first_keeps_its_time(warned: Desk) -> None:
    desk = warned
    desk.say(sample_commands.place("o2"), START + 3 * MICRO)
    del desk.door.waiting["elsewhere"]
    desk.say(sample_commands.report("x2"), START + 2 * MICRO)
    last = desk.reader.timeline("o2")[-1]
    assert (last.fact.type, last.at) == ("order.cancelled", START + 3 * MICRO)
    assert desk.reader.audit().findings == []


AFTER = span("1h")


def test_a_command_waits_for_its_order_and_is_applied_when_that_comes(desk: Desk) -> None:
    desk.admit()
    desk.door.present = START + 3 * MICRO
    accept = desk.receive(sample_commands.accept(), START + 2 * MICRO)
    deposit = desk.receive(sample_commands.pay("p1", {"o1": DEPOSIT}), START + MICRO)
    assert desk.settle(accept, deposit) == [deposit, accept]
    desk.say(sample_commands.place(), START)
    assert desk.settle(accept, deposit) == []
    assert [desk.answer(submission)[:2] for submission in (deposit, accept)] == [
        ("applied", None)
    ] * 2
    assert desk.rows("receipts")[-1].received_at
    assert [row.state for row in desk.rows("orders")] == ["awaiting_balance"]


def test_a_command_waits_only_as_long_as_patience_lasts(desk: Desk) -> None:
    desk.door.present = START
    accept = desk.receive(sample_commands.accept(), START)
    desk.door.present = START + PATIENCE - MICRO
    assert desk.settle(accept) == [accept]
    assert desk.published() == []
    desk.door.present = START + PATIENCE
    assert desk.settle(accept) == []
    assert desk.answer(accept)[:2] == ("rejected", "unknown_order")


def test_money_for_an_order_that_never_comes_ends_in_suspense(desk: Desk) -> None:
    payment = desk.receive(sample_commands.pay("p1", {"o1": DEPOSIT}), START)
    assert desk.settle(payment) == [payment]
    assert desk.rows("payments") == []
    desk.door.present = START + PATIENCE
    assert desk.settle(payment) == []
    assert desk.reader.balances()["suspense"] == DEPOSIT


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        (sample_commands.place(), "unknown_creator"),
        (sample_commands.ask("confirm_refund", "payments", refund_id="rf_p1_o1"), "unknown_refund"),
    ],
)
def test_what_needs_no_order_does_not_wait_for_one(
    desk: Desk, command: sample_commands.Letter, reason: str
) -> None:
    submission = desk.receive(command, START)
    assert desk.settle(submission) == []
    assert desk.answer(submission)[:2] == ("rejected", reason)


def test_a_held_command_does_not_hold_its_neighbours(desk: Desk) -> None:
    desk.admit()
    early = desk.receive(sample_commands.accept("o9"), START, message_id="shared")
    placement = desk.receive(sample_commands.place("o1"), START, message_id="shared")
    assert desk.settle(early, placement) == [early]
    assert desk.answer(placement)[0] == "applied"
    desk.door.present = START + PATIENCE
    assert desk.settle(early, placement) == []
    command_ids = [event["command_id"] for event in desk.published("command.settled")]
    assert len(command_ids) == len(set(command_ids)), "the neighbour was answered again"


@pytest.fixture
def offered(desk: Desk) -> Desk:
    """Give a desk with one order, offered now."""
    desk.admit().offer("o1")
    return desk


def test_who_would_end_a_wait_waits_for_those_who_were_heard_in_time(offered: Desk) -> None:
    due_at = offered.order().due_at
    assert due_at
    in_time = offered.receive(sample_commands.accept(), due_at)
    too_late = offered.receive(
        sample_commands.ask("decline_order", "creator", "o1"), due_at + MICRO
    )
    offered.door.waiting = {in_time.message_id: in_time.at, too_late.message_id: too_late.at}
    offered.door.present = due_at + AFTER
    assert offered.settle(too_late) == [too_late]
    assert offered.settle(in_time) == []
    offered.door.waiting.pop(in_time.message_id)
    assert offered.settle(too_late) == []
    assert offered.answer(in_time)[:2] == ("applied", None)
    assert offered.answer(too_late)[:2] == ("rejected", "wrong_state")


@pytest.mark.parametrize(
    "command",
    [
        sample_commands.accept(),
        sample_commands.pay("late", {"o1": BALANCE}),
        sample_commands.ask("confirm_refund", "payments", refund_id="rf_deposits_of_o1_o1"),
    ],
    ids=lambda command: command["kind"],
)
def test_whatever_would_end_a_wait_is_held_while_anybody_earlier_is_on_the_way(
    offered: Desk, command: sample_commands.Letter
) -> None:
    due_at = offered.order().due_at
    assert due_at
    submission = offered.receive(command, due_at + MICRO)
    offered.door.present = due_at + AFTER
    offered.door.waiting = {"somebody": due_at, submission.message_id: submission.at}
    assert offered.settle(submission) == [submission]
    assert [row.state for row in offered.rows("orders")] == ["offered"]
    offered.door.waiting["somebody"] = due_at + MICRO
    assert offered.settle(submission) == []
    assert [row.state for row in offered.rows("orders")] == ["expired"]


def test_nobody_waits_for_a_command_that_was_received_too_late_anyway(offered: Desk) -> None:
    due_at = offered.order().due_at
    assert due_at
    offered.door.waiting = {"somebody": due_at + MICRO}
    offered.door.present = due_at + AFTER
    late = offered.receive(sample_commands.accept(), due_at + 2 * MICRO)
    assert offered.settle(late) == []
    assert offered.answer(late)[:2] == ("rejected", "late")


def test_a_command_in_time_is_not_held_by_anybody(offered: Desk) -> None:
    due_at = offered.order().due_at
    assert due_at
    offered.door.waiting = {"somebody": START}
    offered.door.present = due_at + AFTER
    assert offered.settle(offered.receive(sample_commands.accept(), due_at)) == []
    assert [row.state for row in offered.rows("orders")] == ["awaiting_balance"]


def test_one_batch_with_both_sides_of_a_deadline_waits_for_nobody(offered: Desk) -> None:
    due_at = offered.order().due_at
    assert due_at
    in_time = offered.receive(sample_commands.accept(), due_at)
    too_late = offered.receive(
        sample_commands.ask("decline_order", "creator", "o1"), due_at + MICRO
    )
    offered.door.waiting = {in_time.message_id: in_time.at, too_late.message_id: too_late.at}
    offered.door.present = due_at + AFTER
    assert offered.settle(too_late, in_time, wakes=["o1"]) == []
    assert [offered.answer(submission)[0] for submission in (in_time, too_late)] == [
        "applied",
        "rejected",
    ]


def test_time_does_not_pass_while_somebody_in_time_is_on_the_way(offered: Desk) -> None:
    due_at = offered.order().due_at
    assert due_at
    offered.door.present = due_at + AFTER
    offered.door.waiting = {"somebody": due_at}
    offered.settle(wakes=["o1"])
    assert [row.state for row in offered.rows("orders")] == ["offered"]
    offered.door.waiting = {}
    offered.settle(wakes=["o1"])
    assert [row.state for row in offered.rows("orders")] == ["expired"]


def test_what_waits_for_an_order_that_does_not_exist_holds_no_deadline_back(offered: Desk) -> None:
    nobodys_acceptance = offered.receive(sample_commands.accept("o9"), START)
    split_payment = offered.receive(sample_commands.pay("p9", {"o1": BALANCE, "o9": 1}), START)
    waiting = {nobodys_acceptance.message_id: START, split_payment.message_id: START}
    offered.door.present, offered.door.waiting = START, dict(waiting)
    assert offered.settle(nobodys_acceptance, split_payment) == [nobodys_acceptance, split_payment]
    assert offered.door.waiting == {split_payment.message_id: START}


SOON = timedelta(seconds=0.5)


class Crossing:
    """An order whose deadline is near, a worker's hands, and another worker that ticks."""

    def __init__(self, engine: Engine, wire: redis.Redis) -> None:
        self.wire, self.bench = wire, Bench(wire)
        self.store, self.door = Store(engine, Policy()), RedisDoor(wire, engine)
        self.store.adopt_policy()
        open_door(wire, in_use=False)
        self.door.watermark(())
        self.settler = Settler(self.store, self.door, lambda: None)
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
        Client(self.wire).submit(sample_commands.accept())
        taken_message = present(self.bench.take())
        assert self.door.now() < self.due_at
        return taken_message

    def tick(self) -> State:
        """Let the deadline pass, wake the order, and say what it is now."""
        wait_for(lambda: self.door.now() > self.due_at)
        self.settler.settle([], ["o1"])
        return self.order.state

    def settle(self, message: MessageProxy) -> State:
        """Settle what the worker has, late as it is."""
        for delivery in deliveries_of(message):
            assert self.settler.settle(delivery.commands) == []
        self.bench.settle(message)
        return self.order.state


@pytest.fixture
def crossing(sqlite_engine: Engine, wire: redis.Redis) -> Crossing:
    return Crossing(sqlite_engine, wire)


def test_with_nothing_on_its_way_the_deadline_takes_effect(crossing: Crossing) -> None:
    assert crossing.tick() is State.EXPIRED


def test_a_command_that_waits_is_not_overtaken(crossing: Crossing) -> None:
    Client(crossing.wire).submit(sample_commands.accept())
    assert crossing.tick() is State.OFFERED
    assert crossing.settle(present(crossing.bench.take())) is State.AWAITING_BALANCE


def test_nor_is_one_in_a_workers_hands(crossing: Crossing) -> None:
    taken_message = crossing.accept()
    assert crossing.tick() is State.OFFERED
    assert crossing.settle(taken_message) is State.AWAITING_BALANCE


def test_nor_is_one_whose_worker_was_killed(crossing: Crossing) -> None:
    crossing.accept()
    for queue in QUEUES:
        Scripts(crossing.wire).rescue(Keys(queue), 0, last=queue == QUEUES[-1])
    assert crossing.tick() is State.OFFERED
    heir = Bench(crossing.wire)
    assert crossing.settle(present(heir.take())) is State.AWAITING_BALANCE


def test_nor_is_one_beside_others_of_its_message_that_are_settled(crossing: Crossing) -> None:
    Client(crossing.wire).submit_many([registration(1), json.dumps(sample_commands.accept())])
    taken_message = present(crossing.bench.take())
    (delivery,) = deliveries_of(taken_message)
    crossing.settler.settle(delivery.commands[:1])
    assert crossing.tick() is State.OFFERED
    assert crossing.settle(taken_message) is State.AWAITING_BALANCE


def test_nor_is_one_that_redis_has_forgotten_and_its_worker_has_not(crossing: Crossing) -> None:
    taken_message = crossing.accept()
    crossing.wire.flushall()
    assert crossing.tick() is State.OFFERED
    # The worker says again what it has, at its next sign of life.
    assert crossing.bench.take() is None
    assert crossing.tick() is State.OFFERED
    assert crossing.settle(taken_message) is State.AWAITING_BALANCE


def test_what_was_said_again_outlives_its_worker(crossing: Crossing) -> None:
    crossing.accept()
    crossing.wire.flushall()
    assert crossing.bench.take() is None
    for queue in QUEUES:
        Scripts(crossing.wire).rescue(Keys(queue), 0, last=queue == QUEUES[-1])
    heir = Bench(crossing.wire)
    assert crossing.settle(present(heir.take())) is State.AWAITING_BALANCE


def test_after_a_wipe_deadlines_take_effect_again(
    crossing: Crossing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watermark, "GRACE", SOON)
    crossing.wire.flushall()
    assert crossing.bench.take() is None
    crossing.door.watermark(())
    wait_for(lambda: crossing.tick() is State.EXPIRED)


def test_a_tick_after_the_acknowledgement_finds_it_settled(crossing: Crossing) -> None:
    assert crossing.settle(crossing.accept()) is State.AWAITING_BALANCE
    assert crossing.tick() is State.AWAITING_BALANCE
    assert crossing.wire.zcard(KEYS.pending) == 0
