"""Orders: how far orders come and how long it takes them, how they end, and what falls due next."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

from sqlalchemy import (
    CTE,
    ColumnElement,
    Connection,
    Engine,
    FromClause,
    Select,
    case,
    func,
    literal,
    literal_column,
    select,
    union_all,
)

from models.events.orders import (
    OrderAccepted,
    OrderCompleted,
    OrderFunded,
    OrderOffered,
    OrderPlaced,
    WorkPublished,
)
from models.fields import MICROSECOND
from models.lifecycle import FINAL_STATES
from workers.database import schema
from workers.database.archive_schema import with_archive
from workers.queries.reports.grouping import (
    HOUR_US,
    PARTY_GROUPINGS,
    Grouping,
    ReportRow,
    ReportSource,
    all_orders,
    group_name,
    report_transaction,
    with_order,
)
from workers.timestamps import SECOND_US, optional_text, to_us

FUNNEL_GROUPINGS = (*PARTY_GROUPINGS, Grouping.MONTH)


FUNNEL_COLUMNS = ("stage", "orders", "of_placed", "of_previous", "median_seconds")


STAGES = {
    "placed": OrderPlaced.type,
    "offered": OrderOffered.type,
    "accepted": OrderAccepted.type,
    "funded": OrderFunded.type,
    "published": WorkPublished.type,
    "completed": OrderCompleted.type,
}
"""How far an order can come, and the event that says so; the first of its kind counts."""


def funnel(engine: Engine, by: Grouping | None) -> Iterator[ReportRow]:
    """Count the orders that reached each stage; times are medians since the stage before."""
    with report_transaction(engine) as connection:
        reached = _stages_reached(connection, by)
        counts = _counts(reached).subquery()
        times = _medians(reached).subquery()
        joined = counts.outerjoin(times, times.c.key == counts.c.key)
        query = select(counts, *(column for column in times.c if column.name != "key"))
        for row in connection.execute(query.select_from(joined).order_by(counts.c.key)):
            yield from _stage_rows(by, row._mapping)  # noqa: SLF001 - SQLAlchemy's public name for it


def _stages_reached(connection: Connection, by: Grouping | None) -> CTE:
    """Find, for each order, the instants at which it reached the stages."""
    event = with_archive(schema.events)
    first_at = (
        func.min(case((event.c.type == kind, event.c.at))).label(stage)
        for stage, kind in STAGES.items()
    )
    stage_events = select(event.c.subject, *first_at).where(event.c.type.in_(list(STAGES.values())))
    steps = stage_events.group_by(event.c.subject).cte("steps")
    times = (steps.c[stage] for stage in STAGES)
    if by is None:
        return select(literal_column("''").label("key"), *times).cte("reached")
    order_id = func.substr(steps.c.subject, len("order:") + 1)
    rows, key = with_order(steps, order_id).key(connection, by)
    return select(key.label("key"), *times).select_from(rows).cte("reached")


def _counts(reached: CTE) -> Select[Any]:
    counts = (func.count(reached.c[stage]).label(stage) for stage in STAGES)
    return select(reached.c.key, *counts).group_by(reached.c.key)


def _medians(reached: CTE) -> Select[Any]:
    """Sort the times of each step, and take the one or two in the middle."""
    steps = union_all(
        *(_step(reached, *step_stages) for step_stages in pairwise(STAGES))
    ).subquery()
    partition = (steps.c.key, steps.c.step)
    place = func.row_number().over(partition_by=partition, order_by=steps.c.took).label("place")
    step_count = func.count().over(partition_by=partition).label("many")
    ranked = select(steps, place, step_count).where(steps.c.took.is_not(None)).subquery()
    middle = (ranked.c.place * 2).between(ranked.c.many, ranked.c.many + 2)
    ends = (
        end(case((ranked.c.step == stage, ranked.c.took))).label(f"{name}_{stage}")
        for stage in STAGES
        for name, end in (("low", func.min), ("high", func.max))
    )
    return select(ranked.c.key, *ends).where(middle).group_by(ranked.c.key)


def _step(reached: CTE, earlier: str, later: str) -> Select[Any]:
    took = (reached.c[later] - reached.c[earlier]).label("took")
    return select(reached.c.key, literal(later).label("step"), took)


def _stage_rows(by: Grouping | None, row: Any) -> Iterator[ReportRow]:  # noqa: ANN401 - a row
    previous_count = placed_count = row["placed"]
    for stage in STAGES:
        count, low_us = row[stage], row[f"low_{stage}"]
        middle = None if low_us is None else (low_us + row[f"high_{stage}"]) / 2 / SECOND_US
        head = {} if by is None else {by.value: row["key"] or None}
        yield head | {
            "stage": stage,
            "orders": count,
            "of_placed": _share(count, placed_count),
            "of_previous": _share(count, previous_count),
            "median_seconds": middle,
        }
        previous_count = count


def _share(part: int, whole: int) -> float | None:
    return round(part / whole, 4) if whole else None


ENDING_GROUPINGS = (*PARTY_GROUPINGS, Grouping.MONTH)


ENDING_COLUMNS = ("state", "reason", "orders", "total_fen")


def endings(engine: Engine, by: Grouping | None) -> Iterator[ReportRow]:
    """Count orders that have ended by state and reason, and add up what they were worth."""
    source = all_orders()
    state, reason, worth = map(source.column, ("state", "reason", "total_fen"))
    with report_transaction(engine) as connection:
        rows, key = source.key(connection, by)
        group = {"key": key, "ended_as": state, "because": reason}
        columns: list[Any] = [
            group_name(connection, column).label(label) for label, column in group.items()
        ]
        columns += [func.count(), func.sum(worth)]
        query = select(*columns).select_from(rows)
        query = query.where(state.in_([final_state.value for final_state in FINAL_STATES]))
        query = query.group_by(*group).order_by(*group)
        for name, ended_as, because, count, fen in connection.execute(query):
            head = {} if by is None else {by.value: name or None}
            figures = {"state": ended_as, "reason": because, "orders": count, "total_fen": int(fen)}
            yield head | figures


FORECAST_GROUPINGS = (Grouping.STATE, Grouping.HOUR, *PARTY_GROUPINGS)


FORECAST_COLUMNS = ("deadlines", "overdue", "first_due_at", "held_fen", "total_fen")


def forecast(
    engine: Engine, by: Grouping, *, at: datetime, within: timedelta
) -> Iterator[ReportRow]:
    """Count the deadlines until `at` and a while, those overdue among them.

    `held_fen` is what the orders hold, `total_fen` what they are worth if all goes well.
    """
    columns, now = schema.orders.c, to_us(at)
    with report_transaction(engine) as connection:
        rows, name = _forecast_key(connection, by)
        overdue = func.sum(case((columns.due_at < now, 1), else_=0))
        figures = (func.count(), overdue, func.min(columns.due_at))
        sums = (func.sum(columns.held_fen), func.sum(columns.total_fen))
        query = select(name.label("key"), *figures, *sums).select_from(rows)
        query = query.where(columns.due_at <= now + within // MICROSECOND)
        for key, count, overdue_count, first_due_at, held_fen, total_fen in connection.execute(
            query.group_by("key").order_by("key")
        ):
            yield {
                by.value: optional_text(key) if by is Grouping.HOUR else key or None,
                "deadlines": count,
                "overdue": int(overdue_count),
                "first_due_at": optional_text(first_due_at),
                "held_fen": int(held_fen),
                "total_fen": int(total_fen),
            }


def _forecast_key(connection: Connection, by: Grouping) -> tuple[FromClause, ColumnElement[Any]]:
    """Return the orders at hand, and what each counts under; none in the archive waits for us."""
    waiting = schema.orders
    if by is Grouping.HOUR:
        return waiting, waiting.c.due_at // HOUR_US * HOUR_US
    return ReportSource(waiting, lambda name: waiting.c[name]).key(connection, by)
