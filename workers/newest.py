"""Newest: which orders come next on a list, found in bounded time whatever is asked of them.

A list is walked down an index, the latest placed first. Where no index is sorted by what is wanted
(an agency has many creators, a prefix may be of any order's id), few that might fit are gathered
and sorted; where many might, a walk soon meets them, and one that meets too few stops early.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Select, Table

from models.orders.order import OPEN
from workers import archive_tables, plans, tables
from workers.wanted import Key, Shape, Wanted


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much one page may cost, in orders looked at.

    Up to `few` are gathered and sorted; of more, one in some hundreds fits, and a walk meets it. A
    walk looks at so many before anything else is tried, and at so many after all was tried.
    """

    few: int = 3_000
    at_first: int = 1_000
    at_most: int = 8_000


BOUNDS = Bounds()


@dataclass(frozen=True, slots=True)
class Found:
    """The places of some orders, the latest placed first, and where to go on, if anywhere.

    There may be fewer than were asked for, even none, and yet somewhere to go on.
    """

    keys: Sequence[Key]
    after: Key | None


def newest(
    connection: Connection,
    order_filter: Wanted,
    after: Key | None,
    limit: int,
    bounds: Bounds = BOUNDS,
) -> Found:
    """Find the next `limit` orders that fit `order_filter`, behind a place on their list.

    The archive is looked through too, once what is asked for is as old as its latest order.
    """
    values = order_filter.values(after)
    shape = Shape(frozenset(values), order_filter.statuses())
    live = Search(connection, tables.orders, shape, values, limit, bounds).run()
    if set(shape.statuses) <= set(OPEN) or _ends_before(connection, archive_tables.orders, live):
        return live
    archived = Search(connection, archive_tables.orders, shape, values, limit, bounds).run()
    return _merged(live, archived, limit)


def _ends_before(connection: Connection, archive: Table, live: Found) -> bool:
    """Tell whether everything in the archive comes after what was found."""
    latest = connection.execute(plans.latest(archive)).first()
    return latest is None or (live.after is not None and live.after >= tuple(latest))


def _merged(live: Found, archived: Found, limit: int) -> Found:
    """Put two lists together, as far down as both were looked through."""
    ends = [listing.after for listing in (live, archived) if listing.after is not None]
    end = max(ends) if ends else None
    keys = sorted((*live.keys, *archived.keys), reverse=True)
    sure = [key for key in keys if end is None or key >= end]
    if len(sure) > limit:
        return Found(sure[:limit], sure[limit - 1])
    return Found(sure, end)


@dataclass(frozen=True, slots=True)
class Search:
    """One look through a table for the next `limit` orders that fit; one more tells if it ends."""

    connection: Connection
    orders: Table
    shape: Shape
    values: dict[str, Any]
    limit: int
    bounds: Bounds

    def run(self) -> Found:
        """Find them the cheapest way there is."""
        filter_names = self.shape.given
        if "prefix" not in filter_names and (
            "mcn" not in filter_names or "creator" in filter_names
        ):
            return self._cut(self._keys(plans.straight(self.orders, self.shape)))
        if "prefix" in filter_names and (keys := self._named()) is not None:
            return self._cut(keys)
        listing = self._walked(self.bounds.at_first)
        if listing.after is None or len(listing.keys) == self.limit:
            return listing
        creator_keys = self._gathered() if filter_names & {"mcn", "creator"} else None
        return (
            self._walked(self.bounds.at_most) if creator_keys is None else self._cut(creator_keys)
        )

    def _named(self) -> list[Key] | None:
        """Return the orders whose ids begin so, or None for too many."""
        max_count = self.bounds.few
        parameters = self.values | {"few": max_count + 1}
        if (
            self.connection.execute(plans.named_so(self.orders), parameters).scalar_one()
            > max_count
        ):
            return None
        return self._keys(plans.named(self.orders, self.shape), few=max_count)

    def _gathered(self) -> list[Key] | None:
        """Return what the creators have, or None for too much."""
        max_count, array = self.bounds.few, self.connection.dialect.name == "postgresql"
        query = plans.gathered(self.orders, self.shape, array=array)
        parameters = self.values | {"few": max_count + 1, "limit": self.limit + 1}
        rows = self.connection.execute(query, parameters).all()
        if rows[0].few > max_count:
            return None
        return sorted(
            ((placed_at, order_id) for placed_at, order_id, _ in rows if order_id is not None),
            reverse=True,
        )

    def _walked(self, look: int) -> Found:
        """Return those of the next orders that fit, and where enough of either were seen."""
        keys = self._keys(plans.walked(self.orders, self.shape), look=look)
        if len(keys) > self.limit:
            return self._cut(keys)
        walk_ends = self._keys(plans.passed(self.orders, self.shape), look=look)
        return Found(keys, walk_ends[0] if walk_ends else None)

    def _keys(self, query: Select[Any], **extra_parameters: int) -> list[Key]:
        parameters = {**self.values, "limit": self.limit + 1, **extra_parameters}
        return [
            (placed_at, order_id)
            for placed_at, order_id in self.connection.execute(query, parameters)
        ]

    def _cut(self, keys: Sequence[Key]) -> Found:
        page_keys = keys[: self.limit]
        return Found(page_keys, page_keys[-1] if len(keys) > self.limit else None)
