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
    engine: Engine, wanted: Selection, among: Iterable[str] | None = None
) -> Iterator[list[Found]]:
    """Return the orders that are wanted, by id, or those of `among` in the order given.

    What is named in `among` and not known comes back too, without an instant: whoever judges it
    says so, rather than nobody.
    """
    if among is None:
        yield from _all(engine, wanted)
        return
    names = iter(among)
    while some := list(islice(names, PAGE)):
        yield _named(engine, wanted, some)


def _all(engine: Engine, wanted: Selection) -> Iterator[list[Found]]:
    after = ""
    while True:
        query = _filtered(wanted).where(whole(tables.orders).c.order_id > after)
        with reading(engine) as connection:
            query = query.order_by(whole(tables.orders).c.order_id).limit(PAGE)
            page = [(row.order_id, row.due_at) for row in connection.execute(query)]
        if not page:
            return
        after = page[-1][0]
        yield page


def _named(engine: Engine, wanted: Selection, names: Sequence[str]) -> list[Found]:
    table = whole(tables.orders).c
    with reading(engine) as connection:
        known = connection.execute(select(table.order_id).where(table.order_id.in_(names)))
        strangers = set(names) - set(known.scalars())
        found = connection.execute(_filtered(wanted).where(table.order_id.in_(names)))
        fitting = {row.order_id: row.due_at for row in found}
    fitting |= dict.fromkeys(strangers)
    return [(name, fitting[name]) for name in names if name in fitting]


def _filtered(wanted: Selection) -> Select[Any]:
    table = whole(tables.orders).c
    query = select(table.order_id, table.due_at)
    asked = {
        table.state: wanted.states,
        table.client_id: wanted.clients,
        table.creator_id: wanted.creators,
        table.task_type: wanted.task_types,
    }
    for column, values in asked.items():
        query = query.where(column.in_(list(values))) if values else query
    if wanted.due_from is not None:
        query = query.where(table.due_at >= to_us(wanted.due_from))
    if wanted.due_until is not None:
        query = query.where(table.due_at <= to_us(wanted.due_until))
    return query
