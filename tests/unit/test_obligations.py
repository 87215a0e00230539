"""Obligations: what refunds are called, when they are owed, and that each leaves once."""

from __future__ import annotations

from dataclasses import replace

import pytest

from models.errors import BrokenInvariant
from models.ids import make_refund_base_id, parse_refund_order_ids, strip_refund_number
from models.reasons import RejectionReason
from models.service.unit_of_work import UnitOfWork
from tests.support.stories import (
    BALANCE,
    DEPOSIT,
    OrderStory,
    audit,
    place,
    span,
    story_of,
    story_with_parties,
)


def confirm(story: OrderStory, refund_id: str, by: str = "payments") -> str | None:
    return story.ask("confirm_refund", by, refund_id=refund_id).reason


def test_a_declined_order_has_one_refund_for_each_payment() -> None:
    story = story_with_parties()
    place(story)
    story.pay("dep", {"o1": DEPOSIT})
    story.pay("bal", {"o1": BALANCE})
    story.ask("decline_order", "creator", order_id="o1")
    amounts = {refund.refund_id: refund.amount_fen for refund in story.uow.refunds.values()}
    assert amounts == {"rf_dep_o1": DEPOSIT, "rf_bal_o1": BALANCE}
    assert confirm(story, "rf_bal_o1") is None
    assert story.accounts() == {"psp": -DEPOSIT, "refunds_payable:c1": DEPOSIT}
    assert audit(story) == []


def test_a_refund_is_confirmed_once() -> None:
    story = story_of("declined")
    (refund_id,) = story.uow.refunds
    assert confirm(story, refund_id, "client") == RejectionReason.NOT_ALLOWED
    assert confirm(story, refund_id) is None
    assert confirm(story, refund_id) == RejectionReason.ALREADY_CONFIRMED
    assert story.accounts() == {}


@pytest.mark.parametrize("refund_id", ["rf_", "rf_p1_o1", "x", "rf_p1_o1~2", "o1"])
def test_a_refund_that_nobody_owes_is_unknown(refund_id: str) -> None:
    assert confirm(story_of("offered"), refund_id) == RejectionReason.UNKNOWN_REFUND


def pay_deposit(order_id: str, payment_id: str, story: OrderStory) -> None:
    place(story, order_id)
    story.pay(payment_id, {order_id: DEPOSIT})


def test_a_refund_owed_by_a_deadline_that_nobody_noticed_can_be_confirmed() -> None:
    story = story_with_parties()
    pay_deposit("o1", "dep", story)
    story.now += span("24h")
    assert confirm(story, "rf_dep_o1") == RejectionReason.UNKNOWN_REFUND
    story.now += span("1us")
    assert confirm(story, "rf_dep_o1") is None
    assert [event.fact.type for event in story.events[-3:]] == [
        "order.expired",
        "refund.requested",
        "refund.confirmed",
    ]


def test_an_order_named_by_an_unknown_refund_expires_all_the_same() -> None:
    story = story_with_parties()
    pay_deposit("o_1", "dep", story)
    story.now += span("25h")
    assert confirm(story, "rf_other_o_1") == RejectionReason.UNKNOWN_REFUND
    assert story.order("o_1").reason == "not_accepted"


def test_an_order_named_by_the_refund_of_an_unusable_share_expires_too() -> None:
    story = story_with_parties()
    pay_deposit("o1", "dep", story)
    story.pay("odd", {"o1": 1})
    story.now += span("25h")
    assert confirm(story, "rf_odd_o1") is None
    assert story.order().reason == "not_accepted"


def story_with_colliding_refunds() -> OrderStory:
    """Two orders and two payments whose refunds are spelt the same, offered an hour apart."""
    story = story_with_parties()
    pay_deposit("b", "p_a", story)
    story.now += span("1h")
    pay_deposit("a_b", "p", story)
    return story


def test_of_two_refunds_spelt_the_same_the_later_one_is_numbered() -> None:
    story = story_with_colliding_refunds()
    for order_id in ("a_b", "b"):
        story.ask("cancel_order", "client", order_id=order_id)
    order_ids = {refund.refund_id: refund.order_id for refund in story.uow.refunds.values()}
    assert order_ids == {"rf_p_a_b": "a_b", "rf_p_a_b~2": "b"}
    assert confirm(story, "rf_p_a_b~2") is None
    assert confirm(story, "rf_p_a_b") is None
    assert confirm(story, "rf_p_a_b~3") == RejectionReason.UNKNOWN_REFUND
    assert audit(story) == []


def test_the_refund_of_a_share_is_numbered_if_one_of_a_whole_payment_is_spelt_the_same() -> None:
    story = story_with_parties()
    pay_deposit("b", "p_a", story)
    story.pay("p_a_b", {"b": 1}, amount_fen=2)
    story.ask("cancel_order", "client", order_id="b")
    payment_ids = {refund.refund_id: refund.payment_id for refund in story.uow.refunds.values()}
    assert payment_ids == {"rf_p_a_b": "p_a_b", "rf_p_a_b~2": "p_a"}


@pytest.mark.parametrize("expiry_noticed", [True, False])
def test_which_of_two_refunds_spelt_the_same_is_numbered_does_not_hang_on_wake_ups(
    expiry_noticed: bool,  # noqa: FBT001 - the name of the parameter says all
) -> None:
    story = story_with_colliding_refunds()
    story.now += span("24h1us")
    if expiry_noticed:
        story.wake("b", story.now - span("30m"))
    confirm(story, "rf_p_a_b")
    assert story.uow.refunds["rf_p_a_b"].order_id == "b"


def test_the_number_of_a_refund_is_no_part_of_its_base_id() -> None:
    assert (make_refund_base_id("p", "o"), make_refund_base_id("p", None)) == ("rf_p_o", "rf_p")
    assert strip_refund_number("rf_p_o~12") == "rf_p_o"


@pytest.mark.parametrize(
    ("refund_id", "orders"),
    [
        ("rf_p_o", {"o"}),
        ("rf_p_a_b", {"a_b", "b"}),
        ("rf_p", set()),
        ("rf__a_o", {"a_o", "o"}),
        ("rf_p__o", {"_o", "o"}),
        ("rf_p_o~2", {"o"}),
    ],
)
def test_every_order_that_a_refund_may_be_about_is_found(refund_id: str, orders: set[str]) -> None:
    assert set(parse_refund_order_ids(refund_id)) == orders


def test_a_payout_cannot_come_to_be_owed_twice() -> None:
    story = story_of("completed")
    (requested,) = story.events_of("payout.requested")
    with pytest.raises(BrokenInvariant, match="po_o1_creator would be owed twice"):
        story.uow.record(requested)


def test_a_payout_is_of_an_order() -> None:
    story = story_of("completed")
    (requested,) = story.events_of("payout.requested")
    with pytest.raises(BrokenInvariant, match="is of no order"):
        UnitOfWork(policy=story.policy).record(replace(requested, subject="payment:p1"))
