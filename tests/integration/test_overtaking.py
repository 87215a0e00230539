"""Overtaking: no tick passes a command that was received in time, wherever the command is."""

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
from tests.integration import letters
from tests.integration.benches import KEYS, Bench, deliveries_of, present
from tests.integration.rosters import registration, wait_for
from tests.unit.controls import DEPOSIT
from workers.client import Client
from workers.database.repository import Store
from workers.processing.processor import Settler
from workers.queries.reader import Reader
from workers.queue import watermark
from workers.queue.messages import Received
from workers.queue.redis import QUEUES, Keys, Scripts
from workers.queue.watermark import RedisDoor, open_door

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
        steps = [*letters.admit(), letters.place(), letters.pay("p1", {"o1": DEPOSIT})]
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
        Client(self.wire).submit(letters.accept())
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
    Client(crossing.wire).submit(letters.accept())
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
    Client(crossing.wire).submit_many([registration(1), json.dumps(letters.accept())])
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
