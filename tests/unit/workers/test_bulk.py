"""Bulk: a column on its way to PostgreSQL arrives as it was, whatever is in it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from psycopg.adapt import Loader, Transformer
from psycopg.pq import Format

from models.errors import BrokenInvariant
from models.lifecycle import State
from workers.database.bulk import array

TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))
ARRAYS = {str: 1009, int: 1016, bytes: 1001}


def read_array(kind: type, text: str) -> Any:  # noqa: ANN401 - a list of the kind
    """Read an array as the driver does; `kind` is what it holds."""
    loader: Loader = Transformer().get_loader(ARRAYS[kind], Format.TEXT)  # type: ignore[assignment]
    return loader.load(text.encode())


@given(st.lists(TEXTS, min_size=1))
def test_bulk_arrays_keep_texts(column: list[str]) -> None:
    assert read_array(str, array(column)) == column


@given(st.lists(st.none() | TEXTS, min_size=1))
def test_bulk_arrays_keep_absent_texts(column: list[str | None]) -> None:
    assert read_array(str, array(column)) == column


@given(st.lists(st.none() | st.integers(-(2**63), 2**63 - 1), min_size=1))
def test_bulk_arrays_keep_numbers(column: list[int | None]) -> None:
    assert read_array(int, array(column)) == column


@given(st.lists(st.none() | st.binary(), min_size=1))
def test_bulk_arrays_keep_bytes(column: list[bytes | None]) -> None:
    assert read_array(bytes, array(column)) == column


def test_bulk_arrays_take_enum_members_as_text() -> None:
    state = next(iter(State))
    assert read_array(str, array([state, None])) == [str(state), None]


@pytest.mark.parametrize("column", [["a\0b"], ["a", "\0"], [None, "\0"]])
def test_bulk_arrays_refuse_a_nul_rather_than_split_a_text(column: list[str | None]) -> None:
    with pytest.raises(BrokenInvariant):
        array(column)
