"""Terminal: tables and progress for whoever watches, lines and instants as people give them.

Tables are plain text in columns that line up, whatever script it is in.
"""

from __future__ import annotations

import json
import re
import sys
import time
import unicodedata
from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Self

from models.fields import parse_instant
from ops.errors import UsageError

Cell = str | int | None

COLUMN_GAP = "  "

WIDE_CLASSES = "WF"
"""The classes of East Asian width that take two columns of a terminal."""

ZERO_WIDTH_CATEGORIES = ("Mn", "Me", "Cf", "Cc")
"""The categories of characters that take none."""

STEERING_CHARACTERS = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]"
)
"""What ends a line, commands a terminal, or turns the direction in which others are shown."""


def display_width(text: str) -> int:
    """Return how many columns of a terminal a text takes."""
    return sum(map(_columns, text))


def _columns(character: str) -> int:
    if unicodedata.category(character) in ZERO_WIDTH_CATEGORIES:
        return 0
    return 2 if unicodedata.east_asian_width(character) in WIDE_CLASSES else 1


def shorten(text: str, columns: int) -> str:
    """Shorten a text to so many columns, with an ellipsis where something is missing."""
    if display_width(text) <= columns:
        return text
    prefix = ""
    for character in text:
        if display_width(prefix + character) >= columns:
            break
        prefix += character
    return prefix + "…"


def draw_table(title: str, heads: Sequence[str], rows: Iterable[Sequence[Cell]]) -> str:
    """Draw a table; columns of numbers stand flush right, None is a dash."""
    body_rows = [tuple(row) for row in rows]
    right_aligned = [
        all(isinstance(row[n], int | None) for row in body_rows) and bool(body_rows)
        for n in range(len(heads))
    ]
    cells = [tuple(map(_text, row)) for row in body_rows]
    widths = [max(map(display_width, column)) for column in zip(heads, *cells, strict=True)]
    lines = [_line(row, widths, right_aligned) for row in (heads, *cells)]
    rule = COLUMN_GAP.join("-" * column_width for column_width in widths)
    return "\n".join((title, lines[0], rule, *lines[1:]))


def _text(cell: Cell) -> str:
    if cell is None:
        return "-"
    return without_controls(f"{cell:,}" if isinstance(cell, int) else cell)


def without_controls(text: str) -> str:
    """Take from a text what would break its line or steer the terminal."""
    return STEERING_CHARACTERS.sub(" ", text)


def lines_without_controls(text: str) -> str:
    """Do the same for a text whose line breaks are wanted."""
    return "\n".join(map(without_controls, text.split("\n")))


def format_json(value: object) -> str:
    """Write a value as JSON that is readable in every script, and that steers no terminal."""
    return escape_controls(json.dumps(value, ensure_ascii=False))


def escape_controls(json_text: str) -> str:
    """Escape in a JSON text what would steer a terminal: what it means stays the same."""
    return STEERING_CHARACTERS.sub(lambda match: f"\\u{ord(match[0]):04x}", json_text)


def _line(row: Sequence[str], widths: Sequence[int], right_aligned: Sequence[bool]) -> str:
    padded = [
        " " * (column_width - display_width(cell)) + cell
        if is_right
        else cell + " " * (column_width - display_width(cell))
        for cell, column_width, is_right in zip(row, widths, right_aligned, strict=True)
    ]
    return COLUMN_GAP.join(padded).rstrip()


MAX_ROWS = 200
"""Rows of a table for people; `--json` lists everything."""

REDRAW_INTERVAL_S = 0.1


class Progress:
    """One line on standard error that counts: redrawn on a terminal, once at the end elsewhere."""

    def __init__(self, verb: str, total: int | None = None, *, quiet: bool = False) -> None:
        """Start at nothing; `total` is how many there will be, where that is known."""
        self.verb, self.done, self.quiet = verb, 0, quiet
        self.of_total = "" if total is None else f" of {total}"
        self.started_at = self.redrawn_at = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, failure: type[BaseException] | None, *_: object) -> None:
        if self.quiet or (failure and not self.done):
            return
        elapsed_s = time.monotonic() - self.started_at
        line_start = "\r" if sys.stderr.isatty() else ""
        print(
            f"{line_start}{self.done}{self.of_total} {self.verb} in {elapsed_s:.1f} s",
            file=sys.stderr,
        )

    def add(self, count: int) -> None:
        """Count more."""
        self.done += count
        now = time.monotonic()
        if not self.quiet and sys.stderr.isatty() and now - self.redrawn_at >= REDRAW_INTERVAL_S:
            self.redrawn_at = now
            print(
                f"\r{self.done}{self.of_total} {self.verb} …", end="", file=sys.stderr, flush=True
            )


LINES_ENCODING = "utf-8-sig"
"""UTF-8, with or without the mark that some editors put in front."""


def open_lines(name: str) -> Any:  # noqa: ANN401 - a file, or what only looks like one
    """Open a file of lines for reading, or standard input for `-`."""
    if name == "-":
        return open(
            sys.stdin.fileno(), encoding=LINES_ENCODING, errors="surrogateescape", closefd=False
        )
    try:
        return Path(name).open(encoding=LINES_ENCODING, errors="surrogateescape")
    except OSError as error:
        raise UsageError(f"{name}: {error.strerror}") from None


def read_instant(option: str, text: str) -> datetime:
    """Read an instant that an option was given; raise `UsageError`."""
    try:
        return parse_instant(text)
    except ValueError as error:
        raise UsageError(f"{option}: {error}") from None
