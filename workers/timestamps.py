"""Timestamps: instants as the stores keep them, microseconds since 1970 UTC."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from models.fields import MICROSECOND, format_instant

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


SECOND_US = 1_000_000


def to_us(at: datetime) -> int:
    """Return an instant as microseconds, exactly."""
    return (at - EPOCH) // MICROSECOND


def from_us(micros: int) -> datetime:
    """Return the instant of a number of microseconds, exactly."""
    return EPOCH + timedelta(microseconds=micros)


def optional_us(at: datetime | None) -> int | None:
    """Return an instant as microseconds, or None."""
    return None if at is None else to_us(at)


def now_us() -> int:
    """Return this host's idea of the present; it decides nobody's rights."""
    return to_us(datetime.now(UTC))


def optional_text(micros: int | None) -> str | None:
    """Write microseconds as ISO 8601 in UTC, or None."""
    return None if micros is None else format_instant(from_us(micros))
