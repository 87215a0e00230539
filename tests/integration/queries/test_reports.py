"""Reports: their sums in SQL agree with the events, the postings and the balances."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from statistics import median
from typing import Any

import pytest
from sqlalchemy import Engine

from models.calendar import SHANGHAI
from models.events.orders import OrderPlaced
from models.fields import format_instant
from models.ledger import sum_by_family
from models.orders.order import Order
from scheduler import maintenance
from tests.support.datasets.archived_orders import count_live_and_archived, mark_published
from tests.support.datasets.every_situation import every_situation, write_story
from tests.support.stories import OrderStory
from workers.database.engine import reading
from workers.database.repository import Store
from workers.queries import audit
from workers.queries.reader import Reader
from workers.queries.reports import money as money_reports
from workers.queries.reports import orders as order_reports
from workers.queries.reports.grouping import Grouping

ExpectedRow = dict[str, Any]
GroupKey = Callable[[Order], str]


@pytest.fixture(params=["at hand", "at rest"])
def store(engine: Engine, request: pytest.FixtureRequest) -> Store:
    """Give a database in which everything has happened, before and after all that may rest does."""
    filled_store = write_story(engine, every_situation())
    if request.param == "at rest":
        mark_published(engine)
        late = every_situation().now + timedelta(days=1_000)
        while maintenance.archive_orders(
            filled_store, maintenance.ArchiveCutoff(ended_before=late, at=late)
        ):
            continue
        assert min(count_live_and_archived(engine)) > 10
    return filled_store


def month(at: datetime) -> str:
    return at.astimezone(SHANGHAI).strftime("%Y-%m")


def group_keys(story: OrderStory) -> dict[Grouping | None, GroupKey]:
    """Say what an order counts under, with the agency that its creator is signed with now."""
    return {
        None: lambda _: "",
        Grouping.CLIENT: lambda order: order.client_id,
        Grouping.CREATOR: lambda order: order.creator_id,
        Grouping.MCN: lambda order: story.uow.creators[order.creator_id].agency or "",
        Grouping.TASK_TYPE: lambda order: order.task_type,
        Grouping.MONTH: lambda order: month(order.placed_at),
        Grouping.STATE: lambda order: order.state.value,
        Grouping.HOUR: lambda order: format_instant(whole_hour(order)),
    }


def whole_hour(order: Order) -> datetime:
    assert order.due_at is not None
    return order.due_at.replace(minute=0, second=0, microsecond=0)


def group_by(orders: Iterable[Order], key: GroupKey) -> list[tuple[str, list[Order]]]:
    groups: dict[str, list[Order]] = defaultdict(list)
    for order in orders:
        groups[key(order)].append(order)
    return sorted(groups.items())


def group_fields(by: Grouping | None, name: str) -> ExpectedRow:
    return {} if by is None else {by.value: name or None}


# ---------------------------------------------------------------- funnel


def stages_reached(story: OrderStory) -> dict[str, dict[str, datetime]]:
    """Find when each order first reached a stage."""
    reached_at: dict[str, dict[str, datetime]] = defaultdict(dict)
    stage_rows = {kind: stage for stage, kind in order_reports.STAGES.items()}
    for event in story.events:
        if event.fact.type in stage_rows:
            order_times = reached_at[event.order_id or ""]
            stage = stage_rows[event.fact.type]
            order_times[stage] = min(event.at, order_times.get(stage, event.at))
    return reached_at


def stage_rows(
    by: Grouping | None, name: str, times: list[dict[str, datetime]]
) -> list[ExpectedRow]:
    rows = []
    counts = {
        stage: sum(stage in order_times for order_times in times) for stage in order_reports.STAGES
    }
    for before, stage in [("placed", "placed"), *pairwise(order_reports.STAGES)]:
        durations = [
            order_times[stage] - order_times[before]
            for order_times in times
            if stage in order_times and before in order_times
        ]
        seconds = [duration.total_seconds() for duration in durations] if stage != "placed" else []
        share = round(counts[stage] / counts[before], 4) if counts[before] else None
        rows.append(
            group_fields(by, name)
            | {
                "stage": stage,
                "orders": counts[stage],
                "of_placed": round(counts[stage] / counts["placed"], 4),
                "of_previous": share,
                "median_seconds": median(seconds) if seconds else None,
            }
        )
    return rows


@pytest.mark.parametrize("by", [None, *order_reports.FUNNEL_GROUPINGS])
def test_a_funnel_counts_the_orders_that_reached_each_stage_and_how_long_it_took(
    store: Store, by: Grouping | None
) -> None:
    story = every_situation()
    times, expected = stages_reached(story), []
    for name, orders in group_by(story.uow.orders.values(), group_keys(story)[by]):
        expected += stage_rows(by, name, [times[order.order_id] for order in orders])
    rows = list(order_reports.funnel(store.engine, by))
    assert rows == [
        row | {"median_seconds": pytest.approx(row["median_seconds"], abs=1e-6)} for row in expected
    ]
    assert len({row["orders"] for row in rows}) > 2


# --------------------------------------------------------------- endings


@pytest.mark.parametrize("by", [None, *order_reports.ENDING_GROUPINGS])
def test_endings_are_counted_by_state_and_reason(store: Store, by: Grouping | None) -> None:
    story = every_situation()
    ended_orders = [order for order in story.uow.orders.values() if order.is_final]
    expected = []
    for name, orders in group_by(ended_orders, group_keys(story)[by]):
        for ending, ending_orders in group_by(
            orders, lambda order: f"{order.state}/{order.reason}"
        ):
            state, _, reason = ending.partition("/")
            total_fen = sum(order.total_fen for order in ending_orders)
            row = {
                "state": state,
                "reason": reason,
                "orders": len(ending_orders),
                "total_fen": total_fen,
            }
            expected.append(group_fields(by, name) | row)
    assert list(order_reports.endings(store.engine, by)) == expected


# ----------------------------------------------------------------- money


RETURNS = {
    ("psp", "refunds_payable"): "refund_confirmed_fen",
    ("psp", "payable"): "paid_out_fen",
}
"""Money that had left and came back, and what it makes less."""


def posting_flow(source: str, target: str, fen: int) -> dict[str, int]:
    """Say what one posting means."""
    totals: dict[str, int] = defaultdict(int)
    source_family, target_family = source.partition(":")[0], target.partition(":")[0]
    if (source_family, target_family) in RETURNS:
        return {RETURNS[source_family, target_family]: -fen}
    if source_family == "payable" and target_family != "psp":
        taken_back_for = {"refunds_payable": "refund_requested_fen"}.get(
            target_family, "income_fen"
        )
        return {"payable_fen": -fen, taken_back_for: fen}
    by_target = {
        "refunds_payable": "refund_requested",
        "service_fees": "fees",
        "payable": "payable",
    }
    by_target |= {"platform_income": "income"}
    by_source = {"psp": "received", "refunds_payable": "refund_confirmed", "payable": "paid_out"}
    balances = {"escrow": "held", "suspense": "suspense"}
    for names, family, sign in (
        (by_target, target_family, 1),
        (by_source, source_family, 1),
        (balances, target_family, 1),
        (balances, source_family, -1),
    ):
        if family in names:
            totals[f"{names[family]}_fen"] += sign * fen
    if target_family == "forfeited_deposits":
        totals["forfeited_fen"] += fen
    if source_family == "forfeited_deposits":
        back = target_family == "escrow"
        totals["forfeited_fen" if back else "released_fen"] += -fen if back else fen
    return totals


def order_of(story: OrderStory, subject: str) -> Order | None:
    kind, _, name = subject.partition(":")
    if kind == "order":
        return story.uow.orders[name]
    debts: Any = {"refund": story.uow.refunds, "payout": story.uow.payouts}.get(kind)
    order_id = debts[name].order_id if debts else None
    return None if order_id is None else story.uow.orders[order_id]


def sum_by_group(story: OrderStory, by: Grouping | None) -> list[ExpectedRow]:
    sums: dict[str, dict[str, int]] = defaultdict(
        lambda: dict.fromkeys(money_reports.MONEY_COLUMNS, 0)
    )
    own = group_keys(story) | {Grouping.MCN: lambda order: order.mcn_id or ""}
    for event, posting in story.uow.postings:
        order = order_of(story, event.subject)
        name = "" if order is None else own[by](order)
        name = month(event.at) if by is Grouping.MONTH else name
        for column, fen in posting_flow(posting.source, posting.target, posting.amount_fen).items():
            sums[name][column] += fen
    return [group_fields(by, name) | totals for name, totals in sorted(sums.items())]


@pytest.mark.parametrize("by", [None, *money_reports.MONEY_GROUPINGS])
def test_the_money_report_is_the_sum_of_the_postings(store: Store, by: Grouping | None) -> None:
    rows = list(money_reports.money(store.engine, by))
    assert rows == sum_by_group(every_situation(), by)
    assert all(
        any(row[column] for row in rows)
        for column in money_reports.MONEY_COLUMNS
        if column != INCOME
    )


INCOME = "income_fen"
"""No history here gives a forfeited deposit to the platform."""


@pytest.mark.parametrize("by", [None, *money_reports.MONEY_GROUPINGS])
def test_the_money_report_agrees_with_the_books_however_it_is_broken_down(
    store: Store, by: Grouping | None
) -> None:
    rows = list(money_reports.money(store.engine, by))
    total = {column: sum(row[column] for row in rows) for column in money_reports.MONEY_COLUMNS}
    balances = {
        "psp": total["refund_confirmed_fen"] + total["paid_out_fen"] - total["received_fen"],
        "escrow": total["held_fen"],
        "suspense": total["suspense_fen"],
        "refunds_payable": total["refund_requested_fen"] - total["refund_confirmed_fen"],
        "forfeited_deposits": total["forfeited_fen"] - total["released_fen"],
        "service_fees": total["fees_fen"],
        "platform_income": total["income_fen"],
        "payable": total["payable_fen"] - total["paid_out_fen"],
    }
    assert balances == Reader(store).balances()
    with reading(store.engine) as connection:
        assert balances == sum_by_family(audit.balances(connection))


# -------------------------------------------------------------- forecast


@pytest.mark.parametrize("by", order_reports.FORECAST_GROUPINGS)
@pytest.mark.parametrize("hours", [6, 24 * 30])
def test_a_forecast_counts_the_deadlines_due_and_the_money_that_depends_on_them(
    store: Store, by: Grouping, hours: int
) -> None:
    story, within = every_situation(), timedelta(hours=hours)
    dues = sorted(order.due_at for order in story.uow.orders.values() if order.due_at is not None)
    at = dues[len(dues) // 2] + timedelta(seconds=1)
    until = at + within
    soon = [order for order in story.uow.orders.values() if order.due_at and order.due_at <= until]
    expected = [
        {
            by.value: name or None,
            "deadlines": len(orders),
            "overdue": sum(order.due_at < at for order in orders if order.due_at),
            "first_due_at": format_instant(min(order.due_at for order in orders if order.due_at)),
            "held_fen": sum(order.held_fen for order in orders),
            "total_fen": sum(order.total_fen for order in orders),
        }
        for name, orders in group_by(soon, group_keys(story)[by])
    ]
    rows = list(order_reports.forecast(store.engine, by, at=at, within=within))
    assert rows == expected
    assert sum(row["overdue"] for row in rows) == len(dues) // 2 + 1


def test_a_report_by_month_uses_months_of_shanghai(store: Store) -> None:
    edge = datetime(2026, 1, 31, 16, tzinfo=UTC)
    placements = [
        event for event in every_situation().events if isinstance(event.fact, OrderPlaced)
    ]
    evening = [
        placement
        for placement in placements
        if timedelta(0) <= placement.at - edge < timedelta(hours=8)
    ]
    assert evening, "somebody orders when it is February in Shanghai and January in Greenwich"
    february = sum(month(placement.at) == "2026-02" for placement in placements)
    rows = [
        row
        for row in order_reports.funnel(store.engine, Grouping.MONTH)
        if row["stage"] == "placed"
    ]
    assert {row["month"]: row["orders"] for row in rows}["2026-02"] == february


def test_an_empty_database_has_empty_reports(engine: Engine) -> None:
    now = datetime.now(UTC)
    assert [row["orders"] for row in order_reports.funnel(engine, None)] == []
    assert list(order_reports.endings(engine, None)) == []
    assert [set(row.values()) for row in money_reports.money(engine, None)] == []
    assert list(order_reports.forecast(engine, Grouping.STATE, at=now, within=timedelta(1))) == []


def test_a_report_leaves_its_connection_as_it_found_it(sqlite_engine: Engine) -> None:
    def pragma_values() -> list[int]:
        with reading(sqlite_engine) as connection:
            names = ("temp_store", "cache_size")
            ask = connection.exec_driver_sql
            return [int(ask(f"PRAGMA {pragma}").scalar_one()) for pragma in names]

    before = pragma_values()
    assert list(order_reports.funnel(sqlite_engine, None)) == []
    rows = order_reports.funnel(
        write_story(sqlite_engine, every_situation()).engine, Grouping.CREATOR
    )
    next(iter(rows))
    # Whoever has read enough of it leaves it so too.
    del rows
    assert pragma_values() == before
