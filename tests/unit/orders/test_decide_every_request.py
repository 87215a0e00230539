"""Decide, exhaustively: every request in every situation by everybody has the one right answer."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache

import pytest

from models.commands.command import OrderCommand
from models.commands.operators import OperatorAct
from models.commands.parsing import parse_command
from models.creators import Creator
from models.lifecycle import (
    ADJUSTABLE_STATES,
    FINAL_STATES,
    STATES_BEFORE_PUBLICATION,
    STATES_BY_COMMAND,
    State,
)
from models.orders.decide import decide, elapse
from models.orders.order import Order
from models.reasons import RejectionReason
from tests.support.command_fields import fields_for
from tests.support.stories import (
    HISTORIES,
    MICRO,
    MOVES,
    ORDER_PARTIES,
    OTHER_PARTIES,
    START,
    read_table,
    sender,
    story_of,
)

# Written from the domain's pages, not from the table in the code.
SIDES = {
    "C": {"client"},
    "KM": {"creator", "mcn"},
    "O": {"operator"},
    "$": {"payments"},
    "Pc": {"provider:v1"},
    "Pk": {"provider:v2"},
}


def roles_of(sides: str) -> set[str]:
    return set[str]().union(*(SIDES[side] for side in sides.split(",")))


ALLOWED_SIDES = {
    (State(row["while"]), kind): roles_of(row["who"])
    for row in read_table("""
        while              who    may ask
        awaiting_deposit   C,O    cancel_order
        offered            KM     accept_order decline_order
        offered            C,O    cancel_order
        offered            C      nudge_creator
        awaiting_balance   KM     revise_quote withdraw_order
        awaiting_balance   C      restore_quote
        awaiting_balance   C,O    cancel_order
        balance_overdue    $      confirm_unpaid
        in_fulfilment      KM,Pk  submit_script submit_content
        in_fulfilment      C,O    cancel_order
        in_fulfilment      KM     withdraw_order
        script_review      C,Pc   approve_script reject_script
        script_revision    KM,Pk  submit_script
        producing          KM,Pk  submit_content
        content_review     C,Pc   approve_content reject_content
        ready_to_publish   KM,Pk  publish_work
        published          C,Pc   confirm_delivery
        published          C,KM   dispute_order
        accepted_delivery  C,KM   dispute_order
        in_arbitration     O      resolve_dispute
        in_arbitration     C      cancel_order
        in_arbitration     KM     withdraw_order
        forfeited          O      reinstate_order release_forfeit
        completed          C      rate_order
    """)
    for kind in row["may ask"].split()
}
ALLOWED_SIDES |= {(state, "cancel_order"): roles_of("C") for state in STATES_BEFORE_PUBLICATION}
ALLOWED_SIDES |= {(state, "withdraw_order"): roles_of("KM") for state in STATES_BEFORE_PUBLICATION}
ALLOWED_SIDES |= {(state, "dispute_order"): roles_of("C,KM") for state in STATES_BEFORE_PUBLICATION}
ALLOWED_SIDES |= {
    (state, kind): roles_of("O")
    for state in ADJUSTABLE_STATES
    for kind in ("extend_deadline", "pause_clock", "resume_clock")
}
ALLOWED_SIDES |= {
    (state, "appoint_provider"): roles_of("C,KM") for state in set(State) - FINAL_STATES
}

ALLOWED_SIDES |= {
    (state, kind): roles_of(sides)
    for state in (State.AWAITING_BALANCE, State.IN_FULFILMENT, *STATES_BEFORE_PUBLICATION)
    for kind, sides in (
        ("propose_schedule", "C,KM"),
        ("agree_schedule", "C,KM"),
        ("reschedule_order", "O"),
    )
}

KINDS = sorted({kind for _, kind in ALLOWED_SIDES})

ALLOWED_ROLES = {
    kind: set[str]().union(
        *(by for (_, allowed_kind), by in ALLOWED_SIDES.items() if allowed_kind == kind)
    )
    for kind in KINDS
}

# What a handler, not the table, refuses as the wrong state: how the order was placed decides.
NOT_THIS_ORDER = {
    "in_fulfilment": {"submit_content"},
    "full_at_work": {"submit_content"},
    "at_work_agency": {"submit_content"},
    "at_work_live": {"submit_content"},
    "at_work_noscript": {"submit_script"},
    "forfeited_asked": {"reinstate_order"},
    "released": {"reinstate_order"},
    "rated": {"rate_order"},
    # The work is out: the operator alone decides.
    "disputed_work": {"cancel_order", "withdraw_order"},
}

S = State

# The states that time alone has ended since anything else moved the order.
LAPSED: dict[str, tuple[State, ...]] = {
    "balance_overdue": (S.AWAITING_BALANCE,),
    "expired_unpaid": (S.AWAITING_DEPOSIT,),
    "expired_offer": (S.OFFERED,),
    "forfeited_late": (S.AWAITING_BALANCE, S.BALANCE_OVERDUE),
    "producing_silent": (S.SCRIPT_REVIEW,),
    "script_overdue": (S.SCRIPT_REVISION,),
    "content_overdue": (S.PRODUCING,),
    "not_published": (S.READY_TO_PUBLISH,),
    "cancelled_no_work": (S.IN_FULFILMENT,),
    "completed": (S.ACCEPTED_DELIVERY,),
    "completed_agency": (S.PUBLISHED, S.ACCEPTED_DELIVERY),
    "rated": (S.PUBLISHED, S.ACCEPTED_DELIVERY),
}

# Where the creator's contract has ended, and with it the agency's.
NO_AGENCY = ("cancelled_left", "declined_left")

ASKERS = [*ORDER_PARTIES, *(f"{role}:{party_id}" for role, party_id in OTHER_PARTIES.items())]
ASKERS += ["provider:v1", "provider:v2", "provider:v9"]

# On whose behalf an operator asks: the client's, where it may ask, else the creator's.
ROLE_ACTED_FOR = {
    kind: "client" if "client" in by else "creator" for kind, by in ALLOWED_ROLES.items()
}

# On another day the sides agree themselves; an operator sets one.
KINDS_ON_BEHALF = [
    kind
    for kind, by in ALLOWED_ROLES.items()
    if by & {"client", "creator"} and kind not in ("propose_schedule", "agree_schedule")
]
SITUATIONS = [*HISTORIES, "grace"]


@cache
def order_in(situation: str) -> Order:
    story = story_of("awaiting_deposit" if situation == "grace" else situation)
    return replace(story.order(), client_provider="v1", creator_provider="v2")


@cache
def creator_in(situation: str) -> Creator:
    return story_of("awaiting_deposit" if situation == "grace" else situation).uow.creators["k1"]


@cache
def command(kind: str, asker: str) -> OrderCommand | OperatorAct:
    body: dict[str, object] = {"id": "cmd_asked", "kind": kind, "order_id": "o1"}
    body |= fields_for(kind, order_in("offered"), START)
    body["by"] = sender("operator" if asker == "acting" else asker)
    if asker == "acting":
        inner_command = {name: value for name, value in body.items() if name not in ("id", "by")}
        body = {"id": "cmd_asked", "kind": "operator_act", "by": sender("operator")}
        body |= {"command": inner_command, "reason": "on the telephone"}
    parsed_command = parse_command(json.dumps(body))
    assert isinstance(parsed_command, OrderCommand | OperatorAct)
    return parsed_command


def expected_answer(situation: str, kind: str, asker: str) -> str:
    state, by = order_in(situation).state, ROLE_ACTED_FOR[kind] if asker == "acting" else asker
    if by not in ALLOWED_ROLES[kind] or (by == "mcn" and situation in NO_AGENCY):
        return "not_allowed"
    only_payments = situation in ("grace", "balance_overdue")
    if only_payments and kind not in ("confirm_unpaid", "appoint_provider"):
        return "late"
    is_closed = asker == "acting" and state in FINAL_STATES
    if not is_closed and by in ALLOWED_SIDES.get((state, kind), ()):
        if situation == "proposed" and kind == "agree_schedule" and by != "client":
            # It was the creator who proposed.
            return "not_allowed"
        return "wrong_state" if kind in NOT_THIS_ORDER.get(situation, ()) else "considered"
    missed = any(
        by in ALLOWED_SIDES.get((lapsed_state, kind), ())
        for lapsed_state in LAPSED.get(situation, ())
    )
    return "late" if missed or only_payments else "wrong_state"


def actual_answer(situation: str, kind: str, asker: str) -> str:
    order = order_in(situation)
    since = order.due_at if situation == "grace" else order.entered_at
    assert since is not None
    decision = decide(order, command(kind, asker), since + MICRO, creator_in(situation))
    refusal_reasons = (
        RejectionReason.NOT_ALLOWED,
        RejectionReason.LATE,
        RejectionReason.WRONG_STATE,
    )
    return str(decision.reason) if decision.reason in refusal_reasons else "considered"


def every_request() -> list[tuple[str, str]]:
    return [(k, by) for k in KINDS for by in ASKERS] + [
        (kind, "acting") for kind in KINDS_ON_BEHALF
    ]


@pytest.mark.parametrize("situation", SITUATIONS)
def test_everybody_is_answered_as_the_domain_says(situation: str) -> None:
    answers = {request: actual_answer(situation, *request) for request in every_request()}
    expected_answers = {request: expected_answer(situation, *request) for request in answers}
    assert answers == expected_answers


# The same, where nobody had noticed yet that time had passed.
TIME_PASSED_UNNOTICED = read_table("""
    before             after              lapses
    awaiting_deposit   expired_unpaid     1
    offered            expired_offer      1
    awaiting_balance   balance_overdue    1
    awaiting_balance   forfeited_late     2
    balance_overdue    forfeited_late     1
    script_review      producing_silent   1
    script_revision    script_overdue     1
    producing          content_overdue    1
    ready_live         not_published      1
    in_fulfilment      cancelled_no_work  1
    accepted_delivery  completed          1
    published_live     completed_agency   2
""")


@pytest.mark.parametrize(
    "row", TIME_PASSED_UNNOTICED, ids=lambda row: f"{row['before']} {row['after']}"
)
def test_nobody_is_answered_otherwise_because_time_passed_unnoticed(row: dict[str, str]) -> None:
    order = noticed_order = order_in(row["before"])
    for _ in range(int(row["lapses"])):
        assert noticed_order.lapses_at is not None
        at = noticed_order.lapses_at + MICRO
        noticed_order = elapse(noticed_order, at).order
    creator = creator_in(row["before"])
    for kind, asker in every_request():
        decision = decide(order, command(kind, asker), at, creator)
        noticed_decision = decide(noticed_order, command(kind, asker), at, creator)
        assert (decision.reason, decision.order) == (
            noticed_decision.reason,
            noticed_decision.order,
        )
        answer = expected_answer(row["after"], kind, asker)
        assert answer in (decision.reason, "considered")


def test_the_table_lists_what_the_domain_says_commands_are_meant_for() -> None:
    states_by_kind = {
        kind: {state for state, allowed_kind in ALLOWED_SIDES if allowed_kind == kind}
        for kind in KINDS
    }
    assert states_by_kind == {kind: set(STATES_BY_COMMAND[kind]) for kind in KINDS}
    assert set(KINDS) == {kind for kind, _ in MOVES.values()}
