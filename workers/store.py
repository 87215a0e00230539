"""Store: the book's page for one batch, loaded with locks."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Column, Connection, Engine, select

from models.commands import AnyCommand
from models.events.event import Event
from models.orders.order import OPEN, Order
from models.policy import Policy, recall_policy
from models.service.dependencies import needs
from models.service.unit_of_work import Book
from models.tracked_dict import Kept
from workers import bulk, debt_tables, recall, rows, tables
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
        loaded_stamps = {
            command_id: stamp
            for command_id, stamp in self.stamps.items()
            if command_id not in self.new_stamps
        }
        return loaded_stamps == fresh.stamps and self.before == fresh.before


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
        loaded_state = Page(Book(policy=self.policy))
        dependencies = needs(commands, wakes)
        columns = tables.receipts.c
        command_ids = {command.id for command in commands}
        for row in bulk.fetch(connection, columns, columns.command_id, command_ids):
            loaded_state.book.receipts[row.command_id] = rows.read_receipt(row)
            loaded_state.stamps[row.command_id] = row.stamp
        _load(connection, loaded_state, VIOLATIONS, dependencies.violations, LOCKED)
        dependencies.trace(loaded_state.book.violations.values())
        locked_creator_ids = dependencies.changing | dependencies.admitting
        _load(
            connection,
            loaded_state,
            CREATORS,
            locked_creator_ids,
            LOCKED if dependencies.changing else SHARED,
        )
        self._load_orders(
            connection,
            loaded_state,
            dependencies.orders | _rosters(connection, dependencies.rosters),
        )
        dependencies.follow(loaded_state.book.orders.values())
        _load(connection, loaded_state, CREATORS, dependencies.creators - locked_creator_ids, "")
        _load(
            connection,
            loaded_state,
            REFUNDS,
            dependencies.bases,
            LOCKED,
            debt_tables.refunds.c.base_id,
        )
        whole_payment_ids = {
            refund.payment_id
            for refund in loaded_state.book.refunds.values()
            if refund.order_id is None
        }
        _load(connection, loaded_state, PAYOUTS, dependencies.payouts, LOCKED)
        _load(connection, loaded_state, SUSPENDED, dependencies.suspended, LOCKED)
        _load(connection, loaded_state, PAYMENTS, dependencies.payments | whole_payment_ids, LOCKED)
        for mapper in PARTIES:
            _load(connection, loaded_state, mapper, getattr(dependencies, mapper.name), "")
        return loaded_state

    def read_orders(self, connection: Connection, order_rows: Sequence[Any]) -> list[Order]:
        """Read rows of orders, also those whose policy was adopted since we looked."""
        if not {row.policy_version for row in order_rows} <= self.policies.keys():
            self._read_policies(connection)
        return [rows.read_order(row.document, self.policies) for row in order_rows]

    def bring_back(self, order_ids: Collection[str]) -> None:
        """Bring back orders that rest in the archive."""
        with writing(self.engine) as connection:
            recall.bring_back(connection, order_ids)

    def _load_orders(
        self, connection: Connection, loaded_state: Page, order_ids: Collection[str]
    ) -> None:
        table = tables.orders.c
        columns = (table.order_id, table.policy_version, table.document)
        order_rows = _fetch(connection, columns, table.order_id, order_ids, LOCKED)
        missing_ids = set(order_ids) - {row.order_id for row in order_rows}
        if missing_ids and not only_reads(connection):
            restored_ids = recall.bring_back(connection, missing_ids)
            order_rows += bulk.fetch(connection, columns, table.order_id, restored_ids, LOCKED)
        orders = self.read_orders(connection, order_rows)
        loaded_state.book.orders = Kept({order.order_id: order for order in orders})
        loaded_state.before["orders"] = dict(loaded_state.book.orders)

    def _read_policies(self, connection: Connection) -> None:
        for row in connection.execute(select(tables.policies)):
            self.policies.setdefault(row.version, recall_policy(row.document))


def _rosters(connection: Connection, creator_ids: Collection[str]) -> set[str]:
    """Return the open orders of some creators."""
    if not creator_ids:
        return set()
    table = tables.orders.c
    query = select(table.order_id).where(table.creator_id.in_(sorted(creator_ids)))
    query = query.where(table.public_status.in_([status.value for status in OPEN]))
    return set(connection.execute(query).scalars())


def _fetch(
    connection: Connection,
    columns: Iterable[Column[Any]],
    by: Column[Any],
    ids: Collection[str],
    lock: str,
) -> list[Any]:
    """Fetch rows; for whoever only looks, also those at rest, where they are."""
    table_rows = list(bulk.fetch(connection, columns, by, ids, lock))
    if only_reads(connection):
        table_rows += recall.at_rest(connection, columns, by, ids)
    return table_rows


def _load(
    connection: Connection,
    loaded_state: Page,
    mapper: Shelf,
    ids: Collection[str],
    lock: str,
    by: Column[Any] | None = None,
) -> None:
    columns = mapper.table.c
    table_rows = _fetch(connection, columns, columns[mapper.key] if by is None else by, ids, lock)
    entities = {getattr(entity, mapper.key): entity for entity in map(mapper.read, table_rows)}
    before = loaded_state.before.setdefault(mapper.name, {})
    before |= entities
    setattr(loaded_state.book, mapper.name, Kept(before))
