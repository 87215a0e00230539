"""Account: the explanation of an order, compared with histories whose truth is known."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine

from models.lifecycle import State
from ops.explain.account import explain_order
from ops.explain.render import render_text
from tests.support.store_harness import StoreHarness
from tests.support.stories import AMOUNT, BALANCE, DEPOSIT, HISTORIES, TOTAL, span


@pytest.fixture
def sqlite_harness(sqlite_engine: Engine) -> StoreHarness:
    return StoreHarness(engine=sqlite_engine)


def account_of(harness: StoreHarness, at: datetime | None = None) -> dict[str, Any]:
    explanation = explain_order(
        harness.store, "o1", at=at or harness.now, watermark=at or harness.now
    )
    assert explanation is not None
    return explanation


@pytest.mark.parametrize("situation", HISTORIES)
def test_every_situation_can_be_accounted_for(sqlite_harness: StoreHarness, situation: str) -> None:
    explanation = account_of(sqlite_harness.bring_to(situation))
    order = sqlite_harness.order()
    assert (explanation["status"], explanation["reason"]) == (order.state, order.reason)
    assert explanation["chain"][0]["from"] is None
    assert explanation["chain"][-1]["to"] == order.state
    steps = zip(explanation["chain"], explanation["chain"][1:], strict=False)
    assert all(step["to"] == next_step["from"] for step, next_step in steps)
    assert sum(posting["amount_fen"] for posting in explanation["money"]["held"]) == order.held_fen
    assert (explanation["next"] is None) == order.is_final
    assert json.loads(json.dumps(explanation)) == explanation
    assert order.state in render_text(explanation)


def test_an_unknown_order_has_no_account(sqlite_harness: StoreHarness) -> None:
    assert explain_order(sqlite_harness.store, "o1", at=sqlite_harness.now) is None


def test_a_deposit_is_explained_by_the_numbers_it_came_from(
    sqlite_harness: StoreHarness,
) -> None:
    placement_step = account_of(sqlite_harness.bring_to("offered"))["chain"][0]
    assert placement_step["cause"]["by"] == "client:c1"
    assert placement_step["numbers"] == {
        "service_fee_bps": 500,
        "fee_fen": TOTAL - AMOUNT,
        "total_fen": TOTAL,
        "deposit_bps": 1000,
        "deposit_fen": DEPOSIT,
        "deposit_window": "PT30M",
    }


def test_a_revision_shows_its_range_from_the_original(sqlite_harness: StoreHarness) -> None:
    chain = account_of(sqlite_harness.bring_to("revised"))["chain"]
    assert chain[-1]["numbers"]["least_fen"] == 80_000
    assert chain[-1]["numbers"]["most_fen"] == 120_000


def test_a_forfeiture_names_the_clock_and_its_windows(sqlite_harness: StoreHarness) -> None:
    explanation = account_of(sqlite_harness.bring_to("forfeited_late"))
    overdue, forfeited = explanation["chain"][-2:]
    assert overdue["cause"] == {"kind": "deadline", "state": "awaiting_balance", "by": "clock"}
    assert overdue["numbers"]["balance_window"] == "P7D"
    assert overdue["margin_seconds"] == 0
    assert forfeited["numbers"]["forfeited_fen"] == DEPOSIT
    assert "payment_notice_grace PT10M) was over at 2026-03-09T02:10:00Z" in explanation["why"]
    assert explanation["money"]["forfeited"][0]["amount_fen"] == DEPOSIT


def test_the_next_deadline_is_explained_with_its_instant_and_its_reminder(
    sqlite_harness: StoreHarness,
) -> None:
    sqlite_harness.bring_to("offered")
    due_at = sqlite_harness.order().due_at
    assert due_at is not None
    next_deadline = account_of(sqlite_harness)["next"]
    assert next_deadline["becomes"] == ["expired"]
    assert next_deadline["reminder_at"] == (due_at - timedelta(hours=12)).isoformat().replace(
        "+00:00", "Z"
    )
    late_explanation = explain_order(
        sqlite_harness.store, "o1", at=due_at + span("5s"), watermark=due_at
    )
    assert late_explanation is not None
    assert late_explanation["next"]["overdue_seconds"] == 5
    assert late_explanation["next"]["held_back_by_backlog"]
    assert "OVERDUE by 5 s: commands received earlier" in render_text(late_explanation)


def test_each_party_is_told_what_it_may_do(sqlite_harness: StoreHarness) -> None:
    rows = {row["command"]: row for row in account_of(sqlite_harness.bring_to("offered"))["may"]}
    assert rows["accept_order"]["who"] == [
        {"role": "creator", "id": "k1"},
        {"role": "mcn", "id": "m1"},
    ]
    assert rows["cancel_order"]["who"][1] == {"role": "operator", "id": None}
    assert rows["nudge_creator"]["becomes"] == [State.OFFERED]
    assert "nudge_creator" in rows["operator_act"]["terms"]["stands_in_for"]
    assert "enforce_deadline" not in rows


def test_when_an_offers_time_is_up_only_payments_may_be_reported(
    sqlite_harness: StoreHarness,
) -> None:
    sqlite_harness.bring_to("offered")
    late_at = sqlite_harness.now + timedelta(days=2)
    assert [row["command"] for row in account_of(sqlite_harness, late_at)["may"]] == [
        "confirm_payment"
    ]


def test_a_refusal_is_part_of_the_account(sqlite_harness: StoreHarness) -> None:
    sqlite_harness.bring_to("offered")
    sqlite_harness.ask("restore_quote", "client", order_id="o1")
    (refusal,) = account_of(sqlite_harness)["refused"]
    assert (refusal["reason"], refusal["by"]) == ("wrong_state", "client:c1")
    assert "client:c1" in render_text(account_of(sqlite_harness))


def test_refunds_are_part_of_the_account(sqlite_harness: StoreHarness) -> None:
    explanation = account_of(sqlite_harness.bring_to("cancelled_at_work"))
    amounts = sorted(refund["amount_fen"] for refund in explanation["money"]["refunds"])
    assert amounts == sorted([DEPOSIT, BALANCE])


def test_a_creators_bans_are_part_of_the_account(sqlite_harness: StoreHarness) -> None:
    explanation = account_of(sqlite_harness.bring_to("balance_banned"))
    (ban,) = explanation["creator"]["bans"]
    assert (ban["step"], ban["until"]) == (2, "2026-03-09T02:00:00Z")
    (stopper,) = explanation["next"]["stopped_by"]
    assert (stopper["who"], stopper["until"]) == ("ban", ban["until"])
    step = explanation["chain"][-1]
    assert step["cause"]["name"] == ban["violation_id"]
    assert "creator k1 is banned from" in step["cause"]["told"]


def test_payouts_to_the_creators_side_are_part_of_the_account(
    sqlite_harness: StoreHarness,
) -> None:
    sqlite_harness.bring_to("completed_agency")
    sqlite_harness.ask("confirm_payout", "payments", payout_id="po_o1_mcn")
    payouts = {
        payout["payout_id"]: payout for payout in account_of(sqlite_harness)["money"]["payouts"]
    }
    assert payouts["po_o1_creator"]["confirmed_at"] is None
    assert (payouts["po_o1_mcn"]["party"], payouts["po_o1_mcn"]["amount_fen"]) == ("mcn:m1", 30_000)
    assert payouts["po_o1_mcn"]["confirmed_at"] is not None


def test_a_refused_cancellation_names_who_asked_and_what_it_would_have_cost(
    sqlite_harness: StoreHarness,
) -> None:
    sqlite_harness.bring_to("script_review")
    sqlite_harness.ask("cancel_order", "client", order_id="o1", accept_cost_fen=1)
    explanation = account_of(sqlite_harness)
    (refusal,) = explanation["refused"]
    assert (refusal["reason"], refusal["cost_fen"]) == ("cost_mismatch", 10_500)
    assert "payments:psp asked, by command" in render_text(explanation)
