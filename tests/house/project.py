"""Project: which files are ours, and how to read their code."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


# Made by running things, not by us.
GENERATED = {"var", "node_modules", "__pycache__"}


def files(suffix: str = "") -> list[Path]:
    """List the project's files, those whose name ends in `suffix`, without what runs leave."""
    return sorted(path for path in walk(ROOT) if path.name.endswith(suffix))


def walk(folder: Path) -> Iterator[Path]:
    for path in folder.iterdir():
        is_generated = path.name in GENERATED or (path.name.startswith(".") and path.name != ".ci")
        if path.is_dir() and not is_generated:
            yield from walk(path)
        elif path.is_file():
            yield path


def sources() -> list[Path]:
    return [ROOT / "earnest", *files(".py")]


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return (node for node in ast.walk(tree(path)) if isinstance(node, kinds))


def location(path: Path, node: ast.stmt | ast.expr | None = None) -> str:
    """Say where something is, in a form editors can follow."""
    return f"{path.relative_to(ROOT)}:{node.lineno if node else 1}"
