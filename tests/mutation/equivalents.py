"""Equivalents: mutants that change nothing which a rule promises, each with the reason why."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tests.mutation.mutants import SourceMutant

FILE = Path(__file__).with_name("equivalents.toml")


@dataclass(frozen=True)
class Equivalent:
    """One entry of the list: the mutants of these words in that line, and why they do no harm."""

    file: str
    line: str
    change: str
    reason: str

    @property
    def key(self) -> tuple[str, str, str]:
        """Match the key of a mutant."""
        return self.file, self.line, self.change

    def __str__(self) -> str:
        return f"{self.file}: {self.line!r}: {self.change}"


def read_equivalents(path: Path = FILE) -> list[Equivalent]:
    entries = tomllib.loads(path.read_text(encoding="utf-8")).get("equivalent", [])
    return [Equivalent(**entry) for entry in entries]


def stale(equivalents: Iterable[Equivalent], mutants: Iterable[SourceMutant]) -> list[Equivalent]:
    """Give the entries that no mutant answers to any more: they must be looked at again."""
    keys = {mutant.key for mutant in mutants}
    return [equivalent for equivalent in equivalents if equivalent.key not in keys]
