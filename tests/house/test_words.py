"""Words: variables say what they hold, and a class's name means one thing in the whole project."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.house.project import ROOT, files, tree

PRODUCT = ("models", "workers", "scheduler", "ops")
AREAS = (PRODUCT, ("tests",), ("bench", "examples"))

# Pronouns, question words and bare participles: the reader has to look up what they stand for.
VAGUE = set(Path(__file__).with_name("vague_words.txt").read_text("utf-8").split())
SHARE = 0.01

CLASS_NAME = re.compile(r"_?[A-Z][a-z0-9]\w*")
# They run without a line of ours.
STRANGERS = ("bench/peers/",)


@pytest.mark.parametrize("area", AREAS, ids="-".join)
def test_variables_say_what_they_hold(area: tuple[str, ...]) -> None:
    bindings = [
        (f"{path.relative_to(ROOT)}:{line}", name)
        for path in files(".py")
        if path.relative_to(ROOT).parts[0] in area
        for name, line in bound_names(tree(path))
    ]
    vague = [f"{place} {name}" for place, name in bindings if name in VAGUE]
    assert len(vague) < SHARE * len(bindings), vague


def bound_names(module: ast.Module) -> Iterator[tuple[str, int]]:
    """Name every variable, parameter and field that a module binds, and the line."""
    for node in ast.walk(module):
        if isinstance(node, ast.arg):
            yield node.arg, node.lineno
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id, node.lineno
        elif isinstance(node, ast.ExceptHandler | ast.MatchAs | ast.MatchStar) and node.name:
            yield node.name, node.lineno


def test_a_class_or_alias_has_one_meaning() -> None:
    places = defaultdict(set)
    for path in files(".py"):
        place = str(path.relative_to(ROOT))
        if not place.startswith(STRANGERS):
            for name in class_names(tree(path)):
                places[name].add(place)
    assert {name: sorted(paths) for name, paths in places.items() if len(paths) > 1} == {}


def class_names(module: ast.Module) -> Iterator[str]:
    """Name every class, wherever it stands, and every alias of a type."""
    for node in ast.walk(module):
        if isinstance(node, ast.ClassDef):
            yield node.name
    for statement in module.body:
        match statement:
            case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
                if CLASS_NAME.fullmatch(name) and not name.isupper():
                    yield name


def test_a_vague_variable_is_noticed_wherever_it_is_bound() -> None:
    code = "def f(told, *, x):\n  for one in x:\n    pass\n  return [found for found in told]"
    assert {"told", "one", "found"} <= {name for name, _ in bound_names(ast.parse(code))}


def test_a_second_meaning_is_noticed_in_classes_and_aliases() -> None:
    code = "class Order: ...\nOutcome = Literal['a']\nRow: TypeAlias = dict\nLIMIT = 1"
    assert set(class_names(ast.parse(code))) == {"Order", "Outcome", "Row"}
