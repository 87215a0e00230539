"""Accepted in time: what was accepted before a deadline counts, although Redis lost it."""

from __future__ import annotations

from dataclasses import replace

from scheduler.deadlines import wake_overdue
from scheduler.maintenance import sweep_inbox
from tests.support import sample_commands
from tests.support.concurrency import eventually
from tests.web.gateway_harness import House, post
from workers.database.repository import Store
from workers.processing.processor import Settler
from workers.queries.reader import Reader
from workers.queue.consumer import sort
from workers.queue.redis import WAKEUPS, Keys, Scripts, Taking
from workers.queue.watermark import RedisDoor
from workers.runtime import policy_in_force


def wake(house: House) -> None:
    """Let the scheduler tick, and a worker do what it is told."""
    wake_overdue(house.engine, house.wire)
    batch = Scripts(house.wire).fetch(Keys(WAKEUPS), "tester", Taking(100))
    deliveries = [sort(WAKEUPS, message, house.settings.keyring) for message in batch.found]
    order_ids = [order_id for delivery in deliveries for order_id in delivery.orders]
    clock = RedisDoor(house.wire, house.engine)
    Settler(Store(house.engine, policy_in_force(house.settings)), clock, lambda: None).settle(
        [], order_ids or ["o1"]
    )


def test_an_acceptance_in_time_wins_though_redis_lost_it_and_the_deadline_has_passed(
    house: House,
) -> None:
    policy_path = house.settings.var / "policy.json"
    policy_path.write_text('{"accept_window": "PT2S", "accept_reminders": []}')
    house.settings = replace(house.settings, policy=policy_path)
    web = house.open()
    post(web, sample_commands.admit())
    house.settle()
    post(web, sample_commands.place("o1"))
    house.settle()
    post(web, sample_commands.pay("pay_1", {"o1": 10_500}))
    house.settle()
    reader = Reader(Store(house.engine, policy_in_force(house.settings)))

    acceptance = post(web, sample_commands.accept("o1")).json()
    eventually(house.is_carried)
    house.wire.flushall()
    order = reader.order("o1")
    assert order is not None
    assert order.due_at is not None
    due_at, clock = order.due_at, RedisDoor(house.wire, house.engine)
    eventually(lambda: clock.now() > due_at)
    wake(house)
    assert reader.order("o1") == order
    assert sweep_inbox(house.engine, house.wire) == 1
    house.settle()
    outcome = web.get(acceptance["outcome_at"]).json()
    assert (outcome["outcome"], outcome["received_at"]) == ("applied", acceptance["received_at"])
    assert reader.order("o1") != order


def test_an_offer_that_nobody_answered_ends_all_the_same(house: House) -> None:
    policy_path = house.settings.var / "policy.json"
    policy_path.write_text('{"accept_window": "PT1S", "accept_reminders": []}')
    house.settings = replace(house.settings, policy=policy_path)
    web = house.open()
    for command in (
        *sample_commands.admit(),
        sample_commands.place("o1"),
        sample_commands.pay("pay_1", {"o1": 10_500}),
    ):
        post(web, command)
        house.settle()

    def has_expired() -> bool:
        wake(house)
        return bool(web.get("/orders/o1").json()["reason"] == "not_accepted")

    eventually(has_expired)
    late_acceptance = post(web, sample_commands.accept("o1")).json()
    house.settle()
    assert web.get(late_acceptance["outcome_at"]).json()["reason"] == "late"
