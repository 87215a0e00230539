"""Script: how a story is written down: a table of orders, their terms, and what happens to them.

A script is a list of `moment+from~to verb …`: the seconds after a moment between which a command
is given. Moments are those of `rehearsal.MOMENTS`, and `start`, when the story begins; `last`, the
command before; `lapse`, the end of the order's present wait. Verbs are those of `telling.VERBS`.
Ranges stay a second away from every instant at which the answer, or a reminder, would change
under `stage.POLICY`. A word in capitals stands for a passage that several scripts share.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

_CUE = re.compile(r"(\w+)\+([\d.]+)~([\d.]+) (\w+)(.*)")


@dataclass(frozen=True)
class Cue:
    """One command of a script: between which seconds after which moment, and what."""

    moment: str
    earliest: float
    latest: float
    verb: str
    options: dict[str, str]


Script = tuple[Cue, ...]


@dataclass(frozen=True)
class Story:
    """One row of a table: `terms` are words on what is ordered, and how it is paid."""

    orders: int
    terms: frozenset[str]
    script: Script


def read_stories(table: str, passages: Mapping[str, str]) -> list[Story]:
    """Read a table; a line that begins further right goes on with the row before."""
    text = re.sub(r"^#.*\n", "", table.strip(), flags=re.MULTILINE)
    stories = []
    for row in re.sub(r";\n +", "; ", text).splitlines():
        orders, terms, script = (part.strip() for part in row.split("|"))
        words = frozenset(terms.split())
        stories.append(Story(int(orders), words, read_script(script, passages)))
    return stories


def read_script(text: str, passages: Mapping[str, str]) -> Script:
    """Read one script."""
    for name, passage in passages.items():
        text = re.sub(rf"\b{name}\b", passage, text)
    return tuple(_cue(part) for part in text.split("; ") if part)


def _cue(text: str) -> Cue:
    """Read one command of a script; a word alone is a flag."""
    match = _CUE.fullmatch(text)
    if match is None:
        raise ValueError(text)
    moment, earliest, latest, verb, rest = match.groups()
    options = {name: value for name, _, value in (word.partition("=") for word in rest.split())}
    return Cue(moment, float(earliest), float(latest), verb, options)
