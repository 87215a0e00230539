"""Money: whole fen, rates in basis points, rounded once and half up."""

from __future__ import annotations

MAX_FEN = 2**53 - 1
"""The largest amount: the largest integer that every JSON reader keeps exact."""

BPS_PER_WHOLE = 10_000


def half_up(numerator: int, denominator: int) -> int:
    """Divide non-negative integers, rounding halves up (never to even, as `round` does)."""
    return (2 * numerator + denominator) // (2 * denominator)


def fee(amount_fen: int, service_fee_bps: int) -> int:
    """Return the platform's service fee, in fen, for a task of `amount_fen`."""
    return half_up(amount_fen * service_fee_bps, BPS_PER_WHOLE)


def total(amount_fen: int, service_fee_bps: int) -> int:
    """Return what the client owes in all, in fen: the task and its fee."""
    return amount_fen + fee(amount_fen, service_fee_bps)


def largest_amount(service_fee_bps: int) -> int:
    """Return the largest amount, in fen, whose total can still be written exactly."""
    amount_fen = MAX_FEN * BPS_PER_WHOLE // (BPS_PER_WHOLE + service_fee_bps)
    # The fee of one more may just be rounded down.
    return amount_fen + (total(amount_fen + 1, service_fee_bps) <= MAX_FEN)


def deposit(total_fen: int, deposit_bps: int) -> int:
    """Return the earnest money for a total, in fen, at least one.

    It is taken on the total and rounded once: rounded by parts, 95 + 5 would give 11.
    """
    return max(1, half_up(total_fen * deposit_bps, BPS_PER_WHOLE))


def swing_range(original_fen: int, swing_percent: int) -> tuple[int, int]:
    """Return the least and the most, in whole fen, within the swing of the price first offered."""
    low, high = 100 - swing_percent, 100 + swing_percent
    return -(-low * original_fen // 100), high * original_fen // 100
