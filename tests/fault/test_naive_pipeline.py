"""Control tests: the naive build is right on a good day, and breaks under every fault."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fault.control.experiment import NO_FAULT, run_control

pytestmark = [pytest.mark.fault, pytest.mark.slow]

# What each fault must bring to light, at least one of it.
EXPECTED_FINDINGS = {
    "kill -9": {"stuck", "delivered", "receipted", "effect_once", "judged_once"},
    "FLUSHALL": {"stuck", "delivered", "receipted"},
    "duplicates": {"effect_once", "judged_once"},
    "scheduler outage": {"stuck", "effect_once"},
}


ROUNDS = 4
"""How often the experiment is made before it counts as failed: what a fault hits is chance, and on
a machine with other work to do the naive build is as late as a fault would make it."""


@pytest.mark.parametrize("fault", EXPECTED_FINDINGS)
def test_the_naive_build_breaks_under_every_fault(fault: str, seed: int, tmp_path: Path) -> None:
    laws = set[str]()
    for number in range(ROUNDS):
        laws |= {
            finding.law for finding in run_control(fault, tmp_path / str(number), seed + number)
        }
        if laws & EXPECTED_FINDINGS[fault]:
            return
    pytest.fail(f"nothing but {laws} in {ROUNDS} rounds")


def test_the_naive_build_is_right_on_a_good_day(seed: int, tmp_path: Path) -> None:
    rounds = (run_control(NO_FAULT, tmp_path / str(n), seed + n) for n in range(ROUNDS))
    assert any(findings == [] for findings in rounds)
