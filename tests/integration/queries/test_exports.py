"""Exports: every row once, whatever is written meanwhile."""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import Engine, select

from models.policy import Policy
from scheduler import maintenance
from tests.support.datasets.archived_orders import count_live_and_archived
from tests.support.datasets.many_orders import write_orders
from workers.database import schema
from workers.database.engine import open_database, reading, writing
from workers.database.migrations import migrate
from workers.database.repository import Store
from workers.queries.exports import EXPORTS, PAGE_SIZE, BadExportCursor, export_pages
from workers.timestamps import optional_text

COUNT = 2 * PAGE_SIZE + 10
"""Orders enough for several pages."""

KEYS = {
    "orders": ("order_id",),
    "events": ("subject", "sequence"),
    "postings": ("subject", "sequence", "ordinal"),
}

DATASETS = tuple(KEYS)


@pytest.fixture
def store(engine: Engine) -> Store:
    return Store(engine, Policy())


def export_rows(store: Store, dataset: str, **options: Any) -> list[dict[str, Any]]:  # noqa: ANN401
    """Export in this process; return records by column."""
    kind = EXPORTS[dataset]
    names = [column.name for column in kind.columns]
    pages_of_export = export_pages(store, kind, **options)
    return [
        dict(zip(names, record, strict=True)) for page in pages_of_export for record in page.records
    ]


def keys_of_rows(dataset: str, records: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    return [tuple(record[name] for name in KEYS[dataset]) for record in records]


def recorded_keys(engine: Engine, dataset: str) -> set[tuple[Any, ...]]:
    table = schema.metadata.tables[dataset]
    with reading(engine) as connection:
        return {
            tuple(row) for row in connection.execute(select(*(table.c[n] for n in KEYS[dataset])))
        }


@pytest.mark.parametrize("dataset", DATASETS)
def test_an_export_has_every_row_once(store: Store, dataset: str) -> None:
    write_orders(store.engine, COUNT)
    row_keys = keys_of_rows(dataset, export_rows(store, dataset))
    assert len(row_keys) == len(set(row_keys))
    assert set(row_keys) == recorded_keys(store.engine, dataset)


@pytest.mark.parametrize("dataset", DATASETS)
def test_pages_of_any_size_make_up_the_whole_export(store: Store, dataset: str) -> None:
    write_orders(store.engine, 8)
    whole, pieces, cursor = export_rows(store, dataset), [], None
    for limit in (1, 2, 1, 3, 100):
        (page,) = export_pages(store, EXPORTS[dataset], cursor, limit)
        cursor = page.cursor
        pieces += page.records
    assert pieces == [tuple(record.values()) for record in whole]
    assert list(export_pages(store, EXPORTS[dataset], cursor)) == []


@pytest.mark.parametrize("dataset", DATASETS)
def test_orders_placed_meanwhile_make_nothing_come_twice_or_not_at_all(
    store: Store, dataset: str
) -> None:
    write_orders(store.engine, COUNT, first=COUNT)
    before, records = recorded_keys(store.engine, dataset), []
    names = [column.name for column in EXPORTS[dataset].columns]
    for number, page in enumerate(export_pages(store, EXPORTS[dataset])):
        records += [dict(zip(names, record, strict=True)) for record in page.records]
        # Some are older than what was read already, some are younger than all.
        write_orders(store.engine, 20, first=20 * number)
        write_orders(store.engine, 20, first=2 * COUNT + 20 * number)
    row_keys = keys_of_rows(dataset, records)
    assert len(row_keys) == len(set(row_keys))
    assert set(row_keys) >= before


@pytest.mark.parametrize("dataset", DATASETS)
def test_orders_archived_meanwhile_make_nothing_come_twice_or_not_at_all(
    store: Store, dataset: str
) -> None:
    write_orders(store.engine, COUNT, declined=True)
    write_orders(store.engine, 1, first=COUNT)
    before, records, now = (
        recorded_keys(store.engine, dataset),
        [],
        datetime(2100, 1, 1, tzinfo=UTC),
    )
    names = [column.name for column in EXPORTS[dataset].columns]
    for page in export_pages(store, EXPORTS[dataset]):
        records += [dict(zip(names, record, strict=True)) for record in page.records]
        maintenance.archive_orders(store, maintenance.ArchiveCutoff(now, now), limit=PAGE_SIZE)
    row_keys = keys_of_rows(dataset, records)
    assert len(row_keys) == len(set(row_keys))
    assert set(row_keys) == before
    assert count_live_and_archived(store.engine) == (1, COUNT)


@pytest.mark.parametrize("dataset", ["events", "postings"])
def test_rows_written_after_an_export_come_behind_its_cursor(store: Store, dataset: str) -> None:
    write_orders(store.engine, 5)
    *_, page = export_pages(store, EXPORTS[dataset])
    # Older by their own instants: what counts is when they were written down.
    write_orders(store.engine, 5, first=-10)
    later_records = export_rows(store, dataset, after=page.cursor)
    assert {record["order_id"] for record in later_records} == {f"o{n:08}" for n in range(-10, -5)}


@pytest.mark.postgres
def test_an_export_waits_for_a_smaller_position_that_is_committed_later(
    postgresql_url: str,
) -> None:
    """Hold back a writer that took its number first; nobody may pass its place until it ends."""
    engine = open_database(postgresql_url)
    migrate(engine)
    store, records = Store(engine, Policy()), []
    with writing(engine) as first_writer:
        first_writer.execute(schema.events.insert(), event_row("early"))
        with writing(engine) as second_writer:
            second_writer.execute(schema.events.insert(), event_row("late"))
        reader = threading.Thread(target=lambda: records.extend(export_rows(store, "events")))
        reader.start()
        reader.join(0.5)
        reader_waited = reader.is_alive()
        # Nobody is kept from writing meanwhile, nor waited for.
        with writing(engine) as third_writer:
            third_writer.execute(schema.events.insert(), event_row("third"))
    reader.join()
    assert reader_waited
    assert [record["subject"] for record in records] == ["order:early", "order:late"]
    assert len(export_rows(store, "events")) == 3
    engine.dispose()


def event_row(order_id: str) -> dict[str, Any]:
    facts = {"subject": f"order:{order_id}", "sequence": 1, "type": "order.placed"}
    return facts | {"at": 1, "recorded_at": 1, "caused_by": "command:c", "body": "{}"}


@pytest.mark.parametrize(
    "cursor", ["", "x", "1:2:3", "-1", "\u0661", "2026-03-02T02:00:00Z", "1" * 30]
)
@pytest.mark.parametrize("dataset", DATASETS)
def test_an_export_refuses_what_is_no_cursor(dataset: str, cursor: str) -> None:
    with pytest.raises(BadExportCursor, match="one is like"):
        EXPORTS[dataset].place(cursor)


@pytest.mark.parametrize("dataset", DATASETS)
def test_the_cursor_of_a_row_is_made_of_its_columns(store: Store, dataset: str) -> None:
    write_orders(store.engine, 3)
    (page,) = export_pages(store, EXPORTS[dataset], limit=2)
    last_record = export_rows(store, dataset, limit=2)[-1]
    expected_cursors = {
        "orders": f"{optional_text(last_record.get('placed_at'))}/{last_record['order_id']}",
        "events": f"{last_record.get('position')}",
        "postings": f"{last_record.get('position')}:{last_record.get('ordinal')}",
    }
    assert expected_cursors[dataset] == page.cursor
