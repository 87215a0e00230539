"""Calendar alerts: operators are told once a week, and only where working days are counted."""

from __future__ import annotations

from datetime import timedelta

import pytest

from models import calendar
from models.fields import format_instant
from models.policy import Policy
from scheduler.calendar_alerts import ALERT_INTERVAL, alert_calendar_ends
from tests.support.store_harness import StoreHarness
from workers.database.engine import writing
from workers.timestamps import to_us

ENDING = Policy(day_count="civil_cn", calendar_warning=timedelta(days=3650))


def let_a_week_pass(harness: StoreHarness) -> None:
    with writing(harness.engine) as connection:
        microseconds = to_us(harness.now + ALERT_INTERVAL) - to_us(harness.now)
        connection.exec_driver_sql(
            f"UPDATE events SET at = at - {microseconds} WHERE subject = 'calendar:cn'"  # noqa: S608
        )


def test_an_operator_is_told_once_a_week_that_the_calendar_ends(harness: StoreHarness) -> None:
    harness.store.policy = ENDING
    assert [alert_calendar_ends(harness.store) for _ in range(3)] == [True, False, False]
    let_a_week_pass(harness)
    assert [alert_calendar_ends(harness.store) for _ in range(2)] == [True, False]
    alerts = harness.published("operator.alerted")
    assert [alert["alert"] for alert in alerts] == ["calendar_ends"] * 2
    assert [alert["sequence"] for alert in alerts] == [1, 2]
    assert {alert["caused_by"] for alert in alerts} == {"reminder:calendar"}
    ends_at = calendar.end_of_day(calendar.last_known_day())
    assert {alert["due_at"] for alert in alerts} == {format_instant(ends_at)}
    assert harness.reader.audit().findings == []


@pytest.mark.parametrize("policy", [Policy(calendar_warning=timedelta(days=3650))])
def test_nobody_is_told_where_time_is_counted_as_it_elapses(
    harness: StoreHarness, policy: Policy
) -> None:
    harness.store.policy = policy
    assert not alert_calendar_ends(harness.store)
    assert harness.published("operator.alerted") == []
