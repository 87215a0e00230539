"""Ledger checks: what may not become of a refund or a payout is named, and what may is not."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from models.audit.ledger_checks import DebtHistory, check_payouts
from models.audit.order_checks import Finding
from models.events.event import Event, Fact
from models.events.payments import (
    PayoutConfirmed,
    PayoutFailed,
    PayoutHeld,
    PayoutReleased,
    PayoutRequested,
    PayoutReversed,
    RefundConfirmed,
    RefundFailed,
    RefundRequested,
    RefundVoided,
)
from models.lifecycle import DebtStatus
from models.obligations import Payout
from tests.support.stories import START, OrderStory, read_table, story_of

PAYOUT: dict[str, Any] = {"payout_id": "po", "party": "creator:k1", "amount_fen": 100}
REFUND: dict[str, Any] = {
    "refund_id": "rf",
    "payment_id": "p1",
    "client_id": "c1",
    "amount_fen": 100,
}
ACT: dict[str, Any] = {"by": "operator:op", "note": "n"}
FAILURE: dict[str, Any] = {"note": "n", "failed_reference": "a", "reference": "b"}


def payout_fact(name: str, attempt: int) -> Fact:
    """Say in an event what a history's word means; `returned` is a failure after it had left."""
    match name:
        case "requested":
            return PayoutRequested(**PAYOUT, attempt=attempt)
        case "confirmed":
            return PayoutConfirmed(**PAYOUT, attempt=attempt)
        case "failed" | "returned":
            came_back = name == "returned"
            return PayoutFailed(**PAYOUT, **FAILURE, came_back=came_back, attempt=attempt)
        case "held":
            return PayoutHeld(**PAYOUT, **ACT)
        case "released":
            return PayoutReleased(**PAYOUT, **ACT, reference="b", attempt=attempt)
        case _:
            return PayoutReversed(**PAYOUT, **ACT, to="platform", client_id="c1")


def refund_fact(name: str, attempt: int) -> Fact:
    match name:
        case "requested":
            return RefundRequested(**REFUND, source="escrow", attempt=attempt)
        case "confirmed":
            return RefundConfirmed(**REFUND, attempt=attempt)
        case "failed" | "returned":
            came_back = name == "returned"
            return RefundFailed(**REFUND, **FAILURE, came_back=came_back, attempt=attempt)
        case _:
            return RefundVoided(**REFUND)


def laws_broken_by(words: str, law: str) -> str:
    """Go through a history, a word an event, and name the laws that it breaks."""
    history, findings = DebtHistory(law, "order:o1"), list[Finding]()
    for number, word in enumerate(words.split(), 1):
        name, _, attempt = word.partition(":")
        fact = (payout_fact if law == "payouts" else refund_fact)(name, int(attempt or 1))
        event = Event("order:o1", number, START + timedelta(seconds=number), "command:x", fact)
        step = history.open_debt if name == "requested" else history.continue_debt
        findings += step("po" if law == "payouts" else "rf", event)
    assert {finding.where for finding in findings} <= {"order:o1"}
    return " ".join(finding.law for finding in findings) or "-"


PAYOUT_HISTORIES = read_table("""
    history                                              broken
    requested confirmed                                  -
    requested failed:2 confirmed:2                       -
    requested failed:2 failed:3 confirmed:3              -
    requested confirmed returned:2 confirmed:2           -
    requested held released confirmed                    -
    requested held confirmed                             -
    requested held reversed                              -
    requested failed:2 held released held reversed       -
    requested held confirmed returned:2 reversed         -
    confirmed                                            payouts
    held                                                 payouts
    requested:2                                          payouts
    requested requested                                  owed_once
    requested confirmed confirmed                        left_once
    requested confirmed:2                                payouts
    requested failed:2 confirmed                         payouts
    requested failed                                     payouts
    requested failed:3                                   payouts
    requested returned:2                                 payouts
    requested confirmed failed:2                         payouts
    requested held held                                  payouts
    requested released                                   payouts
    requested held released released                     payouts
    requested reversed                                   payouts
    requested held released reversed                     payouts
    requested confirmed held                             payouts
    requested held confirmed released                    payouts
    requested held confirmed reversed                    payouts
    requested held reversed confirmed                    left_once
    requested held reversed reversed                     payouts
    requested held reversed failed:2                     payouts
""")


@pytest.mark.parametrize("row", PAYOUT_HISTORIES, ids=lambda row: row["history"])
def test_a_payout_goes_only_ways_that_there_are(row: dict[str, str]) -> None:
    assert laws_broken_by(row["history"], "payouts") == row["broken"]


REFUND_HISTORIES = read_table("""
    history                                              broken
    requested confirmed                                  -
    requested failed:2 confirmed:2 returned:3            -
    requested voided                                     -
    requested failed:2 voided                            -
    voided                                               refunds
    requested confirmed voided                           refunds
    requested voided voided                              refunds
    requested voided confirmed                           left_once
    requested voided failed:2                            refunds
""")


@pytest.mark.parametrize("row", REFUND_HISTORIES, ids=lambda row: row["history"])
def test_a_refund_goes_only_ways_that_there_are(row: dict[str, str]) -> None:
    assert laws_broken_by(row["history"], "refunds") == row["broken"]


@pytest.mark.parametrize("forged", [{"amount_fen": 99}, {"party": "mcn:m1"}])
def test_a_payout_stays_as_much_and_whose_it_was(forged: dict[str, Any]) -> None:
    history = DebtHistory("payouts", "order:o1")
    requested, confirmed = PayoutRequested(**PAYOUT), PayoutConfirmed(**(PAYOUT | forged))
    assert not [*history.open_debt("po", Event("order:o1", 1, START, "x", requested))]
    (finding,) = history.continue_debt("po", Event("order:o1", 2, START, "x", confirmed))
    assert (finding.law, finding.where) == ("payouts", "order:o1")


def story_of_payouts() -> tuple[OrderStory, list[Event], dict[str, Payout]]:
    """Pay out what the agency gets, and hold what the creator gets."""
    story = story_of("completed_agency")
    story.ask("confirm_payout", "payments", payout_id="po_o1_mcn")
    story.ask("hold_payout", "operator", payout_id="po_o1_creator", reason="doubtful")
    events = [event for event in story.events if event.subject == "order:o1"]
    return story, events, dict(story.uow.payouts)


@pytest.mark.parametrize(
    ("payout_id", "forged"),
    [
        ("po_o1_mcn", {"status": DebtStatus.REQUESTED}),
        ("po_o1_mcn", {"confirmed_at": None}),
        ("po_o1_mcn", {"attempt": 2}),
        ("po_o1_mcn", {"amount_fen": 1}),
        ("po_o1_mcn", {"party": "mcn:m2"}),
        ("po_o1_mcn", {"requested_at": START}),
        ("po_o1_creator", {"held_at": None}),
    ],
)
def test_a_recorded_payout_is_what_its_events_say(payout_id: str, forged: dict[str, Any]) -> None:
    _, events, payouts = story_of_payouts()
    assert [*check_payouts("order:o1", events, [*payouts.values()])] == []
    payouts[payout_id] = replace(payouts[payout_id], **forged)
    (finding,) = check_payouts("order:o1", events, [*payouts.values()])
    assert (finding.law, finding.detail.split()[0]) == ("payouts", payout_id)


def test_a_payout_that_no_event_tells_of_and_one_that_is_not_recorded_are_named() -> None:
    _, events, payouts = story_of_payouts()
    (finding,) = check_payouts("order:o1", events, [payouts["po_o1_mcn"]])
    assert finding.detail.split()[0] == "po_o1_creator"
    unknown = replace(payouts["po_o1_mcn"], payout_id="po_o9_mcn")
    (finding,) = check_payouts("order:o1", events, [*payouts.values(), unknown])
    assert finding.detail.split()[0] == "po_o9_mcn"


def test_what_is_reversed_to_the_client_is_owed_to_the_client_and_nothing_else_is() -> None:
    story, *_ = story_of_payouts()
    reversal = {"payout_id": "po_o1_creator", "to": "client", "reason": "not earned"}
    assert story.ask("reverse_payout", "operator", **reversal).reason is None
    events = [event for event in story.events if event.subject == "order:o1"]
    payouts = list(story.uow.payouts.values())
    assert [*check_payouts("order:o1", events, payouts)] == []
    for kind in (RefundRequested, PayoutReversed):
        remaining_events = [event for event in events if not isinstance(event.fact, kind)]
        findings = check_payouts("order:o1", remaining_events, payouts)
        assert "transfers" in {finding.law for finding in findings}
