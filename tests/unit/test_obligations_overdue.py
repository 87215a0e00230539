"""Obligations overdue: money that has not left in time, and money that nobody claims."""

from __future__ import annotations

from models.policy import Policy
from models.reasons import RejectionReason
from tests.support.stories import (
    AMOUNT,
    DEPOSIT,
    START,
    OrderStory,
    audit,
    place,
    span,
    story_of,
    story_with_parties,
)


def overdue_alerts(story: OrderStory, subject: str, after: str) -> list[dict[str, object]]:
    story.wake(subject, story.now + span(after))
    return [event.published() for event in story.events_of("operator.alerted")]


def test_a_refund_that_has_not_left_in_a_week_is_told_to_an_operator_once() -> None:
    story = story_of("declined")
    (refund_id,) = story.uow.refunds
    assert overdue_alerts(story, f"refund:{refund_id}", "7d-1us") == []
    (alert,) = overdue_alerts(story, f"refund:{refund_id}", "7d")
    assert (alert["alert"], alert["refund_id"], alert["for_order_id"]) == (
        "refund_overdue",
        refund_id,
        "o1",
    )
    assert (alert["amount_fen"], alert["due_at"]) == (DEPOSIT, "2026-03-09T02:00:00Z")
    assert alert["payment_id"] == story.uow.refunds[refund_id].payment_id
    assert len(overdue_alerts(story, f"refund:{refund_id}", "90d")) == 1
    assert audit(story) == []


def test_how_long_money_may_be_under_way_is_as_when_its_order_was_placed() -> None:
    story = story_of("declined", Policy(unconfirmed_window=span("2d")))
    place(story, "o2", creator_id="k2")
    story.pay("p2", {"o2": DEPOSIT})
    story.uow.policy = Policy(unconfirmed_window=span("1d"))
    story.ask("decline_order", "creator:k2", order_id="o2")
    refund = story.uow.refunds["rf_p2_o2"]
    assert refund.wake_at == story.now + span("2d")
    # Of a payment that was never an order's, the policy in force says.
    story.pay("p3", {"o2": DEPOSIT}, amount_fen=1)
    assert story.uow.refunds["rf_p3"].wake_at == story.now + span("1d")


def test_a_payout_that_has_not_left_in_a_week_is_told_to_an_operator_too() -> None:
    story = story_of("completed")
    (alert,) = overdue_alerts(story, "payout:po_o1_creator", "8d")
    assert (alert["alert"], alert["payout_id"]) == ("payout_overdue", "po_o1_creator")
    assert (alert["amount_fen"], alert["payment_id"]) == (AMOUNT, "")


def test_a_confirmed_refund_is_never_overdue() -> None:
    story = story_of("declined")
    (name,) = story.uow.refunds
    story.ask("confirm_refund", "payments", refund_id=name)
    assert overdue_alerts(story, f"refund:{name}", "90d") == []
    assert overdue_alerts(story, "refund:rf_nobody", "90d") == []


def story_with_suspense() -> OrderStory:
    story = story_with_parties()
    place(story)
    story.pay("px", {"o1": DEPOSIT, "o8": 3, "o9": 4})
    return story


def resolve_suspense(
    story: OrderStory, order_id: str, by: str = "operator", payment_id: str = "px"
) -> str | None:
    fields = {"payment_id": payment_id, "order_id": order_id, "to": "refund", "reason": "typo"}
    return story.ask("resolve_suspense", by, **fields).reason


def test_each_share_in_suspense_goes_back_on_its_own_and_once() -> None:
    story = story_with_suspense()
    assert resolve_suspense(story, "o9", "client") == RejectionReason.NOT_ALLOWED
    assert resolve_suspense(story, "o1") == RejectionReason.UNKNOWN_SUSPENSE
    assert resolve_suspense(story, "o9", payment_id="py") == RejectionReason.UNKNOWN_SUSPENSE
    assert resolve_suspense(story, "o9") is None
    assert resolve_suspense(story, "o9") == RejectionReason.UNKNOWN_SUSPENSE
    assert story.accounts()["suspense"] == 3
    assert resolve_suspense(story, "o8") is None
    assert story.accounts() == {
        "psp": -DEPOSIT - 7,
        "escrow:o1": DEPOSIT,
        "refunds_payable:c1": 7,
    }
    assert sorted(story.uow.refunds) == ["rf_px_o8", "rf_px_o9"]
    resolved = story.events_of("suspense.resolved")[0].published()
    assert (resolved["to"], resolved["client_id"], resolved["target_order_id"]) == (
        "refund",
        "c1",
        None,
    )
    for name in list(story.uow.refunds):
        assert story.ask("confirm_refund", "payments", refund_id=name).reason is None
    assert story.accounts() == {"psp": -DEPOSIT, "escrow:o1": DEPOSIT}
    assert audit(story) == []


def test_a_share_in_suspense_does_not_wake_an_order_placed_later() -> None:
    story = story_with_suspense()
    place(story, "o9")
    assert story.order("o9").held_fen == 0
    assert resolve_suspense(story, "o9") is None
    story.wake("o9", START + span("2h"))
    assert story.order("o9").reason == "deposit_not_paid"
    assert audit(story) == []
