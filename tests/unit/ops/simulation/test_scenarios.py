"""Scenarios: worked examples, simulated without servers, come out as they must."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from models.policy import Policy, read_policy
from ops.simulation.simulate import simulate
from tests.check_scenarios import differences

FOLDER = Path(__file__).parents[3] / "scenarios"
NAMES = sorted(path.name.removesuffix(".steps.jsonl") for path in FOLDER.glob("*.steps.jsonl"))


@pytest.mark.parametrize("name", NAMES)
def test_a_worked_example_comes_out_as_it_must(name: str) -> None:
    policy_file = FOLDER / f"{name}.policy.json"
    policy = read_policy(policy_file.read_bytes()) if policy_file.exists() else Policy()
    out, err = io.StringIO(), io.StringIO()
    steps = (FOLDER / f"{name}.steps.jsonl").read_text("utf-8").splitlines()
    status = simulate(steps, policy, out, err)
    expect = json.loads((FOLDER / f"{name}.expect.json").read_text("utf-8"))
    lines = [json.loads(line) for line in out.getvalue().splitlines()]
    assert list(differences(expect, lines)) == []
    assert (status, err.getvalue()) == (0, "")


def test_every_worked_example_has_both_halves() -> None:
    assert len(NAMES) >= 25
    assert {f"{name}.expect.json" for name in NAMES} == {p.name for p in FOLDER.glob("*.expect.*")}


def test_a_difference_from_an_expected_outcome_of_a_scenario_is_named() -> None:
    expect = json.loads((FOLDER / "declined.expect.json").read_text("utf-8"))
    assert next(differences(expect, [])) == "cmd_00001: id is None, not 'cmd_00001'"
    assert "0 outcomes, not 6" in differences(expect, [])
