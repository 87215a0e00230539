"""Law tests: what a real pipeline makes of opponents is what the rules make of them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.law.controls.worker import control_names
from tests.law.rounds import RoundOptions, run_round
from tests.law.run import (
    COMMANDS,
    DATABASE_KINDS,
    MAX_ROUND_COMMANDS,
    SEED,
    bound_text,
    plan_rounds,
    read_options,
)

RUNS = [
    pytest.param(
        database, marks=[pytest.mark.postgres] if database == "postgresql" else [], id=database
    )
    for database in DATABASE_KINDS
]


@pytest.mark.fault
@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("database", RUNS)
@pytest.mark.parametrize("has_faults", [False, True], ids=["undisturbed", "disturbed"])
def test_a_pipeline_makes_of_commands_what_the_rules_make_of_them_at_the_same_stamps(
    database: str, tmp_path: Path, *, has_faults: bool
) -> None:
    options = RoundOptions(SEED, COMMANDS // len(RUNS) // 2, database, has_faults=has_faults)
    result = run_round(options, tmp_path)
    # Three in ten and more where nothing else runs; a crowded machine sends more slowly.
    assert result.opposed >= 0.15 * result.counted
    assert result.differences == [], result.difference_counts


PROBE = """
from tests.law.controls import {control}
from models import money
before = money.total(100, 500)
{control}.replace_part()
print(money.total(100, 500) - before)
"""


def rounds_of(*arguments: str) -> list[RoundOptions]:
    return list(plan_rounds(read_options(arguments)))


def test_every_seed_is_tried_on_each_database() -> None:
    rounds = rounds_of("--commands", "10", "--seeds", "2", "--seed", "5")
    assert [r.database for r in rounds] == ["sqlite", "postgresql"] * 2
    assert len({r.seed for r in rounds}) == 2
    assert all(r.has_faults for r in rounds)


def test_many_commands_go_to_several_pipelines_under_seeds_of_their_own() -> None:
    count = 2 * MAX_ROUND_COMMANDS + 1
    rounds = rounds_of("--commands", str(count), "--database", "sqlite", "--no-faults")
    assert sum(r.command_count for r in rounds) == count
    assert len({r.seed for r in rounds}) == len(rounds) == 3
    assert not any(r.has_faults for r in rounds)


def test_a_control_is_chosen_by_the_name_of_its_module(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert {r.control for r in rounds_of("--control", "one_fen_dearer")} == {"one_fen_dearer"}
    with pytest.raises(SystemExit):
        read_options(["--control", "worker"])
    assert "invalid choice" in capsys.readouterr().err


def test_a_control_replaces_its_part() -> None:
    assert "one_fen_dearer" in control_names()
    code = PROBE.format(control="one_fen_dearer")
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout
    assert int(output) == 1


def test_a_bound_is_given_only_where_nothing_differs() -> None:
    assert bound_text(0, 1_000_000) == "< 3.0e-06"
    assert bound_text(1, 1_000_000) == bound_text(0, 0) == "-"
