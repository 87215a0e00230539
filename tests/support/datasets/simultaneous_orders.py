"""Simultaneous orders: rows of orders and creators, several orders at each instant."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import cache
from typing import Any

from sqlalchemy import Engine

from models.orders.order import Order
from tests.support.stories import HISTORIES, START, story_of
from workers.database import bulk, mappers, schema
from workers.database.engine import writing

INTERVAL = timedelta(seconds=1)


@cache
def _sample_order(situation: str) -> tuple[Order, Any]:
    story = story_of(situation)
    return story.order(), story.events_of("order.placed")[0].fact


def order_row(
    situation: str, order_id: str, creator_id: str, placed_at: datetime
) -> dict[str, Any]:
    """Write an order as the table has it."""
    order, placed = _sample_order(situation)
    order = replace(order, order_id=order_id, creator_id=creator_id, placed_at=placed_at)
    return mappers.new_order_row(order, order.wake_at, placed, None)


def order_rows(count: int, creators: Sequence[str]) -> list[dict[str, Any]]:
    """Make orders in every situation, three at each instant; no two lists sort them alike."""
    situations = sorted(HISTORIES)
    return [
        order_row(
            situations[n % len(situations)],
            f"{'ab'[n % 2]}{n * 7 % 10}_{count - n:04}",
            creators[n * n % len(creators)],
            START + n // 3 * INTERVAL,
        )
        for n in range(count)
    ]


def creator_rows(creators: Iterable[tuple[str, str | None]]) -> list[dict[str, Any]]:
    """Make creators, each signed with an agency or with none."""
    return [
        {
            "creator_id": creator_id,
            "name": creator_id.upper(),
            "mcn_id": mcn_id,
            "sequence": 1,
            "standing": "free",
            "wake_at": None,
            "document": "{}",
        }
        for creator_id, mcn_id in creators
    ]


def write_rows(engine: Engine, table: str, table_rows: Sequence[dict[str, Any]]) -> None:
    """Write rows in a transaction of their own."""
    with writing(engine) as connection:
        bulk.insert(connection, schema.metadata.tables[table], table_rows)
