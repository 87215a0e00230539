"""Accepted in time: what was accepted before a deadline counts, although Redis lost it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from scheduler.deadlines import DeadlineScheduler
from tests.support import sample_commands
from tests.support.concurrency import eventually
from tests.web.gateway_harness import GatewayHarness, post
from workers.database.repository import Store
from workers.queries.reader import Reader
from workers.queue import watermark
from workers.queue.messages import read_message
from workers.queue.redis import WAKEUPS, FetchLimits, Keys, Scripts
from workers.runtime import policy_in_force


def wake(gateway: GatewayHarness) -> None:
    """Let the scheduler tick, and a worker handle the wake-ups."""
    scheduler = DeadlineScheduler(gateway.engine, gateway.redis_client)
    scheduler.clock = gateway.clock
    scheduler.run_once()
    batch = Scripts(gateway.redis_client).fetch(Keys(WAKEUPS), "tester", FetchLimits(100))
    deliveries = [
        read_message(WAKEUPS, message, gateway.settings.keyring) for message in batch.messages
    ]
    order_ids = [order_id for delivery in deliveries for order_id in delivery.orders]
    gateway.processor().wake(order_ids or ["o1"])


def test_an_acceptance_in_time_wins_though_redis_lost_it_and_the_deadline_has_passed(
    gateway: GatewayHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watermark, "GRACE", timedelta(seconds=0.5))
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
    gateway.clock.watermark()
    gateway.redis_client.flushall()
    order = reader.order("o1")
    assert order is not None
    assert order.due_at is not None
    due_at = order.due_at
    eventually(lambda: gateway.clock.now() > due_at)
    wake(gateway)
    assert reader.order("o1") == order
    # Whoever asks what is earlier hands in again what Redis has lost.
    assert gateway.is_queued()
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
