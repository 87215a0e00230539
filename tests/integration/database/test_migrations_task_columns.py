"""Task columns: an upgrade fills them for every order as the newer version would have."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from alembic import command
from sqlalchemy import inspect, text

from tests.support.stories import HISTORIES, story_of
from workers.database import bulk, mappers, schema
from workers.database.engine import open_database, reading, writing
from workers.database.migrations import alembic_config, migrate

PROJECTED_COLUMNS = ("public_status", "expected_publish_at")

PUBLISH_DATES = (
    None,
    datetime(2026, 4, 1, 4, tzinfo=UTC),
    datetime(2026, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
    datetime(2999, 2, 28, 0, 0, 0, 7, tzinfo=UTC),
)


def read_documents(rows: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return rows by order, their documents read: a database may write one in its own way."""
    return {row["order_id"]: dict(row) | {"document": json.loads(row["document"])} for row in rows}


@pytest.mark.parametrize("first", range(len(PUBLISH_DATES)))
def test_a_migration_fills_the_task_columns_of_existing_orders(
    database_url: str, first: int
) -> None:
    engine = open_database(database_url)
    with writing(engine) as connection:
        config = alembic_config()
        config.attributes["connection"] = connection
        command.upgrade(config, "0003")
    order_rows = {}
    for number, situation in enumerate(sorted(HISTORIES)):
        story = story_of(situation)
        publish_at = PUBLISH_DATES[(number + first) % len(PUBLISH_DATES)]
        order = replace(story.order(), order_id=situation, expected_publish_at=publish_at)
        # What an order has learned of its creator was not numbered yet.
        order = replace(order, creator_sequence=0)
        order_placed: Any = story.events_of("order.placed")[0].fact
        row = mappers.new_order_row(order, order.wake_at, order_placed, None)
        # What an order that has ended owes is known by now: nobody looks for it by a reference.
        order_rows[situation] = row | ({"reference_key": None} if order.is_final else {})
    with writing(engine) as connection:
        column_names = {column["name"] for column in inspect(connection).get_columns("orders")}
        assert column_names.isdisjoint(PROJECTED_COLUMNS)
        old_rows = [
            {k: v for k, v in row.items() if k in column_names} for row in order_rows.values()
        ]
        bulk.insert(connection, schema.orders, old_rows)
    migrate(engine)
    with reading(engine) as connection:
        stored_rows = connection.execute(text("SELECT * FROM orders")).mappings().all()
    assert read_documents(map(dict, stored_rows)) == read_documents(order_rows.values())
    engine.dispose()
