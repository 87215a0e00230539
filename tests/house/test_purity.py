"""Purity: the models judge without a clock, without chance and without the world."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.house.project import ROOT, files, location, tree

# What a model may import; a list of what it may not would always be one module short.
ALLOWED = {
    "__future__",
    "abc",
    "base64",
    "bisect",
    "calendar",
    "chinese_calendar",
    "collections",
    "contextlib",
    "copy",
    "dataclasses",
    "datetime",
    "decimal",
    "enum",
    "fractions",
    "functools",
    "graphlib",
    "hashlib",
    "heapq",
    "itertools",
    "json",
    "math",
    "models",
    "operator",
    "pydantic",
    "pydantic_core",
    "re",
    "string",
    "textwrap",
    "types",
    "typing",
    "typing_extensions",
    "unicodedata",
    "uuid",
    "zoneinfo",
}


# Allowed modules also hold functions that look at a clock, at chance or at a file.
WORLDLY = {
    *("now", "utcnow", "today", "fromtimestamp"),
    *("uuid1", "uuid4", "uuid6", "uuid7", "getnode"),
    *("open", "print", "input", "exec", "eval", "__import__", "breakpoint"),
    *("read_text", "read_bytes", "write_text", "write_bytes"),
}


MODELS = [path for path in files(".py") if path.is_relative_to(ROOT / "models")]


@pytest.mark.parametrize("path", MODELS, ids=lambda path: path.stem)
def test_a_model_imports_nothing_that_reaches_the_world(path: Path) -> None:
    forbidden_imports = [(node, name) for node, name in imports(tree(path)) if name not in ALLOWED]
    assert [f"{location(path, node)} {name}" for node, name in forbidden_imports] == []


@pytest.mark.parametrize("path", MODELS, ids=lambda path: path.stem)
def test_a_model_calls_nothing_that_looks_at_the_world(path: Path) -> None:
    forbidden_calls = [(node, name) for node, name in calls(tree(path)) if name in WORLDLY]
    assert [f"{location(path, node)} {name}" for node, name in forbidden_calls] == []


def imports(module: ast.Module) -> Iterator[tuple[ast.stmt, str]]:
    """Name the top-level package of every import, also of those inside functions."""
    for node in ast.walk(module):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node, alias.name.partition(".")[0]
        elif isinstance(node, ast.ImportFrom):
            inside = "models" if node.level else (node.module or "")
            yield node, inside.partition(".")[0]


def calls(module: ast.Module) -> Iterator[tuple[ast.Call, str]]:
    for node in ast.walk(module):
        if isinstance(node, ast.Call):
            yield node, called(node.func)


def called(function: ast.expr) -> str:
    if isinstance(function, ast.Attribute):
        return function.attr
    return function.id if isinstance(function, ast.Name) else ""


@pytest.mark.parametrize(
    ("code", "worldly"),
    [
        ("import os.path", "os"),
        ("def f():\n    from time import time", "time"),
        ("import json, random as r", "random"),
    ],
)
def test_an_import_is_found_wherever_it_hides(code: str, worldly: str) -> None:
    assert worldly in {name for _, name in imports(ast.parse(code))} - ALLOWED


@pytest.mark.parametrize("code", ["datetime.now(UTC)", "x = [open(y)]", "uuid.uuid4().hex"])
def test_a_look_at_the_world_is_found_wherever_it_hides(code: str) -> None:
    assert WORLDLY & {name for _, name in calls(ast.parse(code))}
