"""Decide: who may ask what, when, and what becomes of it."""

from __future__ import annotations

import pytest

from models.fields import format_instant
from models.lifecycle import (
    ENFORCE_DEADLINE,
    ROLES_BY_COMMAND,
    STATES_BY_COMMAND,
    SYSTEM_REQUESTS,
    TRANSITIONS,
    Role,
    State,
)
from models.reasons import RejectionReason
from tests.support.stories import (
    DEPOSIT,
    HISTORIES,
    MOVES,
    audit,
    place,
    read_table,
    span,
    story_of,
)
from tests.unit.orders import test_fulfilment

DECISIONS = read_table("""
    while             asked              by          after      becomes           because
    awaiting_deposit  accept             creator     1m         -                 wrong_state
    awaiting_deposit  cancel             client      0s         cancelled         -
    awaiting_deposit  cancel             client      30m        cancelled         -
    awaiting_deposit  cancel             client      30m+1us    -                 late
    awaiting_deposit  cancel             client      40m+1us    expired           late
    awaiting_deposit  accept             creator     30m+1us    -                 late
    awaiting_deposit  accept             creator     40m+1us    expired           wrong_state
    awaiting_deposit  unpaid             payments    30m+1us    -                 late
    awaiting_deposit  cancel             operator    1m         cancelled         -
    awaiting_deposit  cancel             client:c2   1m         -                 not_allowed
    awaiting_deposit  pay 10500 30m      payments    40m        offered           -
    awaiting_deposit  pay 10500 30m+1us  payments    40m        -                 -
    awaiting_deposit  pay 10500 30m      payments    40m+1us    expired           -
    awaiting_deposit  pay 105000         payments    1m         -                 -
    awaiting_total    pay 105000         payments    1m         offered           -
    awaiting_total    pay 10500          payments    1m         -                 -
    offered           accept             creator     24h        awaiting_balance  -
    offered           accept             mcn         24h        awaiting_balance  -
    offered           accept             creator     24h+1us    expired           late
    offered           accept             client      1h         -                 not_allowed
    offered           accept             operator    1h         -                 not_allowed
    offered           accept             mcn:m2      1h         -                 not_allowed
    offered           accept             creator:k2  1h         -                 not_allowed
    offered           accept             creator:k2  25h        expired           not_allowed
    offered           accept 120000      creator     1h         awaiting_balance  -
    offered           accept 80000       creator     1h         awaiting_balance  -
    offered           accept 120001      creator     1h         -                 out_of_range
    offered           accept 79999       creator     1h         -                 out_of_range
    offered           accept 120001      creator     25h        expired           late
    offered_paid      accept             creator     1h         in_fulfilment     -
    offered_paid      accept 100000      creator     1h         in_fulfilment     -
    offered_paid      accept 110000      creator     1h         -                 already_paid
    offered_paid      accept 999999      creator     1h         -                 already_paid
    offered_full      accept             creator     1h         in_fulfilment     -
    offered_full      accept 100000      creator     1h         in_fulfilment     -
    offered_full      accept 110000      creator     1h         -                 quote_fixed
    offered           decline            mcn         24h        declined          -
    offered           decline            creator     24h+1us    expired           late
    offered           decline            client      1h         -                 not_allowed
    offered           cancel             client      24h        cancelled         -
    offered           cancel forfeit     client      1h         cancelled         -
    offered           cancel             operator    24h        cancelled         -
    offered           cancel             operator    24h+1us    expired           late
    offered           cancel             creator     1h         -                 not_allowed
    offered           withdraw           creator     1h         -                 wrong_state
    offered           withdraw           creator     25h        expired           wrong_state
    offered           revise 110000      creator     1h         -                 wrong_state
    offered           nudge              client      24h        -                 -
    offered           nudge              client      24h+1us    expired           late
    offered           nudge              creator     1h         -                 not_allowed
    offered           unpaid             payments    1h         -                 wrong_state
    offered           pay 94500          payments    1h         -                 -
    awaiting_balance  accept             creator     1h         -                 wrong_state
    awaiting_balance  nudge              client      1h         -                 wrong_state
    awaiting_balance  pay 94500 7d       payments    7d         in_fulfilment     -
    awaiting_balance  pay 94500 7d       payments    7d10m      in_fulfilment     -
    awaiting_balance  pay 94500 7d+1us   payments    7d10m      balance_overdue   -
    awaiting_balance  pay 94500 7d       payments    9d10m      in_fulfilment     -
    awaiting_balance  pay 94500 7d       payments    9d10m+1us  forfeited         -
    balance_overdue   pay 94500 0s       payments    10m        in_fulfilment     -
    balance_overdue   pay 94499 0s       payments    10m        -                 -
    awaiting_balance  revise 110000      creator     24h        -                 -
    awaiting_balance  revise 110000      mcn         1h         -                 -
    awaiting_balance  revise 110000      creator     24h+1us    -                 late
    awaiting_balance  revise 100000      creator     24h        -                 -
    awaiting_balance  revise 100000      creator     24h+1us    -                 late
    awaiting_balance  revise 120001      creator     1h         -                 out_of_range
    awaiting_balance  revise 120001      creator     25h        -                 late
    awaiting_balance  revise 110000      client      1h         -                 not_allowed
    revised           revise 110000      creator     1h         -                 already_revised
    revised           revise 100000      creator     1h         -                 already_revised
    revised           revise 999999      creator     1h         -                 already_revised
    restored          revise 110000      creator     1h         -                 already_revised
    restored          revise 100000      creator     1h         -                 already_revised
    awaiting_balance  restore            client      1h         -                 nothing_to_restore
    restored          restore            client      1h         -                 nothing_to_restore
    revised           restore            client      7d         -                 -
    revised           restore            client      7d+1us     balance_overdue   late
    revised           restore            creator     1h         -                 not_allowed
    awaiting_balance  cancel             client      1h         -                 would_forfeit
    awaiting_balance  cancel forfeit     client      7d         forfeited         -
    awaiting_balance  cancel forfeit     client      7d+1us     balance_overdue   late
    awaiting_balance  cancel             operator    7d         cancelled         -
    awaiting_balance  cancel forfeit     operator    1h         cancelled         -
    awaiting_balance  withdraw           creator     7d         cancelled         -
    awaiting_balance  withdraw           mcn         1h         cancelled         -
    awaiting_balance  withdraw           creator     7d+1us     balance_overdue   late
    awaiting_balance  unpaid             payments    1h         -                 wrong_state
    awaiting_balance  unpaid             payments    7d         -                 wrong_state
    awaiting_balance  unpaid             payments    7d+1us     forfeited         -
    awaiting_balance  unpaid             payments    7d10m      forfeited         -
    awaiting_balance  unpaid             payments    7d10m+1us  forfeited         late
    balance_overdue   unpaid             client      1m         -                 not_allowed
    balance_overdue   cancel             operator    1m         -                 late
    balance_overdue   accept             creator     1m         -                 late
    in_fulfilment     cancel             client      14d        cancelled         -
    in_fulfilment     cancel             client      14d+1us    cancelled         late
    in_fulfilment     cancel             operator    1h         cancelled         -
    in_fulfilment     withdraw           creator     1h         cancelled         -
    in_fulfilment     withdraw           mcn         1h         cancelled         -
    in_fulfilment     revise 110000      creator     1h         -                 wrong_state
    full_at_work      revise 110000      creator     1h         -                 wrong_state
    in_fulfilment     pay 94500          payments    1h         -                 -
    declined          cancel             client      1m         -                 wrong_state
    declined          accept             creator     1m         -                 wrong_state
    declined          accept             creator     90d        -                 wrong_state
    expired_offer     accept             creator     1m         -                 late
    expired_offer     withdraw           creator     1m         -                 wrong_state
    forfeited_late    unpaid             payments    1m         -                 late
    forfeited_late    withdraw           creator     1m         -                 late
    forfeited_late    accept             creator     1m         -                 wrong_state
    forfeited_unpaid  unpaid             payments    1m         -                 wrong_state
    forfeited_unpaid  withdraw           creator     1m         -                 wrong_state
    forfeited_asked   cancel             client      1m         -                 wrong_state
    forfeited_late    pay 94500 -10m     payments    2d         in_fulfilment     -
    forfeited_late    pay 94500 -9m      payments    1m         -                 -
    forfeited_unpaid  pay 94500 -1m      payments    2d         in_fulfilment     -
    forfeited_asked   pay 94500 -1m      payments    1m         -                 -
    expired_offer     pay 94500          payments    1m         -                 -
    declined          pay 94500          payments    1m         -                 -
    withdrawn         pay 94500          payments    1m         -                 -
""")

DEPOSIT_PHASE = {State.AWAITING_DEPOSIT, State.OFFERED, State.AWAITING_BALANCE}

# Given in test_party_handlers.py, test_creators.py, test_operator_actions.py, test_endings.py,
# test_obligations_overdue.py, test_calendar.py and test_schedules.py.
REASONS_GIVEN_ELSEWHERE = {
    *("unknown_client", "unknown_provider", "unknown_violation", "creator_not_admitted"),
    *("creator_banned", "calendar_unknown", "conflict_of_interest", "clock_stopped"),
    *("clock_running", "parts_mismatch", "until_out_of_range", "violation_conflict"),
    *("already_overturned", "unknown_payout", "unknown_suspense", "unknown_payment"),
    *("mixed_clients", "order_closed", "nothing_due", "amount_mismatch", "payment_in_use"),
    *("nothing_proposed", "schedule_mismatch"),
}

FIELDS = {"accept": "revised_amount_fen", "revise": "amount_fen"}


@pytest.mark.parametrize("row", DECISIONS, ids=lambda row: "  ".join(row.values()))
def test_a_decision_falls_as_the_table_says(row: dict[str, str]) -> None:
    story = story_of(row["while"])
    before = story.order()
    at = before.entered_at + span(row["after"])
    action, _, argument = row["asked"].partition(" ")
    if action == "pay":
        amount, _, paid_offset = argument.partition(" ")
        paid_at = before.entered_at + span(paid_offset) if paid_offset else at
        shares, paid_at_text = {"o1": int(amount)}, format_instant(paid_at)
        outcome = story.pay("p_late", shares, at, paid_at=paid_at_text)
    else:
        fields: dict[str, object] = {FIELDS[action]: int(argument)} if argument.isdecimal() else {}
        fields |= {"accept_forfeit": True} if argument == "forfeit" else {}
        outcome = story.ask(MOVES[action][0], row["by"], at, order_id="o1", **fields)
    becomes = before.state if row["becomes"] == "-" else row["becomes"]
    assert (outcome.reason or "-", story.order().state) == (row["because"], becomes)
    if becomes == before.state:
        # Staying never moves a deadline.
        assert story.order().due_at == before.due_at
    assert audit(story) == []


def test_every_row_of_the_table_of_transitions_has_a_decision() -> None:
    states = {situation: story_of(situation).order().state for situation in HISTORIES}
    state_actions = {(states[row["while"]], row["asked"].split()[0]) for row in DECISIONS}
    commands_by_action = MOVES | {"pay": ("confirm_payment", "payments")}
    decided_commands = {(state, commands_by_action[action][0]) for state, action in state_actions}
    listed_commands = {
        (transition.source, transition.command)
        for transition in TRANSITIONS
        if transition.command != ENFORCE_DEADLINE
    }
    decided_commands |= {
        (states[row["while"]], commands_by_action[row["asked"].split()[0]][0])
        for row in test_fulfilment.DECISIONS
    }
    listed_commands = {
        state_command
        for state_command in listed_commands
        if state_command[1] not in SYSTEM_REQUESTS
    }
    # orders/test_operator_actions.py and service/test_party_handlers.py have these, state by state.
    elsewhere = {"extend_deadline", "pause_clock", "resume_clock", "appoint_provider"}
    # And orders/test_schedules.py these.
    elsewhere |= {"propose_schedule", "agree_schedule", "reschedule_order"}
    assert {
        state_command
        for state_command in listed_commands - decided_commands
        if state_command[1] not in elsewhere
    } == set()
    lapsed = {row["while"] for row in DECISIONS if row["becomes"] in ("expired", "forfeited")}
    assert {states[situation] for situation in lapsed} >= STATES_BY_COMMAND[
        ENFORCE_DEADLINE
    ] & DEPOSIT_PHASE


def test_a_rejection_names_the_first_of_several_reasons() -> None:
    story = story_of("offered")
    ask = {"order_id": "o1", "revised_amount_fen": 1}
    late = story.order().entered_at + span("25h")
    assert (
        story.ask("accept_order", "creator:k2", late, **ask).reason == RejectionReason.NOT_ALLOWED
    )
    assert story.ask("accept_order", "creator", late, **ask).reason == RejectionReason.LATE
    unknown = {"order_id": "o9", "revised_amount_fen": 1}
    assert (
        story.ask("accept_order", "client", late, **unknown).reason == RejectionReason.UNKNOWN_ORDER
    )


def test_placing_is_refused_for_the_first_of_its_faults() -> None:
    story = story_of("offered")
    assert place(story, "o1", "creator", creator_id="k9").reason == RejectionReason.ORDER_EXISTS
    assert place(story, "o2", "creator", creator_id="k9").reason == RejectionReason.NOT_ALLOWED
    assert place(story, "o2", creator_id="k9").reason == RejectionReason.UNKNOWN_CREATOR
    too_much = place(story, "o1", amount_fen=2**53 - 1)
    assert (too_much.reason, "amount_fen" in (too_much.detail or "")) == (
        RejectionReason.MALFORMED,
        True,
    )


def test_parties_are_admitted_by_the_platform_alone() -> None:
    story = story_of("offered")
    creator = {"creator_id": "k3", "name": "K3", "contract": "mcn", "mcn_id": "m9"}
    assert (
        story.ask("register_creator", "operator", **creator).reason == RejectionReason.NOT_ALLOWED
    )
    assert (
        story.ask("register_creator", "platform", **creator).reason == RejectionReason.UNKNOWN_MCN
    )
    assert (
        story.ask("register_mcn", "mcn", mcn_id="m9", name="M").reason
        == RejectionReason.NOT_ALLOWED
    )
    assert story.ask("register_mcn", "platform", mcn_id="m9", name="M").reason is None
    assert story.ask("register_creator", "platform", **creator).reason is None


def test_every_rejection_reason_is_given_in_a_table() -> None:
    elsewhere = {
        RejectionReason.ID_REUSED,
        RejectionReason.NUDGE_TOO_SOON,
        RejectionReason.NUDGE_LIMIT,
        RejectionReason.PAYMENT_CONFLICT,
        RejectionReason.UNKNOWN_REFUND,
        RejectionReason.ALREADY_CONFIRMED,
    }
    before_the_order = {
        RejectionReason.MALFORMED,
        RejectionReason.ORDER_EXISTS,
        RejectionReason.UNKNOWN_ORDER,
        RejectionReason.UNKNOWN_CREATOR,
        RejectionReason.UNKNOWN_MCN,
        RejectionReason.TOO_MANY_UNPAID,
    }
    reasons_given = {row["because"] for row in (*DECISIONS, *test_fulfilment.DECISIONS)} - {"-"}
    assert (
        reasons_given
        == set(RejectionReason) - elsewhere - before_the_order - REASONS_GIVEN_ELSEWHERE
    )


def test_a_policy_is_frozen_on_the_order_it_was_placed_under() -> None:
    story = story_of("offered")
    frozen = story.order().policy
    story.uow.policy = frozen.model_copy(update={"service_fee_bps": 0})
    place(story, "o2")
    assert (story.order().policy, story.order("o2").total_fen) == (frozen, 100_000)
    story.ask("accept_order", "creator", order_id="o1", revised_amount_fen=120_000)
    assert story.order().total_fen == 126_000
    assert story.order().deposit_fen == DEPOSIT


def test_a_role_that_nobody_thought_of_may_ask_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    story = story_of("offered")
    refused = story.ask("nudge_creator", "platform", order_id="o1")
    assert refused.reason == RejectionReason.NOT_ALLOWED
    # Not even where the table lists it, and nobody says whose orders it may speak for.
    monkeypatch.setitem(ROLES_BY_COMMAND, "nudge_creator", frozenset({Role.PLATFORM}))
    refused = story.ask("nudge_creator", "platform", order_id="o1")
    assert refused.reason == RejectionReason.NOT_ALLOWED
