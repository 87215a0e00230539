"""Alternatives: a pattern spelt out, so that two patterns can be told apart by what they allow."""

from __future__ import annotations

from collections.abc import Iterator


def alternatives(pattern: str) -> frozenset[str]:
    """Spell a pattern out: `^(a|b):x` is `^a:x` or `^b:x`.

    A group that may be repeated, or left out, stays as it is. It is enough for the patterns that
    we write; of another it may say too little in common, and never too much.
    """
    return frozenset("".join(one) for one in _sequences(_split(pattern)))


def _sequences(options: list[str]) -> Iterator[tuple[str, ...]]:
    for option in options:
        made: list[tuple[str, ...]] = [()]
        for part in _parts(option):
            spelt = alternatives(part[1:-1]) if part[0] == "(" and part[-1] == ")" else {part}
            made = [(*so_far, one) for so_far in made for one in sorted(spelt)]
        yield from made


def _split(pattern: str) -> list[str]:
    """Split a pattern at the bars that stand in no group."""
    found = [""]
    for part in _parts(pattern):
        if part == "|":
            found.append("")
        else:
            found[-1] += part
    return found


def _parts(pattern: str) -> Iterator[str]:
    """Cut a pattern into characters, classes, and groups with what counts them."""
    at = 0
    while at < len(pattern):
        end = _end(pattern, at)
        if pattern[at] == "(" and end < len(pattern) and pattern[end] in "?*+{":
            end += 1 if pattern[end] != "{" else pattern.index("}", end) + 1 - end
        yield pattern[at:end]
        at = end


def _end(pattern: str, at: int) -> int:
    """Return where the character, class or group that begins somewhere ends."""
    if pattern[at] == "\\":
        return at + 2
    if pattern[at] == "[":
        # A bracket that comes first in a class is a member of it.
        first = at + 3 if pattern[at + 1] == "^" else at + 2
        return pattern.index("]", first) + 1
    if pattern[at] != "(":
        return at + 1
    inner = at + 1
    while pattern[inner] != ")":
        inner = _end(pattern, inner)
    return inner + 1
