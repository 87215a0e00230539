"""Calendar: civil days of China, and the deadlines of states, in elapsed time or working days.

A day is one of Asia/Shanghai, which has been eight hours ahead of UTC, summer and winter, since
1992. A year whose holidays nobody has announced yet is an error here, never a guess.
"""

from __future__ import annotations

from calendar import monthrange
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone
from functools import cache
from typing import Literal

import chinese_calendar

from models.fields import MICROSECOND
from models.lifecycle import State
from models.policy import Policy

SHANGHAI = timezone(timedelta(hours=8), "Asia/Shanghai")
ONE_DAY = timedelta(days=1)


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


def day_ending_at(at: datetime) -> date:
    """Return the day that an instant falls on or just ends: midnight is 24:00 of the day before."""
    return day_of(at - MICROSECOND)


def start_of_day(day: date) -> datetime:
    """Return 00:00 of a day in Shanghai, as UTC."""
    return datetime.combine(day, time(), SHANGHAI).astimezone(UTC)


def end_of_day(day: date) -> datetime:
    """Return 24:00 of a day in Shanghai, as UTC."""
    return start_of_day(day + ONE_DAY)


def find_last_day(first: date, days: int) -> date:
    """Return the last of so many whole days after `first`, rolled to the next working day.

    The first day does not count. Raise `UnknownYear`.
    """
    day = first + days * ONE_DAY
    while not is_working_day(day):
        day += ONE_DAY
    return day


def months_after(at: datetime, months: int) -> datetime:
    """Return the same time of the same day some months later, clamped to the month's end."""
    local = at.astimezone(SHANGHAI)
    years, month = divmod(local.month - 1 + months, 12)
    year = local.year + years
    day = min(local.day, monthrange(year, month + 1)[1])
    return local.replace(year=year, month=month + 1, day=day).astimezone(UTC)


CountingMethod = Literal["elapsed", "civil_cn", "unknown_year"]
"""How a deadline was counted; `unknown_year`: in elapsed time, as the calendar does not go on."""

ELAPSED_TIME_STATES = frozenset({State.AWAITING_DEPOSIT, State.OFFERED, State.BALANCE_OVERDUE})
"""States whose windows are lengths of time by nature: they run from the moment, always."""


@dataclass(frozen=True, slots=True)
class Deadline:
    """Until when a state waits, and how that was counted."""

    due_at: datetime
    counted: CountingMethod = "elapsed"


def compute_deadline(
    policy: Policy, state: State, entered_at: datetime, expected_at: datetime | None
) -> Deadline | None:
    """Return the deadline of a state, None where it has none.

    Where the calendar does not go on, time is counted as it elapses; whoever asks must tell an
    operator, who may extend it.
    """
    if state not in policy.windows:
        return None
    elapsed_due_at = deadline_by_elapsed_time(policy, state, entered_at, expected_at)
    if (
        policy.day_count == "elapsed"
        or state in ELAPSED_TIME_STATES
        or not _is_whole_days(policy.windows[state])
    ):
        return Deadline(elapsed_due_at)
    try:
        return Deadline(
            _deadline_by_working_days(policy, state, entered_at, expected_at), "civil_cn"
        )
    except UnknownYear:
        return Deadline(elapsed_due_at, "unknown_year")


def deadline_by_elapsed_time(
    policy: Policy, state: State, entered_at: datetime, expected_at: datetime | None
) -> datetime:
    """Return a state's deadline in elapsed time."""
    window, publish_at = policy.windows[state], expected_at or entered_at
    if state is State.PRODUCING:
        return max(publish_at, entered_at + window) + policy.production_grace
    if state is State.READY_TO_PUBLISH:
        return max(publish_at, entered_at) + window
    return entered_at + window


def _deadline_by_working_days(
    policy: Policy, state: State, entered_at: datetime, expected_at: datetime | None
) -> datetime:
    days, first_day = policy.windows[state].days, day_ending_at(entered_at)
    if state is State.READY_TO_PUBLISH:
        first_day = _later_day(first_day, expected_at, entered_at)
    ending_day = find_last_day(first_day, days)
    if state is not State.PRODUCING:
        return end_of_day(ending_day)
    grace, base_at = policy.production_grace, end_of_day(ending_day)
    if _is_whole_days(grace):
        return end_of_day(find_last_day(_later_day(ending_day, expected_at, base_at), grace.days))
    return max(expected_at or base_at, base_at) + grace


def _later_day(day: date, expected_at: datetime | None, after_at: datetime) -> date:
    """Return the day of the expected publication if that is later, else the day at hand."""
    return day_of(expected_at) if expected_at and expected_at > after_at else day


def _is_whole_days(window: timedelta) -> bool:
    return window > timedelta(0) and not window % ONE_DAY


def is_calendar_known(policy: Policy, at: datetime) -> bool:
    """Tell whether the calendar reaches to the balance of an order placed now, accepted at last.

    Until then nobody has worked: a deadline that nobody can compute should be an error. Later ones
    are counted as time elapses, and an operator is told.
    """
    accepted_at = at + policy.deposit_window + policy.payment_notice_grace + policy.accept_window
    deadline = compute_deadline(policy, State.AWAITING_BALANCE, accepted_at, None)
    return deadline is None or deadline.counted != "unknown_year"


FIRST_YEAR = 2004
"""The first year whose holidays the library knows."""


@cache
def last_known_day() -> date:
    """Return the last day of which it is known whether people work."""
    year = FIRST_YEAR
    while _is_year_known(year + 1):
        year += 1
    return date(year, 12, 31)


def days_left(at: datetime) -> int:
    """Return how many days the calendar goes on after today's; negative where it has ended."""
    return (last_known_day() - day_of(at)).days


def ends_soon(policy: Policy, at: datetime) -> bool:
    """Tell whether an operator should know that the calendar ends: only where it is in force."""
    ends_at = end_of_day(last_known_day())
    return policy.day_count == "civil_cn" and at > ends_at - policy.calendar_warning


def _is_year_known(year: int) -> bool:
    try:
        is_working_day(date(year, 1, 1))
    except UnknownYear:
        return False
    return True
