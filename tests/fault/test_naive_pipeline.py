"""Control tests: the naive build is right on a good day, and breaks under every fault."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fault.control.experiment import NOTHING, suffer

pytestmark = [pytest.mark.fault, pytest.mark.slow, pytest.mark.timeout(180)]


# What each fault must bring to light, at least one of it.
BITES = {
    "kill -9": {"stuck", "delivered", "receipted", "effect_once", "judged_once"},
    "FLUSHALL": {"stuck", "delivered", "receipted"},
    "duplicates": {"effect_once", "judged_once"},
    "scheduler outage": {"stuck", "effect_once"},
}


@pytest.mark.parametrize("fault", BITES)
def test_the_naive_build_breaks(fault: str, seed: int, tmp_path: Path) -> None:
    laws = {finding.law for finding in suffer(fault, tmp_path, seed)}
    assert laws & BITES[fault], laws


def test_the_naive_build_is_right_on_a_good_day(seed: int, tmp_path: Path) -> None:
    assert suffer(NOTHING, tmp_path, seed) == []
