"""Pages: orders a page at a time, the latest placed first."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass

from sqlalchemy import select

from models.orders.order import Order
from workers import party_tables, rows, tables
from workers.archive_tables import whole
from workers.database import reading
from workers.newest import newest
from workers.store import Store
from workers.wanted import Key, Wanted


class BadCursor(ValueError):
    """A cursor that none of our pages ended with."""


@dataclass(frozen=True, slots=True)
class Page:
    """Orders, the latest placed first, and where the next page begins, if there is one."""

    orders: list[Order]
    cursor: str | None


def page(store: Store, order_filter: Wanted, *, cursor: str | None = None, limit: int = 50) -> Page:
    """Return a page. A cursor stays good for ever: neither place nor name of an order changes.

    Raise `BadCursor` where it is none of ours.
    """
    after, policies = read_cursor(cursor), store.known_policies()
    with reading(store.engine) as connection:
        listing = newest(connection, order_filter, after, limit)
        table = whole(tables.orders).c
        query = select(table.order_id, table.document)
        query = query.where(table.order_id.in_([order_id for _, order_id in listing.keys]))
        documents = {row.order_id: row.document for row in connection.execute(query)}
    orders = [rows.read_order(documents[order_id], policies) for _, order_id in listing.keys]
    return Page(orders, write_cursor(listing.after))


def write_cursor(place: Key | None) -> str | None:
    """Name the place behind an order, or none."""
    if place is None:
        return None
    placed_at, order_id = place
    return base64.urlsafe_b64encode(f"{placed_at}:{order_id}".encode()).decode().rstrip("=")


def read_cursor(cursor: str | None) -> Key | None:
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


def agency(store: Store, creator_id: str) -> str | None:
    """Return the MCN that a creator is signed with now, if any."""
    table = party_tables.creators.c
    with reading(store.engine) as connection:
        query = select(table.mcn_id).where(table.creator_id == creator_id)
        mcn_id: str | None = connection.execute(query).scalar()
    return mcn_id
