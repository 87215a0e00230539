"""Operator log: every operator action is found again, by whom, when, and about what."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import Engine

from models.fields import instant_text
from tests.support.datasets.archived_orders import Resting, halves
from tests.support.store_harness import Desk
from tests.support.stories import DEPOSIT, START
from workers.database.engine import reading
from workers.queries import reader
from workers.queries.reader import OPERATOR_LOG_PAGE_SIZE, Wanted, acts

HOUR = timedelta(hours=1)


def worked(desk: Desk) -> Desk:
    """Let two operators do this and that, an hour apart; one of it is refused."""
    desk.admit().offer("o1", "o2")
    stray = {"payment_id": "stray", "order_id": "o9", "to": "c1"}
    desk.pay("stray", {"o9": DEPOSIT}, START)
    order_fields = {"order_id": "o1", "reason": "ill"}
    until = instant_text(START + timedelta(days=2))
    desk.ask("extend_deadline", "operator:ann", START + HOUR, until=until, **order_fields)
    desk.ask("pause_clock", "operator:bob", START + 2 * HOUR, order_id="o2", reason="lost")
    desk.ask("resume_clock", "operator:ann", START + 2 * HOUR, **order_fields)
    desk.ask("resolve_suspense", "operator:bob", START + 3 * HOUR, **stray, reason="found")
    command = {"kind": "accept_order", "order_id": "o1"}
    desk.ask("operator_act", "operator:ann", START + 4 * HOUR, command=command, reason="by phone")
    return desk


def found(desk: Desk, trail_filter: Wanted) -> list[tuple[str, str, str]]:
    return [(event.subject, fact.by, fact.act) for event, fact in acts(desk.engine, trail_filter)]


ACCEPTED = ("order:o1", "operator:ann", "accept_order")


RESOLVED = ("payment:stray", "operator:bob", "resolve_suspense")


PAUSED = ("order:o2", "operator:bob", "pause_clock")


EXTENDED = ("order:o1", "operator:ann", "extend_deadline")


def test_what_operators_did_is_listed_the_latest_first_and_what_was_refused_is_not(
    desk: Desk,
) -> None:
    worked(desk)
    assert found(desk, Wanted()) == [ACCEPTED, RESOLVED, PAUSED, EXTENDED]
    assert found(desk, Wanted(by="bob")) == [RESOLVED, PAUSED]
    assert found(desk, Wanted(order_id="o1")) == [ACCEPTED, EXTENDED]
    assert found(desk, Wanted(order_id="o1", by="bob")) == []


def test_both_ends_of_an_interval_belong_to_it(desk: Desk) -> None:
    worked(desk)
    between = Wanted(since=START + 2 * HOUR, until=START + 3 * HOUR)
    assert found(desk, between) == [RESOLVED, PAUSED]
    later = Wanted(since=START + 3 * HOUR + timedelta(microseconds=1))
    assert found(desk, later) == [ACCEPTED]


def test_an_act_says_why_and_how_things_stood_before_and_after(desk: Desk) -> None:
    worked(desk)
    (event, fact), *_ = acts(desk.engine, Wanted())
    assert (event.at, fact.note) == (START + 4 * HOUR, "by phone")
    assert fact.before is not None
    assert fact.after is not None
    assert (fact.before.status, fact.after.status) == ("offered", "awaiting_balance")


def test_what_was_done_to_orders_at_rest_is_still_on_the_trail(engine: Engine) -> None:
    desk = Resting(engine=engine)
    worked(desk)
    desk.ask("cancel_order", "operator:ann", order_id="o1", reason="over")
    before = found(desk, Wanted())
    assert before[0] == ("order:o1", "operator:ann", "cancel_order")
    desk.rest()
    assert halves(engine, "events")[1] > 0
    assert found(desk, Wanted()) == before
    assert len(found(desk, Wanted(order_id="o1"))) == 3


def test_a_long_trail_is_read_to_its_end(desk: Desk) -> None:
    desk.admit().offer("o1")
    rounds = OPERATOR_LOG_PAGE_SIZE // 2 + 2
    for _ in range(rounds):
        for kind in ("pause_clock", "resume_clock"):
            desk.ask(kind, "operator", desk.now, order_id="o1", reason="again and again")
    assert len(found(desk, Wanted())) == 2 * rounds


@pytest.mark.parametrize("trail_filter", [Wanted(), Wanted(since=START)])
def test_a_trail_is_found_by_its_index_and_not_by_reading_everything(
    desk: Desk, trail_filter: Wanted
) -> None:
    query = reader.query(trail_filter).limit(1)
    sql = str(query.compile(desk.engine, compile_kwargs={"literal_binds": True}))
    with reading(desk.engine) as connection:
        if connection.dialect.name == "sqlite":
            lines = [row.detail for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {sql}")]
        else:
            connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
            lines = list(connection.exec_driver_sql(f"EXPLAIN {sql}").scalars())
    for index in ("ix_events_acted", "ix_archived_events_acted"):
        assert any(index in line for line in lines), lines
