"""Spreadsheets: CSV that people open in one, where a text can neither calculate nor mislead."""

from __future__ import annotations

from ops.terminal import STEERING_CHARACTERS

BYTE_ORDER_MARK = "\ufeff"
"""What a file begins with so that spreadsheets read it as UTF-8, Chinese too."""

PLAIN_WITHOUT_CSV = "--plain: only CSV has a form for people and one for programs"

FORMULA_STARTS = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""What makes of a text a formula: East Asian versions understand the wide forms as well."""

FORMULA_ESCAPE = "'"
"""What makes of it a text again."""


def spreadsheet_cell(value: object) -> object:
    """Write a value so that it is shown as it is: senders of texts are no authors of formulas."""
    if not isinstance(value, str):
        return value
    # Line breaks are the writer's to quote; the rest of what steers is of no use to a reader.
    text = "\n".join(STEERING_CHARACTERS.sub(" ", line) for line in value.split("\n"))
    return FORMULA_ESCAPE + text if text.lstrip().startswith(FORMULA_STARTS) else text
