"""Mutation run: a fault that a test notices is killed, one that none notices is printed."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.mutation.equivalents import read_equivalents, stale
from tests.mutation.mutants import edits, every_mutant, sample
from tests.mutation.run import main
from tests.mutation.trials import ROOT, Target

RULE = '''"""Limit: a rule of one line."""


def is_allowed(amount: int) -> bool:
    return amount <= 5


def made_by_import(amount: int) -> list[int]:
    return [amount, amount]


PAIR = made_by_import(7)


def count_down(amount: int) -> int:
    while amount > 0:
        amount -= 1
    return amount
'''
WEAK_TEST = """
from rules.limit import PAIR, count_down, is_allowed

def test_little_is_allowed_and_much_is_not():
    assert is_allowed(1) is True
    assert is_allowed(99) is False
    assert count_down(3) == 0
"""
GOOD_TEST = (
    WEAK_TEST
    + """
def test_the_limit_itself_is_allowed_and_one_more_is_not():
    assert is_allowed(5) is True
    assert is_allowed(6) is False
    assert PAIR == [7, 7]
"""
)
BOUNDARY = "rules/limit.py:5 comparison: amount <= 5 -> (amount < 5)"


def planted(folder: Path, test: str) -> Target:
    """Write a project of one rule and one file of tests."""
    (folder / "rules").mkdir()
    (folder / "rules" / "__init__.py").write_text("")
    (folder / "rules" / "limit.py").write_text(RULE)
    (folder / "checks").mkdir()
    (folder / "checks" / "test_limit.py").write_text(test)
    return Target(folder, "rules", ("checks",), pytest_arguments=("--rootdir=.",), patience_s=1)


def try_out(target: Target, change: str, *arguments: str) -> int:
    """Run the command on the mutant of one change, under the first seed that draws it."""
    for seed in range(100):
        mutants = sample(target.root, target.package, seed, 99)
        numbers = [str(i) for i, mutant in enumerate(mutants, 1) if mutant.change == change]
        if numbers:
            empty_list = target.root / "equivalents.toml"
            empty_list.touch()
            options = ["--seed", str(seed), "--number", "99", "--equivalents", str(empty_list)]
            return main([*options, "--only", *numbers, *arguments], target)
    raise AssertionError(f"no seed draws {change}")


def test_a_weak_test_leaves_a_survivor_that_is_printed_with_its_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert try_out(planted(tmp_path, WEAK_TEST), "amount <= 5 -> (amount < 5)") == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[-2:] == [BOUNDARY, "    return amount <= 5"]
    assert "1 mutants, 0 killed, 0 never ended, 1 survived" in lines[0]


def test_what_a_run_found_out_about_calls_serves_the_next_until_there_is_another_test(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target, calls_file = planted(tmp_path, WEAK_TEST), tmp_path / "calls.json"
    change = "amount <= 5 -> (amount < 5)"
    assert try_out(target, change, "--calls", str(calls_file)) == 1
    assert "running the tests" in capsys.readouterr().err
    assert try_out(target, change, "--calls", str(calls_file)) == 1
    assert "running the tests" not in capsys.readouterr().err
    (tmp_path / "checks" / "test_limit.py").write_text(GOOD_TEST)
    assert try_out(target, change, "--calls", str(calls_file)) == 0


def test_a_good_test_kills_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert try_out(planted(tmp_path, GOOD_TEST), "amount <= 5 -> (amount < 5)") == 0
    assert "1 mutants, 1 killed, 0 never ended, 0 survived" in capsys.readouterr().out


@pytest.mark.parametrize("change", ["7 -> (8)", "return [amount, amount] -> return None"])
def test_what_only_importing_runs_is_tried_as_well(tmp_path: Path, change: str) -> None:
    assert try_out(planted(tmp_path, GOOD_TEST), change) == 0


def test_a_table_that_no_test_looks_at_leaves_a_survivor(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert try_out(planted(tmp_path, WEAK_TEST), "7 -> (8)") == 1
    assert capsys.readouterr().out.endswith("\n    PAIR = made_by_import(7)\n")


def test_a_mutant_that_never_ends_is_killed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert try_out(planted(tmp_path, WEAK_TEST), "amount > 0 -> True") == 0
    assert "1 mutants, 0 killed, 1 never ended, 0 survived" in capsys.readouterr().out


def test_tests_that_fail_without_a_mutant_are_no_measure(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = planted(tmp_path, WEAK_TEST.replace("is_allowed(99) is False", "is_allowed(99)"))
    assert try_out(target, "amount <= 5 -> (amount < 5)") == 2
    assert "without a mutant, this test fails: checks/test_limit.py::" in capsys.readouterr().err


def test_a_seed_draws_the_same_mutants_again_and_another_seed_others(tmp_path: Path) -> None:
    target = planted(tmp_path, WEAK_TEST)
    first_draw, second_draw, other_draw = (
        sample(target.root, "rules", seed, 5) for seed in (1, 1, 2)
    )
    assert first_draw == second_draw
    assert first_draw != other_draw


@pytest.mark.parametrize(
    ("code", "changes"),
    [
        ("x = a < b", {"a <= b", "a >= b"}),
        ("x = a and b", {"a or b", "a", "b"}),
        ("x = not a", {"a"}),
        ("f(key=True)", {"False", "pass"}),
        ("a.b = 1", {"2", "0", "pass"}),
        ("a -= b", {"a += b", "pass"}),
        ("x = a + 'text'", set()),
        ("if a: raise", {"not a", "True", "False", "pass"}),
        ("def f(a=1) -> None:\n    return a", {"2", "0", "return None"}),
        ("assert a < b", set()),
    ],
)
def test_what_may_be_wrong_about_a_line(code: str, changes: set[str]) -> None:
    texts = [text for (_, _, texts), _ in edits(ast.parse(code), ()) for text in texts]
    assert sorted(ast.unparse(ast.parse(text)) for text in texts) == sorted(changes)


def test_mutants_of_the_rules_can_be_compiled() -> None:
    for mutant in sample(ROOT, "models", seed=1, number=100):
        compile(mutant.source, mutant.path, "exec")


def test_every_equivalent_still_answers_to_a_mutant_and_says_why() -> None:
    equivalents = read_equivalents()
    assert stale(equivalents, every_mutant(ROOT, "models")) == []
    assert all(equivalent.reason for equivalent in equivalents)
