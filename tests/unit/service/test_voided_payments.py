"""Voided payments: a notice that was wrong is undone, as if its money had never come."""

from __future__ import annotations

from dataclasses import replace

import pytest

from models.audit import audit_payment
from models.events.event import Event
from models.events.payments import PaymentVoided
from models.fields import format_instant
from models.lifecycle import DebtStatus, State
from models.reasons import RejectionReason
from models.service.outcome import Outcome
from tests.support.stories import (
    BALANCE,
    DEPOSIT,
    MICRO,
    OrderStory,
    audit,
    place,
    read_table,
    span,
    story_of,
    story_with_parties,
)


def ask_to_void(story: OrderStory, payment_id: str = "p1", by: str = "operator") -> Outcome:
    return story.ask("void_payment", by, payment_id=payment_id, reason="yuan for fen")


def void(story: OrderStory, payment_id: str = "p1", by: str = "operator") -> str | None:
    return ask_to_void(story, payment_id, by).reason


def story_of_payment(kind: str) -> OrderStory:
    """Report payment p1, so that it comes to what a kind is named for."""
    story = story_with_parties()
    place(story)
    place(story, "o2", "client:c2")
    shares, _, after = kind.partition(" ")
    amounts = {
        "unused": {"o1": 105},
        "applied": {"o1": DEPOSIT},
        "unknown": {"o9": 105},
        "merged": {"o1": 105, "o9": 7, "o8": 8},
        "half_applied": {"o1": DEPOSIT, "o9": 7},
        "two_clients": {"o1": 5, "o2": 6},
        "wrong_sum": {"o9": 5},
    }[shares]
    story.pay("p1", amounts, amount_fen=sum(amounts.values()) + (shares == "wrong_sum"))
    suspended = {"payment_id": "p1", "order_id": "o9", "reason": "typo"}
    if after == "sent back":
        story.ask("resolve_suspense", "operator", **suspended, to="refund")
    elif after == "given to o1":
        target = {"to": "order", "target_order_id": "o1"}
        assert story.ask("resolve_suspense", "operator", **suspended, **target).reason is None
    elif after == "confirmed":
        refund_id = next(iter(story.uow.refunds))
        assert story.ask("confirm_refund", "payments", refund_id=refund_id).reason is None
    elif after == "placed":
        place(story, "o9")
    elif after == "ended":
        story.ask("cancel_order", "client", order_id="o1")
    elif after == "void":
        assert void(story) is None
    return story


VOIDS = read_table("""
    payment                refused
    unused                 -
    unknown                -
    merged                 -
    two_clients            -
    wrong_sum              -
    unknown=sent_back      -
    unknown=placed         -
    unused=ended           -
    applied                payment_in_use
    half_applied           payment_in_use
    applied=ended          payment_in_use
    unused=confirmed       payment_in_use
    two_clients=confirmed  payment_in_use
    unused=void            wrong_state
""")


@pytest.mark.parametrize("row", VOIDS, ids=lambda row: " ".join(row.values()))
def test_a_payment_that_no_order_uses_and_that_has_not_gone_back_can_be_voided(
    row: dict[str, str],
) -> None:
    kind = row["payment"].replace("=", " ").replace("_back", " back")
    story = story_of_payment(kind)
    before = story.accounts()
    refusal = void(story)
    assert refusal == (None if row["refused"] == "-" else row["refused"])
    if refusal is None:
        assert story.accounts() == {}
        assert {refund.status for refund in story.uow.refunds.values()} <= {DebtStatus.VOIDED}
        assert {item.resolved_at for item in story.uow.suspended.values()} <= {story.now}
    else:
        assert story.accounts() == before
    assert audit(story) == []


def test_whoever_voids_a_payment_again_learns_that_it_is_void() -> None:
    outcome = ask_to_void(story_of_payment("unused void"))
    assert (outcome.reason, outcome.limits) == ("wrong_state", {"state": "voided"})


def test_a_share_that_came_to_an_order_out_of_suspense_is_in_use() -> None:
    for order_id in ("o1", "o9"):
        story = story_with_parties()
        if order_id == "o1":
            place(story)
        story.pay("p1", {"o9": DEPOSIT})
        if order_id == "o9":
            place(story, "o9")
        else:
            fields = {"payment_id": "p1", "order_id": "o9", "to": "order", "reason": "typo"}
            story.ask("resolve_suspense", "operator", **fields, target_order_id="o1")
        assert story.order(order_id).state is State.OFFERED
        assert void(story) == RejectionReason.PAYMENT_IN_USE
        assert audit(story) == []


def test_only_an_operator_voids_and_only_what_is_known() -> None:
    story = story_of_payment("unused")
    for role in ("client", "payments", "platform", "creator"):
        assert void(story, by=role) == RejectionReason.NOT_ALLOWED
    assert void(story, "p9") == RejectionReason.UNKNOWN_PAYMENT
    assert void(story, "p9", "client") == RejectionReason.NOT_ALLOWED


def test_a_void_tells_what_it_takes_back_and_who_did_it() -> None:
    story = story_of_payment("merged")
    count = len(story.events)
    void(story)
    events = story.events[count:]
    assert [(event.subject, event.fact.type) for event in events] == [
        ("payment:p1", "payment.voided"),
        ("order:o1", "refund.voided"),
        ("payment:p1", "operator.acted"),
    ]
    voided, refund, acted = (event.published() for event in events)
    assert voided["parts"] == [
        {"client_id": "c1", "amount_fen": 105},
        {"client_id": None, "amount_fen": 8},
        {"client_id": None, "amount_fen": 7},
    ]
    assert (voided["amount_fen"], voided["by"], voided["note"]) == (
        120,
        "operator:op",
        "yuan for fen",
    )
    assert (refund["refund_id"], refund["amount_fen"], refund["client_id"]) == (
        "rf_p1_o1",
        105,
        "c1",
    )
    assert acted["act"] == "void_payment"


def test_a_voided_refund_of_a_whole_payment_is_told_of_the_payment() -> None:
    story = story_of_payment("two_clients")
    void(story)
    (refund,) = story.events_of("refund.voided")
    assert (refund.subject, refund.published()["refund_id"]) == ("payment:p1", "rf_p1")


def test_a_void_drops_the_alerts_that_wait() -> None:
    story = story_of_payment("merged")
    void(story)
    for subject in ("suspense:p1:o8", "suspense:p1:o9", "refund:rf_p1_o1"):
        assert story.uow.next_wakeup(subject) is None
        assert story.wake(subject, story.now + span("30d")) == ()


def test_an_alert_that_was_due_before_the_void_is_not_lost() -> None:
    story = story_of_payment("unknown")
    story.now += span("5s") + MICRO
    count = len(story.events)
    void(story)
    kinds = [event.fact.type for event in story.events[count:]]
    assert kinds == ["operator.alerted", "payment.voided", "operator.acted"]


def test_a_refund_of_a_voided_payment_does_not_leave() -> None:
    story = story_of_payment("unused")
    void(story)
    refusal = story.ask("confirm_refund", "payments", refund_id="rf_p1_o1")
    assert refusal.reason == RejectionReason.WRONG_STATE
    assert audit(story) == []


def test_money_in_suspense_of_a_voided_payment_is_nobodys_to_resolve_or_to_place_for() -> None:
    story = story_of_payment("unknown")
    void(story)
    fields = {"payment_id": "p1", "order_id": "o9", "to": "refund", "reason": "typo"}
    refusal = story.ask("resolve_suspense", "operator", **fields)
    assert refusal.reason == RejectionReason.UNKNOWN_SUSPENSE
    place(story, "o9")
    assert story.order("o9").held_fen == 0
    assert audit(story) == []


def test_a_payment_is_reported_anew_after_its_void_and_the_order_goes_on() -> None:
    story = story_of_payment("unused")
    void(story)
    assert story.pay("p1", {"o1": 105}).outcome == "duplicate"
    assert story.pay("p1", {"o1": DEPOSIT}).outcome == "applied"
    assert story.order().state is State.OFFERED
    assert story.pay("p1", {"o1": 105}).outcome == "duplicate"
    assert story.pay("p1", {"o1": DEPOSIT}).outcome == "duplicate"
    assert story.pay("p1", {"o1": 106}).reason == RejectionReason.PAYMENT_CONFLICT
    assert void(story) == RejectionReason.PAYMENT_IN_USE
    assert story.accounts() == {"psp": -DEPOSIT, "escrow:o1": DEPOSIT}
    assert audit(story) == []


def test_a_payment_may_be_voided_again_and_again_and_its_refunds_are_numbered_on() -> None:
    story = story_of_payment("unused")
    for amount_fen in (106, 107, 108):
        assert void(story) is None
        assert story.pay("p1", {"o1": amount_fen}).outcome == "applied"
    for amount_fen in (105, 106, 107, 108):
        assert story.pay("p1", {"o1": amount_fen}).outcome == "duplicate"
    amounts = {name: refund.amount_fen for name, refund in story.uow.refunds.items()}
    assert amounts == {"rf_p1_o1": 105, "rf_p1_o1~2": 106, "rf_p1_o1~3": 107, "rf_p1_o1~4": 108}
    assert len(story.events_of("payment.voided")) == 3
    assert audit(story) == []


def test_the_refund_of_money_that_came_right_takes_the_next_number_too() -> None:
    story = story_of_payment("unused")
    void(story)
    story.pay("p1", {"o1": DEPOSIT})
    story.ask("decline_order", "creator", order_id="o1")
    assert story.uow.refunds["rf_p1_o1~2"].amount_fen == DEPOSIT
    assert story.ask("confirm_refund", "payments", refund_id="rf_p1_o1~2").reason is None
    assert audit(story) == []


def test_a_share_that_waits_again_after_a_void_waits_like_any_other() -> None:
    story = story_of_payment("unknown")
    void(story)
    story.now += span("1h")
    story.pay("p1", {"o9": DEPOSIT}, client_id="c1")
    item = story.uow.suspended["p1:o9"]
    assert (item.amount_fen, item.suspended_at, item.resolved_at) == (DEPOSIT, story.now, None)
    story.now += span("1d")
    place(story, "o9")
    assert story.order("o9").state is State.OFFERED
    assert audit(story) == []


def test_time_is_enforced_on_an_order_before_its_refund_is_voided() -> None:
    story = story_of_payment("unused")
    story.now += span("1h")
    count = len(story.events)
    void(story)
    kinds = [event.fact.type for event in story.events[count:]]
    assert kinds == [
        *("order.deposit_overdue", "order.expired"),
        *("payment.voided", "refund.voided", "operator.acted"),
    ]


def test_a_voided_balance_leaves_the_order_where_it_was() -> None:
    story = story_of("awaiting_balance")
    story.pay("p1", {"o1": BALANCE // 100}, paid_at=format_instant(story.now))
    before = story.order()
    void(story)
    assert story.order() == before.with_changes({"sequence": before.sequence + 1})
    story.pay("p1", {"o1": BALANCE})
    assert story.order().state is State.IN_FULFILMENT
    assert audit(story) == []


def without_a_part(event: Event) -> Event:
    """Forge a void that forgot some of the money."""
    fact = event.fact
    if not isinstance(fact, PaymentVoided):
        return event
    return replace(event, fact=replace(fact, parts=fact.parts[1:]))


def test_the_audit_misses_a_void_that_was_forgotten_or_never_happened() -> None:
    story = story_of_payment("merged")
    void(story)
    payment = story.uow.payments["p1"]
    events = [event for event in story.events if event.subject == "payment:p1"]
    postings = [(event.id, posting) for event, posting in story.uow.postings if event in events]
    assert audit_payment(payment, events, postings, []) == []
    forgeries = {
        "voided_once": replace(payment, voided_contents=()),
        "voided_unused": replace(payment, applied_at=story.now),
    }
    for law, forged in forgeries.items():
        laws = {finding.law for finding in audit_payment(forged, events, postings, [])}
        assert laws == {law}
    moved = replace(payment, voided_at=story.now + MICRO)
    assert {f.law for f in audit_payment(moved, events, postings, [])} == {"voided_once"}
    forged_events = [without_a_part(event) for event in events]
    laws = {f.law for f in audit_payment(payment, forged_events, postings, [])}
    assert laws == {"voided_whole", "posted"}
