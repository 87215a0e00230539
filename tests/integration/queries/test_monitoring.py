"""Monitoring: orders and payouts that wait for people or banks are counted, and are no alarm."""

from __future__ import annotations

from tests.support.store_harness import StoreHarness
from tests.support.stories import AMOUNT, MICRO, span
from workers.queries import monitoring


def test_stopped_clocks_and_banned_creators_are_counted(harness: StoreHarness) -> None:
    harness.bring_to("balance_banned")
    stalled = monitoring.stalled_counts(harness.engine, harness.now)
    assert (stalled["clocks_stopped"], stalled["creators_banned"]) == (1, 1)
    (ban,) = harness.uow.creators["k1"].bans
    assert ban.until is not None
    harness.wake("creator:k1", ban.until + MICRO)
    stalled = monitoring.stalled_counts(harness.engine, harness.now)
    assert (stalled["clocks_stopped"], stalled["creators_banned"]) == (0, 0)


def test_an_arbitration_past_its_window_counts_as_overdue_and_not_as_an_overdue_deadline(
    harness: StoreHarness,
) -> None:
    harness.bring_to("disputed_work")
    later = harness.now + span("31d")
    stalled = monitoring.stalled_counts(harness.engine, harness.now)
    assert (stalled["arbitrations"], stalled["arbitrations_overdue"]) == (1, 0)
    assert monitoring.stalled_counts(harness.engine, later)["arbitrations_overdue"] == 1
    assert monitoring.deadline_status(harness.store, later)["overdue"] == 0


def test_payouts_wait_until_they_are_confirmed(harness: StoreHarness) -> None:
    harness.bring_to("completed")
    payouts = monitoring.payouts_waiting(harness.engine)
    assert (payouts["waiting"], payouts["fen"]) == (1, AMOUNT)
    harness.ask("confirm_payout", "payments", payout_id="po_o1_creator")
    assert monitoring.payouts_waiting(harness.engine) == {
        "waiting": 0,
        "fen": 0,
        "oldest_seconds": 0.0,
    }
