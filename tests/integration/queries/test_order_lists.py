"""Order lists: every order that a filter asks for, once, the latest placed first."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from itertools import islice, product
from typing import Any

import pytest
from sqlalchemy import Engine

from models.lifecycle import PublicStatus
from tests.support.datasets import simultaneous_orders
from tests.support.store_harness import StoreHarness
from tests.support.stories import START, place
from workers.database.engine import reading
from workers.queries.order_filters import ListPosition, OrderFilter
from workers.queries.order_lists import (
    BadCursor,
    CreatorTask,
    SearchBounds,
    creator_tasks,
    find_newest,
)
from workers.timestamps import to_us

CREATORS = {"k1": "m1", "k2": "m1", "k3": "m2", "k4": None, "k5": "m1", "k6": None, "k7": "m3"}
COUNT = 210

OWNER_FILTERS = (
    OrderFilter(),
    *(OrderFilter(creator=name) for name in ("k1", "k6", "nobody")),
    *(OrderFilter(mcn=name) for name in ("m1", "m2", "nobody")),
    OrderFilter(mcn="m1", creator="k1"),
    OrderFilter(mcn="m1", creator="k3"),
    OrderFilter(client="c1"),
)

STATUSES = (None, *PublicStatus)

INTERVALS: tuple[dict[str, Any], ...] = (
    {},
    {"placed_after": START + timedelta(seconds=30)},
    {"placed_after": START + timedelta(seconds=7), "placed_before": START + timedelta(seconds=41)},
)

PREFIXES = (None, "", "a", "b3", "b3_0206", "zz")

LOOSE, TIGHT = SearchBounds(), SearchBounds(max_gathered=9, first_walk=4, max_walk=25)
"""Bounds that no filter here comes near, and bounds that nearly every one exceeds."""


@pytest.fixture
def crowded(engine: Engine) -> list[dict[str, Any]]:
    """Fill the orders table and its archive; return all rows."""
    order_rows = simultaneous_orders.order_rows(COUNT, tuple(CREATORS))
    simultaneous_orders.write_rows(
        engine, "creators", simultaneous_orders.creator_rows(CREATORS.items())
    )
    # The archive has a part of what has ended, old and new.
    resting = [bool(row["ended_at"]) and n % 3 > 0 for n, row in enumerate(order_rows)]
    assert 30 < sum(resting) < COUNT - 30
    pairs = list(zip(order_rows, resting, strict=True))
    simultaneous_orders.write_rows(
        engine, "archived_orders", [row for row, is_resting in pairs if is_resting]
    )
    simultaneous_orders.write_rows(
        engine, "orders", [row for row, is_resting in pairs if not is_resting]
    )
    return order_rows


def filters_from(first: int) -> list[OrderFilter]:
    """Combine every filter with every other, and take one in eleven: each pair occurs."""
    combinations = product(OWNER_FILTERS, STATUSES, INTERVALS, PREFIXES)
    return [
        replace(order_filter, status=status, prefix=prefix, **interval)
        for order_filter, status, interval, prefix in islice(combinations, first, None, 11)
    ]


def expected_positions(
    order_rows: list[dict[str, Any]], order_filter: OrderFilter
) -> list[ListPosition]:
    """Find by looking at every order."""
    return sorted(
        ((row["placed_at"], row["order_id"]) for row in order_rows if _fits(row, order_filter)),
        reverse=True,
    )


def _fits(row: dict[str, Any], order_filter: OrderFilter) -> bool:
    after, before = order_filter.placed_after, order_filter.placed_before
    return (
        order_filter.client in (None, row["client_id"])
        and order_filter.creator in (None, row["creator_id"])
        and order_filter.mcn in (None, CREATORS[row["creator_id"]])
        and order_filter.status in (None, row["public_status"])
        and row["order_id"].startswith(order_filter.prefix or "")
        and (after is None or row["placed_at"] > to_us(after))
        and (before is None or row["placed_at"] < to_us(before))
    )


def read_all_pages(
    engine: Engine, order_filter: OrderFilter, limit: int, bounds: SearchBounds
) -> list[ListPosition]:
    """Read page after page, to the end."""
    keys: list[ListPosition] = []
    after: ListPosition | None = None
    with reading(engine) as connection:
        while True:
            page = find_newest(connection, order_filter, after, limit, bounds)
            assert len(page.keys) <= limit
            keys += page.keys
            if page.after is None:
                return keys
            assert after is None or page.after < after
            after = page.after


@pytest.mark.parametrize(
    ("limit", "bounds", "first"), [(7, LOOSE, 0), (7, TIGHT, 4), (7, TIGHT, 7), (500, TIGHT, 9)]
)
def test_every_filter_finds_all_of_its_orders_the_latest_first(
    engine: Engine, crowded: list[dict[str, Any]], limit: int, bounds: SearchBounds, first: int
) -> None:
    for order_filter in filters_from(first):
        assert read_all_pages(engine, order_filter, limit, bounds) == expected_positions(
            crowded, order_filter
        ), order_filter


def test_within_its_search_bounds_no_page_is_short(
    engine: Engine, crowded: list[dict[str, Any]]
) -> None:
    with reading(engine) as connection:
        for order_filter in filters_from(2):
            page = find_newest(connection, order_filter, None, 7)
            assert list(page.keys) == expected_positions(crowded, order_filter)[:7], order_filter


def test_a_search_that_finds_no_order_stops_and_says_where(engine: Engine) -> None:
    crowded = simultaneous_orders.order_rows(COUNT, tuple(CREATORS))
    simultaneous_orders.write_rows(engine, "orders", crowded)
    with reading(engine) as connection:
        page = find_newest(
            connection, OrderFilter(prefix="zz"), None, 7, replace(TIGHT, max_gathered=-1)
        )
    assert (page.keys, page.after) == ([], expected_positions(crowded, OrderFilter())[24])


def read_tasks(harness: StoreHarness, order_filter: OrderFilter) -> list[CreatorTask]:
    return creator_tasks(harness.engine, order_filter).tasks


def test_a_task_is_what_was_asked_of_the_creator(harness: StoreHarness) -> None:
    harness.admit()
    place(harness, "o1", expected_publish_at="2026-04-01T12:00:00.000007+08:00")
    order = harness.order("o1")
    (task,) = read_tasks(harness, OrderFilter(creator="k1"))
    assert (task.task_id, task.name, task.industry) == ("o1", "春季新品推广", "美妆")
    assert (task.client_id, task.client_name, task.creator_id) == ("c1", None, "k1")
    assert (task.amount_fen, task.created_at) == (order.amount_fen, order.placed_at)
    assert task.expected_publish_at == order.expected_publish_at
    assert (task.status, task.state, task.reason) == ("pending_payment", "awaiting_deposit", None)


def test_a_registered_client_has_a_name(harness: StoreHarness) -> None:
    harness.admit()
    place(harness, "o1")
    harness.ask("register_client", "platform", client_id="c1", name="极光")
    assert [task.client_name for task in read_tasks(harness, OrderFilter(creator="k1"))] == ["极光"]


@pytest.mark.parametrize(
    ("situation", "shown_as"),
    [
        ("rated", ("finished", "completed", "settled")),
        ("completed", ("pending_review", "completed", "settled")),
        ("forfeited_late", ("cancelled", "forfeited", "balance_not_paid")),
        ("disputed_work", ("in_progress", "in_arbitration", "disputed")),
    ],
)
def test_a_task_shows_its_public_status_beside_the_state_and_its_reason(
    harness: StoreHarness, situation: str, shown_as: tuple[str, str, str]
) -> None:
    harness.bring_to(situation)
    (task,) = read_tasks(harness, OrderFilter(prefix="o1"))
    assert (task.status, task.state, task.reason) == shown_as


def test_an_agency_sees_the_lists_of_those_it_is_signed_with_now(harness: StoreHarness) -> None:
    harness.admit()
    place(harness, "o1")
    new_contract = {"creator_id": "k1", "name": "K1", "contract": "mcn", "mcn_id": "m2"}
    assert [len(read_tasks(harness, OrderFilter(mcn=mcn_id))) for mcn_id in ("m1", "m2")] == [1, 0]
    harness.ask("register_creator", "platform", **new_contract)
    assert [len(read_tasks(harness, OrderFilter(mcn=mcn_id))) for mcn_id in ("m1", "m2")] == [0, 1]
    harness.ask("end_contract", "platform", creator_id="k1")
    assert [len(read_tasks(harness, OrderFilter(mcn=mcn_id))) for mcn_id in ("m1", "m2")] == [0, 0]


def test_a_task_list_refuses_a_cursor_that_it_never_gave(engine: Engine) -> None:
    with pytest.raises(BadCursor):
        creator_tasks(engine, OrderFilter(), cursor="bm8")


def test_the_list_shows_the_day_of_publication_that_was_agreed_on_last(
    harness: StoreHarness,
) -> None:
    harness.bring_to("rescheduled")
    expected_at = harness.order().expected_publish_at
    assert expected_at is not None
    (row,) = harness.rows("orders")
    assert row.expected_publish_at == to_us(expected_at)
    tasks = creator_tasks(harness.engine, OrderFilter(creator="k1"))
    assert [task.expected_publish_at for task in tasks.tasks] == [expected_at]
    assert harness.reader.audit().findings == []
