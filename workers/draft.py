"""Draft: everything that changed on a page, ready to be written down in a handful of statements."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from functools import partial
from typing import Any

from sqlalchemy import Connection

from models.events.orders import OrderPlaced
from workers import bulk, inbox, recall, rows, tables
from workers.clock import now_us
from workers.shelves import REFUNDS, SHELVES, Shelf
from workers.store import Page

Step = Callable[[Connection], object]


def draft(loaded_state: Page) -> list[Step]:
    """Prepare to write down everything that changed on the page: what is left needs a database."""
    now = now_us()
    new_refund_ids = loaded_state.book.refunds.keys() - loaded_state.before[REFUNDS.name].keys()
    receipts = [
        rows.receipt_row(loaded_state.book.receipts[key], stamp, loaded_state.asked_by.get(key))
        for key, stamp in loaded_state.new_stamps.items()
    ]
    events = [rows.event_row(event, now, loaded_state.traces) for event in loaded_state.events]
    # A redelivered refusal says again what its sender may have been told before.
    outcomes = [rows.event_row(event, now, loaded_state.traces) for event in loaded_state.outcomes]
    return [
        partial(recall.refuse_taken, refund_ids=new_refund_ids),
        partial(bulk.insert, table=tables.receipts, rows=receipts),
        *_orders(loaded_state),
        *(step for mapper in SHELVES for step in _shelved(loaded_state, mapper)),
        partial(bulk.insert, table=tables.events, rows=events),
        partial(bulk.insert, table=tables.events, rows=outcomes, pass_over=True),
        partial(bulk.insert, table=tables.postings, rows=rows.posting_rows(loaded_state.book)),
        partial(inbox.forget, ids_and_stamps=loaded_state.answered),
    ]


def _orders(loaded_state: Page) -> list[Step]:
    placed_facts = {
        event.order_id: event.fact
        for event in loaded_state.events
        if isinstance(event.fact, OrderPlaced)
    }
    new_orders, changed_orders = _differences(
        loaded_state.before["orders"], loaded_state.book.orders, loaded_state.touched
    )
    new_rows = [rows.new_order_row(order, placed_facts[order.order_id]) for order in new_orders]
    changed_rows = [rows.order_row(order) for order in changed_orders]
    return [
        partial(bulk.insert, table=tables.orders, rows=new_rows),
        partial(bulk.update, table=tables.orders, key="order_id", rows=changed_rows),
    ]


def _shelved(loaded_state: Page, mapper: Shelf) -> list[Step]:
    after = getattr(loaded_state.book, mapper.name)
    new_entities, changed_entities = _differences(
        loaded_state.before[mapper.name], after, _touched(loaded_state, mapper)
    )
    new_rows, changed_rows = (
        [mapper.write(entity) for entity in entities]
        for entities in (new_entities, changed_entities)
    )
    return [
        partial(bulk.insert, table=mapper.table, rows=new_rows),
        partial(bulk.update, table=mapper.table, key=mapper.key, rows=changed_rows),
    ]


def _touched(loaded_state: Page, mapper: Shelf) -> Collection[str]:
    """Name those of a table that were told that time has passed."""
    if mapper.alarm is None:
        return ()
    prefix = f"{mapper.alarm}:"
    return {
        subject.removeprefix(prefix)
        for subject in loaded_state.touched
        if subject.startswith(prefix)
    }


def _differences(
    before: Mapping[str, Any], after: Mapping[str, Any], touched: Collection[str] = ()
) -> tuple[list[Any], list[Any]]:
    new_entities = [entity for key, entity in after.items() if key not in before]
    changed_entities = [
        after[key]
        for key, previous in before.items()
        if after[key] is not previous or key in touched
    ]
    return new_entities, changed_entities
