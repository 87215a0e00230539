"""Offers: what an order says that it costs, from its placement on."""

from __future__ import annotations

import pytest

from models.money import MAX_FEN, largest_amount, total
from models.orders.offers import quote_range
from models.policy import Policy
from tests.support.stories import AMOUNT, DEPOSIT, TOTAL, place, span, story_with_parties


@pytest.mark.parametrize(
    ("prepay_deposit", "deposit_fen", "due_fen"), [(True, DEPOSIT, DEPOSIT), (False, 0, TOTAL)]
)
def test_a_placement_tells_the_terms_and_the_first_payment(
    *, prepay_deposit: bool, deposit_fen: int, due_fen: int
) -> None:
    story = story_with_parties()
    (event,) = place(story, prepay_deposit=prepay_deposit).events
    terms = event.published()
    assert {name: terms[name] for name in terms if name.endswith("_fen")} == {
        "amount_fen": AMOUNT,
        "total_fen": TOTAL,
        "deposit_fen": deposit_fen,
        "due_fen": due_fen,
    }
    order = story.order()
    assert (order.prepay_deposit, order.balance_due_fen) == (prepay_deposit, due_fen)
    assert order.due_at == story.now + span("30m")


@pytest.mark.parametrize(
    ("fee_bps", "amount_fen", "outcome"),
    [
        (0, MAX_FEN, "applied"),
        (500, largest_amount(500), "applied"),
        (500, largest_amount(500) + 1, "rejected"),
    ],
)
def test_an_order_is_worth_at_most_what_can_be_written_exactly(
    fee_bps: int, amount_fen: int, outcome: str
) -> None:
    story = story_with_parties(Policy(service_fee_bps=fee_bps))
    assert place(story, amount_fen=amount_fen).outcome == outcome


@pytest.mark.parametrize(
    ("amount_fen", "deposit_bps", "expected"),
    [
        (100_000, 1_000, (80_000, 120_000)),
        # With a total of 11 the deposit is 9, and so are 9 fen with a fee that rounds to nothing.
        (10, 7_900, (10, 12)),
        (5, 7_900, (5, 6)),
        (1, 1_000, (1, 1)),
        (MAX_FEN * 10_000 // 10_500, 1_000, None),
    ],
)
def test_a_new_quote_leaves_something_to_pay_and_can_be_written_exactly(
    amount_fen: int, deposit_bps: int, expected: tuple[int, int] | None
) -> None:
    story = story_with_parties(Policy(deposit_bps=deposit_bps))
    place(story, amount_fen=amount_fen)
    order = story.order()
    least_fen, most_fen = quote_range(order)
    assert expected in (None, (least_fen, most_fen))
    assert total(least_fen, 500) > order.deposit_fen or least_fen == amount_fen
    assert total(most_fen, 500) <= MAX_FEN
