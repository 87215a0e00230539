"""Layout: a folder can be taken in at a glance, and every module says what it is."""

from __future__ import annotations

import ast
from pathlib import Path

from tests.house.project import ROOT, files, functions, location, sources, tree

MODULES_IN_A_FOLDER = 12
# What says that a folder is a package, what pytest looks for, what Python starts.
NO_MODULES = {"__init__.py", "conftest.py", "__main__.py"}
# The programs of the campaign's author, which write one file that is checked in.
CROWDED = {"examples"}
PARAMETERS = 6


COLUMNS = 100


# Names that say nothing, and so attract everything.
EMPTY_NAMES = {"utils", "util", "helpers", "helper", "common", "base", "core", "manager"}


def test_no_function_asks_for_more_than_can_be_remembered() -> None:
    greedy = [
        f"{location(path, node)} {node.name}"
        for path in sources()
        for node in functions(path)
        if parameters(node) > PARAMETERS
    ]
    assert greedy == []


def parameters(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Count what a caller must think of; `self` and `cls` come by themselves."""
    arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
    return len([argument for argument in arguments if argument.arg not in {"self", "cls"}])


def test_no_line_is_wider_than_the_page() -> None:
    wide = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in sources()
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        # A remark to the linter is not reading matter; ruff counts as this does.
        if len(line.partition("  # noqa:")[0].partition("  # type:")[0]) > COLUMNS
    ]
    assert wide == []


def test_no_file_has_a_name_that_says_nothing() -> None:
    assert [location(path) for path in files(".py") if EMPTY_NAMES & set(path.parts)] == []
    assert [location(path) for path in files(".py") if path.stem in EMPTY_NAMES] == []


def test_every_module_says_what_it_is_in_a_noun_and_a_sentence() -> None:
    silent = [location(path) for path in sources() if ":" not in first_line(path)]
    assert silent == []


def first_line(path: Path) -> str:
    return (ast.get_docstring(tree(path)) or "").partition("\n")[0]
