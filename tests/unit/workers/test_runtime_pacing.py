"""Pacing: rounds with work are kept apart, and nobody waits for anything else."""

from __future__ import annotations

from workers.runtime import RateLimiter

LONG_S = 3_600.0
APART_S = 0.05


def test_rounds_without_work_follow_at_once() -> None:
    pace = RateLimiter(LONG_S)
    for _ in range(3):
        pace.wait()


def test_the_round_after_one_with_work_begins_no_sooner_than_it_should() -> None:
    pace = RateLimiter(APART_S)
    pace.wait()
    first_began_at = pace.began_at
    pace.note_work()
    pace.wait()
    assert pace.began_at >= first_began_at + APART_S


def test_a_round_that_took_longer_holds_nobody_up() -> None:
    pace = RateLimiter(LONG_S)
    pace.wait()
    pace.began_at -= LONG_S
    pace.note_work()
    pace.wait()
