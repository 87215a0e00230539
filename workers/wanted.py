"""Wanted: which orders somebody asks for, and the conditions that this puts on their columns."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, Select, Text, bindparam, select, true, tuple_

from models.lifecycle import State
from models.orders.order import PublicStatus, statuses_of
from workers import party_tables
from workers.clock import to_us

Key = tuple[int, str]
"""An order's place on every list: when it was placed, and its id. Neither ever changes."""


Condition = ColumnElement[bool]


Columns = Any
"""The columns of orders, or of what was chosen from them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
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
        return tuple(PublicStatus) if self.state is None else statuses_of(self.state)

    def values(self, after: Key | None) -> dict[str, Any]:
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
class Shape:
    """What is given in a question, whatever the values: all questions of a shape are one query."""

    given: frozenset[str]
    statuses: tuple[PublicStatus, ...]

    def lanes(self, c: Columns) -> list[tuple[Condition, ...]]:
        """Name the stretches of an index, each sorted by place, in which these orders lie."""
        by_status = [(c.public_status == status.value,) for status in self.statuses]
        if "creator" in self.given:
            return [
                (c.creator_id == bindparam("creator"), *status_condition)
                for status_condition in by_status
            ]
        if "client" in self.given:
            return [(c.client_id == bindparam("client"),)]
        return [*by_status] if self.given & {"status", "state"} else [()]

    def needs(self) -> list[str]:
        """Name the columns that `fits` looks at."""
        filters_by_column = {
            "client_id": {"client"},
            "creator_id": {"creator", "mcn"},
            "public_status": {"status"},
            "state": {"state"},
        }
        filter_columns = (
            name for name, filters in filters_by_column.items() if filters & self.given
        )
        return ["placed_at", "order_id", *filter_columns]

    def fits(self, c: Columns) -> Iterator[Condition]:
        """Ask for what is wanted."""
        columns = {"client": "client_id", "creator": "creator_id", "state": "state"}
        for name, column in columns.items():
            if name in self.given:
                yield c[column] == bindparam(name)
        if "status" in self.given:
            yield c.public_status == bindparam("status")
        if "mcn" in self.given:
            # As a value it is looked up in a set; as a plain condition it might become a join.
            yield c.creator_id.in_(signed()).is_(true())
        if "prefix" in self.given:
            yield from begins(c)
        yield from self.within(c)

    def within(self, c: Columns) -> Iterator[Condition]:
        """Ask for what was placed within the interval, and stands behind a place on the list."""
        if "since" in self.given:
            yield c.placed_at > bindparam("since")
        if "before" in self.given:
            end = bindparam("before", type_=BigInteger), bindparam("before_id", type_=Text)
            yield tuple_(c.placed_at, c.order_id) < tuple_(*end)


def begins(c: Columns) -> Iterator[Condition]:
    """Ask for ids that begin so: a stretch of the index, which has them in the order of bytes."""
    yield c.order_id >= bindparam("prefix")
    yield c.order_id < bindparam("prefix_end")


def signed() -> Select[Any]:
    """Return the query for the creators who are signed with an agency now."""
    table = party_tables.creators.c
    return select(table.creator_id).where(table.mcn_id == bindparam("mcn"))
