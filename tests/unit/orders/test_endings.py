"""Endings: what walking away costs, who gets what, and where every fen of it is."""

from __future__ import annotations

from datetime import datetime

import pytest

from models import money
from models.events.event import EVENT_TYPES
from models.ledger import Posting
from models.lifecycle import State
from models.orders.endings import cancellation_cost_at
from tests.support.stories import (
    AMOUNT,
    DEPOSIT,
    TOTAL,
    OrderStory,
    audit,
    place,
    play_step,
    read_table,
    span,
    story_of,
    story_with_parties,
)

# Tier by tier: what it costs to cancel an order of 100 000 fen and a fee of 5 000.
COSTS = read_table("""
    situation           after  cost    because
    in_fulfilment       1h     0       no work yet
    script_review       1h     10500   script submitted
    script_revision     1h     10500   script submitted
    producing           1h     10500   an approved script costs no more
    content_review      1h     52500   content submitted
    content_unscripted  1h     52500   content submitted
    producing_again     1h     52500   one rejection costs no more
    rejected_twice      1h     105000  the second rejection
    ready_to_publish    1h     52500   content submitted
    ready_live          1h     52500   live, script approved
    ready_live          13h    52500   not yet the day
    disputed_script     20d    10500   what it cost on entry
    disputed_content    1h     52500   what it cost on entry
    script_overdue      1h     10500   what it cost on entry
""")


@pytest.mark.parametrize("row", COSTS, ids=lambda row: f"{row['situation']} {row['after']}")
def test_cancelling_costs_what_the_tiers_say(row: dict[str, str]) -> None:
    story = story_of(row["situation"])
    cost, at = int(row["cost"]), story.order().entered_at + span(row["after"])
    for wrong in {None, cost - 1, cost + 1} - {-1, None if cost == 0 else 0}:
        fields = {} if wrong is None else {"accept_cost_fen": wrong}
        refusal = story.ask("cancel_order", "client", at, order_id="o1", **fields)
        assert (refusal.reason, refusal.cost_fen) == ("cost_mismatch", cost)
    outcome = story.ask("cancel_order", "client", at, order_id="o1", accept_cost_fen=cost)
    assert (outcome.outcome, story.order().reason) == ("applied", "client_cancelled")
    (cancellation,) = [event.published() for event in story.events_of("order.cancelled")]
    assert (cancellation["cost_fen"], cancellation["refund_fen"]) == (cost, TOTAL - cost)
    assert cancellation["creator_part_fen"] + cancellation["fee_part_fen"] == cost
    assert story.accounts().get("refunds_payable:c1", 0) == TOTAL - cost
    assert audit(story) == []


FREE_WAYS_OUT = read_table("""
    situation         by
    awaiting_deposit  client
    offered           client
    offered_paid      client
    in_fulfilment     client
    balance_banned    client
    awaiting_deposit  operator
    awaiting_balance  operator
    in_fulfilment     operator
""")


@pytest.mark.parametrize("row", FREE_WAYS_OUT, ids=lambda row: f"{row['situation']} {row['by']}")
def test_where_leaving_costs_nothing_no_cost_can_be_accepted(row: dict[str, str]) -> None:
    story = story_of(row["situation"])
    refusal = story.ask("cancel_order", row["by"], order_id="o1", accept_cost_fen=1)
    assert (refusal.reason, refusal.limits) == ("cost_mismatch", {"cost_fen": 0})
    assert story.ask("cancel_order", row["by"], order_id="o1", accept_cost_fen=0).reason is None


@pytest.mark.parametrize(
    ("cost", "reason"),
    [(None, None), (0, None), (10_500, None), (1, "cost_mismatch"), (10_499, "cost_mismatch")],
)
def test_who_gives_the_deposit_up_may_name_it_and_nothing_else(
    cost: int | None, reason: str | None
) -> None:
    story = story_of("awaiting_balance")
    fields = {"order_id": "o1", "accept_cost_fen": cost}
    # Without a word about the deposit it is that which is missing.
    assert story.ask("cancel_order", "client", **fields).reason == "would_forfeit"
    outcome = story.ask("cancel_order", "client", accept_forfeit=True, **fields)
    assert outcome.reason == reason
    assert outcome.limits == (None if reason is None else {"cost_fen": 10_500})


WAYS_OUT = [("client", "cancel_order"), ("creator", "withdraw_order"), ("mcn", "withdraw_order")]


@pytest.mark.parametrize(("by", "kind"), WAYS_OUT)
@pytest.mark.parametrize("situation", ["published", "accepted_delivery"])
def test_nobody_leaves_a_dispute_about_a_work_that_is_out(
    situation: str, by: str, kind: str
) -> None:
    story = story_of(situation)
    play_step(story, "dispute")
    cost = {"accept_cost_fen": 52_500} if by == "client" else {}
    outcome = story.ask(kind, by, order_id="o1", **cost)
    assert outcome.reason == "wrong_state"
    assert outcome.limits == {"state": "in_arbitration", "allowed": ["appoint_provider"]}
    act = {"command": {"kind": kind, "order_id": "o1"} | cost, "reason": "by telephone"}
    assert story.ask("operator_act", "operator", **act).reason == "wrong_state"
    # Put back to where it came from, it may be disputed once more, and no more than that.
    play_step(story, "resolve:extend")
    assert story.ask(kind, by, order_id="o1", **cost).reason == "wrong_state"
    play_step(story, "dispute:creator")
    play_step(story, "resolve:cancel=2500")
    assert (story.order().state, story.order().reason) == (State.CANCELLED, "arbitrated")
    assert audit(story) == []


def live_broadcast(expected: str) -> OrderStory:
    story = story_with_parties()
    place(story, task_type="douyin_live", expected_publish_at=expected)
    for step in ("pay", "accept", "pay", "script"):
        play_step(story, step)
    return story


@pytest.mark.parametrize(
    ("asked_at", "cost"),
    [
        ("2026-03-05T15:59:59.999999+00:00", 52_500),
        ("2026-03-05T16:00:00+00:00", 105_000),
        ("2026-03-06T20:00:00+00:00", 105_000),
    ],
)
def test_a_broadcast_costs_everything_from_midnight_in_shanghai(asked_at: str, cost: int) -> None:
    story = live_broadcast("2026-03-06T20:00:00+08:00")
    play_step(story, "agree")
    at = datetime.fromisoformat(asked_at)
    assert story.ask("cancel_order", "client", at, order_id="o1").cost_fen == cost


def test_a_broadcast_without_an_approved_script_costs_a_tenth_even_on_its_day() -> None:
    story = live_broadcast("2026-03-02T20:00:00+08:00")
    assert story.ask("cancel_order", "client", order_id="o1").cost_fen == 10_500


def test_the_cost_is_said_again_to_whoever_asks_again() -> None:
    story = story_of("script_review")
    body = {"id": "cmd_twice", "kind": "cancel_order", "order_id": "o1"}
    command = body | {"by": {"role": "client", "id": "c1"}}
    first, again = (story.handle(command, story.now) for _ in range(2))
    assert (first.outcome, first.cost_fen) == ("rejected", 10_500)
    assert (again.outcome, again.reason, again.cost_fen) == ("duplicate", "cost_mismatch", 10_500)


@pytest.mark.parametrize(
    ("amount", "bps", "parts"),
    [
        (100_000, 1_000, (10_000, 500)),
        (99_999, 1_000, (10_000, 500)),
        (15, 1_000, (2, 0)),
        (14, 1_000, (1, 0)),
        (95, 5_000, (48, 3)),
        (1, 10_000, (1, 0)),
        (1, 1_000, (0, 0)),
    ],
)
def test_the_parts_of_a_cancellation_cost_are_rounded_half_up_each_on_its_own(
    amount: int, bps: int, parts: tuple[int, int]
) -> None:
    story = story_with_parties()
    place(story, amount_fen=amount, prepay_deposit=False)
    cost = cancellation_cost_at(story.order(), bps)
    assert (cost.creator_part_fen, cost.fee_part_fen) == parts


def test_a_cancellation_cost_that_rounds_to_nothing_needs_no_consent() -> None:
    story = story_with_parties()
    place(story, amount_fen=4, prepay_deposit=False)
    for step in ("pay", "accept", "script", "cancel"):
        play_step(story, step)
    assert story.accounts() == {"psp": -4, "refunds_payable:c1": 4}
    assert audit(story) == []


def test_a_partial_refund_takes_the_last_payment_first_up_to_its_share() -> None:
    story = story_of("content_review")
    play_step(story, "cancel:52500")
    assert [refund.amount_fen for refund in story.uow.refunds.values()] == [52_500]
    (refund,) = story.uow.refunds.values()
    assert (refund.payment_id or "").startswith("pay_"), "the balance, not the deposit"
    story = story_of("script_review")
    story.ask("dispute_order", "client", order_id="o1", reason="no")
    play_step(story, "resolve:cancel=500")
    assert [refund.amount_fen for refund in story.uow.refunds.values()] == [94_500, 5_250]
    assert audit(story) == []


ACCOUNT_BY_ABBREVIATION = {
    "O": "escrow:o1",
    "C": "refunds_payable:c1",
    "K": "payable:creator:k1",
    "M": "payable:mcn:m1",
    "fees": "service_fees",
    "income": "platform_income",
    "lost": "forfeited_deposits",
}

# Every event that moves money, and what it moves: section 10 of the domain, row by row.
MOVES = read_table("""
    situation             event              moves
    offered               payment.applied    psp>O=10500
    expired_offer         refund.requested   O>C=10500
    forfeited_late        order.forfeited    O>lost=10500
    reinstated            order.reinstated   lost>O=10500
    released_to_platform  forfeit.released   lost>income=10500
    released              forfeit.released   lost>K=10500
    released_to_client    forfeit.released   lost>C=10500
    released_to_client    refund.requested   -
    completed             order.completed    O>K=100000 O>fees=5000
    completed             payout.requested   -
    completed_agency      order.completed    O>M=30000 O>K=70000 O>fees=5000
    cancelled_at_a_cost   order.cancelled    O>K=10000 O>fees=500 O>C=94500
    cancelled_at_a_cost   refund.requested   -
    cancelled_agency      order.cancelled    O>M=3333 O>K=6667 O>fees=500 O>C=94500
    cancelled_arbitrated  order.cancelled    O>K=25000 O>fees=1250 O>C=78750
    cancelled_no_work     order.cancelled    -
    paid_out              payout.confirmed   K>psp=100000
    refunded              refund.confirmed   C>psp=10500
    unusable              payment.unapplied  psp>suspense=7 suspense>C=7
    unknown               payment.unapplied  psp>suspense=7
    resolved              suspense.resolved  suspense>refunds_payable:unknown=7
    resolved              refund.requested   -
    resolved_named        suspense.resolved  suspense>refunds_payable:c9=7
    to_order              suspense.resolved  -
    to_order              payment.applied    suspense>escrow:o1=10500
    voided                payment.voided     C>suspense=6 suspense>psp=6 suspense>psp=7
    voided                refund.voided      -
    voided_whole          payment.voided     refunds_payable:unknown>suspense=8 suspense>psp=8
    unpaid                order.deposit_overdue  -
    whole                 payment.unapplied  psp>suspense=8 suspense>refunds_payable:unknown=8
""")


def story_leading_to(situation: str) -> OrderStory:
    """Play what leads to a situation, those too that concern more than one order."""
    starting_situations = {
        "reinstated": "forfeited_late",
        "paid_out": "completed",
        "refunded": "expired_offer",
    }
    starting_situations |= dict.fromkeys(
        ("unusable", "unknown", "resolved", "resolved_named", "whole", "voided", "voided_whole"),
        "in_fulfilment",
    )
    starting_situations |= {"to_order": "awaiting_deposit", "unpaid": "expired_unpaid"}
    starting_situations |= dict.fromkeys(
        ("released_to_platform", "released_to_client"), "forfeited_asked"
    )
    story = story_of(starting_situations.get(situation, situation))
    if situation == "reinstated":
        play_step(story, "reinstate")
    elif situation.startswith("released_to"):
        play_step(story, f"release:to={situation.rpartition('_')[2]}")
    elif situation == "paid_out":
        story.ask("confirm_payout", "payments", payout_id="po_o1_creator")
    elif situation == "refunded":
        story.ask("confirm_refund", "payments", refund_id=next(iter(story.uow.refunds)))
    elif situation in ("unusable", "unknown", "resolved"):
        story.pay("px", {"o1" if situation == "unusable" else "o9": 7})
    elif situation in ("whole", "voided_whole"):
        story.pay("px", {"o9": 7}, amount_fen=8)
    elif situation == "resolved_named":
        story.pay("px", {"o9": 7}, client_id="c9")
    elif situation == "to_order":
        story.pay("px", {"o9": DEPOSIT})
    elif situation == "voided":
        story.pay("px", {"o1": 6, "o9": 7})
    _decide_on_payment(story, situation)
    return story


def _decide_on_payment(story: OrderStory, situation: str) -> None:
    """Let an operator do with the payment what a situation is named for, if anything."""
    suspended = {"payment_id": "px", "order_id": "o9", "reason": "typed wrongly"}
    if situation in ("resolved", "resolved_named"):
        story.ask("resolve_suspense", "operator", to="refund", **suspended)
    elif situation == "to_order":
        target = {"to": "order", "target_order_id": "o1"}
        story.ask("resolve_suspense", "operator", **target, **suspended)
    elif situation in ("voided", "voided_whole"):
        story.ask("void_payment", "operator", payment_id="px", reason="yuan for fen")


@pytest.mark.parametrize("row", MOVES, ids=lambda row: f"{row['situation']} {row['event']}")
def test_an_event_moves_what_the_domain_says(row: dict[str, str]) -> None:
    story = story_leading_to(row["situation"])
    event = story.events_of(row["event"])[-1]
    postings = [
        posting for posted_event, posting in story.uow.postings if posted_event.id == event.id
    ]
    moves = [move.replace("=", ">").split(">") for move in row["moves"].split() if move != "-"]
    expected = [
        (ACCOUNT_BY_ABBREVIATION.get(a, a), ACCOUNT_BY_ABBREVIATION.get(b, b), int(fen))
        for a, b, fen in moves
    ]
    assert postings == [Posting(*arguments) for arguments in expected]
    assert audit(story) == []


def test_only_the_events_in_the_table_move_money() -> None:
    moving = {row["event"] for row in MOVES if row["moves"] != "-"}
    silent = set(EVENT_TYPES) - moving
    for row in MOVES:
        for event, _ in story_leading_to(row["situation"]).uow.postings:
            assert event.fact.type not in silent


PAYOUTS = read_table("""
    situation            payouts
    completed            po_o1_creator=100000
    completed_agency     po_o1_mcn=30000 po_o1_creator=70000
    cancelled_at_a_cost  po_o1_creator=10000
    cancelled_agency     po_o1_mcn=3333 po_o1_creator=6667
    released             po_o1_creator=10500
    cancelled_no_work    -
""")


@pytest.mark.parametrize("row", PAYOUTS, ids=lambda row: row["situation"])
def test_each_of_the_creators_side_is_paid_once(row: dict[str, str]) -> None:
    story = story_of(row["situation"])
    amounts = {payout.payout_id: payout.amount_fen for payout in story.uow.payouts.values()}
    expected_payouts = [
        payout_text.split("=") for payout_text in row["payouts"].split() if payout_text != "-"
    ]
    assert amounts == {name: int(fen) for name, fen in expected_payouts}
    for name in amounts:
        assert story.ask("confirm_payout", "client", payout_id=name).reason == "not_allowed"
        assert story.ask("confirm_payout", "payments", payout_id=name).reason is None
        again = story.ask("confirm_payout", "payments", payout_id=name)
        assert again.reason == "already_confirmed"
    assert not [account for account in story.accounts() if account.startswith("payable")]
    assert audit(story) == []


@pytest.mark.parametrize("name", ["po_o1_mcn", "po_o9_creator", "po_o1", "x", "o1_creator"])
def test_a_payout_that_nobody_owes_is_unknown(name: str) -> None:
    story = story_of("completed")
    assert story.ask("confirm_payout", "payments", payout_id=name).reason == "unknown_payout"


def test_a_payout_owed_by_a_deadline_that_nobody_noticed_can_be_confirmed() -> None:
    story = story_of("accepted_delivery")
    fields = {"payout_id": "po_o1_creator"}
    due_at = story.order().due_at
    assert due_at is not None
    assert story.ask("confirm_payout", "payments", due_at, **fields).reason == "unknown_payout"
    assert story.ask("confirm_payout", "payments", due_at + span("1us"), **fields).reason is None
    assert story.accounts() == {"psp": -5_000, "service_fees": 5_000}


@pytest.mark.parametrize(("share", "agency"), [(0, 0), (1, 10), (3_333, 33_330), (10_000, AMOUNT)])
def test_the_agencys_share_is_frozen_at_acceptance(share: int, agency: int) -> None:
    story = story_with_parties()
    play_step(story, f"contract:{share}")
    for step in ("place:unscripted", "pay", "accept", "pay"):
        play_step(story, step)
    # Neither a new share nor a new agency concerns what was accepted.
    fields = {"creator_id": "k1", "name": "K1", "contract": "mcn", "mcn_id": "m2"}
    story.ask("register_creator", "platform", **fields, mcn_share_bps=5_000)
    for step in ("content", "approve", "publish", "deliver", "time"):
        play_step(story, step)
    accounts = story.accounts()
    assert accounts.get("payable:mcn:m1", 0) == agency == money.half_up(AMOUNT * share, 10_000)
    assert accounts.get("payable:creator:k1", 0) == AMOUNT - agency
    assert "payable:mcn:m2" not in accounts
    assert audit(story) == []


def test_a_forfeit_is_released_in_parts_that_add_up_and_shared_with_the_agency() -> None:
    story = story_with_parties()
    for step in ("contract:5000", "place", "pay", "accept", "cancel:forfeit"):
        play_step(story, step)
    parts = [{"to": "platform", "amount_fen": 500}, {"to": "creator", "amount_fen": 9_001}]
    fields = {"order_id": "o1", "reason": "half each"}
    short = story.ask("release_forfeit", "operator", **fields, parts=parts)
    assert short.reason == "parts_mismatch"
    parts.append({"to": "client", "amount_fen": 999})
    assert story.ask("release_forfeit", "operator", **fields, parts=parts).reason is None
    assert story.accounts() == {
        "psp": -10_500,
        "platform_income": 500,
        "payable:mcn:m1": 4_501,
        "payable:creator:k1": 4_500,
        "refunds_payable:c1": 999,
    }
    assert audit(story) == []


def test_a_broadcast_without_a_day_costs_what_its_script_costs() -> None:
    story = story_with_parties()
    place(story, task_type="douyin_live")
    for step in ("pay", "accept", "pay", "script", "agree"):
        play_step(story, step)
    assert story.order().expected_publish_at is None
    half = {"order_id": "o1", "accept_cost_fen": TOTAL // 2}
    assert story.ask("cancel_order", "client", **half).reason is None
    assert audit(story) == []
