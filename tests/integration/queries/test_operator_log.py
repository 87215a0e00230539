"""Operator log: every operator action is found again, by whom, when, and about what."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import Engine

from models.fields import format_instant
from tests.support.datasets.archived_orders import ArchivingHarness, count_live_and_archived
from tests.support.store_harness import StoreHarness
from tests.support.stories import DEPOSIT, START
from workers.database.engine import reading
from workers.queries import reader
from workers.queries.reader import OPERATOR_LOG_PAGE_SIZE, OperatorLogFilter, operator_log

HOUR = timedelta(hours=1)


def record_operator_actions(harness: StoreHarness) -> StoreHarness:
    """Let two operators do this and that, an hour apart; one of it is refused."""
    harness.admit().offer("o1", "o2")
    stray = {"payment_id": "stray", "order_id": "o9", "to": "refund"}
    harness.pay("stray", {"o9": DEPOSIT}, START)
    order_fields = {"order_id": "o1", "reason": "ill"}
    until = format_instant(START + timedelta(days=2))
    harness.ask("extend_deadline", "operator:ann", START + HOUR, until=until, **order_fields)
    harness.ask("pause_clock", "operator:bob", START + 2 * HOUR, order_id="o2", reason="lost")
    harness.ask("resume_clock", "operator:ann", START + 2 * HOUR, **order_fields)
    harness.ask("resolve_suspense", "operator:bob", START + 3 * HOUR, **stray, reason="found")
    command = {"kind": "accept_order", "order_id": "o1"}
    harness.ask(
        "operator_act", "operator:ann", START + 4 * HOUR, command=command, reason="by phone"
    )
    return harness


def logged_actions(
    harness: StoreHarness, log_filter: OperatorLogFilter
) -> list[tuple[str, str, str]]:
    return [
        (event.subject, fact.by, fact.act)
        for event, fact in operator_log(harness.engine, log_filter)
    ]


ACCEPTED = ("order:o1", "operator:ann", "accept_order")
RESOLVED = ("payment:stray", "operator:bob", "resolve_suspense")
PAUSED = ("order:o2", "operator:bob", "pause_clock")
EXTENDED = ("order:o1", "operator:ann", "extend_deadline")


def test_the_operator_log_lists_what_was_done_the_latest_first_and_nothing_refused(
    harness: StoreHarness,
) -> None:
    record_operator_actions(harness)
    assert logged_actions(harness, OperatorLogFilter()) == [ACCEPTED, RESOLVED, PAUSED, EXTENDED]
    assert logged_actions(harness, OperatorLogFilter(by="bob")) == [RESOLVED, PAUSED]
    assert logged_actions(harness, OperatorLogFilter(order_id="o1")) == [ACCEPTED, EXTENDED]
    assert logged_actions(harness, OperatorLogFilter(order_id="o1", by="bob")) == []


def test_the_operator_log_of_an_interval_includes_both_ends(harness: StoreHarness) -> None:
    record_operator_actions(harness)
    interval_filter = OperatorLogFilter(since=START + 2 * HOUR, until=START + 3 * HOUR)
    assert logged_actions(harness, interval_filter) == [RESOLVED, PAUSED]
    later_filter = OperatorLogFilter(since=START + 3 * HOUR + timedelta(microseconds=1))
    assert logged_actions(harness, later_filter) == [ACCEPTED]


def test_an_operator_log_entry_says_why_and_the_state_before_and_after(
    harness: StoreHarness,
) -> None:
    record_operator_actions(harness)
    (event, fact), *_ = operator_log(harness.engine, OperatorLogFilter())
    assert (event.at, fact.note) == (START + 4 * HOUR, "by phone")
    assert fact.before is not None
    assert fact.after is not None
    assert (fact.before.status, fact.after.status) == ("offered", "awaiting_balance")


def test_the_operator_log_includes_actions_on_archived_orders(engine: Engine) -> None:
    harness = ArchivingHarness(engine=engine)
    record_operator_actions(harness)
    harness.ask("cancel_order", "operator:ann", order_id="o1", reason="over")
    before = logged_actions(harness, OperatorLogFilter())
    assert before[0] == ("order:o1", "operator:ann", "cancel_order")
    harness.archive_all()
    assert count_live_and_archived(engine, "events")[1] > 0
    assert logged_actions(harness, OperatorLogFilter()) == before
    assert len(logged_actions(harness, OperatorLogFilter(order_id="o1"))) == 3


def test_a_long_operator_log_is_read_to_its_end(harness: StoreHarness) -> None:
    harness.admit().offer("o1")
    rounds = OPERATOR_LOG_PAGE_SIZE // 2 + 2
    for _ in range(rounds):
        for kind in ("pause_clock", "resume_clock"):
            harness.ask(kind, "operator", harness.now, order_id="o1", reason="again and again")
    assert len(logged_actions(harness, OperatorLogFilter())) == 2 * rounds


@pytest.mark.parametrize("log_filter", [OperatorLogFilter(), OperatorLogFilter(since=START)])
def test_the_operator_log_is_read_by_its_index(
    harness: StoreHarness, log_filter: OperatorLogFilter
) -> None:
    query = reader.operator_log_query(log_filter).limit(1)
    sql = str(query.compile(harness.engine, compile_kwargs={"literal_binds": True}))
    with reading(harness.engine) as connection:
        if connection.dialect.name == "sqlite":
            lines = [row.detail for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {sql}")]
        else:
            connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
            lines = list(connection.exec_driver_sql(f"EXPLAIN {sql}").scalars())
    for index in ("ix_events_acted", "ix_archived_events_acted"):
        assert any(index in line for line in lines), lines
