"""Operator actions: clocks, commands on behalf of parties, forfeits, and the log of all that."""

from __future__ import annotations

import pytest

from models.commands.parsing import MalformedCommand
from models.fields import format_instant
from models.lifecycle import ADJUSTABLE_STATES, State
from models.reasons import RejectionReason
from tests.support.command_fields import fields_for
from tests.support.stories import (
    BALANCE,
    DEPOSIT,
    HISTORIES,
    MICRO,
    START,
    OrderStory,
    audit,
    play_step,
    read_table,
    span,
    story_of,
)

REASON = {"order_id": "o1", "reason": "the creator is ill"}


def extend_deadline(story: OrderStory, until: str, at: str = "0s") -> str | None:
    """Extend until so long after the present deadline, asked so long after the state began."""
    order = story.order()
    due_at = order.due_at or order.entered_at
    fields = {"until": format_instant(due_at + span(until))}
    return story.ask(
        "extend_deadline", "operator", order.entered_at + span(at), **REASON, **fields
    ).reason


@pytest.mark.parametrize(
    ("side", "by"), [(None, "client"), ("client", "client"), ("creator", "creator")]
)
def test_an_operator_says_for_which_side_a_provider_is_appointed(side: str | None, by: str) -> None:
    story = story_of("producing")
    story.ask("register_provider", "platform", provider_id="v1", name="V1")
    command = {"kind": "appoint_provider", "order_id": "o1", "provider_id": "v1"}
    fields = {"command": command, "side": side, "reason": "by telephone"}
    assert story.ask("operator_act", "operator", **fields).outcome == "applied"
    (appointment,) = [event.published() for event in story.events_of("provider.appointed")]
    assert (appointment["side"], appointment["by"]) == (by, "operator:op")
    provider_ids = (story.order().client_provider, story.order().creator_provider)
    assert provider_ids == (("v1", None) if by == "client" else (None, "v1"))


def test_an_operator_disputes_for_the_creator_where_that_is_said() -> None:
    for side in ("client", "creator"):
        story = story_of("producing")
        command = {"kind": "dispute_order", "order_id": "o1", "reason": "no answer"}
        fields = {"command": command, "side": side, "reason": "by telephone"}
        assert story.ask("operator_act", "operator", **fields).outcome == "applied"
        assert story.order().state is State.IN_ARBITRATION


@pytest.mark.parametrize(
    ("kind", "side"), [("nudge_creator", "creator"), ("decline_order", "client")]
)
def test_a_side_that_may_not_ask_something_is_named_in_vain(kind: str, side: str) -> None:
    story = story_of("offered")
    fields = {"command": {"kind": kind, "order_id": "o1"}, "side": side, "reason": "x"}
    with pytest.raises(MalformedCommand, match="side: "):
        story.ask("operator_act", "operator", **fields)


EXTENSION_CASES = read_table("""
    while             until    at       because
    offered           1us      0s       -
    offered           30d      24h      -
    offered           30d+1us  1h       until_out_of_range
    offered           0s       1h       until_out_of_range
    offered           -1h      1h       until_out_of_range
    offered           1h       24h+1us  late
    awaiting_deposit  1h       30m      -
    awaiting_deposit  1h       30m+1us  late
    awaiting_balance  3h       7d       -
    balance_overdue   1h       1m       late
    in_fulfilment     7d       1h       -
    script_review     1d       1h       -
    published         1d       7d       -
    published         1d       7d+1us   until_out_of_range
    disputed_work     1d       1h       wrong_state
    content_overdue   1d       1h       late
    completed         1d       1h       late
    declined          1d       1h       wrong_state
    offered_paused    1d       1h       clock_stopped
    balance_banned    1d       1h       clock_stopped
""")


@pytest.mark.parametrize("row", EXTENSION_CASES, ids=lambda row: "  ".join(row.values()))
def test_a_deadline_is_extended_within_its_bounds(row: dict[str, str]) -> None:
    story = story_of(row["while"])
    old_due_at = story.order().due_at
    assert (extend_deadline(story, row["until"], row["at"]) or "-") == row["because"]
    extensions = [event.published() for event in story.events_of("deadline.extended")]
    assert len(extensions) == (row["because"] == "-")
    if extensions and old_due_at is not None:
        assert extensions[0]["due_at"] == format_instant(story.order().due_at or old_due_at)
        assert extensions[0]["old_due_at"] is not None
    assert audit(story) == []


def test_more_time_to_answer_is_more_time_to_move_the_quote_and_to_pay_in_time() -> None:
    story = story_of("offered")
    extend_deadline(story, "24h")
    story.ask("accept_order", "creator", START + span("30h"), order_id="o1")
    fields = {"order_id": "o1", "amount_fen": 110_000}
    assert story.ask("revise_quote", "creator", START + span("48h"), **fields).reason is None
    extend_deadline(story, "1d")
    story.ask("restore_quote", "client", order_id="o1")
    story.pay("p", {"o1": BALANCE}, START + span("30h8d"))
    assert story.order().state is State.IN_FULFILMENT


def test_after_an_extension_only_leads_still_ahead_are_sent() -> None:
    story = story_of("offered")
    story.wake("o1", START + span("23h"))
    extend_deadline(story, "6h", "23h30m")
    for after in ("23h31m", "25h59m", "26h", "29h"):
        story.wake("o1", START + span(after))
    leads = [event.published()["lead"] for event in story.events_of("creator.reminded")]
    assert leads == ["PT1H", "PT4H", "PT1H"]


@pytest.mark.parametrize(
    "situation", [s for s in HISTORIES if s in {str(state) for state in ADJUSTABLE_STATES}]
)
def test_a_pause_keeps_the_time_that_is_left(situation: str) -> None:
    story = story_of(situation)
    entered_at, due_at = story.order().entered_at, story.order().due_at
    assert due_at is not None
    assert story.ask("pause_clock", "operator", entered_at + span("10m"), **REASON).reason is None
    assert (story.order().due_at, story.order().lapses_at) == (None, entered_at + span("30d10m"))
    assert story.ask("pause_clock", "operator", **REASON).reason == RejectionReason.CLOCK_STOPPED
    assert story.wake("o1", entered_at + span("29d")) == ()
    assert (
        story.ask("resume_clock", "operator", entered_at + span("20d10m"), **REASON).reason is None
    )
    assert story.order().due_at == due_at + span("20d")
    assert story.ask("resume_clock", "operator", **REASON).reason == RejectionReason.CLOCK_RUNNING
    assert [event.fact.type for event in story.events if event.fact.type.startswith("clock")] == [
        "clock.stopped",
        "clock.resumed",
    ]
    assert audit(story) == []


def test_a_pause_ends_by_itself_after_a_month_at_its_own_instant() -> None:
    story = story_of("offered_paused")
    story.ask("accept_order", "creator", START + span("30d23h"), order_id="o1")
    assert story.order().state is State.AWAITING_BALANCE
    story = story_of("offered_paused")
    late = story.ask("accept_order", "creator", START + span("31d1us"), order_id="o1")
    assert late.reason == RejectionReason.LATE
    (resumed,), (expired,) = story.events_of("clock.resumed"), story.events_of("order.expired")
    assert (resumed.at, resumed.caused_by) == (START + span("30d"), "deadline:offered")
    assert (expired.at, expired.caused_by) == (START + span("31d"), "deadline:offered")


def test_nothing_is_late_while_the_clock_is_stopped() -> None:
    story = story_of("awaiting_deposit")
    play_step(story, "pause")
    story.pay("p", {"o1": DEPOSIT}, START + span("20d"))
    assert story.order().state is State.OFFERED
    story = story_of("balance_paused")
    story.pay("p", {"o1": BALANCE}, START + span("20d"))
    assert story.order().state is State.IN_FULFILMENT
    assert story.order().stoppers == ()


def test_leaving_a_state_ends_its_pause() -> None:
    story = story_of("script_review")
    for step in ("pause", "agree"):
        play_step(story, step)
    assert (story.order().stoppers, story.order().paused_until) == ((), None)
    assert story.order().due_at == story.order().entered_at + span("10d")


# ---------------------------------------------------------------------- parts played
def act_on_behalf(story: OrderStory, kind: str, argument: str = "", at: str = "0s") -> str | None:
    """Stand in for whoever may ask something."""
    order = story.order()
    asked_at = order.entered_at + span(at)
    inner_command = {"kind": kind, "order_id": "o1"} | fields_for(kind, order, asked_at, argument)
    fields = {"command": inner_command, "reason": "by telephone"}
    return story.ask("operator_act", "operator", asked_at, **fields).reason


ON_BEHALF = read_table(
    """
    while              kind              given   after    becomes            because
    offered            accept_order      -       24h      awaiting_balance   -
    offered            accept_order      -       24h+1us  expired            late
    offered            accept_order      120001  1h       offered            out_of_range
    offered            decline_order     -       1h       declined           -
    offered            nudge_creator     -       1h       offered            -
    awaiting_balance   cancel_order      -       1h       awaiting_balance   would_forfeit
    awaiting_balance   cancel_order      forfeit 1h       forfeited          -
    awaiting_balance   withdraw_order    -       1h       cancelled          -
    awaiting_balance   revise_quote      -       1h       awaiting_balance   -
    revised            restore_quote     -       1h       awaiting_balance   -
    in_fulfilment      submit_script     -       1h       script_review      -
    script_review      approve_script    -       1h       producing          -
    script_review      reject_script     -       1h       script_revision    -
    scripts_exhausted  reject_script     -       1h       script_review      no_rejections_left
    script_review      cancel_order      1       1h       script_review      cost_mismatch
    script_review      cancel_order      10500   1h       cancelled          -
    producing          submit_content    -       1h       content_review     -
    content_review     approve_content   -       1h       ready_to_publish   -
    content_review     reject_content    -       1h       producing          -
    ready_to_publish   publish_work      -       1h       published          -
    published          confirm_delivery  -       1h       accepted_delivery  -
    published          dispute_order     -       1h       in_arbitration     -
    completed          rate_order        -       1h       completed          wrong_state
    declined           accept_order      -       1h       declined           wrong_state
    published          approve_content   -       1h       published          wrong_state
""".replace("forfeit 1h", "forfeit  1h")
)


@pytest.mark.parametrize("row", ON_BEHALF, ids=lambda row: "  ".join(row.values()))
def test_an_operator_changes_only_who_asks(row: dict[str, str]) -> None:
    story = story_of(row["while"])
    argument = row["given"].removeprefix("-")
    assert (act_on_behalf(story, row["kind"], argument, row["after"]) or "-") == row["because"]
    assert story.order().state == row["becomes"]
    if row["because"] == "-":
        acted = story.events_of("operator.acted")[-1].published()
        assert (acted["by"], acted["act"]) == ("operator:op", row["kind"])
        assert acted["note"] == "by telephone"
        assert acted["after"]["status"] == row["becomes"]
    assert audit(story) == []


def test_what_an_operator_did_in_someones_stead_bears_the_operators_name() -> None:
    story = story_of("script_review")
    act_on_behalf(story, "approve_script")
    assert story.events_of("script.approved")[0].published()["by"] == "operator:op"


@pytest.mark.parametrize(
    "inner_command",
    [
        {"kind": "operator_act", "command": {}, "reason": "x"},
        {"kind": "confirm_unpaid", "order_id": "o1"},
        {"kind": "confirm_refund", "refund_id": "rf_x"},
        {"kind": "register_mcn", "mcn_id": "m", "name": "m"},
        {"kind": "place_order", "order_id": "o2"},
        {"kind": "pause_clock", "order_id": "o1", "reason": "x"},
        {"kind": "accept_order", "order_id": "o1", "by": {"role": "creator", "id": "k1"}},
        {"kind": "accept_order", "order_id": "o1", "id": "cmd_inner"},
        {"kind": "accept_order"},
        None,
    ],
)
def test_an_operator_cannot_send_just_any_command_on_behalf_of_others(
    inner_command: object,
) -> None:
    with pytest.raises(MalformedCommand):
        story_of("offered").ask("operator_act", "operator", command=inner_command, reason="x")


def test_nobody_but_an_operator_may_send_operator_commands() -> None:
    story = story_of("offered")
    fields = {"command": {"kind": "accept_order", "order_id": "o1"}, "reason": "x"}
    for by in ("client", "creator", "mcn", "payments", "platform"):
        assert story.ask("operator_act", by, **fields).reason == RejectionReason.NOT_ALLOWED
        assert story.ask("pause_clock", by, **REASON).reason == RejectionReason.NOT_ALLOWED
    fields["command"]["order_id"] = "o9"  # type: ignore[index]
    assert story.ask("operator_act", "operator", **fields).reason == RejectionReason.UNKNOWN_ORDER


@pytest.mark.parametrize("kind", ["pause_clock", "extend_deadline", "operator_act"])
@pytest.mark.parametrize("reason", ["", None])
def test_no_operator_command_is_accepted_without_a_reason(kind: str, reason: str | None) -> None:
    story = story_of("offered")
    fields = fields_for(kind, story.order(), story.now) | {"reason": reason, "order_id": "o1"}
    if kind == "operator_act":
        fields = {"command": {"kind": "accept_order", "order_id": "o1"}, "reason": reason}
    with pytest.raises(MalformedCommand, match="reason"):
        story.ask(kind, "operator", **fields)


def test_the_operator_log_says_who_when_why_and_how_things_stood_before_and_after() -> None:
    story = story_of("offered")
    extend_deadline(story, "1h", "2h")
    action = story.events_of("operator.acted")[0].published()
    assert (action["by"], action["note"], action["act"]) == (
        "operator:op",
        "the creator is ill",
        "extend_deadline",
    )
    assert (action["at"], action["before"]["due_at"], action["after"]["due_at"]) == (
        "2026-03-02T04:00:00Z",
        "2026-03-03T02:00:00Z",
        "2026-03-03T03:00:00Z",
    )


def test_a_cancellation_may_say_why_and_an_operators_is_then_in_the_operator_log() -> None:
    story = story_of("awaiting_balance")
    story.ask("cancel_order", "operator", order_id="o1", reason="fraud")
    assert story.events_of("order.cancelled")[0].published()["note"] == "fraud"
    (acted,) = story.events_of("operator.acted")
    assert (acted.published()["act"], acted.published()["note"]) == ("cancel_order", "fraud")
    story = story_of("offered")
    story.ask("cancel_order", "client", order_id="o1", reason="changed my mind")
    assert story.events_of("order.cancelled")[0].published()["note"] == "changed my mind"
    assert story.events_of("operator.acted") == []
    story = story_of("script_review")
    story.ask("cancel_order", "client", order_id="o1", reason="late", accept_cost_fen=10_500)
    assert story.events_of("order.cancelled")[0].published()["note"] == "late"


# ---------------------------------------------------------------------- forfeits
def test_a_reinstated_order_waits_for_its_balance_until_the_instant_given() -> None:
    story = story_of("forfeited_late")
    play_step(story, "reinstate")
    assert story.accounts() == {"psp": -DEPOSIT, "escrow:o1": DEPOSIT}
    until = story.order().due_at
    assert until is not None
    story.pay("p", {"o1": BALANCE}, until)
    assert story.order().state is State.IN_FULFILMENT
    assert audit(story) == []
    story = story_of("forfeited_late")
    play_step(story, "reinstate")
    story.wake("o1", until + MICRO)
    assert story.order().state is State.BALANCE_OVERDUE


@pytest.mark.parametrize(("until", "fits"), [("0s", False), ("30d", True), ("30d+1us", False)])
def test_a_reinstatement_is_for_a_month_at_most(until: str, *, fits: bool) -> None:
    story = story_of("forfeited_late")
    fields = {"until": format_instant(story.now + span(until))}
    outcome = story.ask("reinstate_order", "operator", **REASON, **fields)
    assert (outcome.reason is None) == fits
    assert fits or outcome.reason == RejectionReason.UNTIL_OUT_OF_RANGE


def test_a_released_deposit_reinstates_nothing() -> None:
    story = story_of("forfeited_late")
    paid_at = format_instant(story.order().pay_by)
    story.now += span("2d1us")
    play_step(story, "release:to=platform")
    fields = {"until": format_instant(story.now + span("1d"))}
    outcome = story.ask("reinstate_order", "operator", **REASON, **fields)
    assert outcome.reason == RejectionReason.ALREADY_RELEASED
    story.pay("p", {"o1": BALANCE}, paid_at=paid_at)
    assert story.unapplied_reasons() == ["order_closed"]
    assert audit(story) == []


def test_an_order_reinstated_for_a_banned_creator_waits_for_the_end_of_the_ban() -> None:
    story = story_of("forfeited_late")
    for step in ("violation", "violation", "reinstate"):
        play_step(story, step)
    assert story.order().stoppers == ("ban",)
    assert audit(story) == []


@pytest.mark.parametrize("reason", ["the client has died", None])
def test_an_operator_who_cancels_is_on_record_where_a_reason_is_given(reason: str | None) -> None:
    story = story_of("awaiting_balance")
    fields = {} if reason is None else {"reason": reason}
    assert story.ask("cancel_order", "operator", order_id="o1", **fields).reason is None
    acts = [event.published()["note"] for event in story.events_of("operator.acted")]
    assert acts == ([reason] if reason else [])
    # Who is no operator leaves no such record, with or without a reason.
    story = story_of("awaiting_balance")
    story.ask("cancel_order", "client", order_id="o1", accept_forfeit=True, **fields)
    assert story.events_of("operator.acted") == []
