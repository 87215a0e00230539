"""Suspense: money for an order that nobody knew finds its order, or an operator decides."""

from __future__ import annotations

import json
from typing import Any

import pytest

from models.commands.parsing import MalformedCommand, parse_command, read_command, write_command
from models.commands.payments import ConfirmPayment
from models.fields import format_instant
from models.ledger import Posting
from models.lifecycle import State
from models.policy import Policy
from models.reasons import RejectionReason
from models.service.outcome import Outcome
from tests.support.stories import (
    BALANCE,
    DEPOSIT,
    START,
    TOTAL,
    OrderStory,
    audit,
    place,
    read_table,
    sender,
    span,
    story_of,
    story_with_parties,
)


def ask_to_move(
    story: OrderStory, target: str | None, payment_id: str = "stray", order_id: str = "typo"
) -> Outcome:
    """Take a share out of suspense: to an order, or back."""
    to = {"to": "refund"} if target is None else {"to": "order", "target_order_id": target}
    fields = {"payment_id": payment_id, "order_id": order_id, "reason": "typed wrongly"}
    return story.ask("resolve_suspense", "operator", **fields, **to)


def move(
    story: OrderStory, target: str | None, payment_id: str = "stray", order_id: str = "typo"
) -> str | None:
    return ask_to_move(story, target, payment_id, order_id).reason


# ---------------------------------------------------- placed later, by whom the payment named
NAMED = read_table("""
    named  placed    by         applied
    c1     3h        client     yes
    c1     2d        client     yes
    c1     2d+1us    client     no
    c1     5s        client:c2  no
    c1     3h        client:c2  no
    -      5s        client     yes
    -      5s+1us    client     no
""")


@pytest.mark.parametrize("row", NAMED, ids=lambda row: " ".join(row.values()))
def test_money_finds_the_order_that_the_client_it_names_places_later(row: dict[str, str]) -> None:
    story = story_with_parties()
    named_client = {} if row["named"] == "-" else {"client_id": row["named"]}
    story.pay("p1", {"o1": DEPOSIT}, **named_client)
    story.now = START + span(row["placed"])
    place(story, "o1", row["by"])
    is_applied = row["applied"] == "yes"
    assert story.order().state == (State.OFFERED if is_applied else State.AWAITING_DEPOSIT)
    assert story.accounts().get("suspense", 0) == (0 if is_applied else DEPOSIT)
    assert audit(story) == []


def test_a_window_for_late_notices_shorter_than_the_grace_does_not_shorten_it() -> None:
    story = story_with_parties(Policy().model_copy(update={"late_notice_window": "PT0S"}))
    story.pay("p1", {"o1": DEPOSIT}, client_id="c1")
    story.now += span("5s")
    place(story)
    assert story.order().state is State.OFFERED


def test_money_waits_for_its_order_as_long_as_the_policy_said_when_it_came() -> None:
    story = story_with_parties()
    story.pay("p1", {"o1": DEPOSIT}, client_id="c1")
    story.uow.policy = story.uow.policy.model_copy(update={"late_notice_window": "PT1H"})
    story.now += span("2h")
    place(story)
    assert story.order().state is State.OFFERED


def test_a_share_judged_again_keeps_its_time_of_payment_which_nobody_questions() -> None:
    story = story_with_parties()
    story.pay("p1", {"o1": DEPOSIT}, client_id="c1")
    story.now += span("1d")
    place(story)
    assert story.uow.payments["p1"].paid_at == START
    alerts = [
        (event.at, event.published()["alert"]) for event in story.events_of("operator.alerted")
    ]
    assert alerts == [(START + story.policy.placement_grace, "unknown_order")]


def test_a_share_says_what_it_is_for_also_when_it_is_judged_again() -> None:
    story = story_with_parties()
    share = {"order_id": "o1", "amount_fen": DEPOSIT, "due": "balance"}
    story.pay("p1", {}, amount_fen=DEPOSIT, shares=[share], client_id="c1")
    place(story)
    assert story.order().held_fen == 0
    assert move(story, "o1", "p1", "o1") == RejectionReason.NOTHING_DUE


# ------------------------------------------------------------------- an operator decides
TARGETS = read_table("""
    while             amount  client  comes to         because
    awaiting_deposit  10500   -       offered          -
    awaiting_deposit  10500   c1      offered          -
    awaiting_deposit  10500   c2      -                mixed_clients
    awaiting_deposit  10501   -       -                amount_mismatch
    awaiting_deposit  10501   c2      -                mixed_clients
    awaiting_total    105000  -       offered          -
    offered           94500   -       offered          -
    offered_paid      94500   -       -                nothing_due
    awaiting_balance  94500   -       in_fulfilment    -
    in_fulfilment     94500   -       -                nothing_due
    declined          94500   -       -                order_closed
    declined          94500   c2      -                mixed_clients
    offered_paused    94500   -       offered          -
""")


@pytest.mark.parametrize("row", TARGETS, ids=lambda row: "  ".join(row.values()))
def test_an_operator_gives_a_stray_share_to_an_order_that_has_a_use_for_it(
    row: dict[str, str],
) -> None:
    story = story_of(row["while"])
    before, amount_fen = story.order(), int(row["amount"])
    named_client = {} if row["client"] == "-" else {"client_id": row["client"]}
    story.pay("stray", {"typo": amount_fen}, **named_client)
    is_refused = row["because"] != "-"
    assert move(story, "o1") == (row["because"] if is_refused else None)
    assert story.order().state == (before.state if is_refused else row["comes to"])
    assert story.accounts().get("suspense", 0) == (amount_fen if is_refused else 0)
    assert story.order().held_fen == before.held_fen + (0 if is_refused else amount_fen)
    assert audit(story) == []


def test_a_stray_share_is_late_for_an_order_as_if_it_were_received_now() -> None:
    story = story_of("awaiting_balance")
    story.now = story.order().pay_by + span("1s")
    story.pay("stray", {"typo": BALANCE})
    outcome = ask_to_move(story, "o1")
    assert outcome.reason == RejectionReason.LATE
    assert outcome.limits == {
        "state": "balance_overdue",
        "allowed": ["operator_act"],
        "ended_at": story.order().pay_by,
    }
    assert story.order().state is State.BALANCE_OVERDUE
    in_time = story_of("awaiting_balance")
    in_time.pay("stray", {"typo": BALANCE})
    in_time.now = in_time.order().pay_by + span("1d")
    assert move(in_time, "o1") is None
    assert in_time.order().state is State.IN_FULFILMENT
    kinds = [event.fact.type for event in in_time.events[-8:]]
    assert kinds == [
        *("order.balance_overdue", "order.forfeited", "operator.alerted", "suspense.resolved"),
        *("order.reinstated", "payment.applied", "order.funded", "operator.acted"),
    ]


def test_time_is_enforced_on_an_order_before_it_gets_a_stray_share() -> None:
    story = story_of("awaiting_deposit")
    story.pay("stray", {"typo": DEPOSIT})
    story.now += span("1h")
    assert move(story, "o1") == RejectionReason.ORDER_CLOSED
    assert story.order().reason == "deposit_not_paid"
    assert story.accounts()["suspense"] == DEPOSIT


def test_what_an_operator_names_must_be_there() -> None:
    story = story_of("awaiting_deposit")
    story.pay("stray", {"typo": DEPOSIT})
    assert move(story, "o9") == RejectionReason.UNKNOWN_ORDER
    assert move(story, "o1", order_id="other") == RejectionReason.UNKNOWN_SUSPENSE
    assert move(story, "o1", payment_id="other") == RejectionReason.UNKNOWN_SUSPENSE
    for role in ("client", "payments", "platform"):
        fields = {"payment_id": "stray", "order_id": "typo", "to": "order", "reason": "mine"}
        refusal = story.ask("resolve_suspense", role, **fields, target_order_id="o1")
        assert refusal.reason == RejectionReason.NOT_ALLOWED
    assert move(story, "o1") is None
    assert move(story, "o1") == RejectionReason.UNKNOWN_SUSPENSE
    assert move(story, None) == RejectionReason.UNKNOWN_SUSPENSE


def test_a_share_goes_from_suspense_to_its_order_in_one_posting_and_is_told_of_first() -> None:
    story = story_of("awaiting_deposit")
    story.pay("stray", {"typo": DEPOSIT})
    count = len(story.events)
    move(story, "o1")
    resolved, is_applied, *_ = (event.published() for event in story.events[count:])
    assert (resolved["type"], resolved["to"], resolved["target_order_id"]) == (
        "suspense.resolved",
        "order",
        "o1",
    )
    assert (resolved["by"], resolved["note"], resolved["client_id"]) == (
        "operator:op",
        "typed wrongly",
        "c1",
    )
    assert (is_applied["type"], is_applied["source"]) == ("payment.applied", "suspense")
    assert [posting for _, posting in story.uow.postings] == [
        Posting("psp", "suspense", DEPOSIT),
        Posting("suspense", "escrow:o1", DEPOSIT),
    ]
    acted = story.events_of("operator.acted")[-1]
    assert (acted.subject, acted.published()["act"]) == ("payment:stray", "resolve_suspense")


def test_a_share_that_waits_goes_back_to_whoever_paid() -> None:
    story = story_with_parties()
    place(story)
    story.pay("p1", {"x1": 3}, client_id="c7")
    story.pay("p2", {"o1": DEPOSIT, "x2": 4})
    story.pay("p3", {"x3": 5})
    for n in (1, 2, 3):
        assert move(story, None, f"p{n}", f"x{n}") is None
    owed = {refund.refund_id: refund.client_id for refund in story.uow.refunds.values()}
    assert owed == {"rf_p1_x1": "c7", "rf_p2_x2": "c1", "rf_p3_x3": "unknown"}
    assert audit(story) == []


def test_once_an_order_has_a_share_of_a_payment_the_rest_is_that_clients_too() -> None:
    story = story_of("awaiting_deposit")
    place(story, "o2", "client:c2")
    story.pay("stray", {"typo": DEPOSIT, "slip": DEPOSIT})
    assert move(story, "o1") is None
    assert move(story, "o2", order_id="slip") == RejectionReason.MIXED_CLIENTS
    assert move(story, None, order_id="slip") is None
    assert story.uow.refunds["rf_stray_slip"].client_id == "c1"
    assert audit(story) == []


def test_two_shares_of_one_payment_that_an_order_holds_go_back_as_one() -> None:
    story = story_of("awaiting_deposit")
    story.pay("stray", {"o1": DEPOSIT, "typo": BALANCE})
    assert move(story, "o1") is None
    assert story.order().held_fen == TOTAL
    story.ask("decline_order", "creator", order_id="o1")
    (refund,) = story.uow.refunds.values()
    assert (refund.refund_id, refund.amount_fen) == ("rf_stray_o1", TOTAL)
    assert audit(story) == []


def test_money_that_went_back_from_an_order_may_come_to_it_out_of_suspense_and_go_back_again() -> (
    None
):
    story = story_of("awaiting_deposit")
    story.pay("stray", {"o1": 7, "typo": DEPOSIT})
    assert move(story, "o1") is None
    story.ask("cancel_order", "client", order_id="o1")
    amounts = {name: refund.amount_fen for name, refund in story.uow.refunds.items()}
    assert amounts == {"rf_stray_o1": 7, "rf_stray_o1~2": DEPOSIT}
    assert audit(story) == []


def test_an_order_whose_creator_is_banned_gives_a_stray_share_back_at_once() -> None:
    story = story_of("awaiting_deposit")
    story.spreads = False
    story.pay("stray", {"typo": DEPOSIT})
    story.ask("end_contract", "creator", creator_id="k1")
    assert move(story, "o1") == RejectionReason.ORDER_CLOSED
    assert story.order().reason == "creator_left"
    assert audit(story) == []


@pytest.mark.parametrize(
    "fields",
    [
        {"to": "refund", "target_order_id": "o1"},
        {"to": "order"},
        {"to": "order", "target_order_id": None},
        {"to": "c1"},
        {"to": "client"},
        {},
    ],
)
def test_what_becomes_of_a_share_is_one_of_two_things(fields: dict[str, object]) -> None:
    body = {"id": "resolve_it", "kind": "resolve_suspense", "by": sender("operator")}
    body |= {"payment_id": "p1", "order_id": "o9", "reason": "typo"}
    with pytest.raises(MalformedCommand):
        parse_command(json.dumps(body | fields))


def test_a_command_from_before_a_field_existed_is_still_the_same_command() -> None:
    body: dict[str, Any] = {
        "id": "the_payment",
        "kind": "confirm_payment",
        "by": sender("payments"),
    }
    body |= {"payment_id": "p1", "paid_at": format_instant(START), "amount_fen": 5}
    share: dict[str, Any] = {"order_id": "o1", "amount_fen": 5}
    before = parse_command(json.dumps(body | {"shares": [share]}))
    nulls = body | {"shares": [share | {"due": None}], "client_id": None}
    assert parse_command(json.dumps(nulls)).fingerprint() == before.fingerprint()
    assert before.fingerprint().hex() == "4c067adc36a6c8475fae4aa8ad804e64"
    assert isinstance(before, ConfirmPayment)
    assert before.content().hex() == "f83a62fc56136cad9bde3536d9fe0c6e"
    for more in ({"client_id": "c1"}, {"shares": [share | {"due": "deposit"}]}):
        command = parse_command(json.dumps(body | {"shares": [share]} | more))
        assert command.fingerprint() != before.fingerprint()
        assert read_command(write_command(command)) == command
