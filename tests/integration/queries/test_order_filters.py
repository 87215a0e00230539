"""Order filters: the orders that a person means are found, all of them, and no other."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import Engine

from tests.support.datasets.archived_orders import Resting, halves
from tests.support.store_harness import Desk
from tests.support.stories import START, place
from workers.queries import order_filters
from workers.queries.order_filters import Selection, select_orders
from workers.timestamps import to_us

HOUR = timedelta(hours=1)


@pytest.fixture
def orders(desk: Desk) -> Desk:
    """Let there be offers of three clients an hour apart, and what was never paid for."""
    desk.admit()
    for number, client in enumerate(("c1", "c2", "c3")):
        desk.now = START + number * HOUR
        place(desk, f"o{number}", f"client:{client}")
        desk.pay(f"p{number}", {f"o{number}": desk.order(f"o{number}").balance_due_fen})
    place(desk, "unpaid", "client:c1", task_type="toutiao", creator_id="k2")
    return desk


def found(desk: Desk, selection: Selection, among: list[str] | None = None) -> list[str]:
    pages = select_orders(desk.engine, selection, among)
    return [name for page in pages for name, _ in page]


@pytest.mark.parametrize(
    ("selection", "fitting"),
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
def test_what_is_given_must_fit_and_an_interval_has_both_its_ends(
    orders: Desk, selection: Selection, fitting: list[str]
) -> None:
    assert found(orders, selection) == fitting


def test_what_is_named_comes_in_its_order_and_strangers_come_too(orders: Desk) -> None:
    order_ids = ["o2", "nobody", "unpaid", "o0"]
    assert found(orders, Selection(), order_ids) == order_ids
    assert found(orders, Selection(states=("offered",)), order_ids) == ["o2", "nobody", "o0"]
    (page,) = select_orders(orders.engine, Selection(), ["o0", "nobody"])
    assert page == [("o0", to_us(START + 24 * HOUR)), ("nobody", None)]


def test_nothing_is_missed_or_seen_twice_where_pages_meet(
    orders: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(order_filters, "PAGE", 2)
    assert found(orders, Selection()) == ["o0", "o1", "o2", "unpaid"]
    order_ids = ["o2", "o1", "o0"]
    assert found(orders, Selection(), order_ids) == order_ids


def test_an_order_at_rest_is_found_like_any_other(engine: Engine) -> None:
    desk = Resting(engine=engine)
    desk.admit().offer("o1", "o2")
    desk.ask("cancel_order", "client", order_id="o1")
    desk.rest()
    assert halves(engine) == (1, 1)
    assert found(desk, Selection(states=("cancelled",))) == ["o1"]
    assert found(desk, Selection(states=("offered",)), ["o1", "o2"]) == ["o2"]
    assert found(desk, Selection(), ["o1"]) == ["o1"]
