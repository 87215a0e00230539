"""Plans: the queries by which orders are found, each made once for all questions of a shape.

`orders` is the table that is looked through: that of the orders at hand, or that of the archive.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from sqlalchemy import Integer, Select, Table, bindparam, func, select, true, union_all

from workers.wanted import Columns, Condition, Shape, begins, signed

LIMIT, FEW, LOOK = (bindparam(name, type_=Integer) for name in ("limit", "few", "look"))
"""How many orders are asked for; how many, at most, are gathered or looked at."""


@cache
def straight(orders: Table, shape: Shape) -> Select[Any]:
    """Read down the stretches of an index that hold these orders alone, side by side."""
    lanes = [_page(shape, orders.c, *lane) for lane in shape.lanes(orders.c)]
    if len(lanes) == 1:
        return lanes[0]
    combined = union_all(*(select(lane.subquery()) for lane in lanes)).subquery()
    return _newest_first(select(combined), combined.c).limit(LIMIT)


@cache
def named_so(orders: Table) -> Select[Any]:
    """Count the orders whose ids begin so, if they are few."""
    matches = select(orders.c.order_id).where(*begins(orders.c)).limit(FEW).subquery()
    return select(func.count()).select_from(matches)


@cache
def named(orders: Table, shape: Shape) -> Select[Any]:
    """Sort the orders whose ids begin so."""
    matches = _chosen(orders, shape).where(*begins(orders.c)).limit(FEW)
    return _page(shape, matches.subquery().c)


@cache
def gathered(orders: Table, shape: Shape, *, array: bool) -> Select[Any]:
    """Sort what some creators have, and count it, if it is little.

    PostgreSQL looks up an `array` in the index, name by name; a join might read all orders.
    """
    c = orders.c
    if "creator" in shape.given:
        conditions = [c.creator_id == bindparam("creator")]
    elif array:
        conditions = [c.creator_id == func.any(func.array(signed().scalar_subquery()))]
    else:
        conditions = [c.creator_id.in_(signed())]
    if "status" in shape.given:
        conditions.append(c.public_status == bindparam("status"))
    matches = _chosen(orders, shape).where(*conditions).limit(FEW)
    # As the index has them, so that it is used, though any order would do.
    sorted_matches = matches.order_by(c.creator_id, c.public_status, c.placed_at, c.order_id).cte(
        "few"
    )
    count = select(func.count().label("few")).select_from(sorted_matches).subquery()
    top = _page(shape, sorted_matches.c).subquery()
    query = select(top.c.placed_at, top.c.order_id, count.c.few)
    return query.select_from(count.outerjoin(top, true()))


@cache
def walked(orders: Table, shape: Shape) -> Select[Any]:
    """Look at some orders, one after the other, for those that fit."""
    return _page(shape, _way(orders, shape).limit(LOOK).subquery().c)


@cache
def passed(orders: Table, shape: Shape) -> Select[Any]:
    """Say where such a walk has come to, if not to the end."""
    places = _way(orders, shape).with_only_columns(orders.c.placed_at, orders.c.order_id)
    return places.offset(LOOK - 1).limit(1)


@cache
def latest(orders: Table) -> Select[Any]:
    """Say where the latest of all orders stands."""
    return _newest_first(select(orders.c.placed_at, orders.c.order_id), orders.c).limit(1)


def _way(orders: Table, shape: Shape) -> Select[Any]:
    lanes = shape.lanes(orders.c)
    lane = lanes[0] if len(lanes) == 1 else ()
    query = _chosen(orders, shape).where(*lane, *shape.within(orders.c))
    return _newest_first(query, orders.c)


def _chosen(orders: Table, shape: Shape) -> Select[Any]:
    return select(*(orders.c[name] for name in shape.needs()))


def _page(shape: Shape, c: Columns, *lane: Condition) -> Select[Any]:
    """Ask for the next orders among those of which `c` are the columns."""
    query = select(c.placed_at, c.order_id).where(*lane, *shape.fits(c))
    return _newest_first(query, c).limit(LIMIT)


def _newest_first(query: Select[Any], c: Columns) -> Select[Any]:
    return query.order_by(c.placed_at.desc(), c.order_id.desc())
