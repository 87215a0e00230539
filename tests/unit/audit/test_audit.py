"""Audit: every corruption that is planted is named, and nothing else is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import pytest

from models.audit import MoneyTotals, audit_order, audit_payment, audit_totals
from models.audit.ledger_checks import EventPosting
from models.audit.order_checks import Finding, check_creator, check_sequence
from models.errors import BrokenInvariant
from models.events.event import Event
from models.ledger import Posting
from models.lifecycle import State
from models.obligations import Payout, Refund
from models.orders.evolve import evolve
from models.orders.order import Holding, Order
from models.policy import Policy
from tests.support.stories import (
    BALANCE,
    DEPOSIT,
    START,
    TOTAL,
    OrderStory,
    audit,
    place,
    story_of,
    story_with_parties,
)


@dataclass
class OrderRecords:
    """What was written down about one order, open to forgery."""

    order: Order
    events: list[Event]
    postings: list[EventPosting]
    refunds: list[Refund]
    payouts: list[Payout]

    @classmethod
    def of(cls, situation: str) -> OrderRecords:
        story = story_of(situation)
        events = [event for event in story.events if event.order_id == "o1"]
        postings = [
            (event.id, posting) for event, posting in story.uow.postings if event.order_id == "o1"
        ]
        debts = list(story.uow.refunds.values()), list(story.uow.payouts.values())
        return cls(story.order(), events, postings, *debts)

    def broken_checks(self) -> set[str]:
        findings = audit_order(self.order, self.events, self.postings, self.refunds, self.payouts)
        assert all(finding.where.endswith(":o1") for finding in findings)
        return {finding.law for finding in findings}

    def forge(self, number: int, **changes: object) -> None:
        """Change fields of the fact of one event; events count from 1."""
        event = self.events[number - 1]
        fact: Any = event.fact
        self.events[number - 1] = replace(event, fact=replace(fact, **changes))

    def forge_ending(self, **changes: int) -> None:
        """Add so many fen to what the order's last settlement says."""
        kinds = ("order.completed", "order.cancelled", "forfeit.released")
        number = max(event.sequence for event in self.events if event.fact.type in kinds)
        fact: Any = self.events[number - 1].fact
        self.forge(number, **{name: getattr(fact, name) + fen for name, fen in changes.items()})

    def forge_order(self, **changes: Any) -> None:  # noqa: ANN401 - any field of an order
        self.order = replace(self.order, **changes)

    def drop(self, *numbers: int) -> None:
        """Let some events never have happened; the others close ranks."""
        remaining = [event for event in self.events if event.sequence not in numbers]
        self.events = [replace(event, sequence=n) for n, event in enumerate(remaining, start=1)]

    def repeat(self, number: int, kind: str) -> None:
        """Let a thing happen once more, at the end, as if by a second process."""
        event = self.events[number - 1]
        assert event.fact.type == kind
        self.events.append(replace(event, sequence=len(self.events) + 1))
        self.forge_order(sequence=len(self.events))


SPAN = timedelta(hours=1)

Forgery = Callable[[OrderRecords], object]

FORGERIES: dict[str, tuple[str, Forgery, str]] = {
    "an event is lost": ("offered", lambda p: p.events.pop(1), "sequence"),
    "an event is another order's": (
        "offered",
        lambda p: p.events.append(replace(p.events[-1], subject="order:o9")),
        "sequence",
    ),
    "there is no event": ("offered", lambda p: p.events.clear(), "replay"),
    "the order forgot its state": (
        "offered",
        lambda p: p.forge_order(state=State.IN_FULFILMENT),
        "replay",
    ),
    "the order forgot a nudge": ("offered_nudged", lambda p: p.forge_order(nudges=0), "replay"),
    "a state is entered from nowhere": (
        "declined",
        lambda p: p.drop(3),
        "table",
    ),
    "the total was wrong at placement": ("offered", lambda p: p.forge(1, total_fen=1), "terms"),
    "the deposit has moved": ("offered", lambda p: p.forge_order(deposit_fen=1), "terms"),
    "the policy was swapped": (
        "offered",
        lambda p: p.forge_order(policy=Policy(deposit_bps=2_000)),
        "terms",
    ),
    "an order was never placed": ("offered", lambda p: p.events.pop(0), "terms"),
    "work began unpaid": ("in_fulfilment", lambda p: p.forge_order(held=()), "cover"),
    "it ended for no reason": ("declined", lambda p: p.forge_order(reason=None), "ending"),
    "it goes on for a reason": ("offered", lambda p: p.forge_order(reason="late"), "ending"),
    "it waits for ever": ("offered", lambda p: p.forge_order(due_at=None), "waiting"),
    "the dead still wait": ("declined", lambda p: p.forge_order(due_at=START), "waiting"),
    "a stopped clock has no time left": (
        "offered_paused",
        lambda p: p.forge_order(left=None),
        "stopped",
    ),
    "a running clock has time left": ("offered", lambda p: p.forge_order(left=SPAN), "stopped"),
    "an operator's pause has no end": (
        "offered_paused",
        lambda p: p.forge_order(paused_until=None),
        "stopped",
    ),
    "a pause ends that nobody made": (
        "offered",
        lambda p: p.forge_order(paused_until=START),
        "stopped",
    ),
    "a stopped clock has a deadline": (
        "offered_paused",
        lambda p: p.forge_order(due_at=START),
        "waiting",
    ),
    "an arbitration waits for ever": (
        "disputed_work",
        lambda p: p.forge_order(due_at=None),
        "waiting",
    ),
    "an arbitration has no reason": (
        "disputed_work",
        lambda p: p.forge_order(reason=None),
        "ending",
    ),
    "the creator's side has more than the price": (
        "completed",
        lambda p: p.forge_ending(creator_fen=1, fee_fen=-1),
        "shared_out",
    ),
    "the platform has more than its fee": (
        "completed",
        lambda p: p.forge_ending(fee_fen=1),
        "shared_out",
    ),
    "the agency has more than its share": (
        "completed_agency",
        lambda p: p.forge_ending(creator_fen=-1, mcn_fen=1),
        "agency_share",
    ),
    "an agency has a share without a contract": (
        "completed",
        lambda p: p.forge_ending(creator_fen=-1, mcn_fen=1),
        "agency_share",
    ),
    "a cancellation costs more than it shares out": (
        "cancelled_at_a_cost",
        lambda p: p.forge_ending(cost_fen=1, refund_fen=-1),
        "shared_out",
    ),
    "a cancellation gives back more than is left": (
        "cancelled_at_a_cost",
        lambda p: p.forge_ending(refund_fen=1),
        "shared_out",
    ),
    "the agency has more than its share of a cancellation": (
        "cancelled_agency",
        lambda p: p.forge_ending(mcn_fen=1),
        "agency_share",
    ),
    "more is released than was forfeited, to the platform": (
        "released",
        lambda p: p.forge_ending(platform_fen=1),
        "shared_out",
    ),
    "more is released than was forfeited, to the creator": (
        "released",
        lambda p: p.forge_ending(creator_fen=1),
        "shared_out",
    ),
    "more is released than was forfeited, to the client": (
        "released",
        lambda p: p.forge_ending(client_fen=1),
        "shared_out",
    ),
    "a posting is lost": ("offered", lambda p: p.postings.pop(), "escrow"),
    "a posting is written twice": ("offered", lambda p: p.postings.append(p.postings[0]), "posted"),
    "a posting has another amount": (
        "forfeited_late",
        lambda p: p.postings.append((p.postings.pop()[0], Posting("escrow:o1", "suspense", 1))),
        "posted",
    ),
    "escrow is in debt": ("declined", lambda p: p.postings.reverse(), "no_debts"),
    "the end left money behind": ("declined", lambda p: p.postings.pop(), "final_escrow"),
    "a payment came twice": (
        "offered",
        lambda p: p.repeat(2, "payment.applied"),
        "came_once",
    ),
    "unusable money was kept": (
        "declined",
        lambda p: p.forge(5, source="unapplied"),
        "unused_goes_back",
    ),
    "more goes back than came": ("declined", lambda p: p.forge(5, amount_fen=1), "back_as_it_came"),
    "work began twice": ("in_fulfilment", lambda p: p.repeat(6, "order.funded"), "funded_once"),
    "a refund is owed twice": ("declined", lambda p: p.repeat(5, "refund.requested"), "owed_once"),
    "a refund is forgotten": ("declined", lambda p: p.refunds.clear(), "refunds"),
    "a refund left unnoticed": (
        "declined",
        lambda p: p.refunds.append(replace(p.refunds.pop(), confirmed_at=START)),
        "refunds",
    ),
    "a refund is somebody else's": (
        "declined",
        lambda p: p.refunds.append(replace(p.refunds.pop(), client_id="c2")),
        "refunds",
    ),
}


@pytest.mark.parametrize("corruption", FORGERIES)
def test_the_audit_names_a_planted_corruption(corruption: str) -> None:
    situation, forge, law = FORGERIES[corruption]
    records = OrderRecords.of(situation)
    assert records.broken_checks() == set()
    forge(records)
    assert law in records.broken_checks()


def test_an_event_of_another_order_is_named_though_its_number_fits() -> None:
    story = story_of("offered")
    events = [event for event in story.events if event.order_id == "o1"]
    last = events.pop()
    assert [*check_sequence("order:o1", last.sequence, [*events, last])] == []
    foreign = replace(last, subject="order:o9")
    (finding,) = check_sequence("order:o1", last.sequence, [*events, foreign])
    assert (finding.law, finding.detail) == (
        "sequence",
        f"order:o9/{last.sequence} is about something else",
    )


def test_a_refund_that_leaves_twice_is_named_by_the_audit() -> None:
    story = story_of("declined")
    (refund_id,) = story.uow.refunds
    story.ask("confirm_refund", "payments", refund_id=refund_id)
    assert audit(story) == []
    records = OrderRecords.of("declined")
    records.events += [story.events[-1], replace(story.events[-1], sequence=7)]
    assert {"left_once", "refunds"} <= records.broken_checks()


@pytest.mark.parametrize(
    ("situation", "is_covered_by"),
    [
        ("awaiting_deposit", {0}),
        ("offered", {DEPOSIT, TOTAL}),
        ("offered_full", {TOTAL}),
        ("awaiting_balance", {DEPOSIT}),
        ("balance_overdue", {DEPOSIT}),
        ("in_fulfilment", {TOTAL}),
        ("disputed_work", {TOTAL}),
        ("declined", {0}),
        ("completed", {0}),
    ],
)
def test_an_order_holds_what_its_state_asks_for(situation: str, is_covered_by: set[int]) -> None:
    for held_fen in (0, DEPOSIT - 1, DEPOSIT, DEPOSIT + 1, TOTAL - 1, TOTAL, TOTAL + 1):
        records = OrderRecords.of(situation)
        records.forge_order(held=(Holding("p1", held_fen),) if held_fen else ())
        assert ("cover" in records.broken_checks()) == (held_fen not in is_covered_by)


@pytest.mark.parametrize("amount_fen", [1, 4, 5, 95, 142, 100_001])
def test_amounts_that_are_rounded_pass_the_audit(amount_fen: int) -> None:
    story = story_with_parties()
    place(story, amount_fen=amount_fen)
    story.pay("p1", {"o1": story.order().deposit_fen})
    assert story.order().state is State.OFFERED
    assert audit(story) == []


def test_every_total_that_does_not_fit_its_accounts_is_named() -> None:
    expected = {
        "held_fen": "escrow",
        "forfeited_fen": "forfeited_deposits",
        "received_fen": "psp",
        "returned_fen": "psp",
        "paid_out_fen": "psp",
        "owed_fen": "refunds_payable",
        "payable_fen": "payable",
        "suspended_fen": "suspense",
    }
    for field, family in expected.items():
        (finding,) = audit_totals([], MoneyTotals(**{field: 1}))
        assert (finding.law, finding.where) == (family, "totals")


def whole_payment() -> OrderStory:
    story = story_of("awaiting_deposit")
    story.pay("p1", {"o1": DEPOSIT}, amount_fen=1)
    return story


def test_a_whole_payment_is_audited_like_an_order() -> None:
    story = whole_payment()
    payment, refunds = story.uow.payments["p1"], list(story.uow.refunds.values())
    events = [event for event in story.events if event.subject == "payment:p1"]
    postings = [
        (event.id, posting)
        for event, posting in story.uow.postings
        if event.subject == "payment:p1"
    ]
    assert audit_payment(payment, events, postings, refunds) == []
    laws = {finding.law for finding in audit_payment(payment, events[:1], postings[:1], [])}
    assert laws == {"sequence", "posted"}
    assert {finding.law for finding in audit_payment(payment, events, postings, [])} == {"refunds"}


def audit_of_totals(*extra: Posting) -> list[Finding]:
    """Audit a story with money in every account, after some postings that nobody made."""
    story = whole_payment()
    place(story, "o2")
    story.pay("p2", {"o1": DEPOSIT, "o9": 7, "o2": DEPOSIT})
    for order_id in ("o1", "o2"):
        story.ask("accept_order", "creator", order_id=order_id)
    story.pay("p3", {"o2": BALANCE})
    story.wake("o1", story.now + timedelta(days=8))
    assert audit(story) == []
    assert story.accounts().keys() >= {"suspense", "forfeited_deposits", "refunds_payable:c1"}
    event = story.uow.postings[-1][0]
    story.uow.postings.extend((event, posting) for posting in extra)
    return audit(story)


@pytest.mark.parametrize(
    ("source", "target", "laws"),
    [
        ("psp", "escrow:o1", {"psp", "escrow"}),
        ("psp", "refunds_payable:c1", {"psp", "refunds_payable"}),
        ("forfeited_deposits", "suspense", {"forfeited_deposits"}),
        ("refunds_payable:c2", "suspense", {"refunds_payable", "no_debts"}),
    ],
)
def test_money_that_nobody_moved_is_missed_in_the_totals(
    source: str, target: str, laws: set[str]
) -> None:
    assert {finding.law for finding in audit_of_totals(Posting(source, target, 1))} >= laws


def test_an_account_out_of_balance_is_named_by_the_audit() -> None:
    totals = MoneyTotals(received_fen=5, suspended_fen=4)
    laws = {finding.law for finding in audit_totals([("psp", -5), ("suspense", 4)], totals)}
    assert laws == {"sum_zero"}


def test_escrow_that_the_orders_do_not_hold_is_named_by_the_audit() -> None:
    totals = MoneyTotals()
    totals.count_order(replace(story_of("offered").order(), held=(Holding("p", 3),)))
    assert {finding.law for finding in audit_totals([], totals)} == {"escrow"}


def test_a_creators_events_that_cannot_be_folded_are_named_by_the_audit() -> None:
    story = story_of("offered")
    events = [event for event in story.events if event.subject == "creator:k1"]
    repeated = [*events, replace(events[0], sequence=len(events) + 1)]
    creator = story.uow.creators["k1"]
    assert list(check_creator(creator, events)) == []
    for broken in (repeated + repeated, [replace(events[0], sequence=2)]):
        (finding,) = check_creator(creator, broken)
        assert (finding.law, finding.where) == ("replay", "creator:k1")
        assert "cannot be folded" in finding.detail


def test_no_event_is_folded_out_of_its_turn() -> None:
    story = story_of("offered")
    order = story.order()
    event = [event for event in story.events if event.order_id == "o1"][-1]
    for sequence in (order.sequence, order.sequence + 2):
        with pytest.raises(BrokenInvariant, match="does not follow order:o1"):
            evolve(order, replace(event, sequence=sequence))
