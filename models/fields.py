"""Fields: the kinds of value that commands, policies and events are made of."""

from __future__ import annotations

import re
import unicodedata
from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    StringConstraints,
    ValidationInfo,
)
from pydantic_core import PydanticCustomError

from models.money import MAX_FEN

MIN_YEAR, MAX_YEAR = 1970, 2999
"""Years in which an instant makes sense; every window still ends within the calendar."""

MICROSECOND = timedelta(microseconds=1)
"""The least difference between two instants."""

MAX_TIME_TEXT_LENGTH = 40
"""The longest text of an instant or a duration worth reading."""

_DURATION_PATTERN = re.compile(
    r"P(?=.)(?:(\d+)W)?(?:(\d+)D)?(?:T(?=.)(?:(\d+)H)?(?:(\d+)M)?(?:(\d+(?:\.\d{1,6})?)S)?)?",
    re.ASCII,
)


def parse_duration(text: object) -> timedelta:
    """Read an ISO 8601 duration of elapsed time: weeks, days (86 400 s), hours, minutes, seconds.

    Months and years are refused: they are not a length.
    """
    if isinstance(text, timedelta):
        return text
    match = (
        _DURATION_PATTERN.fullmatch(text)
        if isinstance(text, str) and len(text) <= MAX_TIME_TEXT_LENGTH
        else None
    )
    if match is None:
        message = "a duration like PT30M, PT24H or P7D is wanted"
        raise ValueError(message)
    weeks, days, hours, minutes = (int(part or 0) for part in match.groups()[:4])
    try:
        return timedelta(weeks=weeks, days=days, hours=hours, minutes=minutes) + timedelta(
            seconds=float(match[5] or 0)
        )
    except OverflowError:
        message = "a duration of at most 10 years is wanted"
        raise ValueError(message) from None


def format_duration(length: timedelta) -> str:
    """Write a duration as ISO 8601, the shortest exact way."""
    seconds, micros = divmod(length // MICROSECOND, 1_000_000)
    days, seconds = divmod(seconds, 86_400)
    hours, seconds = divmod(seconds, 3_600)
    minutes, seconds = divmod(seconds, 60)
    fraction = f".{micros:06}".rstrip("0") if micros else ""
    clock = "".join(f"{n}{unit}" for n, unit in ((hours, "H"), (minutes, "M")) if n)
    clock += f"{seconds}{fraction}S" if seconds or micros else ""
    return "P" + (f"{days}D" if days else "") + (f"T{clock}" if clock else "") if length else "PT0S"


_INSTANT_PATTERN = re.compile(
    r"\d{4}-\d\d-\d\dT\d\d:\d\d(?::\d\d(?:\.\d{1,9})?)?(?:Z|[+-]\d\d:\d\d)",
    re.ASCII,
)


def parse_instant(value: object) -> datetime:
    """Read an ISO 8601 instant with its offset, as UTC: a local time is nobody's deadline."""
    if isinstance(value, datetime) and value.tzinfo is not None:
        return value.astimezone(UTC)
    if (
        not isinstance(value, str)
        or len(value) > MAX_TIME_TEXT_LENGTH
        or not _INSTANT_PATTERN.fullmatch(value)
    ):
        message = "an instant like 2026-03-02T10:00:00+08:00 is wanted"
        raise ValueError(message)
    try:
        at = datetime.fromisoformat(value).astimezone(UTC)
    except (ValueError, OverflowError):
        message = "no such instant in the calendar"
        raise ValueError(message) from None
    if not MIN_YEAR <= at.year <= MAX_YEAR:
        message = f"an instant of the years {MIN_YEAR} to {MAX_YEAR} is wanted"
        raise ValueError(message)
    return at


STORED = {"stored": True}
"""The context in which what was accepted before is read again: rules of texts came later."""

_LINE_BREAKS = "\n\r\u2028\u2029"
_DIRECTION_CHANGES = "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"
# PostgreSQL's text cannot hold a NUL at all, and a terminal obeys the others.
_FORBIDDEN_CHARACTER = re.compile(f"[\x00-\x09\x0b\x0c\x0e-\x1f\x7f-\x9f{_DIRECTION_CHANGES}]")
_LINE_BREAK = re.compile(f"[{_LINE_BREAKS}]")
_BLANK_LETTERS = frozenset("\u115f\u1160\u2800\u3164\uffa0")


def _is_visible(character: str) -> bool:
    return unicodedata.category(character)[0] in "LNPS" and character not in _BLANK_LETTERS


def _check_text(text: str, info: ValidationInfo) -> str:
    """Refuse a text that says nothing, or would not be shown as it is."""
    if info.context == STORED:
        return text
    if _FORBIDDEN_CHARACTER.search(text):
        message = "a control character, or one that turns the direction of writing, is not text"
        raise ValueError(message)
    if not any(map(_is_visible, text)):
        message = "a text with something to see is wanted"
        raise ValueError(message)
    return text


def _check_single_line(text: str, info: ValidationInfo) -> str:
    if info.context != STORED and _LINE_BREAK.search(text):
        message = "a text on one line is wanted"
        raise ValueError(message)
    return text


def format_instant(at: datetime) -> str:
    """Write an instant as ISO 8601 in UTC, microseconds only where there are any."""
    return at.isoformat().replace("+00:00", "Z")


Instant = Annotated[datetime, BeforeValidator(parse_instant), PlainSerializer(format_instant)]
Duration = Annotated[timedelta, BeforeValidator(parse_duration), PlainSerializer(format_duration)]
ID_PATTERN = "[A-Za-z0-9_-]{1,64}"
Id = Annotated[str, StringConstraints(pattern=f"^{ID_PATTERN}$")]

PAYOUT_ID_PATTERN = "[A-Za-z0-9_-]{1,140}"
PayoutName = Annotated[str, StringConstraints(pattern=f"^{PAYOUT_ID_PATTERN}$")]
"""A payout's id, which names its order, or a reference of it."""

REFUND_ID_PATTERN = f"{PAYOUT_ID_PATTERN}(~[0-9]{{1,6}})?"
RefundName = Annotated[str, StringConstraints(pattern=f"^{REFUND_ID_PATTERN}$")]
"""A refund's id, which names its payment and its order, or a reference of it."""
CommandId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{8,64}$")]
Fen = Annotated[int, Field(ge=1, le=MAX_FEN)]
Bps = Annotated[int, Field(ge=0, le=10_000)]
Stars = Annotated[int, Field(ge=1, le=5)]
Label = Annotated[
    str,
    StringConstraints(min_length=1, max_length=200),
    AfterValidator(_check_single_line),
    AfterValidator(_check_text),
]
Brief = Annotated[
    str, StringConstraints(min_length=1, max_length=5_000), AfterValidator(_check_text)
]
RequiredNote = Annotated[
    str, StringConstraints(min_length=1, max_length=1_000), AfterValidator(_check_text)
]

# What was accepted before may be empty; schemas tell what is wanted now.
Note = Annotated[
    str,
    StringConstraints(max_length=1_000),
    Field(json_schema_extra={"minLength": 1}),
    AfterValidator(_check_text),
]
EvidenceText = Brief
_ADDRESS_PATTERN = r"[^\s/?#\x00-\x20\x7f]+[^\s\x00-\x20\x7f]*$"
Link = Annotated[str, StringConstraints(pattern=f"^https://{_ADDRESS_PATTERN}", max_length=2_000)]

WebAddress = Annotated[
    str, StringConstraints(pattern=f"^https?://{_ADDRESS_PATTERN}", max_length=2_000)
]

PaymentPurpose = Literal["deposit", "balance", "total"]
"""What a share of a payment is meant for: `total` is everything, of an order without a deposit."""

TaskType = Literal["douyin_video", "douyin_live", "huoshan", "xigua", "toutiao"]
SenderRole = Literal["client", "creator", "mcn", "operator", "payments", "platform", "provider"]
SENDER_ROLES: frozenset[str] = frozenset(get_args(SenderRole))


class StrictModel(BaseModel):
    """A model that converts nothing and tolerates nothing it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, hide_input_in_errors=True)


def field_error(field: str, detail: str) -> PydanticCustomError:
    """Make an error of a whole model that names the field at fault."""
    return PydanticCustomError(FIELD_ERROR, "{detail}", {"field": field, "detail": detail})


FIELD_ERROR = "field_error"
"""The type of such an error, by which the parser knows it."""
