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

from models.public import OPEN
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
    wanted: Wanted,
    after: Key | None,
    limit: int,
    bounds: Bounds = BOUNDS,
) -> Found:
    """Find the next `limit` orders of those `wanted`, behind a place on their list.

    The archive is looked through too, once what is asked for is as old as its latest order.
    """
    values = wanted.values(after)
    shape = Shape(frozenset(values), wanted.statuses())
    live = Search(connection, tables.orders, shape, values, limit, bounds).run()
    if set(shape.statuses) <= set(OPEN) or _ends_before(connection, archive_tables.orders, live):
        return live
    rest = Search(connection, archive_tables.orders, shape, values, limit, bounds).run()
    return _merged(live, rest, limit)


def _ends_before(connection: Connection, archive: Table, live: Found) -> bool:
    """Tell whether everything in the archive comes after what was found."""
    latest = connection.execute(plans.latest(archive)).first()
    return latest is None or (live.after is not None and live.after >= tuple(latest))


def _merged(live: Found, rest: Found, limit: int) -> Found:
    """Put two lists together, as far down as both were looked through."""
    ends = [one.after for one in (live, rest) if one.after is not None]
    end = max(ends) if ends else None
    keys = sorted((*live.keys, *rest.keys), reverse=True)
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
        given = self.shape.given
        if "prefix" not in given and ("mcn" not in given or "creator" in given):
            return self._cut(self._keys(plans.straight(self.orders, self.shape)))
        if "prefix" in given and (found := self._named()) is not None:
            return self._cut(found)
        near = self._walked(self.bounds.at_first)
        if near.after is None or len(near.keys) == self.limit:
            return near
        theirs = self._gathered() if given & {"mcn", "creator"} else None
        return self._walked(self.bounds.at_most) if theirs is None else self._cut(theirs)

    def _named(self) -> list[Key] | None:
        """Return the orders whose ids begin so, or None for too many."""
        most = self.bounds.few
        given = self.values | {"few": most + 1}
        if self.connection.execute(plans.named_so(self.orders), given).scalar_one() > most:
            return None
        return self._keys(plans.named(self.orders, self.shape), few=most)

    def _gathered(self) -> list[Key] | None:
        """Return what the creators have, or None for too much."""
        most, array = self.bounds.few, self.connection.dialect.name == "postgresql"
        query = plans.gathered(self.orders, self.shape, array=array)
        given = self.values | {"few": most + 1, "limit": self.limit + 1}
        rows = self.connection.execute(query, given).all()
        if rows[0].few > most:
            return None
        return sorted(((at, name) for at, name, _ in rows if name is not None), reverse=True)

    def _walked(self, look: int) -> Found:
        """Return those of the next orders that fit, and where enough of either were seen."""
        keys = self._keys(plans.walked(self.orders, self.shape), look=look)
        if len(keys) > self.limit:
            return self._cut(keys)
        passed = self._keys(plans.passed(self.orders, self.shape), look=look)
        return Found(keys, passed[0] if passed else None)

    def _keys(self, query: Select[Any], **more: int) -> list[Key]:
        given = {**self.values, "limit": self.limit + 1, **more}
        return [(at, name) for at, name in self.connection.execute(query, given)]

    def _cut(self, keys: Sequence[Key]) -> Found:
        kept = keys[: self.limit]
        return Found(kept, kept[-1] if len(keys) > self.limit else None)
