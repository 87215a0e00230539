"""Pointers: what documents and comments name is there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.house.project import ROOT, files

PACKAGES = ("models", "workers", "scheduler", "ops", "tests", "bench", "migrations", "examples")
PATH = re.compile(rf"(?<![\w/.$-])(?:{'|'.join(PACKAGES)}|docs|deploy)(?:/[\w.-]+)+")
MODULE = re.compile(rf"`((?:{'|'.join(PACKAGES)})(?:\.\w+)+)`")
# History names what was; what is generated or fetched need not be there.
HISTORY = ("CHANGELOG.md", "docs/contract/released/")
MADE = ("examples/node_modules", "deploy/.env", "deploy/tokens", "deploy/metrics_token")

TEXTS = [
    path
    for suffix in (".py", ".md", ".toml", ".yml", ".yaml", ".sh", ".mjs", ".lua", ".sql", ".acl")
    for path in files(suffix)
    if path != Path(__file__) and not str(path.relative_to(ROOT)).startswith(HISTORY)
]


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_what_a_file_names_is_there(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert [*missing_paths(text), *missing_modules(text)] == []


def missing_paths(text: str) -> Iterator[str]:
    for name in {match.rstrip(".") for match in PATH.findall(text)}:
        if not name.startswith(MADE) and not (ROOT / name).exists():
            yield name


def missing_modules(text: str) -> Iterator[str]:
    for name in set(MODULE.findall(text)):
        if not is_module_or_member(name):
            yield name


def is_module_or_member(name: str) -> bool:
    """Tell whether a dotted name is a module, or something in one, or in a class of one."""
    parts = name.split(".")
    for length in (len(parts), len(parts) - 1, len(parts) - 2):
        module = ".".join(parts[:length])
        try:
            spec = find_spec(module) if length else None
        except ModuleNotFoundError:
            spec = None
        if spec is not None:
            source = Path(spec.origin or "")
            text = source.read_text(encoding="utf-8") if source.is_file() else ""
            return all(re.search(rf"\b{part}\b", text) for part in parts[length:])
    return False


def test_a_pointer_to_nothing_is_noticed() -> None:
    text = "see models/nowhere.py, models/money.py and `workers.nothing`, `models.money.total`"
    assert list(missing_paths(text)) == ["models/nowhere.py"]
    assert list(missing_modules(text)) == ["workers.nothing"]
