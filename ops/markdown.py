"""Markdown: tables, lists and code as generated pages write them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import timedelta

from models.fields import duration_text


def plain(value: object) -> str:
    if isinstance(value, timedelta):
        return code(duration_text(value))
    if isinstance(value, tuple):
        return ", ".join(map(plain, value))
    return code(str(value))


def code(text: str) -> str:
    return f"`{text}`"


def codes(texts: Iterable[str]) -> str:
    return ", ".join(map(code, texts)) or "none"


def numbered(names: Iterable[str]) -> str:
    return "".join(f"{number}. {code(name)}\n" for number, name in enumerate(names, start=1))


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
