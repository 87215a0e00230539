"""Many orders: orders alike, with their events and their money, written in bulk."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cache

from sqlalchemy import Engine, Table

from bench import workload
from models.commands.parsing import parse_command
from models.events.event import Event
from models.events.orders import OrderPlaced
from models.ids import make_reference_stem
from models.orders.order import Order
from models.policy import Policy
from models.service.handlers import handle_without_waiting
from models.service.unit_of_work import UnitOfWork
from workers.database import bulk, mappers, schema
from workers.database.engine import writing
from workers.database.mappers import PAYMENTS, REFUNDS, Row
from workers.database.repository import Store
from workers.timestamps import to_us

CHUNK = 10_000
LONG_AGO = datetime(2026, 1, 1, 12, tzinfo=UTC)

SAMPLE_NUMBER = f"{0:08}"
"""The number in every id and name of the sample order; each copy has its own instead."""

LIFE = (workload.registration(), workload.place(0), workload.pay(0, LONG_AGO))
END = (workload.decline(0), workload.refunded(0))


def write_orders(engine: Engine, count: int, *, first: int = 0, declined: bool = False) -> None:
    """Write so many orders: offered, placed a second apart, or declined and paid back."""
    Store(engine, Policy()).adopt_policy()
    for first_number in range(first, first + count, CHUNK):
        numbers = range(first_number, min(first_number + CHUNK, first + count))
        with writing(engine) as connection:
            for table, rows_of in _sample_order(declined=declined).rows.items():
                table_rows = [_renamed(row, number) for number in numbers for row in rows_of]
                bulk.insert(connection, table, table_rows)
            orders = [_order(number, declined=declined) for number in numbers]
            bulk.insert(connection, schema.orders, orders)


def _order(number: int, *, declined: bool) -> Row:
    sample = _sample_order(declined=declined)
    # A declined order keeps its instants: an audit would find that its events say otherwise.
    delay = timedelta(seconds=0 if declined else number)
    order = replace(sample.order, placed_at=sample.order.placed_at + delay)
    return _renamed(mappers.new_order_row(order, order.wake_at, sample.placed, None), number)


def _renamed(row: Row, number: int) -> Row:
    number_text = f"{number:08}"
    renamed_row = {
        key: value.replace(SAMPLE_NUMBER, number_text) if isinstance(value, str) else value
        for key, value in row.items()
    }
    # What is computed from an id is computed from the new one.
    if "reference_stem" in row:
        home = f"order:{renamed_row['order_id']}"
        renamed_row["reference_stem"] = make_reference_stem(renamed_row["refund_id"], home)
    if "reference_key" in row:
        renamed_row["reference_key"] = mappers.reference_key(f"order:{renamed_row['order_id']}")
    return renamed_row


@dataclass(frozen=True, slots=True)
class SampleOrder:
    """One order, and the rows that tell of it."""

    order: Order
    placed: OrderPlaced
    rows: dict[Table, list[Row]]


@cache
def _sample_order(*, declined: bool) -> SampleOrder:
    uow = UnitOfWork(policy=Policy())
    events: list[Event] = []
    for text in (*LIFE, *(END if declined else ())):
        events += handle_without_waiting(uow, parse_command(text), LONG_AGO).events
    order_events, now = [event for event in events if event.order_id], to_us(LONG_AGO)
    (placed_fact,) = (event.fact for event in order_events if isinstance(event.fact, OrderPlaced))
    (order,) = uow.orders.values()
    event_rows = [
        mappers.event_row(event, now, {}) | {"published_at": now} for event in order_events
    ]
    refund_rows = [REFUNDS.write(refund) for refund in uow.refunds.values()]
    payment_rows = [PAYMENTS.write(payment) for payment in uow.payments.values()]
    rows_by_table = {schema.events: event_rows, schema.postings: mappers.posting_rows(uow)}
    return SampleOrder(
        order,
        placed_fact,
        rows_by_table | {schema.refunds: refund_rows, schema.payments: payment_rows},
    )
