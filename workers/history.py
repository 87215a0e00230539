"""History: everything on record about one order, as of one moment."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, and_, or_, select

from models.creators import Creator
from models.events.event import Event
from models.obligations import Payout, Refund
from models.orders.order import Order
from models.service.outcome import Receipt
from workers import debt_tables, party_tables, rows, tables
from workers.archive_tables import whole
from workers.clock import from_us
from workers.database import reading
from workers.shelves import CREATORS, PAYOUTS, REFUNDS
from workers.store import Store

Timeline = tuple[tuple[Event, datetime], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """One order: `events` with the instants at which they were recorded, oldest first.

    `receipts` are the outcomes of those that its events came from, and of those refused about it;
    `asked_by` says of each whose it was, where that is on record. `creator` is its creator as known
    now, and `standing` what was told of that: contracts that ended, violations, bans and their end.
    """

    order: Order
    name: str
    events: Timeline
    receipts: dict[str, Receipt]
    asked_by: dict[str, str]
    refunds: tuple[Refund, ...]
    payouts: tuple[Payout, ...]
    creator: Creator
    standing: tuple[Event, ...]
    policy_adopted_at: datetime | None


def history(store: Store, order_id: str) -> History | None:
    """Read everything about an order from one state of the database, or None."""
    policies, table = store.known_policies(), whole(tables.orders)
    with reading(store.engine) as connection:
        query = select(table.c.document, table.c.name).where(table.c.order_id == order_id)
        row = connection.execute(query).first()
        if row is None:
            return None
        order = rows.read_order(row.document, policies)
        events = _events(connection, order_id)
        receipts, asked_by = _receipts(connection, order_id, events)
        return History(
            order=order,
            name=row.name,
            events=events,
            receipts=receipts,
            asked_by=asked_by,
            refunds=_refunds(connection, order_id),
            payouts=_payouts(connection, order_id),
            creator=_creator(connection, order.creator_id),
            standing=_standing(connection, order.creator_id),
            policy_adopted_at=_adopted_at(connection, order.policy.version),
        )


def _events(connection: Connection, order_id: str) -> Timeline:
    table = whole(tables.events)
    query = select(table).where(table.c.subject == f"order:{order_id}")
    event_rows = connection.execute(query.order_by(table.c.sequence))
    return tuple((rows.read_event(row), from_us(row.recorded_at)) for row in event_rows)


def _receipts(
    connection: Connection, order_id: str, events: Timeline
) -> tuple[dict[str, Receipt], dict[str, str]]:
    table = tables.receipts
    causes = {event.caused_by.removeprefix("command:") for event, _ in events}
    refused_about_order = and_(table.c.about == order_id, table.c.outcome == "rejected")
    relevant = or_(refused_about_order, table.c.command_id.in_(sorted(causes)))
    receipt_rows = connection.execute(
        select(table).where(relevant).order_by(table.c.received_at)
    ).all()
    asked_by = {row.command_id: row.asked_by for row in receipt_rows if row.asked_by}
    return {row.command_id: rows.read_receipt(row) for row in receipt_rows}, asked_by


def _refunds(connection: Connection, order_id: str) -> tuple[Refund, ...]:
    table = whole(debt_tables.refunds)
    query = select(table).where(table.c.order_id == order_id).order_by(table.c.requested_at)
    return tuple(REFUNDS.read(row) for row in connection.execute(query))


def _payouts(connection: Connection, order_id: str) -> tuple[Payout, ...]:
    table = whole(debt_tables.payouts)
    query = select(table).where(table.c.order_id == order_id).order_by(table.c.payout_id)
    return tuple(PAYOUTS.read(row) for row in connection.execute(query))


def _creator(connection: Connection, creator_id: str) -> Creator:
    table = party_tables.creators
    row = connection.execute(select(table).where(table.c.creator_id == creator_id)).one()
    creator: Creator = CREATORS.read(row)
    return creator


STANDING = (
    *("creator.banned", "creator.ban_lifted", "violation.reported", "violation.overturned"),
    *("contract.ended", "creator.registered"),
)
"""What tells of a creator's standing."""


def _standing(connection: Connection, creator_id: str) -> tuple[Event, ...]:
    table = tables.events
    query = select(table).where(table.c.subject == f"creator:{creator_id}")
    query = query.where(table.c.type.in_(STANDING)).order_by(table.c.sequence)
    return tuple(rows.read_event(row) for row in connection.execute(query))


def _adopted_at(connection: Connection, version: str) -> datetime | None:
    table = tables.policies
    result = connection.execute(select(table.c.adopted_at).where(table.c.version == version))
    adopted_at = result.scalar()
    return None if adopted_at is None else from_us(adopted_at)
