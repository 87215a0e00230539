"""Campaign: the demo's file is what its author writes, and shows everything there is."""

from __future__ import annotations

import json
from collections import Counter
from datetime import timedelta
from typing import get_args

from examples.make_campaign import CAMPAIGN, DEMO_POLICY, lines, write
from examples.stage import POLICY
from models.commands import KINDS
from models.fields import TaskType, parse_instant
from models.lifecycle import DISPUTES, ENDINGS
from models.policy import read_policy
from models.reasons import Alert, Reason, Unusable
from ops.play import foresee, shifted
from tests.unit.campaign import (
    applied,
    commands,
    events,
    forecast,
    seen,
    steps,
    told,
    unhurried,
)
from tests.unit.controls import audit

README = CAMPAIGN.parents[1] / "README.md"

# What cannot occur in a minute. Civil days are whole days, so a policy that counts them plays in
# days; and a ban for good begins when the week and the three months before it are over. Nor does
# any ban end by itself: the shortest lasts a day.
REASONS_NOT_PLAYED = {Reason.CALENDAR_UNKNOWN}
ALERTS_NOT_PLAYED = {Alert.CALENDAR_UNKNOWN}
DISPUTES_NOT_PLAYED = {"creator_banned"}


def test_the_file_is_what_the_author_writes() -> None:
    assert CAMPAIGN.read_text(encoding="utf-8").splitlines() == list(lines(write())), (
        "stale: run `python -m examples.make_campaign`"
    )


def test_the_policy_is_what_the_author_plans_with() -> None:
    assert read_policy(DEMO_POLICY.read_text(encoding="utf-8")) == POLICY


def test_it_is_a_campaign() -> None:
    placed = told("order.placed")
    assert len(placed) >= 330
    assert len({one["client_id"] for one in placed}) == 20
    assert seen("creator.registered", "creator_id").keys() >= {
        f"creator-{n:02}" for n in range(1, 81)
    }
    assert len(seen("mcn.registered", "mcn_id")) == 6
    assert len(seen("client.registered", "client_id")) == 20
    assert {one["task_type"] for one in placed} == set(get_args(TaskType))
    assert len({len(one["brief"]) for one in placed}) > 50
    assert all("\u4e00" <= one["name"][0] <= "\u9fff" for one in placed)


def test_it_is_over_before_a_minute_is() -> None:
    asked = [one.at for one in steps() if one.command]
    over_at = forecast().over_at
    assert over_at is not None
    assert over_at - asked[0] <= timedelta(seconds=35)


def test_every_kind_of_command_is_obeyed() -> None:
    assert {kind for kind in KINDS if not any(applied(kind))} == set()


def test_every_order_comes_to_rest_in_every_way_there_is() -> None:
    wanted = {(state.value, why) for state, reasons in ENDINGS.items() for why in reasons}
    # One whose client neither pays nor leaves while the creator is banned, some not yet decided.
    waiting = {("awaiting_balance", None), ("in_arbitration", "disputed")}
    assert set(forecast().endings) == wanted | waiting


def test_every_reason_is_given() -> None:
    given = {reason for outcome, reason in forecast().outcomes.values() if outcome == "rejected"}
    unrecorded = {Reason.MALFORMED, Reason.ID_REUSED}
    assert given | unrecorded == set(Reason) - REASONS_NOT_PLAYED
    assert all(forecast().answers["rejected", one] for one in unrecorded)
    assert forecast().answers["rejected", Reason.MALFORMED] >= 20


def test_operators_are_told_of_everything_there_is() -> None:
    assert seen("operator.alerted", "alert").keys() == set(Alert) - ALERTS_NOT_PLAYED


def test_money_goes_astray_in_every_way_there_is() -> None:
    assert seen("payment.unapplied", "reason").keys() == set(Unusable)
    assert seen("order.reinstated", "order_id")
    assert seen("refund.confirmed", "refund_id")
    assert seen("suspense.resolved", "to")
    assert forecast().balances["suspense"]


def test_payments_are_merged_in_many_sizes() -> None:
    merged = {len(one["shares"]) for one in commands() if one["kind"] == "confirm_payment"}
    assert merged >= {0, 1, 2, 3, 4, 6}


def test_things_are_said_twice() -> None:
    assert any(number > 1 for number in Counter(map(json.dumps, commands())).values())
    assert forecast().answers["duplicate", None] >= 10


def test_everybody_is_reminded_of_everything_there_is() -> None:
    ladders = {(who, state) for who, state in forecast().reminders if state != "nudge"}
    client = {"awaiting_balance", "script_review", "content_review", "published"}
    creator = {"offered", "in_fulfilment", "script_revision", "producing", "ready_to_publish"}
    assert ladders == {("client", one) for one in client} | {("creator", one) for one in creator}
    assert forecast().reminders["creator", "nudge"]


def test_work_is_reviewed_by_word_by_silence_by_providers_and_by_operators() -> None:
    for what in ("script.approved", "content.approved", "delivery.accepted"):
        heard = {one["by"].partition(":")[0] for one in told(what)}
        assert heard >= {"client", "silence", "provider"}
    assert {one["by"] for one in told("script.approved")} & {"operator:operator-7"}
    assert "provider" in {one["by"].partition(":")[0] for one in told("work.published")}


def test_work_is_sent_back_as_often_as_it_may() -> None:
    assert seen("script.rejected", "rejections_left").keys() == {0, 1, 2}
    assert seen("content.rejected", "rejections_left").keys() == {0, 1}


def test_broadcasts_are_not_reviewed_and_some_works_need_no_script() -> None:
    types = {one["order_id"]: one["task_type"] for one in told("order.placed")}
    handed_in = seen("content.submitted", "order_id").keys()
    live = {one for one, type_ in types.items() if type_ == "douyin_live"}
    published = seen("work.published", "order_id").keys()
    assert live & published
    assert not live & handed_in
    assert handed_in - seen("script.submitted", "order_id").keys()


def test_disputes_come_for_every_reason_and_go_every_way() -> None:
    assert seen("order.in_arbitration", "reason").keys() == set(DISPUTES) - DISPUTES_NOT_PLAYED
    resolved = told("dispute.resolved")
    assert {one["outcome"] for one in resolved} == {"approve", "cancel", "extend"}
    assert {one["creator_bps"] for one in resolved} >= {0, 3_000, 10_000}
    decided = {one["order_id"] for one in resolved}
    left = [one for one in told("order.cancelled") if one["reason"] == "client_cancelled"]
    assert {one["order_id"] for one in left} & (
        seen("order.in_arbitration", "order_id").keys() - decided
    )


def test_cancelling_has_every_price_there_is() -> None:
    live = {one["order_id"]: one["task_type"] == "douyin_live" for one in told("order.placed")}
    paid = {one.order_id: one.amount_fen for one in unhurried().book.orders.values()}
    prices = {
        (live[one["order_id"]], round(10 * one["creator_part_fen"] / paid[one["order_id"]]))
        for one in told("order.cancelled")
        if one["reason"] == "client_cancelled" and one["cost_fen"]
    }
    assert prices == {(kind, tenths) for kind in (True, False) for tenths in (1, 5, 10)}


def test_agencies_and_creators_are_paid_and_some_still_wait() -> None:
    parties = {one["party"].partition(":")[0] for one in told("payout.confirmed")}
    assert parties == {"creator", "mcn"}
    left = seen("payout.requested", "payout_id") - seen("payout.confirmed", "payout_id")
    assert left.total() >= 20
    alone = [one for one in told("order.completed") if one["mcn_id"] is None]
    assert 0 < len(alone) < len(told("order.completed"))
    assert seen("order.rated", "rating").keys() >= {3, 4, 5}


def test_the_ladder_is_climbed_to_its_end_and_once_torn_down() -> None:
    steps_taken = {one["step"]: one["until"] for one in told("creator.banned")}
    assert steps_taken.keys() == {2, 3, 4}
    assert steps_taken[4] is None
    assert seen("violation.reported", "step").keys() == {1, 2, 3, 4, 5}
    lifted = {one["creator_id"] for one in told("creator.ban_lifted")}
    assert lifted == seen("violation.overturned", "creator_id").keys()
    # Whose clock the ban had stopped and an operator's word let run on: they came to an end.
    resumed = [one["order_id"] for one in told("clock.resumed") if one["stopper"] == "ban"]
    assert resumed
    assert {forecast().orders[one] for one in resumed} == {("completed", "settled")}


def test_an_outage_moves_many_deadlines_at_once_and_each_of_them_matters() -> None:
    bulk = [one for one in applied("extend_deadline") if one["by"]["id"] == "bulk-tool"]
    assert len(bulk) >= 10
    assert len({one["reason"] for one in bulk}) == 1
    moved = {one["order_id"]: one for one in told("deadline.extended")}
    for order_id in {one["order_id"] for one in bulk}:
        began = next(e["at"] for e in events() if is_first_work(e, order_id))
        assert parse_instant(began) > parse_instant(moved[order_id]["old_due_at"])
        assert forecast().orders[order_id] == ("completed", "settled")


def is_first_work(event: dict[str, object], order_id: str) -> bool:
    first = event["type"] in ("script.submitted", "content.submitted")
    return first and event.get("order_id") == order_id


def test_the_books_are_right() -> None:
    assert audit(unhurried()) == []
    assert sum(forecast().balances.values()) == 0


def test_nobody_needs_to_be_woken() -> None:
    book = unhurried().book
    orders = {one.order_id: (one.state.value, one.reason) for one in book.orders.values()}
    assert orders == forecast().orders
    assert {one: (r.outcome, r.reason) for one, r in book.receipts.items()} == forecast().outcomes


def test_another_day_changes_nothing() -> None:
    # Where it is midnight in Shanghai a few seconds later.
    moved = foresee(shifted(steps(), parse_instant("2031-07-01T15:59:50Z")), POLICY)
    assert moved.outcomes == forecast().outcomes
    assert moved.orders == forecast().orders
    assert moved.balances == forecast().balances
    assert moved.answers == forecast().answers
    assert moved.flows == forecast().flows


def test_the_readme_says_how_much_is_played() -> None:
    said = README.read_text(encoding="utf-8")
    assert f"{len(forecast().orders)} orders" in said
    assert f"{len(commands()):,}".replace(",", " ") + "\ncommands" in said
