"""Selecting: which orders a person means, found a page at a time however many they are."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Any

from sqlalchemy import Engine, Select, select

from workers import tables
from workers.archive_tables import whole
from workers.clock import to_us
from workers.database import reading

PAGE = 500
"""Orders read at a time."""

Found = tuple[str, int | None]
"""An order, and until when it waits, in microseconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which orders: those that fit everything that is given; due at both ends is due."""

    states: Sequence[str] = ()
    clients: Sequence[str] = ()
    creators: Sequence[str] = ()
    task_types: Sequence[str] = ()
    due_from: datetime | None = None
    due_until: datetime | None = None

    def is_empty(self) -> bool:
        """Tell whether nothing is given, so that all orders would fit."""
        return self == Selection()


def select_orders(
    engine: Engine, selection: Selection, among: Iterable[str] | None = None
) -> Iterator[list[Found]]:
    """Return the orders that are wanted, by id, or those of `among` in the order given.

    What is named in `among` and not known comes back too, without an instant: whoever judges it
    says so, rather than nobody.
    """
    if among is None:
        yield from _all(engine, selection)
        return
    order_ids = iter(among)
    while page_ids := list(islice(order_ids, PAGE)):
        yield _named(engine, selection, page_ids)


def _all(engine: Engine, selection: Selection) -> Iterator[list[Found]]:
    after = ""
    while True:
        query = _filtered(selection).where(whole(tables.orders).c.order_id > after)
        with reading(engine) as connection:
            query = query.order_by(whole(tables.orders).c.order_id).limit(PAGE)
            page = [(row.order_id, row.due_at) for row in connection.execute(query)]
        if not page:
            return
        after = page[-1][0]
        yield page


def _named(engine: Engine, selection: Selection, order_ids: Sequence[str]) -> list[Found]:
    table = whole(tables.orders).c
    with reading(engine) as connection:
        id_result = connection.execute(select(table.order_id).where(table.order_id.in_(order_ids)))
        unknown_ids = set(order_ids) - set(id_result.scalars())
        matching_rows = connection.execute(
            _filtered(selection).where(table.order_id.in_(order_ids))
        )
        due_at_by_id = {row.order_id: row.due_at for row in matching_rows}
    due_at_by_id |= dict.fromkeys(unknown_ids)
    return [
        (order_id, due_at_by_id[order_id]) for order_id in order_ids if order_id in due_at_by_id
    ]


def _filtered(selection: Selection) -> Select[Any]:
    table = whole(tables.orders).c
    query = select(table.order_id, table.due_at)
    column_values = {
        table.state: selection.states,
        table.client_id: selection.clients,
        table.creator_id: selection.creators,
        table.task_type: selection.task_types,
    }
    for column, values in column_values.items():
        query = query.where(column.in_(list(values))) if values else query
    if selection.due_from is not None:
        query = query.where(table.due_at >= to_us(selection.due_from))
    if selection.due_until is not None:
        query = query.where(table.due_at <= to_us(selection.due_until))
    return query
