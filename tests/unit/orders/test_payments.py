"""Payments: what becomes of every share, and of money that makes no sense."""

from __future__ import annotations

from dataclasses import asdict

import pytest

from models.fields import format_instant
from models.lifecycle import State
from models.reasons import Alert, RejectionReason, UnappliedReason
from tests.support.stories import (
    BALANCE,
    DEPOSIT,
    MICRO,
    POLICY,
    TOTAL,
    OrderStory,
    audit,
    place,
    read_table,
    span,
    story_of,
    story_with_parties,
)

# `paid` and `told` are counted from when the order entered its state.
SHARES = read_table("""
    while             amount  paid      told      comes to         because
    awaiting_deposit  10500   0s        0s        offered          -
    awaiting_deposit  10500   -1d       0s        offered          -
    awaiting_deposit  10500   30m       30m       offered          -
    awaiting_deposit  10500   30m       40m       offered          -
    awaiting_deposit  10500   30m+1us   30m+1us   -                late
    awaiting_deposit  10501   30m+1us   30m+1us   -                late
    awaiting_deposit  10500   30m       40m+1us   expired          order_closed
    awaiting_deposit  10500   30m+1us   40m+1us   expired          late
    awaiting_deposit  105000  0s        0s        -                amount_mismatch
    awaiting_deposit  94500   0s        0s        -                amount_mismatch
    awaiting_total    105000  30m       40m       offered          -
    awaiting_total    10500   0s        0s        -                amount_mismatch
    offered           94500   24h       24h       -                -
    offered           10500   0s        0s        -                amount_mismatch
    offered           105000  0s        0s        -                amount_mismatch
    offered           94500   24h       24h+1us   expired          order_closed
    offered           94500   25h       25h       expired          order_closed
    offered_paid      94500   0s        0s        -                nothing_due
    offered_paid      7       0s        0s        -                nothing_due
    offered_full      10500   0s        0s        -                nothing_due
    awaiting_balance  94500   7d        7d        in_fulfilment    -
    awaiting_balance  94499   0s        0s        -                amount_mismatch
    awaiting_balance  94500   9d        7d        in_fulfilment    -
    revised           115500  0s        0s        in_fulfilment    -
    revised           94500   0s        0s        -                amount_mismatch
    restored          94500   0s        0s        in_fulfilment    -
    restored          115500  0s        0s        -                amount_mismatch
    awaiting_balance  94500   7d        7d10m     in_fulfilment    -
    awaiting_balance  94501   7d        7d10m     balance_overdue  amount_mismatch
    awaiting_balance  94500   7d+1us    7d+1us    balance_overdue  late
    awaiting_balance  94501   7d+1us    7d+1us    balance_overdue  late
    awaiting_balance  94500   7d        9d10m     in_fulfilment    -
    awaiting_balance  94500   7d        9d10m1us  forfeited        order_closed
    awaiting_balance  94500   7d+1us    9d10m     forfeited        late
    awaiting_balance  94500   7d+1us    90d       forfeited        late
    awaiting_balance  94501   7d        8d        forfeited        order_closed
    forfeited_unpaid  94500   -1us      2d        in_fulfilment    -
    forfeited_unpaid  94500   -1us      2d+1us    -                order_closed
    forfeited_unpaid  94500   1us       1us       -                late
    forfeited_asked   94500   -1us      0s        -                order_closed
    in_fulfilment     94500   0s        0s        -                nothing_due
    in_fulfilment     94500   14d       14d       -                nothing_due
    in_fulfilment     94500   14d       14d+1us   cancelled        order_closed
    expired_unpaid    10500   -10m      0s        -                order_closed
    expired_unpaid    10500   -9m       0s        -                late
    expired_offer     94500   -1h       0s        -                order_closed
    expired_offer     94500   0s        0s        -                order_closed
    declined          94500   0s        0s        -                order_closed
    cancelled_unpaid  10500   0s        0s        -                order_closed
    withdrawn         94500   0s        0s        -                order_closed
""")


@pytest.mark.parametrize("row", SHARES, ids=lambda row: "  ".join(row.values()))
def test_a_share_is_applied_or_goes_back_as_the_table_says(row: dict[str, str]) -> None:
    story, amount = story_of(row["while"]), int(row["amount"])
    before = story.order()
    paid_at, reported_at = (before.entered_at + span(row[column]) for column in ("paid", "told"))
    outcome = story.pay("p_now", {"o1": amount}, reported_at, paid_at=format_instant(paid_at))
    assert outcome.outcome == "applied"
    assert story.unapplied_reasons() == [reason for reason in [row["because"]] if reason != "-"]
    assert story.order().state == (before.state if row["comes to"] == "-" else row["comes to"])
    if row["because"] == "-":
        earlier_fen = before.held_fen + sum(holding.amount_fen for holding in before.forfeited)
        assert story.order().held_fen == earlier_fen + amount
    else:
        assert story.uow.refunds["rf_p_now_o1"].amount_fen == amount
    assert audit(story) == []


def test_once_a_forfeit_is_released_no_payment_undoes_the_forfeiture() -> None:
    story = story_of("forfeited_unpaid")
    ended_at = story.order().entered_at
    whole = {"parts": [{"to": "platform", "amount_fen": DEPOSIT}], "reason": "nobody objects"}
    released = story.ask(
        "release_forfeit", "operator", ended_at + span("3d"), order_id="o1", **whole
    )
    assert released.reason is None
    # A dead letter that is replayed is judged as of when it came.
    in_time = format_instant(ended_at - MICRO)
    story.pay("p_now", {"o1": TOTAL}, ended_at + span("2h"), paid_at=in_time)
    assert story.unapplied_reasons() == [UnappliedReason.ORDER_CLOSED]
    assert story.order().state is State.FORFEITED
    assert audit(story) == []


def test_the_offer_begins_when_we_hear_of_the_deposit_and_not_when_it_was_paid() -> None:
    story = story_of("awaiting_deposit")
    reported_at = story.now + span("40m")
    story.pay("p1", {"o1": DEPOSIT}, reported_at, paid_at=format_instant(story.now))
    assert (story.order().offered_at, story.order().due_at) == (
        reported_at,
        reported_at + span("24h"),
    )


def test_a_payment_from_the_future_was_made_when_it_was_reported() -> None:
    story = story_of("awaiting_balance")
    story.pay("p1", {"o1": BALANCE}, paid_at="2099-01-01T00:00:00Z")
    assert story.uow.payments["p1"].paid_at == story.now
    assert story.order().state is State.IN_FULFILMENT


def test_a_reinstatement_is_recorded_before_the_payment_that_caused_it() -> None:
    story = story_of("forfeited_late")
    count = len(story.events)
    paid_at = format_instant(story.order().pay_by)
    story.pay("p1", {"o1": BALANCE}, paid_at=paid_at)
    kinds = [event.fact.type for event in story.events[count:]]
    assert kinds == ["order.reinstated", "payment.applied", "order.funded"]
    assert story.accounts() == {"psp": -TOTAL, "escrow:o1": TOTAL}
    assert story.order().reason is None
    again = story.pay("p2", {"o1": BALANCE}, paid_at=paid_at)
    assert (again.outcome, story.unapplied_reasons()) == ("applied", [UnappliedReason.NOTHING_DUE])


def alerts_of(story: OrderStory) -> list[str]:
    return [event.published()["alert"] for event in story.events_of("operator.alerted")]


@pytest.mark.parametrize(
    ("situation", "paid", "reported", "alert"),
    [
        ("forfeited_late", "-10m", "2d", []),
        ("forfeited_late", "-10m", "2d+1us", [Alert.NOTICE_TOO_LATE]),
        ("forfeited_late", "-9m", "2d+1us", []),
        ("forfeited_asked", "0s", "1m", [Alert.PAID_BEFORE_FORFEIT]),
        ("forfeited_asked", "1us", "1m", []),
        ("expired_unpaid", "-10m", "1m", []),
        ("declined", "0s", "1m", []),
    ],
)
def test_an_operator_is_told_of_money_that_came_in_good_faith(
    situation: str, paid: str, reported: str, alert: list[str]
) -> None:
    story = story_of(situation)
    ended_at = story.order().entered_at
    shares, paid_at = {"o1": BALANCE}, format_instant(ended_at + span(paid))
    story.pay("p1", shares, ended_at + span(reported), paid_at=paid_at)
    assert alerts_of(story) == alert


def story_with_three_orders() -> OrderStory:
    """Two orders of one client and one of another, all waiting for their deposits."""
    story = story_with_parties()
    place(story, "o1")
    place(story, "o2")
    place(story, "o3", "client:c2")
    return story


@pytest.mark.parametrize(
    ("shares", "overrides", "reason", "client"),
    [
        ([("o1", 5)], {"amount_fen": 6}, "shares_mismatch", "c1"),
        ([("o3", 5), ("o1", 5)], {"amount_fen": 11}, "shares_mismatch", "c2"),
        ([("o1", 5), ("o1", 5)], {}, "shares_mismatch", "c1"),
        ([("o9", 5), ("o9", 5)], {}, "shares_mismatch", "unknown"),
        ([], {"amount_fen": 7}, "shares_mismatch", "unknown"),
        ([(f"x{n}", 1) for n in range(51)], {}, "shares_mismatch", "unknown"),
        ([*((f"x{n}", 1) for n in range(50)), ("o3", 1)], {}, "shares_mismatch", "c2"),
        ([("o3", DEPOSIT), ("o1", DEPOSIT)], {}, "mixed_clients", "c2"),
        ([("o9", 1), ("o1", DEPOSIT), ("o3", DEPOSIT)], {}, "mixed_clients", "c1"),
    ],
)
def test_a_payment_that_makes_no_sense_goes_back_whole(
    shares: list[tuple[str, int]], overrides: dict[str, int], reason: str, client: str
) -> None:
    story = story_with_three_orders()
    share_fields = [{"order_id": order_id, "amount_fen": fen} for order_id, fen in shares]
    amount = {"amount_fen": sum(fen for _, fen in shares)} | overrides
    assert story.pay("p1", {}, shares=share_fields, **amount).outcome == "applied"
    assert story.unapplied_reasons() == [reason]
    (refund,) = story.uow.refunds.values()
    assert (refund.refund_id, refund.order_id, refund.client_id) == ("rf_p1", None, client)
    assert refund.amount_fen == amount["amount_fen"]
    assert {order.held_fen for order in story.uow.orders.values()} == {0}
    assert audit(story) == []


def test_fifty_shares_are_not_too_many() -> None:
    story = story_with_three_orders()
    story.pay("p1", {"o1": DEPOSIT} | {f"x{n}": 1 for n in range(49)})
    assert story.order().state is State.OFFERED
    assert story.accounts()["suspense"] == 49


def test_a_share_for_an_order_that_nobody_knows_waits_and_its_neighbour_does_not() -> None:
    story = story_with_three_orders()
    story.pay("p1", {"o9": 7, "o1": DEPOSIT})
    assert story.unapplied_reasons() == [UnappliedReason.UNKNOWN_ORDER]
    assert story.accounts() == {"psp": -DEPOSIT - 7, "suspense": 7, "escrow:o1": DEPOSIT}
    assert (alerts_of(story), story.uow.refunds) == ([], {})
    story.now += POLICY.placement_grace + MICRO
    story.wake("suspense:p1:o9", story.now)
    assert alerts_of(story) == [Alert.UNKNOWN_ORDER]
    alert = story.events_of("operator.alerted")[0].published()
    assert (alert["for_order_id"], alert["payment_id"], alert["amount_fen"]) == ("o9", "p1", 7)
    place(story, "o9", "client:c2")
    assert story.order("o9").held_fen == 0


def test_each_share_is_applied_or_not_by_the_state_of_its_own_order() -> None:
    story = story_with_three_orders()
    story.ask("cancel_order", "client", order_id="o2")
    story.pay("p1", {"o1": DEPOSIT, "o2": DEPOSIT})
    assert story.unapplied_reasons() == [UnappliedReason.ORDER_CLOSED]
    assert list(story.uow.refunds) == ["rf_p1_o2"]


def test_the_same_payment_under_another_command_is_a_duplicate() -> None:
    story = story_with_three_orders()
    fields = {"paid_at": "2026-03-02T10:00:00+08:00"}
    story.pay("p1", {"o1": DEPOSIT}, **fields)
    duplicate = story.pay("p1", {"o1": DEPOSIT}, paid_at="2026-03-02T02:00:00Z")
    assert (duplicate.outcome, duplicate.reason, duplicate.events) == ("duplicate", None, ())


@pytest.mark.parametrize(
    ("shares", "overrides"),
    [
        ({"o1": DEPOSIT + 1}, {}),
        ({"o2": DEPOSIT}, {}),
        ({"o1": DEPOSIT}, {"paid_at": "2026-03-02T02:00:00.000001Z"}),
        ({"o1": DEPOSIT}, {"amount_fen": 1}),
    ],
)
def test_the_same_payment_with_other_content_is_a_conflict_that_an_operator_hears_of(
    shares: dict[str, int], overrides: dict[str, object]
) -> None:
    story = story_with_three_orders()
    story.pay("p1", {"o1": DEPOSIT})
    balances = story.accounts()
    conflict = story.pay("p1", shares, **overrides)
    assert (conflict.outcome, conflict.reason) == ("rejected", RejectionReason.PAYMENT_CONFLICT)
    assert (alerts_of(story), story.accounts()) == ([Alert.PAYMENT_CONFLICT], balances)
    assert audit(story) == []


def test_nobody_but_payments_reports_money() -> None:
    story = story_with_three_orders()
    for role in ("client", "operator", "platform", "creator"):
        body = {"payment_id": "p1", "paid_at": format_instant(story.now), "amount_fen": 1}
        outcome = story.ask("confirm_payment", role, **body, shares=[])
        assert outcome.reason == RejectionReason.NOT_ALLOWED
    assert story.uow.payments == {}


def test_a_balance_of_nothing_is_not_waited_for() -> None:
    story = story_with_parties()
    place(story, amount_fen=1)
    story.pay("p1", {"o1": 1}, story.now + MICRO)
    assert story.order().balance_due_fen == 0
    story.ask("accept_order", "creator", order_id="o1")
    assert story.order().state is State.IN_FULFILMENT
    assert len(story.events_of("order.funded")) == 1


# What a share says that it is for, and what becomes of it where that is not what is due.
PURPOSES = read_table("""
    while             amount  due      comes to         because
    awaiting_deposit  10500   deposit  offered          -
    awaiting_deposit  10500   balance  -                nothing_due
    awaiting_deposit  10500   total    -                nothing_due
    awaiting_deposit  10501   deposit  -                amount_mismatch
    awaiting_deposit  10501   balance  -                nothing_due
    awaiting_total    105000  total    offered          -
    awaiting_total    105000  deposit  -                nothing_due
    offered           94500   balance  -                -
    offered           94500   deposit  -                nothing_due
    offered           94500   total    -                nothing_due
    offered_paid      94500   balance  -                nothing_due
    awaiting_balance  94500   balance  in_fulfilment    -
    awaiting_balance  94500   deposit  -                nothing_due
    balance_overdue   94500   deposit  -                late
    declined          94500   deposit  -                order_closed
    in_fulfilment     94500   balance  -                nothing_due
""")


@pytest.mark.parametrize("row", PURPOSES, ids=lambda row: "  ".join(row.values()))
def test_a_share_that_says_what_it_is_for_is_used_for_nothing_else(row: dict[str, str]) -> None:
    story = story_of(row["while"])
    before = story.order()
    share = {"order_id": "o1", "amount_fen": int(row["amount"]), "due": row["due"]}
    story.pay("p_now", {}, amount_fen=share["amount_fen"], shares=[share])
    assert story.unapplied_reasons() == [reason for reason in [row["because"]] if reason != "-"]
    assert story.order().state == (before.state if row["comes to"] == "-" else row["comes to"])
    assert audit(story) == []


@pytest.mark.parametrize(("due", "state"), [("balance", "in_fulfilment"), ("total", "forfeited")])
def test_only_a_balance_reinstates_a_forfeited_order(due: str, state: str) -> None:
    story = story_of("forfeited_late")
    share = {"order_id": "o1", "amount_fen": BALANCE, "due": due}
    paid_at = format_instant(story.order().pay_by)
    story.pay("p1", {}, amount_fen=BALANCE, shares=[share], paid_at=paid_at)
    assert story.order().state == state
    assert story.unapplied_reasons() == ([] if due == "balance" else ["order_closed"])


def test_a_second_deposit_that_says_so_does_not_become_the_balance() -> None:
    story = story_with_parties(POLICY.model_copy(update={"deposit_bps": 5_000}))
    place(story)
    share = {"order_id": "o1", "amount_fen": 52_500, "due": "deposit"}
    for payment_id in ("p1", "p2"):
        story.pay(payment_id, {}, amount_fen=52_500, shares=[share])
    assert (story.order().held_fen, story.unapplied_reasons()) == (52_500, ["nothing_due"])
    revised = story.ask("accept_order", "creator", order_id="o1", revised_amount_fen=110_000)
    assert revised.outcome == "applied"


NAMED = [
    ({"o1": DEPOSIT}, "c1", [], {"refunds_payable:c1": 0}),
    ({"o1": DEPOSIT}, "c2", ["mixed_clients"], {"refunds_payable:c2": DEPOSIT}),
    ({"o1": DEPOSIT, "o3": DEPOSIT}, "c1", ["mixed_clients"], {"refunds_payable:c1": 2 * DEPOSIT}),
    ({"o1": 5}, "c1", ["amount_mismatch"], {"refunds_payable:c1": 5}),
    ({"o9": 5}, "c7", ["unknown_order"], {"suspense": 5}),
]


@pytest.mark.parametrize(("shares", "client", "reasons", "accounts"), NAMED)
def test_nobody_elses_order_gets_the_money_of_the_client_that_a_payment_names(
    shares: dict[str, int], client: str, reasons: list[str], accounts: dict[str, int]
) -> None:
    story = story_with_three_orders()
    story.pay("p1", shares, client_id=client)
    assert story.unapplied_reasons() == reasons
    balances = story.accounts()
    assert {account: balances.get(account, 0) for account in accounts} == accounts
    assert story.uow.payments["p1"].client_id == client
    assert audit(story) == []


def test_what_makes_no_sense_goes_back_to_the_client_that_the_payment_names() -> None:
    story = story_with_three_orders()
    story.pay("p1", {"o9": 5}, amount_fen=6, client_id="c7")
    assert story.uow.refunds["rf_p1"].client_id == "c7"


@pytest.mark.parametrize(
    "overrides",
    [
        {"client_id": "c1"},
        {"shares": [{"order_id": "o1", "amount_fen": DEPOSIT, "due": "deposit"}]},
    ],
)
def test_a_repeat_that_says_more_has_another_content(overrides: dict[str, object]) -> None:
    story = story_with_three_orders()
    story.pay("p1", {"o1": DEPOSIT})
    story.pay("p2", {"o1": DEPOSIT}, **overrides)
    assert story.pay("p1", {"o1": DEPOSIT}).outcome == "duplicate"
    assert story.pay("p1", {"o1": DEPOSIT}, **overrides).reason == RejectionReason.PAYMENT_CONFLICT
    assert story.pay("p2", {"o1": DEPOSIT}, **overrides).outcome == "duplicate"
    assert story.pay("p2", {"o1": DEPOSIT}).reason == RejectionReason.PAYMENT_CONFLICT


# `paid` is counted from the placement, which was an hour before the notice.
IMPLAUSIBLE = read_table("""
    paid       shares  alerts  about
    -5m        o1      0       -
    -5m1us     o1      1       o1
    -8h        o1      1       o1
    -8h        o1,o2   1       o1
    -8h        o9      0       -
    0s         o1      0       -
    1h         o1      0       -
    1h5m       o1      0       -
    1h5m1us    o1      1       -
    1h5m1us    o9      1       -
    9h         o1,o2   1       -
""")


@pytest.mark.parametrize("row", IMPLAUSIBLE, ids=lambda row: " ".join(row.values()))
def test_an_operator_is_told_of_a_time_of_payment_that_cannot_be_right(row: dict[str, str]) -> None:
    story = story_with_three_orders()
    placed_at, story.now = story.now, story.now + span("1h")
    shares = dict.fromkeys(row["shares"].split(","), DEPOSIT)
    story.pay("p1", shares, paid_at=format_instant(placed_at + span(row["paid"])))
    alerts = [event.published() for event in story.events_of("operator.alerted")]
    assert [alert["alert"] for alert in alerts] == ["paid_at_implausible"] * int(row["alerts"])
    for alert in alerts:
        assert alert["for_order_id"] == (None if row["about"] == "-" else row["about"])
        assert (alert["payment_id"], alert["amount_fen"]) == ("p1", DEPOSIT * len(shares))
    assert story.uow.payments["p1"].paid_at == min(story.now, placed_at + span(row["paid"]))
    assert audit(story) == []


def test_the_tolerance_for_times_of_payment_is_that_of_the_policy_in_force() -> None:
    story = story_with_three_orders()
    story.uow.policy = POLICY.model_copy(update={"paid_at_tolerance": "P1D"})
    story.pay("p1", {"o1": DEPOSIT}, paid_at=format_instant(story.now + span("20h")))
    assert alerts_of(story) == []


def test_the_outcome_of_a_payment_says_what_became_of_each_share() -> None:
    story = story_with_three_orders()
    story.ask("cancel_order", "client", order_id="o2")
    outcome = story.pay("p1", {"o1": DEPOSIT, "o2": DEPOSIT, "o9": 7})
    assert outcome.shares is not None
    refund = story.uow.refunds["rf_p1_o2"]
    told = {"reason": None, "refund_id": None, "reference": None}
    sent_back = {"refund_id": "rf_p1_o2", "reference": refund.reference}
    assert [asdict(share) for share in outcome.shares] == [
        told | {"order_id": "o1", "outcome": "applied"},
        {"order_id": "o2", "outcome": "refunded", "reason": "order_closed"} | sent_back,
        told | {"order_id": "o9", "outcome": "suspense", "reason": "unknown_order"},
    ]
    whole = story.pay("p2", {"o1": DEPOSIT, "o3": DEPOSIT})
    assert whole.shares is not None
    assert [(share.outcome, share.reason, share.refund_id) for share in whole.shares] == [
        ("refunded", "mixed_clients", "rf_p2")
    ] * 2
    assert story.pay("p2", {"o1": DEPOSIT, "o3": DEPOSIT}).shares is None
    assert story.ask("cancel_order", "client", order_id="o1").shares is None
