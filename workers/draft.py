"""Draft: everything that changed on a page, ready to be written down in a handful of statements."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from functools import partial
from typing import Any

from sqlalchemy import Connection

from models.order_events import OrderPlaced
from workers import bulk, inbox, recall, rows, tables
from workers.clock import now_us
from workers.shelves import REFUNDS, SHELVES, Shelf
from workers.store import Page

Step = Callable[[Connection], object]


def draft(page: Page) -> list[Step]:
    """Prepare to write down everything that changed on the page: what is left needs a database."""
    now = now_us()
    owed = page.book.refunds.keys() - page.before[REFUNDS.name].keys()
    receipts = [
        rows.receipt_row(page.book.receipts[key], stamp, page.asked_by.get(key))
        for key, stamp in page.new_stamps.items()
    ]
    events = [rows.event_row(event, now, page.traces) for event in page.events]
    # A redelivered refusal says again what its sender may have been told before.
    outcomes = [rows.event_row(event, now, page.traces) for event in page.outcomes]
    return [
        partial(recall.refuse_taken, refund_ids=owed),
        partial(bulk.insert, table=tables.receipts, rows=receipts),
        *_orders(page),
        *(step for shelf in SHELVES for step in _shelved(page, shelf)),
        partial(bulk.insert, table=tables.events, rows=events),
        partial(bulk.insert, table=tables.events, rows=outcomes, pass_over=True),
        partial(bulk.insert, table=tables.postings, rows=rows.posting_rows(page.book)),
        partial(inbox.forget, settled=page.answered),
    ]


def _orders(page: Page) -> list[Step]:
    placed = {
        event.order_id: event.fact for event in page.events if isinstance(event.fact, OrderPlaced)
    }
    new, changed = _differences(page.before["orders"], page.book.orders, page.touched)
    fresh = [rows.new_order_row(order, placed[order.order_id]) for order in new]
    moved = [rows.order_row(one) for one in changed]
    return [
        partial(bulk.insert, table=tables.orders, rows=fresh),
        partial(bulk.update, table=tables.orders, key="order_id", rows=moved),
    ]


def _shelved(page: Page, shelf: Shelf) -> list[Step]:
    after = getattr(page.book, shelf.name)
    new, changed = _differences(page.before[shelf.name], after, _touched(page, shelf))
    fresh, moved = ([shelf.write(one) for one in some] for some in (new, changed))
    return [
        partial(bulk.insert, table=shelf.table, rows=fresh),
        partial(bulk.update, table=shelf.table, key=shelf.key, rows=moved),
    ]


def _touched(page: Page, shelf: Shelf) -> Collection[str]:
    """Name what of a shelf was told that time has passed."""
    if shelf.alarm is None:
        return ()
    prefix = f"{shelf.alarm}:"
    return {one.removeprefix(prefix) for one in page.touched if one.startswith(prefix)}


def _differences(
    before: Mapping[str, Any], after: Mapping[str, Any], touched: Collection[str] = ()
) -> tuple[list[Any], list[Any]]:
    new = [one for key, one in after.items() if key not in before]
    changed = [after[key] for key, one in before.items() if after[key] is not one or key in touched]
    return new, changed
