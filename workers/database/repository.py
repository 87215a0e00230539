"""Repository: loads what a batch needs, with locks, and flushes what it changed."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from sqlalchemy import Column, Connection, Engine, select

from models.commands import AnyCommand
from models.events.event import Event
from models.events.orders import OrderPlaced
from models.orders.order import OPEN_STATUSES, Order
from models.policy import Policy, read_stored_policy
from models.service.dependencies import add_orders, add_violations, dependencies_of
from models.service.unit_of_work import UnitOfWork
from models.tracked_dict import TrackedDict
from workers.database import archive, bulk, mappers, schema
from workers.database.engine import insert_new, only_reads, reading, writing
from workers.database.mappers import (
    CREATORS,
    MAPPERS,
    PARTY_MAPPERS,
    PAYMENTS,
    PAYOUTS,
    REFUNDS,
    SUSPENDED,
    VIOLATIONS,
    Row,
    TableMapper,
)
from workers.timestamps import now_us

FOR_UPDATE, FOR_SHARE = "FOR UPDATE", "FOR SHARE"


@dataclass(slots=True)
class LoadedState:
    """The unit of work of one batch, how it stood before, and what has happened since.

    `stamps` tells, for each receipt in it, which submission it answers; `woken` names what to
    write even if it did not change; `settled_inbox_keys` are ids and stamps of the inbox's rows
    that it settles; `asked_by` tells who sent the commands that get a receipt, `traces` what
    trace context they came with, by what their events name as their cause.
    """

    uow: UnitOfWork
    before: dict[str, dict[str, Any]] = field(default_factory=dict)
    stamps: dict[str, int] = field(default_factory=dict)
    new_stamps: dict[str, int] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    outcomes: list[Event] = field(default_factory=list)
    woken: set[str] = field(default_factory=set)
    settled_inbox_keys: list[tuple[str, int]] = field(default_factory=list)
    asked_by: dict[str, str] = field(default_factory=dict)
    traces: dict[str, str] = field(default_factory=dict)

    def still_holds_in(self, fresh: LoadedState) -> bool:
        """Tell whether all that was loaded here is still so in what was loaded later."""
        loaded_stamps = {
            command_id: stamp
            for command_id, stamp in self.stamps.items()
            if command_id not in self.new_stamps
        }
        return loaded_stamps == fresh.stamps and self.before == fresh.before


class Store:
    """The database as the rules need it: `load` what a batch concerns, run its `flush_steps`."""

    def __init__(self, engine: Engine, policy: Policy) -> None:
        """Keep the engine and the policy in force; nothing is opened yet."""
        self.engine = engine
        self.policy = policy
        self.policies = {policy.version: policy}

    def adopt_policy(self) -> None:
        """Make sure that the policy in force can be read again when it no longer is."""
        row: Row = {"version": self.policy.version, "document": self.policy.model_dump_json()}
        with writing(self.engine) as connection:
            insert_new(connection, schema.policies, [row | {"adopted_at": now_us()}])

    def known_policies(self) -> dict[str, Policy]:
        """Return every policy version that an order may have been placed under."""
        with reading(self.engine) as connection:
            self._read_policies(connection)
        return self.policies

    def load(
        self, connection: Connection, commands: Sequence[AnyCommand], wakes: Collection[str]
    ) -> LoadedState:
        """Load what a batch may concern, locked in one order: creators, orders, then the rest.

        On a connection that only reads, nothing is locked, and what rests is read where it is.

        Whoever changes a creator holds it while its open orders are sought; whoever places an
        order for one holds it from changing. So nobody misses an order that a ban should end.
        """
        loaded_state = LoadedState(UnitOfWork(policy=self.policy))
        dependencies = dependencies_of(commands, wakes)
        columns = schema.receipts.c
        command_ids = {command.id for command in commands}
        for row in bulk.fetch(connection, columns, columns.command_id, command_ids):
            loaded_state.uow.receipts[row.command_id] = mappers.read_receipt(row)
            loaded_state.stamps[row.command_id] = row.stamp
        _load(connection, loaded_state, VIOLATIONS, dependencies.violations, FOR_UPDATE)
        add_violations(dependencies, loaded_state.uow.violations.values())
        locked_creator_ids = dependencies.creators_changing | dependencies.creators_held_unchanged
        _load(
            connection,
            loaded_state,
            CREATORS,
            locked_creator_ids,
            FOR_UPDATE if dependencies.creators_changing else FOR_SHARE,
        )
        self._load_orders(
            connection,
            loaded_state,
            dependencies.orders
            | _open_orders_of(connection, dependencies.creators_with_open_orders),
        )
        add_orders(dependencies, loaded_state.uow.orders.values())
        _load(connection, loaded_state, CREATORS, dependencies.creators - locked_creator_ids, "")
        _load(
            connection,
            loaded_state,
            REFUNDS,
            dependencies.refund_base_ids,
            FOR_UPDATE,
            schema.refunds.c.base_id,
        )
        whole_payment_ids = {
            refund.payment_id
            for refund in loaded_state.uow.refunds.values()
            if refund.order_id is None
        }
        _load(connection, loaded_state, PAYOUTS, dependencies.payouts, FOR_UPDATE)
        _load(connection, loaded_state, SUSPENDED, dependencies.suspended, FOR_UPDATE)
        _load(
            connection,
            loaded_state,
            PAYMENTS,
            dependencies.payments | whole_payment_ids,
            FOR_UPDATE,
        )
        for mapper in PARTY_MAPPERS:
            _load(connection, loaded_state, mapper, getattr(dependencies, mapper.name), "")
        return loaded_state

    def read_orders(self, connection: Connection, order_rows: Sequence[Any]) -> list[Order]:
        """Read rows of orders, also those whose policy was adopted since we looked."""
        if not {row.policy_version for row in order_rows} <= self.policies.keys():
            self._read_policies(connection)
        return [mappers.read_order(row.document, self.policies) for row in order_rows]

    def restore(self, order_ids: Collection[str]) -> None:
        """Bring back orders that rest in the archive."""
        with writing(self.engine) as connection:
            archive.restore(connection, order_ids)

    def _load_orders(
        self, connection: Connection, loaded_state: LoadedState, order_ids: Collection[str]
    ) -> None:
        table = schema.orders.c
        columns = (table.order_id, table.policy_version, table.document)
        order_rows = _fetch(connection, columns, table.order_id, order_ids, FOR_UPDATE)
        missing_ids = set(order_ids) - {row.order_id for row in order_rows}
        if missing_ids and not only_reads(connection):
            restored_ids = archive.restore(connection, missing_ids)
            order_rows += bulk.fetch(connection, columns, table.order_id, restored_ids, FOR_UPDATE)
        orders = self.read_orders(connection, order_rows)
        loaded_state.uow.orders = TrackedDict({order.order_id: order for order in orders})
        loaded_state.before["orders"] = dict(loaded_state.uow.orders)

    def _read_policies(self, connection: Connection) -> None:
        for row in connection.execute(select(schema.policies)):
            self.policies.setdefault(row.version, read_stored_policy(row.document))


def _open_orders_of(connection: Connection, creator_ids: Collection[str]) -> set[str]:
    """Return the open orders of some creators."""
    if not creator_ids:
        return set()
    table = schema.orders.c
    query = select(table.order_id).where(table.creator_id.in_(sorted(creator_ids)))
    query = query.where(table.public_status.in_([status.value for status in OPEN_STATUSES]))
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
        table_rows += archive.fetch_archived(connection, columns, by, ids)
    return table_rows


def _load(
    connection: Connection,
    loaded_state: LoadedState,
    mapper: TableMapper,
    ids: Collection[str],
    lock: str,
    by: Column[Any] | None = None,
) -> None:
    columns = mapper.table.c
    table_rows = _fetch(connection, columns, columns[mapper.key] if by is None else by, ids, lock)
    entities = {getattr(entity, mapper.key): entity for entity in map(mapper.read, table_rows)}
    before = loaded_state.before.setdefault(mapper.name, {})
    before |= entities
    setattr(loaded_state.uow, mapper.name, TrackedDict(before))


FlushStep = Callable[[Connection], object]


def flush_steps(loaded_state: LoadedState) -> list[FlushStep]:
    """Prepare to write down everything that a batch changed: what is left needs a database."""
    now = now_us()
    new_refund_ids = loaded_state.uow.refunds.keys() - loaded_state.before[REFUNDS.name].keys()
    receipts = [
        mappers.receipt_row(loaded_state.uow.receipts[key], stamp, loaded_state.asked_by.get(key))
        for key, stamp in loaded_state.new_stamps.items()
    ]
    events = [mappers.event_row(event, now, loaded_state.traces) for event in loaded_state.events]
    # A redelivered refusal says again what its sender may have been told before.
    outcomes = [
        mappers.event_row(event, now, loaded_state.traces) for event in loaded_state.outcomes
    ]
    return [
        partial(archive.refuse_archived_refunds, refund_ids=new_refund_ids),
        partial(bulk.insert, table=schema.receipts, rows=receipts),
        *_order_steps(loaded_state),
        *(step for mapper in MAPPERS for step in _mapper_steps(loaded_state, mapper)),
        partial(bulk.insert, table=schema.events, rows=events),
        partial(bulk.insert, table=schema.events, rows=outcomes, ignore_existing=True),
        partial(bulk.insert, table=schema.postings, rows=mappers.posting_rows(loaded_state.uow)),
        partial(remove_from_inbox, ids_and_stamps=loaded_state.settled_inbox_keys),
    ]


def _order_steps(loaded_state: LoadedState) -> list[FlushStep]:
    placed_facts = {
        event.order_id: event.fact
        for event in loaded_state.events
        if isinstance(event.fact, OrderPlaced)
    }
    new_orders, changed_orders = _differences(
        loaded_state.before["orders"], loaded_state.uow.orders, loaded_state.woken
    )
    new_rows = [mappers.new_order_row(order, placed_facts[order.order_id]) for order in new_orders]
    changed_rows = [mappers.order_row(order) for order in changed_orders]
    return [
        partial(bulk.insert, table=schema.orders, rows=new_rows),
        partial(bulk.update, table=schema.orders, key="order_id", rows=changed_rows),
    ]


def _mapper_steps(loaded_state: LoadedState, mapper: TableMapper) -> list[FlushStep]:
    after = getattr(loaded_state.uow, mapper.name)
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


def _touched(loaded_state: LoadedState, mapper: TableMapper) -> Collection[str]:
    """Name those of a table that were told that time has passed."""
    if mapper.wake_prefix is None:
        return ()
    prefix = f"{mapper.wake_prefix}:"
    return {
        subject.removeprefix(prefix) for subject in loaded_state.woken if subject.startswith(prefix)
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


def remove_from_inbox(connection: Connection, ids_and_stamps: Sequence[tuple[str, int]]) -> None:
    """Remove rows, given as ids and stamps, in the commit that settled or dead-lettered them."""
    if not ids_and_stamps:
        return
    if connection.dialect.name == "sqlite":
        statement = "DELETE FROM inbox WHERE command_id = ? AND stamp = ?"
        connection.exec_driver_sql(statement, list(ids_and_stamps))
        return
    statement = (
        "DELETE FROM inbox USING unnest(%s::text[], %s::bigint[]) AS gone(id, stamp)"
        " WHERE inbox.command_id = gone.id AND inbox.stamp = gone.stamp"
    )
    connection.exec_driver_sql(statement, tuple(map(list, zip(*ids_and_stamps, strict=True))))
