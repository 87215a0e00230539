"""Reading: what people and programs ask of the database, without changing it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from typing import Any

from sqlalchemy import func, select, tuple_

from models.events.event import Event
from models.ledger import by_family
from models.orders.order import Order
from models.service.outcome import Receipt
from workers import archive_totals, audit, rows, tables
from workers.archive_tables import whole
from workers.audit import Report
from workers.clock import SECOND_US
from workers.database import reading
from workers.store import Store

PAGE = 500
"""Rows read at a time."""


class Reader:
    """The database as readers see it; every call sees one state of it."""

    def __init__(self, store: Store) -> None:
        """Keep the store; nothing is opened yet."""
        self.store = store

    def outcomes(self, command_ids: Collection[str]) -> dict[str, Receipt]:
        """Return the outcomes of those commands that have one."""
        table, receipts = tables.receipts, {}
        ids = sorted(command_ids)
        with reading(self.store.engine) as connection:
            for group in (ids[n : n + PAGE] for n in range(0, len(ids), PAGE)):
                for row in connection.execute(select(table).where(table.c.command_id.in_(group))):
                    receipts[row.command_id] = rows.read_receipt(row)
        return receipts

    def order(self, order_id: str) -> Order | None:
        """Return one order, or None."""
        table, policies = whole(tables.orders), self.store.known_policies()
        with reading(self.store.engine) as connection:
            query = select(table.c.document).where(table.c.order_id == order_id)
            document = connection.execute(query).scalar()
        return None if document is None else rows.read_order(document, policies)

    def orders(self, *, state: str | None = None) -> Iterator[Order]:
        """Return all orders, or those in one state, by id, a page at a time."""
        table, policies, after = whole(tables.orders), self.store.known_policies(), ""
        while True:
            query = select(table.c.order_id, table.c.document).where(table.c.order_id > after)
            query = query.where(table.c.state == state) if state else query
            with reading(self.store.engine) as connection:
                query = query.order_by(table.c.order_id).limit(PAGE)
                page = connection.execute(query).all()
            if not page:
                return
            after = page[-1].order_id
            yield from (rows.read_order(row.document, policies) for row in page)

    def timeline(self, order_id: str) -> Sequence[Event]:
        """Return an order's events, first to last."""
        table = whole(tables.events)
        query = select(table).where(table.c.subject == f"order:{order_id}")
        with reading(self.store.engine) as connection:
            event_rows = connection.execute(query.order_by(table.c.sequence))
            return [rows.read_event(row) for row in event_rows]

    def answers(self, submissions: Collection[tuple[str, int]]) -> dict[tuple[str, int], Any]:
        """Return what `command.settled` says of submissions, given as subject and stamp."""
        table, bodies = whole(tables.events), {}
        sorted_submissions = sorted(submissions)
        with reading(self.store.engine) as connection:
            for group in (
                sorted_submissions[n : n + PAGE] for n in range(0, len(sorted_submissions), PAGE)
            ):
                key = tuple_(table.c.subject, table.c.sequence)
                query = select(table.c.subject, table.c.sequence, table.c.body)
                for row in connection.execute(query.where(key.in_(group))):
                    bodies[row.subject, row.sequence] = json.loads(row.body)
        return bodies

    def endings(self) -> Counter[tuple[str, str | None]]:
        """Count orders by state and reason."""
        table = tables.orders
        query = select(table.c.state, table.c.reason, func.count()).group_by("state", "reason")
        with reading(self.store.engine) as connection:
            counts = Counter({(state, reason): n for state, reason, n in connection.execute(query)})
            return counts + archive_totals.endings(archive_totals.read(connection))

    def settled(self) -> int:
        """Count the outcomes on record."""
        with reading(self.store.engine) as connection:
            query = select(func.count()).select_from(tables.receipts)
            return int(connection.execute(query).scalar_one())

    def balances(self) -> dict[str, int]:
        """Add up money by account family, in fen."""
        with reading(self.store.engine) as connection:
            return by_family(audit.balances(connection))

    def lateness(self) -> list[float]:
        """Return, for each deadline that took effect, how late it was recorded, in seconds."""
        table = whole(tables.events)
        # One deadline may bring several events, all in one transaction.
        query = select(func.max(table.c.recorded_at) - table.c.at)
        query = query.where(table.c.caused_by.like("deadline:%"))
        query = query.group_by(table.c.subject, table.c.at, table.c.caused_by)
        with reading(self.store.engine) as connection:
            return [lateness_us / SECOND_US for lateness_us in connection.execute(query).scalars()]

    def audit(self) -> Report:
        """Audit the books."""
        return audit.audit(self.store)
