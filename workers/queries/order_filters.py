"""Order filters: which orders somebody asks for, as conditions on their columns."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Engine,
    Select,
    Text,
    bindparam,
    select,
    true,
    tuple_,
)

from models.lifecycle import PublicStatus, State
from models.orders.order import public_statuses_of
from workers.database import schema
from workers.database.archive_schema import with_archive
from workers.database.engine import reading
from workers.timestamps import to_us

ListPosition = tuple[int, str]
"""An order's place on every list: when it was placed, and its id. Neither ever changes."""


Condition = ColumnElement[bool]


OrderColumns = Any
"""The columns of orders, or of what was chosen from them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderFilter:
    """Which orders: those that fit everything that is not None, placed within an interval.

    `mcn` stands for the creators who are signed with that agency now, `prefix` for the first
    characters of an id.
    """

    client: str | None = None
    creator: str | None = None
    mcn: str | None = None
    status: PublicStatus | None = None
    state: State | None = None
    placed_after: datetime | None = None
    placed_before: datetime | None = None
    prefix: str | None = None

    def statuses(self) -> tuple[PublicStatus, ...]:
        """Return what people may be shown of these orders."""
        if self.status is not None:
            return (self.status,)
        return tuple(PublicStatus) if self.state is None else public_statuses_of(self.state)

    def values(self, after: ListPosition | None) -> dict[str, Any]:
        """Return what is given, by name, for the next page behind a place on the list."""
        before = None if self.placed_before is None else (to_us(self.placed_before), "")
        ends = [end for end in (after, before) if end is not None]
        parameters: dict[str, Any] = {
            "client": self.client,
            "creator": self.creator,
            "mcn": self.mcn,
        }
        parameters["status"] = None if self.status is None else self.status.value
        parameters["state"] = None if self.state is None else self.state.value
        parameters["since"] = None if self.placed_after is None else to_us(self.placed_after)
        if ends:
            parameters["before"], parameters["before_id"] = min(ends)
        if self.prefix:
            last = chr(ord(self.prefix[-1]) + 1)
            parameters["prefix"], parameters["prefix_end"] = self.prefix, self.prefix[:-1] + last
        return {name: value for name, value in parameters.items() if value is not None}


@dataclass(frozen=True, slots=True)
class QueryShape:
    """What is given in a question, whatever the values: all questions of a shape are one query."""

    parameter_names: frozenset[str]
    statuses: tuple[PublicStatus, ...]

    def index_ranges(self, columns: OrderColumns) -> list[tuple[Condition, ...]]:
        """Name the stretches of an index, each sorted by place, in which these orders lie."""
        by_status = [(columns.public_status == status.value,) for status in self.statuses]
        if "creator" in self.parameter_names:
            return [
                (columns.creator_id == bindparam("creator"), *status_condition)
                for status_condition in by_status
            ]
        if "client" in self.parameter_names:
            return [(columns.client_id == bindparam("client"),)]
        return [*by_status] if self.parameter_names & {"status", "state"} else [()]

    def required_columns(self) -> list[str]:
        """Name the columns that `fits` looks at."""
        filters_by_column = {
            "client_id": {"client"},
            "creator_id": {"creator", "mcn"},
            "public_status": {"status"},
            "state": {"state"},
        }
        filter_columns = (
            name for name, filters in filters_by_column.items() if filters & self.parameter_names
        )
        return ["placed_at", "order_id", *filter_columns]

    def conditions(self, columns: OrderColumns) -> Iterator[Condition]:
        """Ask for what is wanted."""
        columns_by_filter = {"client": "client_id", "creator": "creator_id", "state": "state"}
        for name, column in columns_by_filter.items():
            if name in self.parameter_names:
                yield columns[column] == bindparam(name)
        if "status" in self.parameter_names:
            yield columns.public_status == bindparam("status")
        if "mcn" in self.parameter_names:
            # As a value it is looked up in a set; as a plain condition it might become a join.
            yield columns.creator_id.in_(creators_of_mcn()).is_(true())
        if "prefix" in self.parameter_names:
            yield from has_prefix(columns)
        yield from self.interval_conditions(columns)

    def interval_conditions(self, columns: OrderColumns) -> Iterator[Condition]:
        """Ask for what was placed within the interval, and stands behind a place on the list."""
        if "since" in self.parameter_names:
            yield columns.placed_at > bindparam("since")
        if "before" in self.parameter_names:
            end = bindparam("before", type_=BigInteger), bindparam("before_id", type_=Text)
            yield tuple_(columns.placed_at, columns.order_id) < tuple_(*end)


def has_prefix(columns: OrderColumns) -> Iterator[Condition]:
    """Ask for ids that begin so: a stretch of the index, which has them in the order of bytes."""
    yield columns.order_id >= bindparam("prefix")
    yield columns.order_id < bindparam("prefix_end")


def creators_of_mcn() -> Select[Any]:
    """Return the query for the creators who are signed with an agency now."""
    table = schema.creators.c
    return select(table.creator_id).where(table.mcn_id == bindparam("mcn"))


PAGE_SIZE = 500
"""Orders read at a time."""


SelectedOrder = tuple[str, int | None]
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
) -> Iterator[list[SelectedOrder]]:
    """Return the orders that are wanted, by id, or those of `among` in the order given.

    What is named in `among` and not known comes back too, without an instant: whoever handles it
    says so, rather than nobody.
    """
    if among is None:
        yield from _select_all(engine, selection)
        return
    order_ids = iter(among)
    while page_ids := list(islice(order_ids, PAGE_SIZE)):
        yield _select_among(engine, selection, page_ids)


def _select_all(engine: Engine, selection: Selection) -> Iterator[list[SelectedOrder]]:
    after = ""
    while True:
        query = _filtered(selection).where(with_archive(schema.orders).c.order_id > after)
        with reading(engine) as connection:
            query = query.order_by(with_archive(schema.orders).c.order_id).limit(PAGE_SIZE)
            page = [(row.order_id, row.due_at) for row in connection.execute(query)]
        if not page:
            return
        after = page[-1][0]
        yield page


def _select_among(
    engine: Engine, selection: Selection, order_ids: Sequence[str]
) -> list[SelectedOrder]:
    table = with_archive(schema.orders).c
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
    table = with_archive(schema.orders).c
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
