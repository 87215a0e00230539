"""Monitoring: what waits for people, for banks, or for an earlier command is counted and named."""

from __future__ import annotations

from pathlib import Path

import redis

from tests.support.store_harness import StoreHarness
from tests.support.stories import AMOUNT, MICRO, span
from workers.queries import monitoring
from workers.queue.redis import HELD_KEY, connect
from workers.queue.stalled import StalledCommand, StallNotes
from workers.timestamps import SECOND_US


def test_stopped_clocks_and_banned_creators_are_counted(harness: StoreHarness) -> None:
    harness.bring_to("balance_banned")
    standstill = monitoring.standstill_counts(harness.engine, harness.now)
    assert (standstill["clocks_stopped"], standstill["creators_banned"]) == (1, 1)
    (ban,) = harness.uow.creators["k1"].bans
    assert ban.until is not None
    harness.wake("creator:k1", ban.until + MICRO)
    standstill = monitoring.standstill_counts(harness.engine, harness.now)
    assert (standstill["clocks_stopped"], standstill["creators_banned"]) == (0, 0)


def test_an_arbitration_past_its_window_counts_as_overdue_and_not_as_an_overdue_deadline(
    harness: StoreHarness,
) -> None:
    harness.bring_to("disputed_work")
    later = harness.now + span("31d")
    standstill = monitoring.standstill_counts(harness.engine, harness.now)
    assert (standstill["arbitrations"], standstill["arbitrations_overdue"]) == (1, 0)
    assert monitoring.standstill_counts(harness.engine, later)["arbitrations_overdue"] == 1
    assert monitoring.deadline_status(harness.store, later)["overdue"] == 0


def test_a_command_that_waits_for_long_is_named_with_what_it_is_about_and_waits_for(
    harness: StoreHarness, redis_client: redis.Redis
) -> None:
    status = monitoring.queue_status(harness.engine, redis_client)
    assert (status["stalled"], status["held"]) == ([], 0)
    seconds, _ = redis_client.time()
    now = seconds * SECOND_US
    stalled = StalledCommand("client:c1:cmd", now - 12 * SECOND_US, ("order:o1",), "m1")
    StallNotes(redis_client).note([stalled], now)
    redis_client.incrby(HELD_KEY, 3)
    status = monitoring.queue_status(harness.engine, redis_client)
    assert status["held"] == 3
    (entry,) = status["stalled"]
    assert 12 <= entry.pop("seconds") < 60
    assert entry == {"command": "client:c1:cmd", "about": ["order:o1"], "behind": "m1"}


def test_nobody_knows_what_was_held_back_while_redis_is_away(
    harness: StoreHarness, tmp_path: Path
) -> None:
    status = monitoring.queue_status(harness.engine, connect(f"unix://{tmp_path}/nobody"))
    assert (status["redis"], status["stalled"], status["held"]) == ("away", [], None)


def test_payouts_wait_until_they_are_confirmed(harness: StoreHarness) -> None:
    harness.bring_to("completed")
    payouts = monitoring.payouts_waiting(harness.engine)
    assert (payouts["waiting"], payouts["fen"]) == (1, AMOUNT)
    harness.ask("confirm_payout", "payments", payout_id="po_o1_creator")
    assert monitoring.payouts_waiting(harness.engine) == {
        "waiting": 0,
        "fen": 0,
        "oldest_seconds": 0.0,
        "failed": 0,
        "held": 0,
        "held_fen": 0,
    }


def test_what_failed_is_counted_and_what_is_held_waits_for_nobody(harness: StoreHarness) -> None:
    harness.bring_to("completed")
    name = {"payout_id": "po_o1_creator", "reason": "in doubt"}
    harness.ask("fail_payout", "payments", **name)
    waiting = monitoring.payouts_waiting(harness.engine)
    assert (waiting["waiting"], waiting["failed"], waiting["held"]) == (1, 1, 0)
    harness.ask("hold_payout", "operator", **name)
    waiting = monitoring.payouts_waiting(harness.engine)
    assert (waiting["waiting"], waiting["fen"], waiting["oldest_seconds"]) == (0, 0, 0.0)
    assert (waiting["failed"], waiting["held"], waiting["held_fen"]) == (1, 1, AMOUNT)
    assert monitoring.refunds_waiting(harness.engine)["failed"] == 0
