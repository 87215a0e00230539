"""Store: the book's page for one batch, loaded with locks."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Column, Connection, Engine, select

from models.book import Book
from models.commands import AnyCommand
from models.events import Event
from models.kept import Kept
from models.needs import needs
from models.order import Order
from models.policy import Policy, recall_policy
from models.public import OPEN
from workers import bulk, recall, rows, tables
from workers.clock import now_us
from workers.database import insert_new, only_reads, reading, writing
from workers.rows import Row
from workers.shelves import (
    CREATORS,
    PARTIES,
    PAYMENTS,
    PAYOUTS,
    REFUNDS,
    SUSPENDED,
    VIOLATIONS,
    Shelf,
)

LOCKED, SHARED = "FOR UPDATE", "FOR SHARE"


@dataclass(slots=True)
class Page:
    """What one batch needs of the book, how it stood before, and what has happened since.

    `stamps` tells, for each receipt in the book, which submission it answers; `touched` names
    what to write even if it did not change; `answered` are rows of the inbox that it settles;
    `asked_by` tells who sent the commands that get a receipt, `traces` what trace context
    they came with, by what their events name as their cause.
    """

    book: Book
    before: dict[str, dict[str, Any]] = field(default_factory=dict)
    stamps: dict[str, int] = field(default_factory=dict)
    new_stamps: dict[str, int] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    outcomes: list[Event] = field(default_factory=list)
    touched: set[str] = field(default_factory=set)
    answered: list[tuple[str, int]] = field(default_factory=list)
    asked_by: dict[str, str] = field(default_factory=dict)
    traces: dict[str, str] = field(default_factory=dict)

    def stands_on(self, fresh: Page) -> bool:
        """Tell whether all that was loaded here is still so on a page that was loaded later."""
        loaded = {one: stamp for one, stamp in self.stamps.items() if one not in self.new_stamps}
        return loaded == fresh.stamps and self.before == fresh.before


class Store:
    """The database seen as a book: `load` a page, judge, write down the `draft.draft` of it."""

    def __init__(self, engine: Engine, policy: Policy) -> None:
        """Keep the engine and the policy in force; nothing is opened yet."""
        self.engine = engine
        self.policy = policy
        self.policies = {policy.version: policy}

    def adopt_policy(self) -> None:
        """Make sure that the policy in force can be read again when it no longer is."""
        row: Row = {"version": self.policy.version, "document": self.policy.model_dump_json()}
        with writing(self.engine) as connection:
            insert_new(connection, tables.policies, [row | {"adopted_at": now_us()}])

    def known_policies(self) -> dict[str, Policy]:
        """Return every policy version that an order may have been placed under."""
        with reading(self.engine) as connection:
            self._read_policies(connection)
        return self.policies

    def load(
        self, connection: Connection, commands: Sequence[AnyCommand], wakes: Collection[str]
    ) -> Page:
        """Load what a batch may concern, locked in one order: creators, orders, then the rest.

        On a connection that only reads, nothing is locked, and what rests is read where it is.

        Whoever changes a creator holds it while its open orders are sought; whoever places an
        order for one holds it from changing. So nobody misses an order that a ban should end.
        """
        page = Page(Book(policy=self.policy))
        wanted = needs(commands, wakes)
        columns = tables.receipts.c
        ids = {one.id for one in commands}
        for row in bulk.fetch(connection, columns, columns.command_id, ids):
            page.book.receipts[row.command_id] = rows.read_receipt(row)
            page.stamps[row.command_id] = row.stamp
        _load(connection, page, VIOLATIONS, wanted.violations, LOCKED)
        wanted.trace(page.book.violations.values())
        held = wanted.changing | wanted.admitting
        _load(connection, page, CREATORS, held, LOCKED if wanted.changing else SHARED)
        self._load_orders(connection, page, wanted.orders | _rosters(connection, wanted.rosters))
        wanted.follow(page.book.orders.values())
        _load(connection, page, CREATORS, wanted.creators - held, "")
        _load(connection, page, REFUNDS, wanted.bases, LOCKED, tables.refunds.c.base_id)
        whole = {one.payment_id for one in page.book.refunds.values() if one.order_id is None}
        _load(connection, page, PAYOUTS, wanted.payouts, LOCKED)
        _load(connection, page, SUSPENDED, wanted.suspended, LOCKED)
        _load(connection, page, PAYMENTS, wanted.payments | whole, LOCKED)
        for shelf in PARTIES:
            _load(connection, page, shelf, getattr(wanted, shelf.name), "")
        return page

    def read_orders(self, connection: Connection, found: Sequence[Any]) -> list[Order]:
        """Read rows of orders, also those whose policy was adopted since we looked."""
        if not {row.policy_version for row in found} <= self.policies.keys():
            self._read_policies(connection)
        return [rows.read_order(row.document, self.policies) for row in found]

    def bring_back(self, order_ids: Collection[str]) -> None:
        """Bring back orders that rest in the archive."""
        with writing(self.engine) as connection:
            recall.bring_back(connection, order_ids)

    def _load_orders(self, connection: Connection, page: Page, order_ids: Collection[str]) -> None:
        table = tables.orders.c
        columns = (table.order_id, table.policy_version, table.document)
        found = _fetch(connection, columns, table.order_id, order_ids, LOCKED)
        absent = set(order_ids) - {row.order_id for row in found}
        if absent and not only_reads(connection):
            back = recall.bring_back(connection, absent)
            found += bulk.fetch(connection, columns, table.order_id, back, LOCKED)
        orders = self.read_orders(connection, found)
        page.book.orders = Kept({order.order_id: order for order in orders})
        page.before["orders"] = dict(page.book.orders)

    def _read_policies(self, connection: Connection) -> None:
        for row in connection.execute(select(tables.policies)):
            self.policies.setdefault(row.version, recall_policy(row.document))


def _rosters(connection: Connection, creator_ids: Collection[str]) -> set[str]:
    """Return the open orders of some creators."""
    if not creator_ids:
        return set()
    table = tables.orders.c
    query = select(table.order_id).where(table.creator_id.in_(sorted(creator_ids)))
    query = query.where(table.public_status.in_([one.value for one in OPEN]))
    return set(connection.execute(query).scalars())


def _fetch(
    connection: Connection,
    columns: Iterable[Column[Any]],
    by: Column[Any],
    ids: Collection[str],
    lock: str,
) -> list[Any]:
    """Fetch rows; for whoever only looks, also those at rest, where they are."""
    found = list(bulk.fetch(connection, columns, by, ids, lock))
    if only_reads(connection):
        found += recall.at_rest(connection, columns, by, ids)
    return found


def _load(
    connection: Connection,
    page: Page,
    shelf: Shelf,
    ids: Collection[str],
    lock: str,
    by: Column[Any] | None = None,
) -> None:
    columns = shelf.table.c
    found = _fetch(connection, columns, columns[shelf.key] if by is None else by, ids, lock)
    loaded = {getattr(one, shelf.key): one for one in map(shelf.read, found)}
    before = page.before.setdefault(shelf.name, {})
    before |= loaded
    setattr(page.book, shelf.name, Kept(before))
