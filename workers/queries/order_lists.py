"""Order lists: orders and a creator's tasks by pages, the latest placed first, in bounded time.

A list is walked down an index, the latest placed first. Where no index is sorted by what is asked
for (an agency has many creators, a prefix may be of any order's id), few that might fit are
gathered and sorted; where many might, a walk soon meets them, and one that meets too few stops
early. Each query is made once for all questions of a shape; `orders` is the table that is looked
through: that of the orders at hand, or that of the archive.

Each order stands where it was placed, for ever. Somebody who reads page after page meets every
order that was there when they began, and fits all the while, exactly once; what is recorded while
they read comes once or, if it was placed later than what they have seen, at their next reading.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any

from sqlalchemy import (
    Connection,
    Engine,
    Integer,
    Select,
    Table,
    bindparam,
    func,
    select,
    true,
    union_all,
)

from models.lifecycle import PublicStatus, State
from models.orders.order import OPEN_STATUSES, Order
from workers.database import archive_schema, mappers, schema
from workers.database.archive_schema import with_archive
from workers.database.engine import reading
from workers.database.repository import Store
from workers.queries.order_filters import (
    Condition,
    ListPosition,
    OrderColumns,
    OrderFilter,
    QueryShape,
    creators_of_mcn,
    has_prefix,
)
from workers.timestamps import from_us

LIMIT_PARAMETER, MAX_GATHERED_PARAMETER, MAX_WALKED_PARAMETER = (
    bindparam(name, type_=Integer) for name in ("limit", "few", "look")
)
"""How many orders are asked for; how many, at most, are gathered or looked at."""


@cache
def indexed_query(orders: Table, shape: QueryShape) -> Select[Any]:
    """Read down the stretches of an index that hold these orders alone, side by side."""
    pages = [
        _page_query(shape, orders.c, *index_range) for index_range in shape.index_ranges(orders.c)
    ]
    if len(pages) == 1:
        return pages[0]
    combined = union_all(*(select(page.subquery()) for page in pages)).subquery()
    return _newest_first(select(combined), combined.c).limit(LIMIT_PARAMETER)


@cache
def count_prefix_query(orders: Table) -> Select[Any]:
    """Count the orders whose ids begin so, if they are few."""
    matches = (
        select(orders.c.order_id)
        .where(*has_prefix(orders.c))
        .limit(MAX_GATHERED_PARAMETER)
        .subquery()
    )
    return select(func.count()).select_from(matches)


@cache
def prefix_query(orders: Table, shape: QueryShape) -> Select[Any]:
    """Sort the orders whose ids begin so."""
    matches = (
        _required_columns(orders, shape).where(*has_prefix(orders.c)).limit(MAX_GATHERED_PARAMETER)
    )
    return _page_query(shape, matches.subquery().c)


@cache
def gathered_query(orders: Table, shape: QueryShape, *, array: bool) -> Select[Any]:
    """Sort what some creators have, and count it, if it is little.

    PostgreSQL looks up an `array` in the index, name by name; a join might read all orders.
    """
    columns = orders.c
    if "creator" in shape.parameter_names:
        conditions = [columns.creator_id == bindparam("creator")]
    elif array:
        conditions = [
            columns.creator_id == func.any(func.array(creators_of_mcn().scalar_subquery()))
        ]
    else:
        conditions = [columns.creator_id.in_(creators_of_mcn())]
    if "status" in shape.parameter_names:
        conditions.append(columns.public_status == bindparam("status"))
    matches = _required_columns(orders, shape).where(*conditions).limit(MAX_GATHERED_PARAMETER)
    # As the index has them, so that it is used, though any order would do.
    sorted_matches = matches.order_by(
        columns.creator_id, columns.public_status, columns.placed_at, columns.order_id
    ).cte("few")
    count = select(func.count().label("few")).select_from(sorted_matches).subquery()
    top = _page_query(shape, sorted_matches.c).subquery()
    query = select(top.c.placed_at, top.c.order_id, count.c.few)
    return query.select_from(count.outerjoin(top, true()))


@cache
def walk_query(orders: Table, shape: QueryShape) -> Select[Any]:
    """Look at some orders, one after the other, for those that fit."""
    return _page_query(shape, _walk(orders, shape).limit(MAX_WALKED_PARAMETER).subquery().c)


@cache
def walk_end_query(orders: Table, shape: QueryShape) -> Select[Any]:
    """Say where such a walk has come to, if not to the end."""
    places = _walk(orders, shape).with_only_columns(orders.c.placed_at, orders.c.order_id)
    return places.offset(MAX_WALKED_PARAMETER - 1).limit(1)


@cache
def latest_key_query(orders: Table) -> Select[Any]:
    """Say where the latest of all orders stands."""
    return _newest_first(select(orders.c.placed_at, orders.c.order_id), orders.c).limit(1)


def _walk(orders: Table, shape: QueryShape) -> Select[Any]:
    index_ranges = shape.index_ranges(orders.c)
    index_range = index_ranges[0] if len(index_ranges) == 1 else ()
    query = _required_columns(orders, shape).where(
        *index_range, *shape.interval_conditions(orders.c)
    )
    return _newest_first(query, orders.c)


def _required_columns(orders: Table, shape: QueryShape) -> Select[Any]:
    return select(*(orders.c[name] for name in shape.required_columns()))


def _page_query(shape: QueryShape, columns: OrderColumns, *index_range: Condition) -> Select[Any]:
    """Ask for the next orders among those of which `c` are the columns."""
    query = select(columns.placed_at, columns.order_id).where(
        *index_range, *shape.conditions(columns)
    )
    return _newest_first(query, columns).limit(LIMIT_PARAMETER)


def _newest_first(query: Select[Any], columns: OrderColumns) -> Select[Any]:
    return query.order_by(columns.placed_at.desc(), columns.order_id.desc())


@dataclass(frozen=True, slots=True)
class SearchBounds:
    """How much one page may cost, in orders looked at.

    Up to `max_gathered` are gathered and sorted; of more, one in some hundreds fits, and a walk
    meets it. A walk looks at `first_walk` before anything else is tried, and at `max_walk` after
    all was tried.
    """

    max_gathered: int = 3_000
    first_walk: int = 1_000
    max_walk: int = 8_000


SEARCH_BOUNDS = SearchBounds()


@dataclass(frozen=True, slots=True)
class ListSection:
    """The places of some orders, the latest placed first, and where to go on, if anywhere.

    There may be fewer than were asked for, even none, and yet somewhere to go on.
    """

    keys: Sequence[ListPosition]
    after: ListPosition | None


def find_newest(
    connection: Connection,
    order_filter: OrderFilter,
    after: ListPosition | None,
    limit: int,
    bounds: SearchBounds = SEARCH_BOUNDS,
) -> ListSection:
    """Find the next `limit` orders that fit `order_filter`, behind a place on their list.

    The archive is looked through too, once what is asked for is as old as its latest order.
    """
    values = order_filter.values(after)
    shape = QueryShape(frozenset(values), order_filter.statuses())
    live = OrderSearch(connection, schema.orders, shape, values, limit, bounds).run()
    if set(shape.statuses) <= set(OPEN_STATUSES) or _ends_before(
        connection, archive_schema.orders, live
    ):
        return live
    archived = OrderSearch(connection, archive_schema.orders, shape, values, limit, bounds).run()
    return _merge(live, archived, limit)


def _ends_before(connection: Connection, archive: Table, live: ListSection) -> bool:
    """Tell whether everything in the archive comes after what was found."""
    latest = connection.execute(latest_key_query(archive)).first()
    return latest is None or (live.after is not None and live.after >= tuple(latest))


def _merge(live: ListSection, archived: ListSection, limit: int) -> ListSection:
    """Put two lists together, as far down as both were looked through."""
    ends = [listing.after for listing in (live, archived) if listing.after is not None]
    end = max(ends) if ends else None
    keys = sorted((*live.keys, *archived.keys), reverse=True)
    certain_keys = [key for key in keys if end is None or key >= end]
    if len(certain_keys) > limit:
        return ListSection(certain_keys[:limit], certain_keys[limit - 1])
    return ListSection(certain_keys, end)


@dataclass(frozen=True, slots=True)
class OrderSearch:
    """One look through a table for the next `limit` orders that fit; one more tells if it ends."""

    connection: Connection
    orders: Table
    shape: QueryShape
    values: dict[str, Any]
    limit: int
    bounds: SearchBounds

    def run(self) -> ListSection:
        """Find them the cheapest way there is."""
        filter_names = self.shape.parameter_names
        if "prefix" not in filter_names and (
            "mcn" not in filter_names or "creator" in filter_names
        ):
            return self._section(self._keys(indexed_query(self.orders, self.shape)))
        if "prefix" in filter_names and (keys := self._by_prefix()) is not None:
            return self._section(keys)
        listing = self._walk(self.bounds.first_walk)
        if listing.after is None or len(listing.keys) == self.limit:
            return listing
        creator_keys = self._gather() if filter_names & {"mcn", "creator"} else None
        return (
            self._walk(self.bounds.max_walk)
            if creator_keys is None
            else self._section(creator_keys)
        )

    def _by_prefix(self) -> list[ListPosition] | None:
        """Return the orders whose ids begin so, or None for too many."""
        max_count = self.bounds.max_gathered
        parameters = self.values | {"few": max_count + 1}
        if (
            self.connection.execute(count_prefix_query(self.orders), parameters).scalar_one()
            > max_count
        ):
            return None
        return self._keys(prefix_query(self.orders, self.shape), few=max_count)

    def _gather(self) -> list[ListPosition] | None:
        """Return what the creators have, or None for too much."""
        max_count, array = self.bounds.max_gathered, self.connection.dialect.name == "postgresql"
        query = gathered_query(self.orders, self.shape, array=array)
        parameters = self.values | {"few": max_count + 1, "limit": self.limit + 1}
        rows = self.connection.execute(query, parameters).all()
        if rows[0].few > max_count:
            return None
        return sorted(
            ((placed_at, order_id) for placed_at, order_id, _ in rows if order_id is not None),
            reverse=True,
        )

    def _walk(self, max_walked: int) -> ListSection:
        """Return those of the next orders that fit, and where enough of either were seen."""
        keys = self._keys(walk_query(self.orders, self.shape), look=max_walked)
        if len(keys) > self.limit:
            return self._section(keys)
        walk_ends = self._keys(walk_end_query(self.orders, self.shape), look=max_walked)
        return ListSection(keys, walk_ends[0] if walk_ends else None)

    def _keys(self, query: Select[Any], **extra_parameters: int) -> list[ListPosition]:
        parameters = {**self.values, "limit": self.limit + 1, **extra_parameters}
        return [
            (placed_at, order_id)
            for placed_at, order_id in self.connection.execute(query, parameters)
        ]

    def _section(self, keys: Sequence[ListPosition]) -> ListSection:
        page_keys = keys[: self.limit]
        return ListSection(page_keys, page_keys[-1] if len(keys) > self.limit else None)


class BadCursor(ValueError):
    """A cursor that none of our pages ended with."""


@dataclass(frozen=True, slots=True)
class OrderListPage:
    """Orders, the latest placed first, and where the next page begins, if there is one."""

    orders: list[Order]
    cursor: str | None


def order_page(
    store: Store, order_filter: OrderFilter, *, cursor: str | None = None, limit: int = 50
) -> OrderListPage:
    """Return a page. A cursor stays good for ever: neither place nor name of an order changes.

    Raise `BadCursor` where it is none of ours.
    """
    after, policies = read_cursor(cursor), store.known_policies()
    with reading(store.engine) as connection:
        listing = find_newest(connection, order_filter, after, limit)
        table = with_archive(schema.orders).c
        query = select(table.order_id, table.document)
        query = query.where(table.order_id.in_([order_id for _, order_id in listing.keys]))
        documents = {row.order_id: row.document for row in connection.execute(query)}
    orders = [mappers.read_order(documents[order_id], policies) for _, order_id in listing.keys]
    return OrderListPage(orders, write_cursor(listing.after))


def write_cursor(place: ListPosition | None) -> str | None:
    """Name the place behind an order, or none."""
    if place is None:
        return None
    placed_at, order_id = place
    return base64.urlsafe_b64encode(f"{placed_at}:{order_id}".encode()).decode().rstrip("=")


def read_cursor(cursor: str | None) -> ListPosition | None:
    """Read such a name; raise `BadCursor`."""
    if cursor is None:
        return None
    try:
        text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        placed_at, _, order_id = text.decode("ascii").partition(":")
        if not placed_at.isdecimal() or len(placed_at) > len(str(2**53)) or not order_id:
            raise BadCursor("cursor: none of ours")
        return int(placed_at), order_id
    except (binascii.Error, ValueError):
        raise BadCursor("cursor: none of ours") from None


TASK_COLUMNS = (
    *("order_id", "name", "client_id", "creator_id", "industry", "amount_fen", "placed_at"),
    *("expected_publish_at", "public_status", "state", "reason"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class CreatorTask:
    """An order as a creator's task; `client_name` is that of a registered client."""

    task_id: str
    name: str
    client_id: str
    client_name: str | None
    creator_id: str
    industry: str
    amount_fen: int
    created_at: datetime
    expected_publish_at: datetime | None
    status: PublicStatus
    state: State
    reason: str | None


@dataclass(frozen=True, slots=True)
class CreatorTaskPage:
    """Some tasks, the latest first, and where to go on, if anywhere.

    There may be fewer than were asked for, even none, and yet somewhere to go on.
    """

    tasks: list[CreatorTask]
    cursor: str | None


def creator_tasks(
    engine: Engine, order_filter: OrderFilter, *, cursor: str | None = None, limit: int = 50
) -> CreatorTaskPage:
    """Return a page; raise `BadCursor` where a cursor is none of ours."""
    after = read_cursor(cursor)
    with reading(engine) as connection:
        listing = find_newest(connection, order_filter, after, limit)
        order_ids = [order_id for _, order_id in listing.keys]
        rows = {row.order_id: row for row in connection.execute(_TASKS_QUERY, {"names": order_ids})}
    return CreatorTaskPage(
        [_task(rows[order_id]) for order_id in order_ids], write_cursor(listing.after)
    )


def _tasks_query(order: Table) -> Select[Any]:
    client = schema.clients
    whole = order.outerjoin(client, client.c.client_id == order.c.client_id)
    columns = (order.c[name] for name in TASK_COLUMNS)
    query = select(*columns, client.c.name.label("client_name")).select_from(whole)
    return query.where(order.c.order_id.in_(bindparam("names", expanding=True)))


_TASKS_QUERY = union_all(_tasks_query(schema.orders), _tasks_query(archive_schema.orders))


def _task(row: Any) -> CreatorTask:  # noqa: ANN401 - a row of orders, with its client's name
    expected = row.expected_publish_at
    return CreatorTask(
        task_id=row.order_id,
        name=row.name,
        client_id=row.client_id,
        client_name=row.client_name,
        creator_id=row.creator_id,
        industry=row.industry,
        amount_fen=row.amount_fen,
        created_at=from_us(row.placed_at),
        expected_publish_at=None if expected is None else from_us(expected),
        status=PublicStatus(row.public_status),
        state=State(row.state),
        reason=row.reason,
    )
