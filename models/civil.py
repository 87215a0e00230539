"""Civil days: Chinese working days, from a calendar that knows the public holidays.

A day is one of Asia/Shanghai, which has been eight hours ahead of UTC, summer and winter, since
1992. A year whose holidays nobody has announced yet is an error here, never a guess.
"""

from __future__ import annotations

from calendar import monthrange
from datetime import UTC, date, datetime, time, timedelta, timezone
from functools import cache

import chinese_calendar

SHANGHAI = timezone(timedelta(hours=8), "Asia/Shanghai")
DAY = timedelta(days=1)
_INSTANT = timedelta(microseconds=1)


class UnknownYear(ValueError):
    """A year without data: its holidays have not been announced, or nobody has entered them."""


@cache
def is_working_day(day: date) -> bool:
    """Tell whether people work that day, make-up days included; raise `UnknownYear`."""
    try:
        return bool(chinese_calendar.is_workday(day))
    except NotImplementedError:
        raise UnknownYear(f"the holidays of {day.year} are not known") from None


def day_of(at: datetime) -> date:
    """Return the day in Shanghai on which an instant falls."""
    return at.astimezone(SHANGHAI).date()


def day_ended(at: datetime) -> date:
    """Return the day that an instant falls on or just ends: midnight is 24:00 of the day before."""
    return day_of(at - _INSTANT)


def start_of(day: date) -> datetime:
    """Return 00:00 of a day in Shanghai, as UTC."""
    return datetime.combine(day, time(), SHANGHAI).astimezone(UTC)


def end_of(day: date) -> datetime:
    """Return 24:00 of a day in Shanghai, as UTC."""
    return start_of(day + DAY)


def last_day(first: date, days: int) -> date:
    """Return the last of so many whole days after `first`, rolled to the next working day.

    The first day does not count. Raise `UnknownYear`.
    """
    day = first + days * DAY
    while not is_working_day(day):
        day += DAY
    return day


def months_after(at: datetime, months: int) -> datetime:
    """Return the same time of the same day some months later, clamped to the month's end."""
    local = at.astimezone(SHANGHAI)
    years, month = divmod(local.month - 1 + months, 12)
    year = local.year + years
    day = min(local.day, monthrange(year, month + 1)[1])
    return local.replace(year=year, month=month + 1, day=day).astimezone(UTC)
