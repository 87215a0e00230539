"""Filled: many orders alike, with their events and their money, written in bulk."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cache

from sqlalchemy import Engine, Table

from bench import workload
from models.book import Book
from models.events import Event
from models.hear import hear
from models.order import Order
from models.order_events import OrderPlaced
from models.parse import parse
from models.policy import Policy
from workers import bulk, rows, tables
from workers.clock import to_us
from workers.database import writing
from workers.rows import Row
from workers.shelves import PAYMENTS, REFUNDS
from workers.store import Store

CHUNK = 10_000
LONG_AGO = datetime(2026, 1, 1, 12, tzinfo=UTC)
MODEL = f"{0:08}"
"""The number that stands in every name of the model."""

LIFE = (workload.registration(), workload.place(0), workload.pay(0))
END = (workload.decline(0), workload.refunded(0))


def fill(engine: Engine, count: int, *, first: int = 0, ended: bool = False) -> None:
    """Write so many orders: offered, placed a second apart, or declined and paid back."""
    Store(engine, Policy()).adopt_policy()
    for begin in range(first, first + count, CHUNK):
        numbers = range(begin, min(begin + CHUNK, first + count))
        with writing(engine) as connection:
            for table, rows_of in _model(ended=ended).rows.items():
                made = [_renamed(row, number) for number in numbers for row in rows_of]
                bulk.insert(connection, table, made)
            orders = [_order(number, ended=ended) for number in numbers]
            bulk.insert(connection, tables.orders, orders)


def _order(number: int, *, ended: bool) -> Row:
    model = _model(ended=ended)
    # The books of ended ones are right: an audit would find that their events say otherwise.
    later = timedelta(seconds=0 if ended else number)
    order = replace(model.order, placed_at=model.order.placed_at + later)
    return _renamed(rows.new_order_row(order, model.placed), number)


def _renamed(row: Row, number: int) -> Row:
    new = f"{number:08}"
    pairs = row.items()
    return {key: one.replace(MODEL, new) if isinstance(one, str) else one for key, one in pairs}


@dataclass(frozen=True, slots=True)
class Model:
    """One order, and the rows that tell of it."""

    order: Order
    placed: OrderPlaced
    rows: dict[Table, list[Row]]


@cache
def _model(*, ended: bool) -> Model:
    book = Book(policy=Policy())
    events: list[Event] = []
    for text in (*LIFE, *(END if ended else ())):
        events += hear(book, parse(text), LONG_AGO).events
    mine, now = [one for one in events if one.order_id], to_us(LONG_AGO)
    (placed,) = (one.fact for one in mine if isinstance(one.fact, OrderPlaced))
    (order,) = book.orders.values()
    told = [rows.event_row(one, now, {}) | {"published_at": now} for one in mine]
    debts = [REFUNDS.write(one) for one in book.refunds.values()]
    paid = [PAYMENTS.write(one) for one in book.payments.values()]
    found = {tables.events: told, tables.postings: rows.posting_rows(book)}
    return Model(order, placed, found | {tables.refunds: debts, tables.payments: paid})
