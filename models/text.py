"""Text: JSON that may be hostile, read without falling over."""

from __future__ import annotations

import json
import re

DEEPEST = 24
"""Levels of nesting kept; no honest command has more than four."""

MOST_DIGITS = 40
"""Digits of the longest number worth converting."""

_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*+"?|[\[\]{}]', re.DOTALL)


def shallow(text: str) -> str:
    """Cut away what is nested deeper than `DEEPEST`, without recursion.

    A text 100 000 levels deep becomes one that any reader survives, and that is still no command.
    """
    depth, pieces, start = 0, [], 0
    for token in _TOKEN.finditer(text):
        sign = token[0]
        if sign in "[{":
            depth += 1
            if depth == DEEPEST + 1:
                pieces.append(text[start : token.start()] + "null")
        elif sign in "]}":
            if depth == DEEPEST + 1:
                start = token.end()
            depth -= 1
    if depth > DEEPEST:
        return "".join(pieces)
    return "".join([*pieces, text[start:]])


def read_loosely(raw: str | bytes) -> object:
    """Read JSON as well as it can be read, or return None: for naming what will be refused."""
    try:
        text = raw if isinstance(raw, str) else raw.decode()
        return json.loads(shallow(text), parse_int=_number)
    except (ValueError, RecursionError):
        return None


def says_a_field_twice(raw: bytes) -> bool:
    """Tell whether an object in a well-formed JSON text has two members of one name."""
    try:
        _STRICT.decode(raw.decode())
    except _TwiceError:
        return True
    return False


class _TwiceError(Exception):
    pass


def _distinct(members: list[tuple[str, object]]) -> None:
    if len({name for name, _ in members}) != len(members):
        raise _TwiceError


_STRICT = json.JSONDecoder(object_pairs_hook=_distinct)


def _number(digits: str) -> int | str:
    # Python refuses to convert thousands of digits; kept as text they are refused as no number.
    return int(digits) if len(digits) <= MOST_DIGITS else digits
