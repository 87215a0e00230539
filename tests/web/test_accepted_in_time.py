"""Accepted in time: what was accepted before a deadline counts, although Redis lost it."""

from __future__ import annotations

from dataclasses import replace

from scheduler.deadlines import wake_overdue
from scheduler.maintenance import sweep_inbox
from tests.support import sample_commands
from tests.support.concurrency import eventually
from tests.web.gateway_harness import GatewayHarness, post
from workers.database.repository import Store
from workers.processing.processor import BatchProcessor
from workers.queries.reader import Reader
from workers.queue.consumer import read_delivery
from workers.queue.redis import WAKEUPS, FetchLimits, Keys, Scripts
from workers.queue.watermark import ArrivalClock
from workers.runtime import policy_in_force


def wake(gateway: GatewayHarness) -> None:
    """Let the scheduler tick, and a worker handle the wake-ups."""
    wake_overdue(gateway.engine, gateway.redis_client)
    batch = Scripts(gateway.redis_client).fetch(Keys(WAKEUPS), "tester", FetchLimits(100))
    deliveries = [
        read_delivery(WAKEUPS, message, gateway.settings.keyring) for message in batch.found
    ]
    order_ids = [order_id for delivery in deliveries for order_id in delivery.orders]
    clock = ArrivalClock(gateway.redis_client, gateway.engine)
    BatchProcessor(
        Store(gateway.engine, policy_in_force(gateway.settings)), clock, lambda: None
    ).settle([], order_ids or ["o1"])


def test_an_acceptance_in_time_wins_though_redis_lost_it_and_the_deadline_has_passed(
    gateway: GatewayHarness,
) -> None:
    policy_path = gateway.settings.var / "policy.json"
    policy_path.write_text('{"accept_window": "PT2S", "accept_reminders": []}')
    gateway.settings = replace(gateway.settings, policy=policy_path)
    http_client = gateway.open()
    post(http_client, sample_commands.admit())
    gateway.settle()
    post(http_client, sample_commands.place("o1"))
    gateway.settle()
    post(http_client, sample_commands.pay("pay_1", {"o1": 10_500}))
    gateway.settle()
    reader = Reader(Store(gateway.engine, policy_in_force(gateway.settings)))

    acceptance = post(http_client, sample_commands.accept("o1")).json()
    eventually(gateway.is_queued)
    gateway.redis_client.flushall()
    order = reader.order("o1")
    assert order is not None
    assert order.due_at is not None
    due_at, clock = order.due_at, ArrivalClock(gateway.redis_client, gateway.engine)
    eventually(lambda: clock.now() > due_at)
    wake(gateway)
    assert reader.order("o1") == order
    assert sweep_inbox(gateway.engine, gateway.redis_client) == 1
    gateway.settle()
    outcome = http_client.get(acceptance["outcome_at"]).json()
    assert (outcome["outcome"], outcome["received_at"]) == ("applied", acceptance["received_at"])
    assert reader.order("o1") != order


def test_an_offer_that_nobody_answered_ends_all_the_same(gateway: GatewayHarness) -> None:
    policy_path = gateway.settings.var / "policy.json"
    policy_path.write_text('{"accept_window": "PT1S", "accept_reminders": []}')
    gateway.settings = replace(gateway.settings, policy=policy_path)
    http_client = gateway.open()
    for command in (
        *sample_commands.admit(),
        sample_commands.place("o1"),
        sample_commands.pay("pay_1", {"o1": 10_500}),
    ):
        post(http_client, command)
        gateway.settle()

    def has_expired() -> bool:
        wake(gateway)
        return bool(http_client.get("/orders/o1").json()["reason"] == "not_accepted")

    eventually(has_expired)
    late_acceptance = post(http_client, sample_commands.accept("o1")).json()
    gateway.settle()
    assert http_client.get(late_acceptance["outcome_at"]).json()["reason"] == "late"
