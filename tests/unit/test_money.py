"""Money: whole fen, halves up, rounded once."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal

import pytest

from models.money import MAX_FEN, deposit, fee, half_up, largest_amount, swing_range, total


@pytest.mark.parametrize(
    ("numerator", "denominator", "rounded"),
    [(0, 2, 0), (1, 2, 1), (3, 2, 2), (5, 2, 3), (49, 100, 0), (50, 100, 1), (250, 100, 3)],
)
def test_halves_go_up_and_never_to_even(numerator: int, denominator: int, rounded: int) -> None:
    assert half_up(numerator, denominator) == rounded


@pytest.mark.parametrize("amount", [1, 9, 10, 11, 29, 30, 31, 999, 123_457, MAX_FEN])
@pytest.mark.parametrize("bps", [0, 1, 499, 500, 505, 10_000])
def test_a_fee_agrees_with_exact_decimal_arithmetic(amount: int, bps: int) -> None:
    exact = (Decimal(amount) * bps / 10_000).quantize(Decimal(1), rounding=ROUND_HALF_UP)
    assert fee(amount, bps) == exact
    assert total(amount, bps) == amount + exact


@pytest.mark.parametrize(
    ("total_fen", "deposit_fen"), [(1, 1), (4, 1), (14, 1), (15, 2), (100, 10), (105, 11)]
)
def test_a_deposit_is_a_tenth_of_the_total_and_at_least_one_fen(
    total_fen: int, deposit_fen: int
) -> None:
    assert deposit(total_fen, 1_000) == deposit_fen


def test_a_deposit_of_nothing_is_still_one_fen() -> None:
    assert deposit(1_000_000, 0) == 1


def test_the_largest_amount_is_the_largest_that_every_reader_keeps_exact() -> None:
    assert float(MAX_FEN) + 1 == float(MAX_FEN + 1)
    assert float(MAX_FEN + 1) + 1 == float(MAX_FEN + 1)


@pytest.mark.parametrize(
    ("original", "lowest", "highest"), [(1, 1, 1), (4, 4, 4), (5, 4, 6), (999, 800, 1198)]
)
def test_the_swing_includes_its_ends_and_nothing_beyond(
    original: int, lowest: int, highest: int
) -> None:
    within = [quote for quote in range(2_000) if 80 * original <= 100 * quote <= 120 * original]
    assert swing_range(original, 20) == (lowest, highest) == (within[0], within[-1])


@pytest.mark.parametrize("bps", [0, 1, 2, 25, 333, 500, 9_999, 10_000])
def test_the_largest_amount_is_the_last_whose_total_is_exact(bps: int) -> None:
    amount_fen = largest_amount(bps)
    assert total(amount_fen, bps) <= MAX_FEN < total(amount_fen + 1, bps)
