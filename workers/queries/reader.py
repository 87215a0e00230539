"""Reader: what people and programs ask about orders, outcomes and operators."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Engine, Select, and_, func, select, text, tuple_

from models.creators import Creator
from models.events.event import Event
from models.events.parties import OperatorActed
from models.ids import split_command_key
from models.ledger import sum_by_family
from models.obligations import Payout, Refund
from models.orders.order import Order
from models.service.outcome import Receipt
from workers.database import archive, mappers, receipts, schema
from workers.database.archive_schema import with_archive
from workers.database.engine import reading
from workers.database.mappers import CREATORS, PAYOUTS, REFUNDS
from workers.database.repository import Store
from workers.queries import audit
from workers.queries.audit import AuditReport
from workers.timestamps import SECOND_US, from_us, to_us

PAGE_SIZE = 500
"""Rows read at a time."""


class Reader:
    """The database as readers see it; every call sees one state of it."""

    def __init__(self, store: Store) -> None:
        """Keep the store; nothing is opened yet."""
        self.store = store

    def outcomes(self, keys: Collection[str]) -> dict[str, Receipt]:
        """Return, by their keys (`role:sender:id`), the outcomes of commands that have one."""
        names = list(map(split_command_key, keys))
        with reading(self.store.engine) as connection:
            receipt_rows = receipts.fetch(connection, names)
        return {receipt.key: receipt for receipt in map(mappers.read_receipt, receipt_rows)}

    def order(self, order_id: str) -> Order | None:
        """Return one order, or None."""
        table, policies = with_archive(schema.orders), self.store.known_policies()
        with reading(self.store.engine) as connection:
            query = select(table.c.document).where(table.c.order_id == order_id)
            document = connection.execute(query).scalar()
        return None if document is None else mappers.read_order(document, policies)

    def orders(self, *, state: str | None = None) -> Iterator[Order]:
        """Return all orders, or those in one state, by id, a page at a time."""
        table, policies, after = with_archive(schema.orders), self.store.known_policies(), ""
        while True:
            query = select(table.c.order_id, table.c.document).where(table.c.order_id > after)
            query = query.where(table.c.state == state) if state else query
            with reading(self.store.engine) as connection:
                query = query.order_by(table.c.order_id).limit(PAGE_SIZE)
                page = connection.execute(query).all()
            if not page:
                return
            after = page[-1].order_id
            yield from (mappers.read_order(row.document, policies) for row in page)

    def timeline(self, order_id: str) -> Sequence[Event]:
        """Return an order's events, first to last."""
        table = with_archive(schema.events)
        query = select(table).where(table.c.subject == f"order:{order_id}")
        with reading(self.store.engine) as connection:
            event_rows = connection.execute(query.order_by(table.c.sequence))
            return [mappers.read_event(row) for row in event_rows]

    def outcome_bodies(
        self, submissions: Collection[tuple[str, int]]
    ) -> dict[tuple[str, int], Any]:
        """Return what `command.settled` says of submissions, given as subject and stamp."""
        table, bodies = with_archive(schema.events), {}
        sorted_submissions = sorted(submissions)
        with reading(self.store.engine) as connection:
            for group in (
                sorted_submissions[n : n + PAGE_SIZE]
                for n in range(0, len(sorted_submissions), PAGE_SIZE)
            ):
                key = tuple_(table.c.subject, table.c.sequence)
                query = select(table.c.subject, table.c.sequence, table.c.body)
                for row in connection.execute(query.where(key.in_(group))):
                    bodies[row.subject, row.sequence] = json.loads(row.body)
        return bodies

    def endings(self) -> Counter[tuple[str, str | None]]:
        """Count orders by state and reason."""
        table = schema.orders
        query = select(table.c.state, table.c.reason, func.count()).group_by("state", "reason")
        with reading(self.store.engine) as connection:
            counts = Counter({(state, reason): n for state, reason, n in connection.execute(query)})
            return counts + archive.ending_totals(archive.read_totals(connection))

    def count_outcomes(self) -> int:
        """Count the outcomes on record."""
        with reading(self.store.engine) as connection:
            query = select(func.count()).select_from(schema.receipts)
            return int(connection.execute(query).scalar_one())

    def balances(self) -> dict[str, int]:
        """Add up money by account family, in fen."""
        with reading(self.store.engine) as connection:
            return sum_by_family(audit.balances(connection))

    def lateness(self) -> list[float]:
        """Return, for each deadline that took effect, how late it was recorded, in seconds."""
        table = with_archive(schema.events)
        # One deadline may bring several events, all in one transaction.
        query = select(func.max(table.c.recorded_at) - table.c.at)
        query = query.where(table.c.caused_by.like("deadline:%"))
        query = query.group_by(table.c.subject, table.c.at, table.c.caused_by)
        with reading(self.store.engine) as connection:
            return [lateness_us / SECOND_US for lateness_us in connection.execute(query).scalars()]

    def audit(self) -> AuditReport:
        """Audit the books."""
        return audit.audit(self.store)


Timeline = tuple[tuple[Event, datetime], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderHistory:
    """One order: `events` with the instants at which they were recorded, oldest first.

    `receipts` are the outcomes of those that its events came from, and of those refused about it,
    by what names them as a cause. `creator` is its creator as known now, and `standing` what was
    told of that: contracts that ended, violations, bans and their end.
    """

    order: Order
    name: str
    events: Timeline
    receipts: dict[str, Receipt]
    refunds: tuple[Refund, ...]
    payouts: tuple[Payout, ...]
    creator: Creator
    standing: tuple[Event, ...]
    policy_adopted_at: datetime | None


def order_history(store: Store, order_id: str) -> OrderHistory | None:
    """Read everything about an order from one state of the database, or None."""
    policies, table = store.known_policies(), with_archive(schema.orders)
    with reading(store.engine) as connection:
        query = select(table.c.document, table.c.name).where(table.c.order_id == order_id)
        row = connection.execute(query).first()
        if row is None:
            return None
        order = mappers.read_order(row.document, policies)
        events = _events(connection, order_id)
        return OrderHistory(
            order=order,
            name=row.name,
            events=events,
            receipts=_receipts(connection, order_id, events),
            refunds=_refunds(connection, order_id),
            payouts=_payouts(connection, order_id),
            creator=_creator(connection, order.creator_id),
            standing=_standing_events(connection, order.creator_id),
            policy_adopted_at=_adopted_at(connection, order.policy.version),
        )


def _events(connection: Connection, order_id: str) -> Timeline:
    table = with_archive(schema.events)
    query = select(table).where(table.c.subject == f"order:{order_id}")
    event_rows = connection.execute(query.order_by(table.c.sequence))
    return tuple((mappers.read_event(row), from_us(row.recorded_at)) for row in event_rows)


def _receipts(connection: Connection, order_id: str, events: Timeline) -> dict[str, Receipt]:
    table = schema.receipts
    refused_about_order = and_(table.c.about == order_id, table.c.outcome == "rejected")
    query = select(table).where(refused_about_order).order_by(table.c.received_at)
    rejections = map(mappers.read_receipt, connection.execute(query))
    causes = {event.caused_by for event, _ in events if event.caused_by.startswith("command:")}
    rows_by_cause = receipts.fetch_by_cause(connection, causes)
    return {receipt.key: receipt for receipt in rejections} | {
        cause.removeprefix("command:"): mappers.read_receipt(row)
        for cause, row in rows_by_cause.items()
    }


def _refunds(connection: Connection, order_id: str) -> tuple[Refund, ...]:
    table = with_archive(schema.refunds)
    query = select(table).where(table.c.order_id == order_id).order_by(table.c.requested_at)
    return tuple(REFUNDS.read(row) for row in connection.execute(query))


def _payouts(connection: Connection, order_id: str) -> tuple[Payout, ...]:
    table = with_archive(schema.payouts)
    query = select(table).where(table.c.order_id == order_id).order_by(table.c.payout_id)
    return tuple(PAYOUTS.read(row) for row in connection.execute(query))


def _creator(connection: Connection, creator_id: str) -> Creator:
    table = schema.creators
    row = connection.execute(select(table).where(table.c.creator_id == creator_id)).one()
    creator: Creator = CREATORS.read(row)
    return creator


STANDING_EVENTS = (
    *("creator.banned", "creator.ban_lifted", "violation.reported", "violation.overturned"),
    *("contract.ended", "creator.registered"),
)
"""What tells of a creator's standing."""


def _standing_events(connection: Connection, creator_id: str) -> tuple[Event, ...]:
    table = schema.events
    query = select(table).where(table.c.subject == f"creator:{creator_id}")
    query = query.where(table.c.type.in_(STANDING_EVENTS)).order_by(table.c.sequence)
    return tuple(mappers.read_event(row) for row in connection.execute(query))


def _adopted_at(connection: Connection, version: str) -> datetime | None:
    table = schema.policies
    result = connection.execute(select(table.c.adopted_at).where(table.c.version == version))
    adopted_at = result.scalar()
    return None if adopted_at is None else from_us(adopted_at)


def agency_of(store: Store, creator_id: str) -> str | None:
    """Return the MCN that a creator is signed with now, if any."""
    table = schema.creators.c
    with reading(store.engine) as connection:
        query = select(table.mcn_id).where(table.creator_id == creator_id)
        mcn_id: str | None = connection.execute(query).scalar()
    return mcn_id


OPERATOR_LOG_PAGE_SIZE = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorLogFilter:
    """Which acts: those that fit everything that is not None; `by` is an operator's name."""

    by: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    order_id: str | None = None


def operator_log(
    engine: Engine, act_filter: OperatorLogFilter
) -> Iterator[tuple[Event, OperatorActed]]:
    """Return what operators did, a page at a time, the latest written down first."""
    table, before = with_archive(schema.events).c, None
    while True:
        page_query = operator_log_query(act_filter)
        page_query = page_query if before is None else page_query.where(table.position < before)
        with reading(engine) as connection:
            page = connection.execute(page_query.limit(OPERATOR_LOG_PAGE_SIZE)).all()
        if not page:
            return
        before = page[-1].position
        for event in map(mappers.read_event, page):
            fact = event.fact
            if isinstance(fact, OperatorActed) and act_filter.by in (
                None,
                fact.by.partition(":")[2],
            ):
                yield event, fact


def operator_log_query(act_filter: OperatorLogFilter) -> Select[tuple[object, ...]]:
    """Ask for acts, but for who did them, the latest written down first."""
    all_events = with_archive(schema.events)
    table, act_query = all_events.c, select(all_events).where(text(schema.IS_OPERATOR_ACTION))
    if act_filter.order_id is not None:
        act_query = act_query.where(table.subject == f"order:{act_filter.order_id}")
    if act_filter.since is not None:
        act_query = act_query.where(table.at >= to_us(act_filter.since))
    if act_filter.until is not None:
        act_query = act_query.where(table.at <= to_us(act_filter.until))
    return act_query.order_by(table.position.desc())
