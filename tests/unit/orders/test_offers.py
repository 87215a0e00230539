"""Offers: what an order says that it costs, from its placement on."""

from __future__ import annotations

import pytest

from tests.support.stories import AMOUNT, DEPOSIT, TOTAL, place, span, story_with_parties


@pytest.mark.parametrize(
    ("prepay_deposit", "deposit_fen", "due_fen"), [(True, DEPOSIT, DEPOSIT), (False, 0, TOTAL)]
)
def test_a_placement_tells_the_terms_and_the_first_payment(
    *, prepay_deposit: bool, deposit_fen: int, due_fen: int
) -> None:
    story = story_with_parties()
    (event,) = place(story, prepay_deposit=prepay_deposit).events
    placed = event.published()
    assert {name: placed[name] for name in placed if name.endswith("_fen")} == {
        "amount_fen": AMOUNT,
        "total_fen": TOTAL,
        "deposit_fen": deposit_fen,
        "due_fen": due_fen,
    }
    order = story.order()
    assert (order.prepay_deposit, order.balance_due_fen) == (prepay_deposit, due_fen)
    assert order.due_at == story.now + span("30m")
