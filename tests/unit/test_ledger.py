"""Ledger: every event moves exactly its money, from one account to another."""

from __future__ import annotations

import pytest

from models.errors import BrokenInvariant
from models.events.event import EVENT_TYPES, Event
from models.events.payments import PaymentApplied
from models.ledger import ACCOUNT_FAMILIES, Posting, balances, postings, sum_by_family
from tests.support.stories import (
    BALANCE,
    DEPOSIT,
    HISTORIES,
    START,
    TOTAL,
    place,
    read_table,
    story_of,
    story_with_parties,
)

ACCOUNTS = read_table("""
    situation              psp      escrow:o1  forfeited_deposits  refunds_payable:c1
    awaiting_deposit       0        0          0                   0
    offered                -10500   10500      0                   0
    offered_paid           -105000  105000     0                   0
    in_fulfilment          -105000  105000     0                   0
    balance_overdue        -10500   10500      0                   0
    forfeited_late         -10500   0          10500               0
    forfeited_asked        -10500   0          10500               0
    expired_unpaid         0        0          0                   0
    expired_offer          -10500   0          0                   10500
    declined               -10500   0          0                   10500
    cancelled_by_operator  -10500   0          0                   10500
    cancelled_at_work      -105000  0          0                   105000
    withdrawn              -10500   0          0                   10500
""")


@pytest.mark.parametrize("row", ACCOUNTS, ids=lambda row: row["situation"])
def test_the_money_is_where_the_domain_says(row: dict[str, str]) -> None:
    expected_accounts = {name: int(fen) for name, fen in row.items() if name != "situation"}
    assert story_of(row["situation"]).accounts() == {
        n: fen for n, fen in expected_accounts.items() if fen
    }


@pytest.mark.parametrize("situation", HISTORIES)
def test_nobody_but_the_world_outside_is_ever_in_debt(situation: str) -> None:
    story, postings_so_far = story_of(situation), []
    for _, posting in story.uow.postings:
        postings_so_far.append(posting)
        accounts = balances(postings_so_far)
        assert sum(accounts.values()) == 0
        assert {name for name, fen in accounts.items() if fen < 0} <= {"psp"}


def test_an_unusable_share_passes_through_suspense() -> None:
    story = story_of("awaiting_balance")
    posting_count = len(story.uow.postings)
    story.pay("p1", {"o1": BALANCE - 1})
    assert [posting for _, posting in story.uow.postings[posting_count:]] == [
        Posting("psp", "suspense", BALANCE - 1),
        Posting("suspense", "refunds_payable:c1", BALANCE - 1),
    ]


def test_events_that_move_no_money_make_no_postings() -> None:
    moving_types = {
        "payment.applied",
        "payment.unapplied",
        "refund.requested",
        "refund.confirmed",
        "order.forfeited",
        "order.reinstated",
    }
    story = story_of("forfeited_late")
    story.pay("p1", {"o1": BALANCE})
    assert {event.fact.type for event, _ in story.uow.postings} <= moving_types
    assert moving_types <= EVENT_TYPES.keys()
    assert all(not postings(event) for event in story.events if event.fact.type not in moving_types)


@pytest.mark.parametrize("amount", [0, -1])
def test_an_event_that_would_move_nothing_or_backwards_is_an_error(amount: int) -> None:
    fact = PaymentApplied(payment_id="p1", client_id="c1", amount_fen=amount)
    with pytest.raises(BrokenInvariant, match="order:o1/2"):
        postings(Event("order:o1", 2, START, "command:cmd_00001", fact))


def test_accounts_are_summed_by_family_and_every_family_is_named() -> None:
    story = story_with_parties()
    for order_id in ("o1", "o2"):
        place(story, order_id)
    story.pay("p1", {"o1": DEPOSIT, "o2": DEPOSIT, "o9": 3})
    fen_by_family = sum_by_family(balances(posting for _, posting in story.uow.postings))
    assert tuple(fen_by_family) == ACCOUNT_FAMILIES
    assert fen_by_family["escrow"] == 2 * DEPOSIT
    assert (
        fen_by_family["suspense"],
        fen_by_family["forfeited_deposits"],
        sum(fen_by_family.values()),
    ) == (3, 0, 0)
    assert fen_by_family["psp"] > -TOTAL
