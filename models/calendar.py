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

from models.lifecycle import State
from models.policy import Policy

SHANGHAI = timezone(timedelta(hours=8), "Asia/Shanghai")
ONE_DAY = timedelta(days=1)
_MICROSECOND = timedelta(microseconds=1)


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
    return day_of(at - _MICROSECOND)


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

LONGEST_PATH = (
    *(State.AWAITING_BALANCE, State.IN_FULFILMENT, State.SCRIPT_REVIEW, State.PRODUCING),
    *(State.CONTENT_REVIEW, State.READY_TO_PUBLISH, State.PUBLISHED, State.ACCEPTED_DELIVERY),
)
"""The longest way of an order that nobody sends back."""


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


def is_calendar_known(policy: Policy, at: datetime, expected_at: datetime | None) -> bool:
    """Tell whether the calendar reaches as far as an order placed now may go, if nothing returns.

    A deadline that nobody can compute should be an error while there is no order yet.
    """
    if policy.day_count == "elapsed":
        return True
    entered_at = at + policy.deposit_window + policy.payment_notice_grace + policy.accept_window
    for state in LONGEST_PATH:
        state_deadline = compute_deadline(policy, state, entered_at, expected_at)
        if state_deadline is None or state_deadline.counted == "unknown_year":
            return False
        entered_at = state_deadline.due_at
    return _is_year_known(at) and _is_year_known(entered_at)


def _is_year_known(at: datetime) -> bool:
    try:
        is_working_day(day_of(at))
    except UnknownYear:
        return False
    return True
