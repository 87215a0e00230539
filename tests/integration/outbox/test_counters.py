"""Counters: what metrics say of deadlines, counted from the events that they brought."""

from __future__ import annotations

import pytest
from sqlalchemy import select

from tests.support import sample_commands
from tests.support.store_harness import StoreHarness
from tests.support.stories import span
from workers.database import schema
from workers.database.engine import writing
from workers.outbox import counters as event_counters
from workers.timestamps import to_us

DEADLINES = {
    "producing_silent": {"script_review": 1},
    "expired_offer": {"offered": 1},
    "forfeited_late": {"awaiting_balance": 1, "balance_overdue": 1},
    "completed_agency": {"published": 1, "accepted_delivery": 1},
    "content_overdue": {"producing": 1},
}


@pytest.mark.parametrize("situation", DEADLINES)
def test_every_deadline_counts_once_whatever_follows_from_it(
    harness: StoreHarness, situation: str
) -> None:
    harness.bring_to(situation)
    counters = counted(harness)
    assert counters["deadlines"] == DEADLINES[situation]
    late = sum(counters["deadline_lateness_le"].values())
    assert late == sum(DEADLINES[situation].values())


def test_a_command_judged_out_of_order_is_counted(harness: StoreHarness) -> None:
    harness.bring_to("offered")
    later = harness.receive(sample_commands.accept("o1"), harness.now + span("1s"))
    earlier = harness.receive(sample_commands.command("cancel_order", "client", "o1"), harness.now)
    for submission in (later, earlier):
        assert harness.settle(submission) == []
    counters = counted(harness)
    assert counters[event_counters.JUDGED_OUT_OF_ORDER] == {"": 1}


def test_an_alert_to_an_operator_counts_by_its_kind(harness: StoreHarness) -> None:
    harness.bring_to("completed")
    payout_id = harness.rows("payouts")[0].payout_id
    body = sample_commands.command("fail_payout", "payments", payout_id=payout_id, reason="closed")
    assert harness.settle(harness.receive(body, harness.now)) == []
    assert counted(harness)["alerts"] == {"payout_failed": 1}


def counted(harness: StoreHarness) -> dict[str, dict[str, int]]:
    """Count all events as if they were published now."""
    events = schema.events
    with writing(harness.engine) as connection:
        event_rows = connection.execute(select(events).order_by(events.c.position)).all()
        event_counters.count_events(connection, event_rows, to_us(harness.now))
        return event_counters.read_counters(connection)
