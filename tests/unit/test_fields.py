"""Fields: the least and the most that each kind of value may be, and nothing beyond."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from models import fields
from models.fields import format_duration, format_instant, parse_duration, parse_instant
from models.money import MAX_FEN

ADDRESS = "https://example.org/"

LENGTHS: dict[str, tuple[object, int, int, str]] = {
    "id": (fields.Id, 1, 64, ""),
    "command id": (fields.CommandId, 8, 64, ""),
    "label": (fields.Label, 1, 200, ""),
    "brief": (fields.Brief, 1, 5_000, ""),
    "evidence": (fields.EvidenceText, 1, 5_000, ""),
    "required note": (fields.RequiredNote, 1, 1_000, ""),
    "link": (fields.Link, 9, 2_000, "https://"),
    "web address": (fields.WebAddress, 8, 2_000, "http://"),
}


def is_valid(kind: Any, value: object) -> bool:  # noqa: ANN401 - a type with its bounds
    try:
        TypeAdapter[Any](kind).validate_python(value)
    except ValidationError:
        return False
    return True


@pytest.mark.parametrize("name", LENGTHS)
def test_a_text_may_be_as_short_and_as_long_as_this_and_no_more(name: str) -> None:
    kind, minimum, maximum, head = LENGTHS[name]
    for length in (minimum, maximum):
        assert is_valid(kind, head + "x" * (length - len(head)))
    for length in (minimum - 1, maximum + 1):
        assert not is_valid(kind, head + "x" * (length - len(head)))


def test_a_note_is_at_most_a_thousand_characters_long() -> None:
    assert is_valid(fields.Note, "x" * 1_000)
    assert not is_valid(fields.Note, "x" * 1_001)


NUMBERS: dict[str, tuple[object, int, int]] = {
    "fen": (fields.Fen, 1, MAX_FEN),
    "basis points": (fields.Bps, 0, 10_000),
    "stars": (fields.Stars, 1, 5),
}


@pytest.mark.parametrize("name", NUMBERS)
def test_a_number_may_be_as_small_and_as_large_as_this_and_no_more(name: str) -> None:
    kind, minimum, maximum = NUMBERS[name]
    assert [is_valid(kind, value) for value in (minimum, maximum)] == [True, True]
    assert [is_valid(kind, value) for value in (minimum - 1, maximum + 1)] == [False, False]


@pytest.mark.parametrize(
    ("text", "is_instant"),
    [
        ("1970-01-01T00:00:00Z", True),
        ("1969-12-31T23:59:59Z", False),
        ("2999-12-31T23:59:59Z", True),
        ("3000-01-01T00:00:00Z", False),
        # The year is that in UTC.
        ("3000-01-01T00:00:00+08:00", True),
        ("2026-03-02T10:00+08:00", True),
        ("2026-03-02T10:00:00.123456789+08:00", True),
        ("2026-03-02T10:00:00", False),
        ("2026-02-30T10:00:00Z", False),
        ("2026-03-02 10:00:00Z", False),
        ("2026-03-02T10:00:00Z" + "0" * 30, False),
        (None, False),
        (datetime(2026, 3, 2, 10), False),  # noqa: DTZ001 - a local time, which is refused
    ],
)
def test_an_instant_has_an_offset_and_lies_in_years_that_make_sense(
    text: object, *, is_instant: bool
) -> None:
    assert is_valid(fields.Instant, text) is is_instant


def test_an_instant_is_read_as_utc_whatever_its_offset_and_from_a_datetime_too() -> None:
    expected = datetime(2026, 3, 2, 2, tzinfo=UTC)
    in_shanghai = expected.astimezone(timezone(timedelta(hours=8)))
    for value in ("2026-03-02T10:00:00+08:00", in_shanghai, expected):
        instant = parse_instant(value)
        assert (instant, instant.tzinfo) == (expected, UTC)
        assert format_instant(instant) == "2026-03-02T02:00:00Z"


@pytest.mark.parametrize(
    ("length", "text"),
    [
        (timedelta(0), "PT0S"),
        (timedelta(microseconds=1), "PT0.000001S"),
        (timedelta(seconds=59), "PT59S"),
        (timedelta(seconds=60), "PT1M"),
        (timedelta(minutes=59, seconds=59, microseconds=500_000), "PT59M59.5S"),
        (timedelta(hours=1), "PT1H"),
        (timedelta(hours=23, minutes=59), "PT23H59M"),
        (timedelta(days=1), "P1D"),
        (timedelta(days=8, seconds=1), "P8DT1S"),
    ],
)
def test_a_duration_is_written_the_shortest_exact_way_and_read_again(
    length: timedelta, text: str
) -> None:
    assert format_duration(length) == text
    assert parse_duration(text) == parse_duration(length) == length


def test_a_text_of_forty_characters_may_be_a_duration_and_a_longer_one_is_none() -> None:
    assert parse_duration("PT" + "0" * 36 + "9S") == timedelta(seconds=9)
    with pytest.raises(ValueError, match="duration"):
        parse_duration("PT" + "0" * 37 + "9S")
