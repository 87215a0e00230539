"""Spreadsheets: what senders wrote is shown as text, and calculates nothing."""

from __future__ import annotations

import pytest

from ops.spreadsheets import spreadsheet_cell


@pytest.mark.parametrize(
    "text",
    ["=1+1", "+86 10", "-cmd|' /C calc'!A0", "@SUM(A1)", "\t=1", "  =1", "\uff1d1+1", "\r\n=1"],
)
def test_a_formula_becomes_a_text(text: str) -> None:
    assert str(spreadsheet_cell(text)).startswith("'")


@pytest.mark.parametrize("value", [-5, 5, None, True, "o1", "达人", "a=b", "two\nlines", ""])
def test_what_calculates_nothing_stays_as_it_is(value: object) -> None:
    assert spreadsheet_cell(value) == value


def test_a_cell_steers_nothing() -> None:
    assert spreadsheet_cell("a\x9b\u202eb\nc") == "a  b\nc"
