"""Order filters: a selection finds all the orders that meet its conditions, and no other."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import Engine

from tests.support.datasets.archived_orders import ArchivingHarness, count_live_and_archived
from tests.support.store_harness import StoreHarness
from tests.support.stories import START, place
from workers.queries import order_filters
from workers.queries.order_filters import Selection, select_orders
from workers.timestamps import to_us

HOUR = timedelta(hours=1)


@pytest.fixture
def orders(harness: StoreHarness) -> StoreHarness:
    """Give a harness with offers of three clients an hour apart, and an order never paid for."""
    harness.admit()
    for number, client in enumerate(("c1", "c2", "c3")):
        harness.now = START + number * HOUR
        place(harness, f"o{number}", f"client:{client}")
        harness.pay(f"p{number}", {f"o{number}": harness.order(f"o{number}").balance_due_fen})
    place(harness, "unpaid", "client:c1", task_type="toutiao", creator_id="k2")
    return harness


def selected_ids(
    harness: StoreHarness, selection: Selection, order_ids: list[str] | None = None
) -> list[str]:
    pages = select_orders(harness.engine, selection, order_ids)
    return [name for page in pages for name, _ in page]


@pytest.mark.parametrize(
    ("selection", "expected_ids"),
    [
        (Selection(), ["o0", "o1", "o2", "unpaid"]),
        (Selection(states=("offered",)), ["o0", "o1", "o2"]),
        (Selection(states=("offered", "awaiting_deposit")), ["o0", "o1", "o2", "unpaid"]),
        (Selection(clients=("c1",)), ["o0", "unpaid"]),
        (Selection(clients=("c1", "c3"), states=("offered",)), ["o0", "o2"]),
        (Selection(creators=("k2",)), ["unpaid"]),
        (Selection(task_types=("douyin_video",)), ["o0", "o1", "o2"]),
        (Selection(states=("completed",)), []),
        (Selection(due_from=START + 25 * HOUR, due_until=START + 26 * HOUR), ["o1", "o2"]),
        (Selection(due_until=START + 24 * HOUR), ["o0", "unpaid"]),
        (Selection(due_from=START + 26 * HOUR), ["o2"]),
    ],
)
def test_a_selection_meets_every_condition_and_an_interval_includes_both_ends(
    orders: StoreHarness, selection: Selection, expected_ids: list[str]
) -> None:
    assert selected_ids(orders, selection) == expected_ids


def test_named_orders_come_in_the_order_named_and_unknown_ids_too(orders: StoreHarness) -> None:
    order_ids = ["o2", "nobody", "unpaid", "o0"]
    assert selected_ids(orders, Selection(), order_ids) == order_ids
    assert selected_ids(orders, Selection(states=("offered",)), order_ids) == ["o2", "nobody", "o0"]
    (page,) = select_orders(orders.engine, Selection(), ["o0", "nobody"])
    assert page == [("o0", to_us(START + 24 * HOUR)), ("nobody", None)]


def test_no_order_is_missed_or_selected_twice_where_pages_meet(
    orders: StoreHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(order_filters, "PAGE_SIZE", 2)
    assert selected_ids(orders, Selection()) == ["o0", "o1", "o2", "unpaid"]
    order_ids = ["o2", "o1", "o0"]
    assert selected_ids(orders, Selection(), order_ids) == order_ids


def test_an_archived_order_is_selected_like_any_other(engine: Engine) -> None:
    harness = ArchivingHarness(engine=engine)
    harness.admit().offer("o1", "o2")
    harness.ask("cancel_order", "client", order_id="o1")
    harness.archive_all()
    assert count_live_and_archived(engine) == (1, 1)
    assert selected_ids(harness, Selection(states=("cancelled",))) == ["o1"]
    assert selected_ids(harness, Selection(states=("offered",)), ["o1", "o2"]) == ["o2"]
    assert selected_ids(harness, Selection(), ["o1"]) == ["o1"]
