"""Repository: loads what a batch needs, with locks, and flushes what it changed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any

from sqlalchemy import Column, Connection, Engine, Select, func, select, text

from models.commands import AnyCommand
from models.commands.command import Dependencies
from models.events.event import Event
from models.events.orders import OrderPlaced
from models.ids import make_command_key, split_share_id, strip_refund_number
from models.lifecycle import State
from models.orders.order import Order
from models.policy import Policy, read_stored_policy
from models.service.dependencies import (
    add_debts,
    add_orders,
    add_parked,
    add_suspended,
    add_violations,
    dependencies_of,
)
from models.service.parked import find_awaited_order
from models.service.unit_of_work import UnitOfWork
from models.tracked_dict import TrackedDict
from workers.database import archive, bulk, mappers, receipts, schema
from workers.database.archive_schema import with_archive
from workers.database.engine import insert_new, only_reads, reading, writing
from workers.database.mappers import (
    CREATORS,
    MAPPERS,
    PARKED,
    PARTY_MAPPERS,
    PAYMENTS,
    PAYOUTS,
    REFUNDS,
    SUSPENDED,
    VIOLATIONS,
    Row,
    TableMapper,
)
from workers.timestamps import from_us, now_us

FOR_UPDATE, FOR_SHARE = "FOR UPDATE SKIP LOCKED", "FOR SHARE SKIP LOCKED"
"""What others have locked is not waited for: whatever does not concern it goes on."""


MAX_ORDERS_TOLD = 500
"""Orders loaded at a time to learn of a change of their creator: the others wait for the next."""


@dataclass(slots=True)
class LoadedState:
    """The unit of work of one batch, how it stood before, and what has happened since.

    `stamps` tells, for each receipt in it, which submission it answers; `woken` names what to
    write even if it did not change; `locked` names what is missing here because somebody else has
    locked its row; `judged_stamps` tells of orders and creators the latest stamp of a command about
    them, `judged_after` of commands a later one that was judged before; `settled_inbox_keys` are
    the inbox's rows that it settles; `traces` tells what trace context commands came with, by what
    their events name as their cause, `parked_traces` the same of parked commands, by their keys.
    """

    uow: UnitOfWork
    before: dict[str, dict[str, Any]] = field(default_factory=dict)
    stamps: dict[str, int] = field(default_factory=dict)
    new_stamps: dict[str, int] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    outcomes: list[Event] = field(default_factory=list)
    woken: set[str] = field(default_factory=set)
    locked: set[str] = field(default_factory=set)
    judged_stamps: dict[str, int] = field(default_factory=dict)
    judged_after: dict[str, int] = field(default_factory=dict)
    settled_inbox_keys: list[InboxKey] = field(default_factory=list)
    parked_traces: dict[str, str] = field(default_factory=dict)
    traces: dict[str, str] = field(default_factory=dict)

    def still_holds_in(self, fresh: LoadedState) -> bool:
        """Tell whether all that was loaded here is still so in what was loaded later."""
        loaded_stamps = {
            key: stamp for key, stamp in self.stamps.items() if key not in self.new_stamps
        }
        return (
            loaded_stamps == fresh.stamps
            and self.before == fresh.before
            and self.uow.spread_complete == fresh.uow.spread_complete
        )


class Store:
    """The database as the rules need it: `load` what a batch concerns, run its `flush_steps`."""

    def __init__(self, engine: Engine, policy: Policy) -> None:
        """Keep the engine and the policy in force; nothing is opened yet."""
        self.engine = engine
        self.policy = policy
        self.policies = {policy.version: policy}
        self._orders_read: dict[str, Order] = {}

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

        Whoever changes a creator, or spreads a change, holds it; whoever places an order for one
        holds it from changing. So an order knows of a change, or is found when it is spread.
        """
        loaded_state = LoadedState(UnitOfWork(policy=self.policy, spread_complete=set()))
        dependencies = dependencies_of(commands, wakes)
        named_debts = _find_named_debts(connection, dependencies)
        _load_parked(connection, loaded_state, commands, dependencies)
        parked = [waiting.command for waiting in loaded_state.uow.parked.values()]
        _load_receipts(connection, loaded_state, [*commands, *parked])
        _load(connection, loaded_state, VIOLATIONS, dependencies.violations, FOR_UPDATE)
        add_violations(dependencies, loaded_state.uow.violations.values())
        locked_creator_ids = dependencies.creators_changing | dependencies.creators_held_unchanged
        creator_rows = _load(
            connection,
            loaded_state,
            CREATORS,
            locked_creator_ids,
            FOR_UPDATE if dependencies.creators_changing else FOR_SHARE,
        )
        for row in creator_rows:
            if row.judged_stamp is not None:
                loaded_state.judged_stamps[f"creator:{row.creator_id}"] = row.judged_stamp
        _mark_what_orders_lack(connection, loaded_state.uow, dependencies.creators_changing)
        to_tell = _find_orders_to_tell(
            connection, loaded_state.uow, dependencies.creators_with_open_orders
        )
        refund_rows = _find_refunds_to_void(connection, dependencies)
        self._load_orders(connection, loaded_state, dependencies.orders | to_tell)
        if to_tell - loaded_state.uow.orders.keys() and loaded_state.uow.spread_complete:
            # Somebody is busy with one of them: it learns of the change another time.
            loaded_state.uow.spread_complete.clear()
        self._load_unpaid(connection, loaded_state, dependencies)
        add_orders(dependencies, loaded_state.uow.orders.values())
        _find_waits(connection, loaded_state, commands)
        _load(connection, loaded_state, CREATORS, dependencies.creators - locked_creator_ids, "")
        _find_suspended(connection, dependencies)
        _load(connection, loaded_state, SUSPENDED, dependencies.suspended, FOR_UPDATE)
        for share in dependencies.suspended:
            if f"suspense:{share}" in loaded_state.locked:
                payment_id, order_id = split_share_id(share)
                loaded_state.locked |= {f"payment:{payment_id}", f"order:{order_id}"}
        add_suspended(dependencies, loaded_state.uow.suspended.values())
        _load(
            connection,
            loaded_state,
            REFUNDS,
            dependencies.refund_base_ids,
            FOR_UPDATE,
            schema.refunds.c.base_id,
        )
        for row in refund_rows:
            # Whoever voids a payment must have all that was made of it.
            names = {f"refund:{row.base_id}", f"order:{row.order_id}"}
            if not loaded_state.locked.isdisjoint(names):
                loaded_state.locked.add(f"payment:{row.payment_id}")
        whole_payment_ids = {
            refund.payment_id
            for refund in loaded_state.uow.refunds.values()
            if refund.order_id is None and refund.payment_id is not None
        }
        _load(connection, loaded_state, PAYOUTS, dependencies.payouts, FOR_UPDATE)
        # Whoever names a reference must not take what is locked for absent.
        loaded_state.locked |= {
            home for subject, home in named_debts.items() if subject in loaded_state.locked
        }
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
        """Read rows of orders, also those whose policy was adopted since we looked.

        Where one writer at a time reads everything twice, the second time finds it read.
        """
        self._know_policies_of(connection, order_rows)
        read_before, documents = self._orders_read, [row.document for row in order_rows]
        orders = {
            document: read_before.get(document) or mappers.read_order(document, self.policies)
            for document in documents
        }
        self._orders_read = orders
        return [orders[document] for document in documents]

    def restore(self, order_ids: Collection[str]) -> None:
        """Bring back orders that rest in the archive."""
        with writing(self.engine) as connection:
            archive.restore(connection, order_ids)

    def _load_orders(
        self, connection: Connection, loaded_state: LoadedState, order_ids: Collection[str]
    ) -> None:
        table = schema.orders.c
        columns = (table.order_id, table.policy_version, table.document, table.judged_stamp)
        order_rows = _fetch(connection, columns, table.order_id, order_ids, FOR_UPDATE)
        missing_ids = set(order_ids) - {row.order_id for row in order_rows}
        if missing_ids and not only_reads(connection):
            restored_ids, locked_ids = archive.restore(connection, missing_ids)
            order_rows += bulk.fetch(connection, columns, table.order_id, restored_ids, FOR_UPDATE)
            loaded_state.locked.update(f"order:{order_id}" for order_id in locked_ids)
        for row in order_rows:
            if row.judged_stamp is not None:
                loaded_state.judged_stamps[f"order:{row.order_id}"] = row.judged_stamp
        orders = self.read_orders(connection, order_rows)
        loaded_state.uow.orders = TrackedDict({order.order_id: order for order in orders})
        loaded_state.before["orders"] = dict(loaded_state.uow.orders)

    def _load_unpaid(
        self, connection: Connection, loaded_state: LoadedState, dependencies: Dependencies
    ) -> None:
        """Count what clients have placed and not paid for; who places near the limit is read whole.

        It is not locked: whoever changes it meanwhile was received later, or is waited for.
        """
        uow, table, limit = loaded_state.uow, schema.orders.c, self.policy.unpaid_orders_limit
        placed_counts = Counter(dependencies.placing_clients)
        orders = uow.orders.values()
        awaited = {order.client_id for order in orders if order.state is State.AWAITING_DEPOSIT}
        counts = bulk.count_up_to(
            connection, limit, table.client_id, schema.IS_UNPAID, placed_counts.keys() | awaited
        )
        unpaid_orders = dict[str, Order]()
        near = [name for name, n in placed_counts.items() if counts[name] + n >= limit]
        if near:
            query = select(table.policy_version, table.document).where(text(schema.IS_UNPAID))
            order_rows = connection.execute(query.where(table.client_id.in_(near))).all()
            self._know_policies_of(connection, order_rows)
            for row in order_rows:
                order = mappers.read_order(row.document, self.policies)
                unpaid_orders[order.order_id] = order
                dependencies.creators.add(order.creator_id)
        uow.unpaid_counts, uow.unpaid_orders = TrackedDict(counts), unpaid_orders
        loaded_state.before |= {"unpaid_counts": counts, "unpaid_orders": unpaid_orders}

    def _know_policies_of(self, connection: Connection, order_rows: Sequence[Any]) -> None:
        if not {row.policy_version for row in order_rows} <= self.policies.keys():
            self._read_policies(connection)

    def _read_policies(self, connection: Connection) -> None:
        for row in connection.execute(select(schema.policies)):
            self.policies.setdefault(row.version, read_stored_policy(row.document))


def _load_receipts(
    connection: Connection, loaded_state: LoadedState, commands: Sequence[AnyCommand]
) -> None:
    def is_own(name: tuple[str, str], fingerprint: bytes) -> bool:
        own = (command for command in commands if (command.sender, command.id) == name)
        return any(command.fingerprint() == fingerprint for command in own)

    names = {(command.sender, command.id) for command in commands}
    for name, row in receipts.fetch_first(connection, names, is_own).items():
        key = make_command_key(*name)
        loaded_state.uow.receipts[key] = mappers.read_receipt(row)
        loaded_state.stamps[key] = row.stamp


def _load_parked(
    connection: Connection,
    loaded_state: LoadedState,
    commands: Sequence[AnyCommand],
    dependencies: Dependencies,
) -> None:
    """Load what waits for the orders that are placed, under the ids of commands, or is woken.

    Found first and then locked in one order, whatever it was found by.
    """
    table = schema.parked.c
    loaded_state.before[PARKED.name] = {}
    if connection.execute(select(table.stamp).limit(1)).first() is None:
        # As nearly always.
        return
    stamps = set(map(int, dependencies.parked))
    columns = (table.stamp, table.sender, table.command_id, table.order_id)
    woken_rows = bulk.fetch(connection, columns, table.stamp, stamps)
    senders_and_ids = {(row.sender, row.command_id) for row in woken_rows}
    senders_and_ids |= {(command.sender, command.id) for command in commands}
    by = (table.sender, table.command_id)
    namesake_rows = bulk.fetch_pairs(connection, columns, by, senders_and_ids)
    awaiting_rows = bulk.fetch(connection, columns, table.order_id, dependencies.placements)
    found_rows = (*namesake_rows, *awaiting_rows)
    rows = _load(
        connection, loaded_state, PARKED, stamps | {row.stamp for row in found_rows}, FOR_UPDATE
    )
    for row in found_rows:
        # Whoever names the order, or repeats the command, must not take it for absent.
        if f"parked:{row.stamp}" in loaded_state.locked:
            command_key = make_command_key(row.sender, row.command_id)
            loaded_state.locked |= {f"order:{row.order_id}", f"command:{command_key}"}
    loaded_state.parked_traces |= {str(row.stamp): row.trace for row in rows if row.trace}
    parked = loaded_state.uow.parked.values()
    add_parked(dependencies, (p for p in parked if p.order_id in dependencies.placements))


def _find_waits(
    connection: Connection, loaded_state: LoadedState, commands: Sequence[AnyCommand]
) -> None:
    """Say until when what waits may wait, of each sender of a command that may have to wait too.

    As many as count: the latest.
    """
    uow = loaded_state.uow
    senders = {
        command.sender
        for command in commands
        if ((order_id := find_awaited_order(command)) and order_id not in uow.orders)
        or uow.parked_under_id(command)
    }
    columns = schema.parked.c
    waits: dict[str, tuple[datetime, ...]] = {}
    for sender in sorted(senders):
        query = select(columns.answer_at).where(columns.sender == sender)
        latest = query.order_by(columns.answer_at.desc()).limit(uow.policy.parked_limit)
        waits[sender] = tuple(map(from_us, connection.execute(latest).scalars()))
    uow.parked_until, loaded_state.before["parked_until"] = TrackedDict(waits), waits


def _find_suspended(connection: Connection, dependencies: Dependencies) -> None:
    """Name the shares in suspense of payments, and those meant for orders which are placed."""
    table = schema.suspended.c
    columns = (table.share_id, table.payment_id)
    rows = bulk.fetch(connection, columns, table.order_id, dependencies.placements)
    payment_ids = dependencies.payments | {row.payment_id for row in rows}
    rows = [*rows, *bulk.fetch(connection, columns, table.payment_id, payment_ids)]
    dependencies.suspended.update(row.share_id for row in rows)


def _find_named_debts(connection: Connection, dependencies: Dependencies) -> dict[str, str]:
    """Find the refunds and payouts that references name, at rest or not, as if ids named them.

    What is not owed yet may be once time has passed for its order: so that is found. Return, by
    what names each debt where its row is locked, the subject that its references name.
    """
    homes = {reference.stem: reference.home for reference in dependencies.references}
    subjects = dict[str, str]()
    if not homes:
        return subjects
    for mapper in (REFUNDS, PAYOUTS):
        table = with_archive(mapper.table)
        query = select(table).where(table.c.reference_stem.in_(sorted(homes)))
        debts = [mapper.read(row) for row in connection.execute(query)]
        add_debts(dependencies, debts)
        for debt in debts:
            debt_id = strip_refund_number(mapper.key_of(debt))
            subjects[f"{mapper.subject}:{debt_id}"] = homes[debt.reference_stem]
    order, keys = schema.orders.c, sorted(map(mappers.reference_key, homes.values()))
    order_query = select(order.order_id).where(order.reference_key.in_(keys))
    order_query = order_query.where(order.ended_at.is_(None))
    dependencies.orders.update(connection.execute(order_query).scalars())
    return subjects


def _find_refunds_to_void(connection: Connection, dependencies: Dependencies) -> list[Any]:
    """Name the refunds of payments that are to be voided, and the orders that they go back from."""
    table, payment_ids = schema.refunds.c, dependencies.payments_to_void
    columns = (table.payment_id, table.base_id, table.order_id)
    rows = [
        *bulk.fetch(connection, columns, table.payment_id, payment_ids),
        *archive.fetch_archived(connection, columns, table.payment_id, payment_ids),
    ]
    dependencies.refund_base_ids.update(row.base_id for row in rows)
    dependencies.orders.update(row.order_id for row in rows if row.order_id is not None)
    return rows


def _mark_what_orders_lack(
    connection: Connection, uow: UnitOfWork, creator_ids: Collection[str]
) -> None:
    """Mark what some open order does not know of a creator that is about to change.

    So no creator forgets what an order has to learn, however long nobody has woken that order.
    """
    table = schema.orders.c
    for creator_id in sorted(creator_ids & uow.creators.keys()):
        creator = uow.creators[creator_id]
        if creator.last_change:
            query = select(func.min(table.creator_sequence))
            query = query.where(table.creator_id == creator_id, table.ended_at.is_(None))
            known_sequence = connection.execute(query).scalar()
            if known_sequence is not None:
                uow.creators[creator_id] = creator.known_up_to(known_sequence)


def _find_orders_to_tell(
    connection: Connection, uow: UnitOfWork, creator_ids: Collection[str]
) -> set[str]:
    """Find open orders that have not learned of their creator's latest change, so many at most.

    Where these are all, the unit of work is told so.
    """
    order_ids = set[str]()
    for creator_id in sorted(creator_ids & uow.creators.keys()):
        creator, room = uow.creators[creator_id], MAX_ORDERS_TOLD - len(order_ids)
        if creator.spread_from is None:
            continue
        query = orders_to_tell_query(creator_id, creator.last_change)
        ids = connection.execute(query.limit(room + 1)).scalars().all()
        order_ids.update(ids[:room])
        if len(ids) <= room and uow.spread_complete is not None:
            uow.spread_complete.add(creator_id)
    return order_ids


def orders_to_tell_query(creator_id: str, last_change: int) -> Select[str]:
    """Ask for a creator's open orders that have not learned of a change: one look at an index."""
    table = schema.orders.c
    query = select(table.order_id).where(table.creator_id == creator_id)
    query = query.where(table.ended_at.is_(None), table.creator_sequence < last_change)
    return query.order_by(table.creator_sequence, table.order_id)


def _fetch(
    connection: Connection,
    columns: Iterable[Column[Any]],
    by: Column[Any],
    ids: Collection[Any],
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
    ids: Collection[Any],
    lock: str,
    by: Column[Any] | None = None,
) -> list[Any]:
    columns = mapper.table.c
    key = columns[mapper.key] if by is None else by
    table_rows = _fetch(connection, columns, key, ids, lock)
    if lock and not only_reads(connection):
        missing_ids = set(ids) - {getattr(row, key.name) for row in table_rows}
        loaded_state.locked |= _locked(connection, mapper.subject, key, missing_ids)
    entities = {mapper.key_of(entity): entity for entity in map(mapper.read, table_rows)}
    before = loaded_state.before.setdefault(mapper.name, {})
    before |= entities
    setattr(loaded_state.uow, mapper.name, TrackedDict(before))
    return table_rows


def _locked(
    connection: Connection, kind: str, key: Column[Any], missing_ids: Collection[Any]
) -> set[str]:
    """Name what is there and was passed over, because somebody else has locked its row."""
    if not missing_ids or connection.dialect.name == "sqlite":
        return set()
    rows = bulk.fetch(connection, (key,), key, missing_ids)
    return {f"{kind}:{getattr(row, key.name)}" for row in rows}


FlushStep = Callable[[Connection], object]


def flush_steps(loaded_state: LoadedState) -> list[FlushStep]:
    """Prepare to write down everything that a batch changed: what is left needs a database."""
    now = now_us()
    new_refund_ids = loaded_state.uow.refunds.keys() - loaded_state.before[REFUNDS.name].keys()
    receipt_rows = [
        mappers.receipt_row(
            loaded_state.uow.receipts[key], stamp, loaded_state.judged_after.get(key)
        )
        for key, stamp in loaded_state.new_stamps.items()
    ]
    events = [mappers.event_row(event, now, loaded_state.traces) for event in loaded_state.events]
    # A redelivered refusal says again what its sender may have been told before.
    outcomes = [
        mappers.event_row(event, now, loaded_state.traces) for event in loaded_state.outcomes
    ]
    return [
        partial(archive.refuse_archived_refunds, refund_ids=new_refund_ids),
        partial(bulk.insert, table=schema.receipts, rows=receipt_rows),
        *_order_steps(loaded_state),
        *(step for mapper in MAPPERS for step in _mapper_steps(loaded_state, mapper)),
        partial(bulk.insert, table=schema.events, rows=events),
        partial(bulk.insert, table=schema.events, rows=outcomes, ignore_existing=True),
        partial(bulk.insert, table=schema.postings, rows=mappers.posting_rows(loaded_state.uow)),
        partial(remove_from_inbox, keys=loaded_state.settled_inbox_keys),
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
    wake_at, stamps = loaded_state.uow.wake_at, loaded_state.judged_stamps
    new_rows = [
        mappers.new_order_row(
            *(order, wake_at(order), placed_facts[order.order_id]),
            stamps.get(f"order:{order.order_id}"),
        )
        for order in new_orders
    ]
    changed_rows = [
        mappers.order_row(order, wake_at(order), stamps.get(f"order:{order.order_id}"))
        for order in changed_orders
    ]
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
    if mapper is CREATORS:
        for row in (*new_rows, *changed_rows):
            subject = f"creator:{row['creator_id']}"
            row["judged_stamp"] = loaded_state.judged_stamps.get(subject)
    if mapper is PARKED:
        traces = loaded_state.parked_traces
        new_rows = [row | {"trace": traces.get(str(row["stamp"]))} for row in new_rows]
    before = loaded_state.before[mapper.name]
    deleted_keys = [mapper.write(before[key])[mapper.key] for key in before.keys() - after.keys()]
    return [
        partial(bulk.delete, table=mapper.table, key=mapper.key, ids=deleted_keys),
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
        if key in after and (after[key] is not previous or key in touched)
    ]
    return new_entities, changed_entities


InboxKey = tuple[str, str, int]
"""A row of the inbox: its sender, its command id and its stamp."""


def remove_from_inbox(connection: Connection, keys: Sequence[InboxKey]) -> None:
    """Remove rows, in the commit that settled or dead-lettered them."""
    if not keys:
        return
    if connection.dialect.name == "sqlite":
        statement = "DELETE FROM inbox WHERE sender = ? AND command_id = ? AND stamp = ?"
        connection.exec_driver_sql(statement, list(keys))
        return
    statement = (
        "DELETE FROM inbox"
        " USING unnest(%s::text[], %s::text[], %s::bigint[]) AS gone(sender, id, stamp)"
        " WHERE inbox.sender = gone.sender AND inbox.command_id = gone.id"
        " AND inbox.stamp = gone.stamp"
    )
    connection.exec_driver_sql(statement, tuple(map(list, zip(*keys, strict=True))))
