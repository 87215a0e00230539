"""Alternatives: a pattern spelt out, so that two patterns can be told apart by what they allow."""

from __future__ import annotations

from collections.abc import Iterator


def alternatives(pattern: str) -> frozenset[str]:
    """Spell a pattern out: `^(a|b):x` is `^a:x` or `^b:x`.

    A group that may be repeated, or left out, stays as it is. It is enough for the patterns that
    we write; of another it may say too little in common, and never too much.
    """
    return frozenset("".join(sequence) for sequence in _sequences(_split(pattern)))


def _sequences(options: list[str]) -> Iterator[tuple[str, ...]]:
    for option in options:
        sequences: list[tuple[str, ...]] = [()]
        for part in _parts(option):
            part_alternatives = (
                alternatives(part[1:-1]) if part[0] == "(" and part[-1] == ")" else {part}
            )
            sequences = [
                (*prefix, alternative)
                for prefix in sequences
                for alternative in sorted(part_alternatives)
            ]
        yield from sequences


def _split(pattern: str) -> list[str]:
    """Split a pattern at the bars that stand in no group."""
    branches = [""]
    for part in _parts(pattern):
        if part == "|":
            branches.append("")
        else:
            branches[-1] += part
    return branches


def _parts(pattern: str) -> Iterator[str]:
    """Cut a pattern into characters, classes, and groups with what counts them."""
    position = 0
    while position < len(pattern):
        end = _end(pattern, position)
        if pattern[position] == "(" and end < len(pattern) and pattern[end] in "?*+{":
            end += 1 if pattern[end] != "{" else pattern.index("}", end) + 1 - end
        yield pattern[position:end]
        position = end


def _end(pattern: str, position: int) -> int:
    """Return where the character, class or group that begins somewhere ends."""
    if pattern[position] == "\\":
        return position + 2
    if pattern[position] == "[":
        # A bracket that comes first in a class is a member of it.
        first = position + 3 if pattern[position + 1] == "^" else position + 2
        return pattern.index("]", first) + 1
    if pattern[position] != "(":
        return position + 1
    inner = position + 1
    while pattern[inner] != ")":
        inner = _end(pattern, inner)
    return inner + 1
