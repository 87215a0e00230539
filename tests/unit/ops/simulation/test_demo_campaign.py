"""Demo campaign: the file is what its author writes, and shows everything there is."""

from __future__ import annotations

import json
from collections import Counter
from datetime import timedelta
from typing import get_args

from examples.make_campaign import CAMPAIGN, DEMO_POLICY, lines, write
from examples.stage import POLICY
from models.commands import COMMAND_KINDS
from models.fields import TaskType, parse_instant
from models.lifecycle import END_REASONS, DisputeReason
from models.policy import read_policy
from models.reasons import Alert, RejectionReason, UnappliedReason
from ops.simulation.replay import expect, shift_steps
from tests.support.campaign import (
    applied_commands,
    commands,
    count_by,
    events,
    events_of,
    forecast,
    played_without_wakeups,
    steps,
)
from tests.support.stories import audit

README = CAMPAIGN.parents[1] / "README.md"

# What cannot occur in a minute. Civil days are whole days, so a policy that counts them plays in
# days; and when the ban for good begins, no work is left that it would put before an operator. Nor
# does any ban end by itself: the shortest lasts a day. No client has a thousand orders.
REASONS_NOT_PLAYED = {RejectionReason.CALENDAR_UNKNOWN, RejectionReason.TOO_MANY_UNPAID}

ALERTS_NOT_PLAYED = {Alert.CALENDAR_UNKNOWN, Alert.CALENDAR_ENDS}
DISPUTES_NOT_PLAYED = {"creator_banned"}


def test_the_campaign_file_is_what_its_author_writes() -> None:
    assert CAMPAIGN.read_text(encoding="utf-8").splitlines() == list(lines(write())), (
        "stale: run `python -m examples.make_campaign`"
    )


def test_the_demo_policy_file_is_what_the_author_plans_with() -> None:
    assert read_policy(DEMO_POLICY.read_text(encoding="utf-8")) == POLICY


def test_the_campaign_has_many_orders_parties_and_briefs() -> None:
    placements = events_of("order.placed")
    assert len(placements) >= 330
    assert len({event["client_id"] for event in placements}) == 20
    assert count_by("creator.registered", "creator_id").keys() >= {
        f"creator-{n:02}" for n in range(1, 81)
    }
    assert len(count_by("mcn.registered", "mcn_id")) == 6
    assert len(count_by("client.registered", "client_id")) == 20
    assert {event["task_type"] for event in placements} == set(get_args(TaskType))
    assert len({len(event["brief"]) for event in placements}) > 50
    assert all("\u4e00" <= event["name"][0] <= "\u9fff" for event in placements)


def test_the_campaign_is_over_within_a_minute() -> None:
    submitted_at = [step.at for step in steps() if step.command]
    over_at = forecast().ends_at
    assert over_at is not None
    assert over_at - submitted_at[0] <= timedelta(seconds=35)


def test_the_campaign_has_a_command_of_every_kind_applied() -> None:
    assert {kind for kind in COMMAND_KINDS if not any(applied_commands(kind))} == set()


def test_the_orders_of_the_campaign_end_in_every_way_there_is() -> None:
    expected_endings = {
        (state.value, reason) for state, reasons in END_REASONS.items() for reason in reasons
    }
    # Some are not yet decided.
    waiting_endings = {("in_arbitration", "disputed")}
    assert set(forecast().endings) == expected_endings | waiting_endings


def test_the_campaign_gives_every_rejection_reason() -> None:
    reasons_given = {
        reason for outcome, reason in forecast().outcomes.values() if outcome == "rejected"
    }
    unrecorded = {RejectionReason.MALFORMED, RejectionReason.ID_REUSED}
    assert reasons_given | unrecorded == set(RejectionReason) - REASONS_NOT_PLAYED
    assert all(forecast().answers["rejected", reason] for reason in unrecorded)
    assert forecast().answers["rejected", RejectionReason.MALFORMED] >= 20


def test_the_campaign_raises_every_alert() -> None:
    assert count_by("operator.alerted", "alert").keys() == set(Alert) - ALERTS_NOT_PLAYED


def test_money_of_the_campaign_goes_astray_in_every_way_there_is() -> None:
    assert count_by("payment.unapplied", "reason").keys() == set(UnappliedReason)
    assert count_by("order.reinstated", "order_id")
    assert count_by("refund.confirmed", "refund_id")
    assert count_by("suspense.resolved", "to")
    assert forecast().balances["suspense"]


def test_the_campaign_merges_payments_in_many_sizes() -> None:
    share_counts = {
        len(command["shares"]) for command in commands() if command["kind"] == "confirm_payment"
    }
    assert share_counts >= {0, 1, 2, 3, 4, 6}


def test_the_campaign_sends_commands_twice() -> None:
    assert any(number > 1 for number in Counter(map(json.dumps, commands())).values())
    assert forecast().answers["duplicate", None] >= 10


def test_the_campaign_sends_every_reminder() -> None:
    ladders = {(role, state) for role, state in forecast().reminders if state != "nudge"}
    client_states = {"awaiting_balance", "script_review", "content_review", "published"}
    creator_states = {
        "offered",
        "in_fulfilment",
        "script_revision",
        "producing",
        "ready_to_publish",
    }
    assert ladders == {("client", state) for state in client_states} | {
        ("creator", state) for state in creator_states
    }
    assert forecast().reminders["creator", "nudge"]


def test_work_of_the_campaign_is_reviewed_by_clients_silence_providers_and_operators() -> None:
    for event_type in ("script.approved", "content.approved", "delivery.accepted"):
        reviewer_roles = {event["by"].partition(":")[0] for event in events_of(event_type)}
        assert reviewer_roles >= {"client", "silence", "provider"}
    assert {event["by"] for event in events_of("script.approved")} & {"operator:operator-7"}
    assert "provider" in {event["by"].partition(":")[0] for event in events_of("work.published")}


def test_the_campaign_sends_work_back_as_often_as_is_allowed() -> None:
    assert count_by("script.rejected", "rejections_left").keys() == {0, 1, 2}
    assert count_by("content.rejected", "rejections_left").keys() == {0, 1}


def test_broadcasts_of_the_campaign_are_not_reviewed_and_some_works_need_no_script() -> None:
    types = {event["order_id"]: event["task_type"] for event in events_of("order.placed")}
    submitted_order_ids = count_by("content.submitted", "order_id").keys()
    live_order_ids = {order_id for order_id, type_ in types.items() if type_ == "douyin_live"}
    published_order_ids = count_by("work.published", "order_id").keys()
    assert live_order_ids & published_order_ids
    assert not live_order_ids & submitted_order_ids
    assert submitted_order_ids - count_by("script.submitted", "order_id").keys()


def test_disputes_of_the_campaign_come_for_every_reason_and_end_in_every_way() -> None:
    assert (
        count_by("order.in_arbitration", "reason").keys()
        == set(DisputeReason) - DISPUTES_NOT_PLAYED
    )
    resolutions = events_of("dispute.resolved")
    assert {event["outcome"] for event in resolutions} == {"approve", "cancel", "extend"}
    assert {event["creator_bps"] for event in resolutions} >= {0, 3_000, 10_000}
    resolved_order_ids = {event["order_id"] for event in resolutions}
    cancellations = [
        event for event in events_of("order.cancelled") if event["reason"] == "client_cancelled"
    ]
    assert {event["order_id"] for event in cancellations} & (
        count_by("order.in_arbitration", "order_id").keys() - resolved_order_ids
    )


def test_the_campaign_cancels_at_every_price_there_is() -> None:
    is_live = {
        event["order_id"]: event["task_type"] == "douyin_live"
        for event in events_of("order.placed")
    }
    amount_by_order = {
        order.order_id: order.amount_fen for order in played_without_wakeups().uow.orders.values()
    }
    prices = {
        (
            is_live[event["order_id"]],
            round(10 * event["creator_part_fen"] / amount_by_order[event["order_id"]]),
        )
        for event in events_of("order.cancelled")
        if event["reason"] == "client_cancelled" and event["cost_fen"]
    }
    assert prices == {(kind, tenths) for kind in (True, False) for tenths in (1, 5, 10)}


def test_the_campaign_pays_agencies_and_creators_and_some_still_wait() -> None:
    parties = {event["party"].partition(":")[0] for event in events_of("payout.confirmed")}
    assert parties == {"creator", "mcn"}
    unconfirmed_payouts = count_by("payout.requested", "payout_id") - count_by(
        "payout.confirmed", "payout_id"
    )
    assert unconfirmed_payouts.total() >= 20
    orders_without_agency = [
        event for event in events_of("order.completed") if event["mcn_id"] is None
    ]
    assert 0 < len(orders_without_agency) < len(events_of("order.completed"))
    assert count_by("order.rated", "rating").keys() >= {3, 4, 5}


def test_the_campaign_climbs_the_ladder_of_bans_to_its_end_and_overturns_a_violation() -> None:
    steps_taken = {event["step"]: event["until"] for event in events_of("creator.banned")}
    assert steps_taken.keys() == {2, 3, 4}
    assert steps_taken[4] is None
    assert count_by("violation.reported", "step").keys() == {1, 2, 3, 4, 5}
    lifted_creator_ids = {event["creator_id"] for event in events_of("creator.ban_lifted")}
    assert lifted_creator_ids == count_by("violation.overturned", "creator_id").keys()
    # Whose clock the ban had stopped and an operator let run on: they came to an end.
    resumed_order_ids = [
        event["order_id"] for event in events_of("clock.resumed") if event["stopper"] == "ban"
    ]
    assert resumed_order_ids
    assert {forecast().orders[order_id] for order_id in resumed_order_ids} == {
        ("completed", "settled")
    }


def test_the_campaign_extends_many_deadlines_at_once_and_each_extension_matters() -> None:
    bulk = [
        command
        for command in applied_commands("extend_deadline")
        if command["by"]["id"] == "bulk-tool"
    ]
    assert len(bulk) >= 10
    assert len({command["reason"] for command in bulk}) == 1
    extension_by_order = {event["order_id"]: event for event in events_of("deadline.extended")}
    for order_id in {command["order_id"] for command in bulk}:
        began_at = next(event["at"] for event in events() if is_first_work(event, order_id))
        assert parse_instant(began_at) > parse_instant(extension_by_order[order_id]["old_due_at"])
        assert forecast().orders[order_id] == ("completed", "settled")


def is_first_work(event: dict[str, object], order_id: str) -> bool:
    first = event["type"] in ("script.submitted", "content.submitted")
    return first and event.get("order_id") == order_id


def test_the_books_of_the_campaign_are_right() -> None:
    assert audit(played_without_wakeups()) == []
    assert sum(forecast().balances.values()) == 0


def test_the_campaign_comes_out_the_same_without_wake_ups() -> None:
    uow = played_without_wakeups().uow
    orders = {order.order_id: (order.state.value, order.reason) for order in uow.orders.values()}
    assert orders == forecast().orders
    assert {
        key: (receipt.outcome, receipt.reason) for key, receipt in uow.receipts.items()
    } == forecast().outcomes


def test_the_campaign_comes_out_the_same_on_another_day() -> None:
    # Where it is midnight in Shanghai a few seconds later.
    shifted_forecast = expect(shift_steps(steps(), parse_instant("2031-07-01T15:59:50Z")), POLICY)
    assert shifted_forecast.outcomes == forecast().outcomes
    assert shifted_forecast.orders == forecast().orders
    assert shifted_forecast.balances == forecast().balances
    assert shifted_forecast.answers == forecast().answers
    assert shifted_forecast.flows == forecast().flows


def test_the_readme_says_how_many_orders_and_commands_the_demo_plays() -> None:
    readme = README.read_text(encoding="utf-8")
    assert f"{len(forecast().orders)} orders" in readme
    assert f"{len(commands()):,}".replace(",", " ") + "\ncommands" in readme
