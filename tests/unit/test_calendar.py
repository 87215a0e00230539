"""Calendar: windows in civil days exclude their first day, end at 24:00 in Shanghai and roll on."""

from __future__ import annotations

from datetime import date, datetime

import pytest

from models import calendar
from models.calendar import SHANGHAI, UnknownYear, compute_deadline
from models.lifecycle import State
from models.policy import Policy
from models.reasons import RejectionReason
from tests.support.stories import (
    MICRO,
    OrderStory,
    audit,
    place,
    play_step,
    read_table,
    register_parties,
    span,
)

CIVIL = Policy(day_count="civil_cn")


def shanghai_instant(text: str) -> datetime:
    """Read an instant as clocks in Shanghai show it; 24:00 is midnight of the next day."""
    day, _, clock = text.partition(" ")
    if clock == "24:00":
        return calendar.end_of_day(date.fromisoformat(day))
    return datetime.fromisoformat(f"{day}T{clock or '10:00'}").replace(tzinfo=SHANGHAI)


# Announced by the State Council: which days were free, and which weekends were worked.
ANNOUNCED_DAYS = read_table("""
    day         works
    2024-02-09  yes
    2024-02-10  no
    2024-02-17  no
    2024-02-04  yes
    2024-02-18  yes
    2025-01-26  yes
    2025-01-28  no
    2025-02-04  no
    2025-02-05  yes
    2025-02-08  yes
    2024-09-29  yes
    2024-10-07  no
    2024-10-12  yes
    2025-09-28  yes
    2025-10-08  no
    2025-10-09  yes
    2025-10-11  yes
    2024-02-29  yes
    2025-12-31  yes
    2026-01-01  no
    2026-01-04  yes
""")


@pytest.mark.parametrize("row", ANNOUNCED_DAYS, ids=lambda row: row["day"])
def test_holidays_and_make_up_days_are_those_announced(row: dict[str, str]) -> None:
    assert calendar.is_working_day(date.fromisoformat(row["day"])) == (row["works"] == "yes")


# A window of whole days from some moment, and its last instant.
THREE_DAY_WINDOWS = read_table("""
    from              days  until             because
    2026-03-02 10:00  3     2026-03-05 24:00  an ordinary week
    2026-03-02 00:01  3     2026-03-05 24:00  the hour does not count
    2026-03-02 23:59  3     2026-03-05 24:00  the hour does not count
    2026-03-05 10:00  3     2026-03-09 24:00  Sunday rolls to Monday
    2026-03-04 10:00  3     2026-03-09 24:00  Saturday rolls to Monday
    2024-02-07 10:00  3     2024-02-18 24:00  Spring Festival, to a worked Sunday
    2024-02-06 10:00  3     2024-02-09 24:00  the eve was worked in 2024
    2025-01-24 10:00  3     2025-01-27 24:00  the Monday before the festival
    2025-01-25 10:00  3     2025-02-05 24:00  Spring Festival
    2024-09-26 10:00  3     2024-09-29 24:00  a worked Sunday before National Day
    2024-09-28 10:00  3     2024-10-08 24:00  National Day
    2025-09-25 10:00  3     2025-09-28 24:00  a worked Sunday before National Day
    2025-09-29 10:00  3     2025-10-09 24:00  National Day and Mid-Autumn
    2025-10-08 10:00  3     2025-10-11 24:00  a worked Saturday after it
    2024-02-26 10:00  3     2024-02-29 24:00  the leap day
    2024-02-28 10:00  3     2024-03-04 24:00  over the leap day and a weekend
    2025-12-29 10:00  3     2026-01-04 24:00  the year's end, to a worked Sunday
    2025-12-28 10:00  3     2025-12-31 24:00  the last day of a year
    2026-03-06 24:00  3     2026-03-09 24:00  24:00 belongs to the day that ends
""")


@pytest.mark.parametrize(
    "row", THREE_DAY_WINDOWS, ids=lambda row: f"{row['from']} {row['because']}"
)
def test_a_window_of_days_ends_at_24_of_a_working_day(row: dict[str, str]) -> None:
    assert row["days"] == "3"
    computed_deadline = compute_deadline(
        CIVIL, State.SCRIPT_REVIEW, shanghai_instant(row["from"]), None
    )
    assert computed_deadline is not None
    assert (computed_deadline.due_at, computed_deadline.counted) == (
        shanghai_instant(row["until"]),
        "civil_cn",
    )


def test_windows_in_hours_run_from_the_moment_in_any_case() -> None:
    friday = shanghai_instant("2024-02-09 18:00")
    for state in (State.AWAITING_DEPOSIT, State.OFFERED, State.BALANCE_OVERDUE):
        computed_deadline = compute_deadline(CIVIL, state, friday, None)
        assert computed_deadline is not None
        assert (computed_deadline.due_at, computed_deadline.counted) == (
            friday + CIVIL.windows[state],
            "elapsed",
        )
    hours = CIVIL.model_copy(update={"review_window": span("36h")})
    computed_deadline = compute_deadline(hours, State.SCRIPT_REVIEW, friday, None)
    assert computed_deadline is not None
    assert (computed_deadline.due_at, computed_deadline.counted) == (
        friday + span("36h"),
        "elapsed",
    )


EXPECTED_PUBLICATIONS = read_table("""
    state             entered           expected          until
    producing         2026-03-02 10:00  -                 2026-03-12 24:00
    producing         2026-03-02 10:00  2026-03-20 20:00  2026-03-23 24:00
    producing         2026-03-02 10:00  2026-03-09 20:00  2026-03-12 24:00
    ready_to_publish  2026-03-02 10:00  -                 2026-03-05 24:00
    ready_to_publish  2026-03-02 10:00  2026-03-20 20:00  2026-03-23 24:00
    ready_to_publish  2026-03-02 10:00  2026-03-20 00:00  2026-03-23 24:00
    ready_to_publish  2026-03-02 10:00  2026-03-01 20:00  2026-03-05 24:00
""")


@pytest.mark.parametrize("row", EXPECTED_PUBLICATIONS, ids=lambda row: "  ".join(row.values()))
def test_an_expected_publication_counts_from_its_own_day(row: dict[str, str]) -> None:
    expected = None if row["expected"] == "-" else shanghai_instant(row["expected"])
    computed_deadline = compute_deadline(
        CIVIL, State(row["state"]), shanghai_instant(row["entered"]), expected
    )
    assert computed_deadline is not None
    assert computed_deadline.due_at == shanghai_instant(row["until"])


def test_a_civil_deadline_can_be_shown_beside_the_elapsed_one() -> None:
    entered_at = shanghai_instant("2025-01-25 10:00")
    elapsed_at = calendar.deadline_by_elapsed_time(CIVIL, State.SCRIPT_REVIEW, entered_at, None)
    computed_deadline = compute_deadline(CIVIL, State.SCRIPT_REVIEW, entered_at, None)
    assert computed_deadline is not None
    assert (elapsed_at, computed_deadline.due_at) == (
        entered_at + span("3d"),
        shanghai_instant("2025-02-05 24:00"),
    )


def test_a_year_that_nobody_has_announced_is_an_error() -> None:
    with pytest.raises(UnknownYear, match="2040"):
        calendar.is_working_day(date(2040, 5, 4))


def placed_at(
    at: str, policy: Policy = CIVIL, /, **fields: object
) -> tuple[OrderStory, str | None]:
    story = OrderStory(policy, now=shanghai_instant(at))
    register_parties(story)
    return story, place(story, **fields).reason


def test_an_order_whose_balance_would_be_due_in_an_unknown_year_cannot_be_placed() -> None:
    last_year = calendar.last_known_day().year
    assert placed_at(f"{last_year}-03-02")[1] is None
    # Accepted a day later, the balance is due within the seven days after that.
    assert placed_at(f"{last_year}-12-21")[1] is None
    assert placed_at(f"{last_year}-12-24")[1] == RejectionReason.CALENDAR_UNKNOWN
    assert placed_at("2061-03-02")[1] == RejectionReason.CALENDAR_UNKNOWN
    assert placed_at("2061-03-02", Policy())[1] is None


def test_a_publication_in_an_unknown_year_keeps_nobody_from_placing_an_order() -> None:
    last_year = calendar.last_known_day().year
    fields = {"expected_publish_at": f"{last_year + 1}-01-20T10:00:00+08:00"}
    assert placed_at(f"{last_year}-03-02", **fields)[1] is None


def test_the_calendar_ends_soon_only_where_it_is_in_force() -> None:
    last_day = calendar.last_known_day()
    assert (last_day.month, last_day.day) == (12, 31)
    assert year_is_known(last_day.year)
    assert not year_is_known(last_day.year + 1)
    warned_at = calendar.end_of_day(last_day) - CIVIL.calendar_warning
    assert not calendar.ends_soon(CIVIL, warned_at)
    assert calendar.ends_soon(CIVIL, warned_at + MICRO)
    assert not calendar.ends_soon(Policy(), warned_at + MICRO)
    assert calendar.days_left(calendar.start_of_day(last_day)) == 0
    assert calendar.days_left(calendar.end_of_day(last_day)) == -1


def year_is_known(year: int) -> bool:
    try:
        calendar.is_working_day(date(year, 6, 1))
    except UnknownYear:
        return False
    return True


def test_an_order_that_comes_to_an_unknown_year_later_is_counted_as_it_elapses_and_told() -> None:
    last_year = max(year for year in range(2026, 2060) if year_is_known(year))
    story, reason = placed_at(f"{last_year}-09-01", needs_script=False)
    assert reason is None
    for step in ("pay", "accept", "pay"):
        play_step(story, step)
    story.now = shanghai_instant(f"{last_year}-12-28")
    order = story.order()
    # Put off by operators again and again.
    for until in ("10-14", "11-12", "12-10", "12-29"):
        fields = {"order_id": "o1", "reason": "x", "until": f"{last_year}-{until}T10:00:00+08:00"}
        at = order.due_at - span("1h") if order.due_at else story.now
        assert story.ask("extend_deadline", "operator", at, **fields).reason is None
        order = story.order()
    story.now = shanghai_instant(f"{last_year}-12-29 09:00")
    play_step(story, "content")
    (alert,) = (event.published() for event in story.events_of("operator.alerted"))
    assert (alert["alert"], alert["amount_fen"]) == ("calendar_unknown", story.order().held_fen)
    assert story.order().counted == "unknown_year"
    assert story.order().due_at == story.order().entered_at + span("3d")
    assert audit(story) == []


def test_a_whole_life_in_civil_days_keeps_its_books() -> None:
    story, _ = placed_at("2025-09-24", needs_script=False)
    for step in ("pay", "accept", "pay", "content", "time", "publish", "time", "time"):
        play_step(story, step)
    ends = [event.at for event in story.events if event.caused_by.startswith("deadline:")]
    assert ends[0] == shanghai_instant("2025-09-28 24:00")
    assert story.order().state is State.COMPLETED
    assert audit(story) == []
