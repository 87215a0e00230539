"""Monitoring: what only people or banks can set in motion is counted, and is no fault of ours."""

from __future__ import annotations

from tests.support.store_harness import Desk
from tests.support.stories import AMOUNT, MICRO, span
from workers.queries import monitoring


def test_stopped_clocks_and_banned_creators_are_counted(desk: Desk) -> None:
    desk.bring("balance_banned")
    standstill = monitoring.standstill(desk.engine, desk.now)
    assert (standstill["clocks_stopped"], standstill["creators_banned"]) == (1, 1)
    (ban,) = desk.book.creators["k1"].bans
    assert ban.until is not None
    desk.wake("creator:k1", ban.until + MICRO)
    standstill = monitoring.standstill(desk.engine, desk.now)
    assert (standstill["clocks_stopped"], standstill["creators_banned"]) == (0, 0)


def test_an_arbitration_past_its_window_is_a_person_s_lateness_and_not_a_deadline_s(
    desk: Desk,
) -> None:
    desk.bring("disputed_work")
    later = desk.now + span("31d")
    standstill = monitoring.standstill(desk.engine, desk.now)
    assert (standstill["arbitrations"], standstill["arbitrations_overdue"]) == (1, 0)
    assert monitoring.standstill(desk.engine, later)["arbitrations_overdue"] == 1
    assert monitoring.deadlines(desk.store, later)["overdue"] == 0


def test_payouts_wait_until_they_are_confirmed(desk: Desk) -> None:
    desk.bring("completed")
    payouts = monitoring.payouts(desk.engine)
    assert (payouts["waiting"], payouts["fen"]) == (1, AMOUNT)
    desk.ask("confirm_payout", "payments", payout_id="po_o1_creator")
    assert monitoring.payouts(desk.engine) == {"waiting": 0, "fen": 0, "oldest_seconds": 0.0}
