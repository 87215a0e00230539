"""Debt handlers: what becomes of refunds and payouts, in every status and for every role."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from models.fields import SENDER_ROLES
from models.ids import make_reference, parse_reference, subject_key
from models.lifecycle import DebtStatus
from models.reasons import RejectionReason
from models.service.outcome import Outcome
from tests.support.stories import (
    AMOUNT,
    DEPOSIT,
    OrderStory,
    audit,
    play_step,
    read_table,
    span,
    story_of,
    story_with_parties,
)

PAYOUT = "po_o1_creator"

STEPS = {
    "confirm": ("confirm_payout", "payments", {}),
    "fail": ("fail_payout", "payments", {"reason": "wrong account"}),
    "hold": ("hold_payout", "operator", {"reason": "views were bought"}),
    "release": ("release_payout", "operator", {"reason": "they were not"}),
    "reverse": ("reverse_payout", "operator", {"reason": "proved", "to": "client"}),
    "keep": ("reverse_payout", "operator", {"reason": "proved", "to": "platform"}),
}

SITUATIONS = read_table("""
    situation         history                  status     held  fen
    requested         -                        requested  no    100000
    failed            fail                     failed     no    100000
    failed_twice      fail fail                failed     no    100000
    held              hold                     requested  yes   100000
    held_failed       hold fail                failed     yes   100000
    failed_held       fail hold                failed     yes   100000
    released          hold release             requested  no    100000
    failed_released   fail hold release        failed     no    100000
    confirmed         confirm                  confirmed  no    0
    confirmed_later   fail confirm             confirmed  no    0
    confirmed_held    hold confirm             confirmed  yes   0
    returned          confirm fail             failed     no    100000
    returned_held     hold confirm fail        failed     yes   100000
    returned_freed    hold confirm fail release  failed   no    100000
    reversed          hold reverse             reversed   yes   0
    kept              hold keep                reversed   yes   0
""")

VERDICTS = read_table("""
    situation        confirm            fail         hold         release      reverse
    requested        -                  -            -            wrong_state  wrong_state
    failed           -                  -            -            wrong_state  wrong_state
    held             -                  -            wrong_state  -            -
    held_failed      -                  -            wrong_state  -            -
    released         -                  -            -            wrong_state  wrong_state
    confirmed        already_confirmed  -            wrong_state  wrong_state  wrong_state
    confirmed_held   already_confirmed  -            wrong_state  wrong_state  wrong_state
    returned         -                  -            -            wrong_state  wrong_state
    returned_held    -                  -            wrong_state  -            -
    reversed         wrong_state        wrong_state  wrong_state  wrong_state  wrong_state
""")


def ask(story: OrderStory, name: str, payout_id: str = PAYOUT, by: str = "") -> Outcome:
    kind, role, fields = STEPS[name]
    return story.ask(kind, by or role, payout_id=payout_id, **fields)


def step(story: OrderStory, name: str, payout_id: str = PAYOUT, by: str = "") -> str | None:
    return ask(story, name, payout_id, by).reason


def payout_story(situation: str = "requested") -> OrderStory:
    (row,) = [row for row in SITUATIONS if row["situation"] == situation]
    story = story_of("completed")
    for name in row["history"].split():
        if name != "-":
            story.now += span("1h")
            assert step(story, name) is None, name
    return story


def alerts(story: OrderStory) -> list[str]:
    return [event.published()["alert"] for event in story.events_of("operator.alerted")]


@pytest.mark.parametrize("row", SITUATIONS, ids=lambda row: row["situation"])
def test_a_payout_has_a_status_with_the_hold_beside_it_and_the_books_agree(
    row: dict[str, str],
) -> None:
    story = payout_story(row["situation"])
    payout = story.uow.payouts[PAYOUT]
    assert payout.status == row["status"]
    assert (payout.held_at is not None) == (row["held"] == "yes")
    assert (payout.confirmed_at is not None) == (payout.status is DebtStatus.CONFIRMED)
    assert story.accounts().get("payable:creator:k1", 0) == int(row["fen"])
    assert payout.attempt == 1 + row["history"].split().count("fail")
    assert audit(story) == []


@pytest.mark.parametrize("row", VERDICTS, ids=lambda row: row["situation"])
@pytest.mark.parametrize("name", ["confirm", "fail", "hold", "release", "reverse"])
def test_every_command_has_its_verdict_in_every_status(row: dict[str, str], name: str) -> None:
    story = payout_story(row["situation"])
    status = story.uow.payouts[PAYOUT].status
    outcome = ask(story, name)
    assert outcome.reason == (None if row[name] == "-" else row[name])
    assert outcome.limits == ({"state": status} if row[name] == "wrong_state" else None)
    assert audit(story) == []


@pytest.mark.parametrize("name", ["confirm", "fail", "hold", "release", "reverse"])
@pytest.mark.parametrize("role", sorted(SENDER_ROLES))
def test_only_the_payment_side_tells_of_money_and_only_an_operator_holds_it(
    name: str, role: str
) -> None:
    if role == STEPS[name][1]:
        return
    story = payout_story("held")
    before = story.uow.payouts[PAYOUT]
    by = "provider:sp1" if role == "provider" else role
    assert step(story, name, by=by) == RejectionReason.NOT_ALLOWED
    assert story.uow.payouts[PAYOUT] is before


@pytest.mark.parametrize("name", ["confirm", "fail", "hold", "release", "reverse"])
@pytest.mark.parametrize("payout_id", ["po_o9_creator", "po_o1_mcn", "x", "P" + 26 * "A" + "1"])
def test_a_payout_that_nobody_owes_is_unknown_to_every_command(name: str, payout_id: str) -> None:
    story = story_of("completed")
    story.uow.payouts.pop("po_o1_mcn", None)
    assert step(story, name, payout_id) == RejectionReason.UNKNOWN_PAYOUT


def test_a_payout_that_bounces_is_owed_again_and_can_be_paid_again() -> None:
    story = payout_story("returned")
    (failed,) = [event.published() for event in story.events_of("payout.failed")]
    assert (failed["came_back"], failed["note"], failed["attempt"]) == (True, "wrong account", 2)
    assert alerts(story) == ["payout_failed"]
    assert step(story, "confirm") is None
    fees = story.accounts()["service_fees"]
    assert story.accounts() == {"psp": -fees, "service_fees": fees}
    assert audit(story) == []


def test_a_payout_that_failed_before_it_left_moves_no_money() -> None:
    story = story_of("completed")
    before = story.accounts()
    assert step(story, "fail") is None
    assert story.accounts() == before
    assert story.events_of("payout.failed")[0].published()["came_back"] is False


def test_money_that_left_although_it_was_held_is_recorded_and_told_and_held_again_when_back() -> (
    None
):
    story = payout_story("confirmed_held")
    assert alerts(story) == ["paid_while_held"]
    assert step(story, "fail") is None
    assert alerts(story) == ["paid_while_held", "payout_failed"]
    assert step(story, "reverse") is None
    assert story.accounts()["refunds_payable:c1"] == AMOUNT


def test_a_payout_that_is_reversed_becomes_a_refund_of_no_payment() -> None:
    story = payout_story("reversed")
    refund = story.uow.refunds["rv_po_o1_creator"]
    assert (refund.payment_id, refund.order_id, refund.client_id) == (None, "o1", "c1")
    assert story.accounts()["refunds_payable:c1"] == AMOUNT
    (requested,) = [
        event.published()
        for event in story.events_of("refund.requested")
        if event.published()["source"] == "payout"
    ]
    assert (requested["payment_id"], requested["refund_id"]) == (None, "rv_po_o1_creator")
    for name in (refund.reference, refund.refund_id):
        assert story.ask("fail_refund", "payments", refund_id=name, reason="x").reason is None
    (overdue, *_) = story.wake("refund:rv_po_o1_creator", story.now + span("8d"))
    assert overdue.published()["payment_id"] == ""
    assert story.ask("confirm_refund", "payments", refund_id=refund.refund_id).reason is None
    assert story.accounts().get("refunds_payable:c1", 0) == 0
    assert audit(story) == []


def test_both_sides_of_an_agency_can_be_reversed() -> None:
    story = story_of("completed_agency")
    for payout_id in list(story.uow.payouts):
        assert step(story, "hold", payout_id) is None
        assert step(story, "reverse", payout_id) is None
    assert story.accounts()["refunds_payable:c1"] == AMOUNT
    assert audit(story) == []


def test_a_payout_that_is_reversed_to_the_platform_is_its_income() -> None:
    story = payout_story("kept")
    assert story.accounts()["platform_income"] == AMOUNT
    assert story.uow.refunds.keys() == payout_story().uow.refunds.keys()


def test_a_confirmation_after_a_reversal_is_refused_and_told_to_an_operator() -> None:
    story = payout_story("reversed")
    assert step(story, "confirm") == RejectionReason.WRONG_STATE
    assert alerts(story) == ["moved_after_end"]
    assert step(story, "fail") == RejectionReason.WRONG_STATE
    assert alerts(story) == ["moved_after_end"]
    assert audit(story) == []


def test_a_confirmation_of_an_earlier_attempt_after_a_reversal_is_told_too() -> None:
    story = story_of("completed")
    first = story.uow.payouts[PAYOUT].reference
    for name in ("fail", "hold", "reverse"):
        assert step(story, name) is None
    assert step(story, "confirm", first) == RejectionReason.WRONG_STATE
    assert alerts(story) == ["payout_failed", "moved_after_end"]


def test_what_operators_do_to_a_payout_stands_in_their_log_with_before_and_after() -> None:
    story = payout_story("held_failed")
    assert step(story, "release") is None
    acts = [event.published() for event in story.events_of("operator.acted")]
    assert [act["act"] for act in acts] == ["hold_payout", "release_payout"]
    assert acts[0]["after"] == {"status": "requested", "held": True, "amount_fen": AMOUNT}
    assert acts[1]["before"] == {"status": "failed", "held": True, "amount_fen": AMOUNT}
    assert acts[1]["after"] == {"status": "failed", "held": False, "amount_fen": AMOUNT}
    assert (acts[1]["by"], acts[1]["note"]) == ("operator:op", "they were not")


def refund_story() -> tuple[OrderStory, str]:
    story = story_of("declined")
    (refund_id,) = story.uow.refunds
    return story, refund_id


def fail_refund(story: OrderStory, name: str, by: str = "payments") -> str | None:
    return story.ask("fail_refund", by, refund_id=name, reason="card closed").reason


def confirm_refund(story: OrderStory, name: str) -> str | None:
    return story.ask("confirm_refund", "payments", refund_id=name).reason


def test_a_refund_that_fails_stays_owed_and_an_operator_is_told_at_once() -> None:
    story, refund_id = refund_story()
    assert fail_refund(story, refund_id) is None
    assert story.accounts() == {"psp": -DEPOSIT, "refunds_payable:c1": DEPOSIT}
    (alert,) = [event.published() for event in story.events_of("operator.alerted")]
    assert (alert["alert"], alert["refund_id"], alert["amount_fen"], alert["for_order_id"]) == (
        "refund_failed",
        refund_id,
        DEPOSIT,
        "o1",
    )
    assert confirm_refund(story, refund_id) is None
    assert story.accounts() == {}
    assert audit(story) == []


def test_a_refund_that_comes_back_is_owed_again() -> None:
    story, refund_id = refund_story()
    assert confirm_refund(story, refund_id) is None
    assert fail_refund(story, refund_id) is None
    assert story.accounts() == {"psp": -DEPOSIT, "refunds_payable:c1": DEPOSIT}
    assert story.uow.refunds[refund_id].confirmed_at is None
    assert audit(story) == []


@pytest.mark.parametrize("role", sorted(SENDER_ROLES - {"payments"}))
def test_only_the_payment_side_tells_that_a_refund_failed(role: str) -> None:
    story, refund_id = refund_story()
    by = "provider:sp1" if role == "provider" else role
    assert fail_refund(story, refund_id, by) == RejectionReason.NOT_ALLOWED
    assert fail_refund(story, "rf_nobody_o1") == RejectionReason.UNKNOWN_REFUND


def test_a_refund_that_is_void_is_confirmed_by_nobody_and_an_operator_is_told() -> None:
    story, refund_id = refund_story()
    refund = story.uow.refunds[refund_id]
    story.uow.refunds[refund_id] = replace(refund, status=DebtStatus.VOIDED, wake_at=None)
    assert fail_refund(story, refund_id) == RejectionReason.WRONG_STATE
    assert alerts(story) == []
    assert confirm_refund(story, refund_id) == RejectionReason.WRONG_STATE
    assert alerts(story) == ["moved_after_end"]


def test_the_refund_of_a_whole_payment_fails_among_the_events_of_the_payment() -> None:
    story = story_of("awaiting_deposit")
    story.pay("p1", {"o1": DEPOSIT}, amount_fen=1)
    assert fail_refund(story, "rf_p1") is None
    assert confirm_refund(story, story.uow.refunds["rf_p1"].reference) is None
    subjects = {event.subject for event in story.events if event.fact.type.startswith("refund.")}
    assert subjects == {"payment:p1"}
    assert audit(story) == []


# References and attempts.


def test_a_reference_is_short_and_plain_unlike_any_other_and_the_same_in_every_replay() -> None:
    references = set[str]()
    for story in (payout_story("failed_twice"), payout_story("failed_twice"), refund_story()[0]):
        for event in story.events:
            body = event.published()
            references |= {body[key] for key in ("reference", "failed_reference") if body.get(key)}
    # The payout's three attempts, and one of the refund.
    assert len(references) == 4
    assert all(re.fullmatch("[A-Za-z0-9]{1,32}", reference) for reference in references)


def test_a_request_says_its_reference_and_that_it_is_the_first_attempt() -> None:
    story = story_of("completed")
    (requested,) = [event.published() for event in story.events_of("payout.requested")]
    assert requested["reference"] == story.uow.payouts[PAYOUT].reference
    assert requested["attempt"] == 1


def test_each_failure_opens_an_attempt_with_a_reference_of_its_own() -> None:
    story = payout_story("failed_twice")
    first, second = [event.published() for event in story.events_of("payout.failed")]
    assert (first["attempt"], second["attempt"]) == (2, 3)
    assert second["failed_reference"] == first["reference"]
    assert second["reference"] == story.uow.payouts[PAYOUT].reference


@pytest.mark.parametrize("name", ["confirm", "fail", "hold", "release", "reverse"])
def test_a_reference_stands_wherever_the_id_may(name: str) -> None:
    story = payout_story("held" if name in ("release", "reverse") else "requested")
    assert step(story, name, story.uow.payouts[PAYOUT].reference) is None


def test_an_earlier_reference_is_confirmed_already_and_a_later_one_unknown() -> None:
    story = story_of("completed")
    first = story.uow.payouts[PAYOUT]
    assert step(story, "fail", first.reference) is None
    for name in ("confirm", "fail"):
        assert step(story, name, first.reference) == RejectionReason.ALREADY_CONFIRMED
        third = make_reference(first.reference_stem, 3)
        assert step(story, name, third) == RejectionReason.UNKNOWN_PAYOUT
    assert step(story, "hold", first.reference) is None
    assert step(story, "confirm", story.uow.payouts[PAYOUT].reference) is None


def test_an_id_means_the_present_attempt() -> None:
    story, refund_id = refund_story()
    assert fail_refund(story, refund_id) is None
    assert confirm_refund(story, refund_id) is None
    confirmed = story.events_of("refund.confirmed")[0].published()
    assert confirmed["attempt"] == 2
    assert confirmed["reference"] == story.events_of("refund.failed")[0].published()["reference"]
    assert confirm_refund(story, refund_id) == RejectionReason.ALREADY_CONFIRMED


def test_a_reference_names_the_order_in_whose_events_it_is_told_of() -> None:
    payout = story_of("completed").uow.payouts[PAYOUT]
    reference = parse_reference(payout.reference)
    assert reference is not None
    assert subject_key(reference.home) == subject_key("order:o1")


@pytest.mark.parametrize(
    "name",
    ["rf_p_o", "R" + 25 * "A" + "1", "R" + 26 * "A", "R" + 26 * "A" + "0", "r" + 26 * "a" + "1"],
)
def test_what_is_not_written_like_a_reference_is_none(name: str) -> None:
    assert parse_reference(name) is None


# Time.


def wakes_at(story: OrderStory, subject: str) -> str | None:
    wakeup = story.uow.next_wakeup(subject)
    return None if wakeup is None else str(wakeup[0] - story.now)


@pytest.mark.parametrize(
    ("situation", "waits"),
    [
        ("requested", "7 days, 0:00:00"),
        ("failed", "7 days, 0:00:00"),
        ("returned", "7 days, 0:00:00"),
        ("released", "7 days, 0:00:00"),
        ("returned_freed", "7 days, 0:00:00"),
        ("held", None),
        ("held_failed", None),
        ("returned_held", None),
        ("confirmed", None),
        ("confirmed_held", None),
        ("reversed", None),
    ],
)
def test_the_wait_for_a_confirmation_begins_anew_with_a_failure_or_a_release(
    situation: str, waits: str | None
) -> None:
    story = payout_story(situation)
    if situation == "requested":
        story.now = story.uow.payouts[PAYOUT].requested_at
    assert wakes_at(story, f"payout:{PAYOUT}") == waits


def test_every_wait_that_is_too_long_is_told_and_numbered() -> None:
    story = story_of("completed")
    for number in (1, 2):
        story.now += span("8d")
        (overdue,) = story.wake(f"payout:{PAYOUT}", story.now)
        assert overdue.id == f"payout:{PAYOUT}/{number}"
        assert step(story, "fail") is None
    assert alerts(story) == ["payout_overdue", "payout_failed"] * 2


def test_a_wait_that_was_too_long_is_told_before_what_ends_it_whoever_had_noticed() -> None:
    story = story_of("completed")
    due_at = story.uow.payouts[PAYOUT].wake_at
    assert due_at is not None
    story.now = due_at + span("1h")
    assert step(story, "fail") is None
    overdue, failed = story.events_of("operator.alerted")
    assert (overdue.at, overdue.published()["alert"]) == (due_at, "payout_overdue")
    assert failed.published()["alert"] == "payout_failed"


PAYOUT_BY_TIME = ["confirm", "fail", "hold"]


@pytest.mark.parametrize("name", PAYOUT_BY_TIME)
def test_the_time_of_its_order_is_enforced_before_a_payout_is_looked_for(name: str) -> None:
    story = story_of("accepted_delivery")
    lapses_at = story.order().lapses_at
    assert lapses_at is not None
    story.now = lapses_at
    assert step(story, name) == RejectionReason.UNKNOWN_PAYOUT
    story.now = lapses_at + span("1us")
    assert step(story, name) is None
    assert story.order().state == "completed"


def test_the_time_of_its_order_is_enforced_before_a_refund_fails() -> None:
    story = story_of("offered")
    payment_id = story.order().held[0].payment_id
    story.now += span("25h")
    assert fail_refund(story, f"rf_{payment_id}_o1") is None
    assert story.order().reason == "not_accepted"


def test_the_time_of_the_order_is_enforced_before_suspense_is_resolved() -> None:
    story = story_with_parties()
    story.pay("px", {"o1": 5})
    story.now += span("1h")
    play_step(story, "place")
    story.now += span("1h")
    fields = {"payment_id": "px", "order_id": "o1", "to": "refund", "reason": "typo"}
    assert story.ask("resolve_suspense", "operator", **fields).reason is None
    assert story.order().reason == "deposit_not_paid"
    assert [event.fact.type for event in story.events].index("order.expired") < [
        event.fact.type for event in story.events
    ].index("suspense.resolved")


def test_what_only_time_owes_can_be_named_by_its_reference_before_anybody_has_noticed() -> None:
    noticed, unnoticed = story_of("accepted_delivery"), story_of("accepted_delivery")
    for story in (noticed, unnoticed):
        lapses_at = story.order().lapses_at
        assert lapses_at is not None
        story.now = lapses_at + span("1h")
    noticed.wake("o1", noticed.now)
    reference = noticed.uow.payouts[PAYOUT].reference
    for story in (noticed, unnoticed):
        assert step(story, "fail", reference) is None
    assert unnoticed.uow.payouts[PAYOUT] == noticed.uow.payouts[PAYOUT]


def test_a_refund_named_by_its_reference_lets_time_pass_for_its_order_too() -> None:
    story = story_of("offered")
    story.pay("odd", {"o1": 1})
    reference = story.uow.refunds["rf_odd_o1"].reference
    story.now += span("25h")
    assert confirm_refund(story, reference) is None
    assert story.order().reason == "not_accepted"
