"""Monitoring: how much waits where, since when and for whom."""

from __future__ import annotations

import json
import math
import time
from collections import Counter
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import redis
from sqlalchemy import (
    ColumnElement,
    Connection,
    Engine,
    Table,
    and_,
    false,
    func,
    or_,
    select,
    text,
)

from models.fields import MICROSECOND
from models.ledger import sum_by_family
from models.lifecycle import ADJUSTABLE_STATES, WAITING_STATES, DebtStatus, State
from models.policy import Policy
from workers.database import archive, schema
from workers.database.engine import reading
from workers.database.locks import find_lock_holder
from workers.database.repository import Store
from workers.database.schema import audits, inbox
from workers.processing import failures
from workers.queries import audit
from workers.queue.redis import COMMANDS, HELD_KEY, QUEUES, WORKERS_KEY, Keys
from workers.queue.stalled import read_stalled
from workers.timestamps import SECOND_US, now_us, optional_text, to_us

ALIVE_MS = 15_000
"""A consumer that fetched within this time is alive: idle ones ask every second."""


DEFAULT_WINDOW = timedelta(hours=1)


LEASES_QUERY = schema.leases.select()


Snapshot = dict[str, Any]


def queue_status(engine: Engine, client: redis.Redis) -> Snapshot:
    """Say what waits between receipt and the settled outcome, and who is there to work.

    `held` counts commands that had to wait for an earlier one, ever, and is None while Redis is
    away; `stalled` are those that wait for long now. `locked_by` names another program that keeps
    SQLite's only writer from writing, and is empty where none can be seen.
    """
    redis_state = _redis_status(client)
    now = redis_state.pop("now_us", None) or now_us()
    with reading(engine) as connection:
        inbox_count, inbox_oldest_at = _inbox_status(connection)
        unpublished_count, outbox_oldest_at = _outbox_status(connection)
        leases = {row.name: row.until > now_us() for row in connection.execute(LEASES_QUERY)}
        set_aside_counts = {
            "quarantine": _count(connection, schema.quarantine),
            "dead_letters": failures.count_dead_letters(connection),
        }
    oldest_pending_at = redis_state.pop("pending_us", None)
    oldest_at = min(
        (at for at in (inbox_oldest_at, oldest_pending_at) if at is not None), default=None
    )
    holder = find_lock_holder(engine)
    return redis_state | {
        "locked_by": "" if holder is None or holder.is_ours else str(holder),
        "inbox": {"commands": inbox_count, "oldest_seconds": _age_s(inbox_oldest_at, now)},
        "oldest_seconds": _age_s(oldest_at, now),
        "outbox": {"events": unpublished_count, "lag_seconds": _age_s(outbox_oldest_at, now_us())},
        "relay": leases.get("relay", False),
        "scheduler": leases.get("scheduler", False),
        **set_aside_counts,
    }


def _redis_status(client: redis.Redis) -> Snapshot:
    try:
        with client.pipeline(transaction=True) as pipe:
            pipe.time()
            pipe.zrange(Keys(COMMANDS).pending, 0, 0, withscores=True)
            for queue in QUEUES:
                pipe.llen(Keys(queue).waiting)
                pipe.hlen(Keys(queue).messages)
            pipe.zrange(WORKERS_KEY, 0, -1, withscores=True)
            pipe.get(HELD_KEY)
            (seconds, micros), oldest, *sizes, heartbeats, held_count = pipe.execute()
        now = seconds * SECOND_US + micros
        stalled_commands = read_stalled(client, now)
    except redis.RedisError:
        away = {"redis": "away", "queues": {}, "workers_alive": 0}
        return away | {"stalled": [], "held": None}
    now_ms = now // 1_000
    pairs = zip(sizes[::2], sizes[1::2], strict=True)
    queue_counts = {
        queue: {"waiting": waiting, "in_flight": max(0, total - waiting)}
        for queue, (waiting, total) in zip(QUEUES, pairs, strict=True)
    }
    return {
        "redis": "up",
        "queues": queue_counts,
        "workers_alive": sum(now_ms - at < ALIVE_MS for _, at in heartbeats),
        "stalled": [
            {
                "command": stalled.command,
                "seconds": _age_s(stalled.received_us, now),
                "about": list(stalled.about),
                "behind": stalled.behind,
            }
            for stalled in stalled_commands
        ],
        "held": int(held_count or 0),
        "now_us": now,
        "pending_us": _stamp(oldest[0][1]) if oldest else None,
    }


def _stamp(score: float) -> int | None:
    """Read a score, where somebody else may have written infinity."""
    return int(score) if math.isfinite(score) else None


def _inbox_status(connection: Connection) -> tuple[int, int | None]:
    query = select(func.count(), func.min(inbox.c.received_at))
    count, oldest_at = connection.execute(query).one()
    return int(count), oldest_at


def _outbox_status(connection: Connection) -> tuple[int, int | None]:
    table = schema.events.c
    count_query = select(func.count()).where(table.published_at.is_(None))
    oldest_query = select(table.recorded_at).where(table.published_at.is_(None))
    oldest_query = oldest_query.order_by(table.position).limit(1)
    count = connection.execute(count_query).scalar_one()
    return int(count), connection.execute(oldest_query).scalar()


def _count(connection: Connection, table: Any) -> int:  # noqa: ANN401 - a table
    return int(connection.execute(select(func.count()).select_from(table)).scalar_one())


def _age_s(since: int | None, now: int) -> float:
    return 0.0 if since is None else max(0, now - since) / SECOND_US


def deadline_status(
    store: Store, at: datetime, *, within: timedelta = DEFAULT_WINDOW, limit: int = 100
) -> Snapshot:
    """Say which deadlines are armed, which come within a while, and which are overdue at `at`."""
    table, now = schema.orders, to_us(at)
    overdue = _is_overdue(now, store.known_policies())
    soon = and_(table.c.due_at <= now + within // MICROSECOND, ~overdue)
    with reading(store.engine) as connection:
        by_state = select(table.c.state, func.count()).where(table.c.due_at.is_not(None))
        armed = {row[0]: row[1] for row in connection.execute(by_state.group_by(table.c.state))}
        overdue_count, earliest_overdue_at = connection.execute(
            select(func.count(), func.min(table.c.due_at)).where(overdue)
        ).one()
        due_count = connection.execute(select(func.count()).where(soon)).scalar_one()
        query = select(table).where(or_(soon, overdue)).order_by(table.c.due_at, table.c.order_id)
        order_rows = connection.execute(query.limit(limit)).all()
    return {
        "at": optional_text(now),
        "armed": armed,
        "due_within": int(due_count),
        "overdue": int(overdue_count),
        "worst_overdue_seconds": _age_s(earliest_overdue_at, now),
        "next": [_deadline_fields(row, now) for row in order_rows],
    }


def _is_overdue(now: int, policies: Mapping[str, Policy]) -> ColumnElement[bool]:
    """Tell deadlines that have passed from those whose grace still runs.

    In arbitration nothing lapses: whoever is late there is a person.
    """
    table = schema.orders.c
    conditions = []
    for version, policy in policies.items():
        for state in WAITING_STATES:
            grace = policy.grace(state) // MICROSECOND
            in_state = and_(table.policy_version == version, table.state == state.value)
            conditions.append(and_(in_state, table.due_at < now - grace))
    return or_(false(), *conditions)


def _deadline_fields(row: Any, now: int) -> Snapshot:  # noqa: ANN401 - a row of orders
    return {
        "order_id": row.order_id,
        "state": row.state,
        "due_at": optional_text(row.due_at),
        "wake_at": optional_text(row.wake_at),
        "seconds": (row.due_at - now) / SECOND_US,
        "client_id": row.client_id,
        "creator_id": row.creator_id,
    }


def orders_by_state(engine: Engine) -> dict[str, int]:
    """Count orders by state, all states named."""
    table = schema.orders.c
    with reading(engine) as connection:
        query = select(table.state, func.count()).group_by(table.state)
        counts = Counter({state: int(n) for state, n in connection.execute(query)})
        for (state, _), n in archive.ending_totals(archive.read_totals(connection)).items():
            counts[state] += n
    return {state.value: counts[state.value] for state in State}


def last_audit(engine: Engine) -> Snapshot | None:
    """Return the latest audit of the books, or None before the first."""
    with reading(engine) as connection:
        row = connection.execute(audits.select().order_by(audits.c.audit_id.desc())).first()
    if row is None:
        return None
    names = ("law", "where", "detail")
    findings = [dict(zip(names, finding, strict=True)) for finding in json.loads(row.findings)]
    return {
        "audited_at": optional_text(row.audited_at),
        "age_seconds": _age_s(row.audited_at, now_us()),
        "orders": row.orders,
        "payments": row.payments,
        "took_ms": row.took_ms,
        "ok": not findings,
        "findings": findings,
    }


class Balances:
    """Money by account family; added up no more often than a twentieth of the time."""

    REST_FACTOR = 20

    def __init__(self, engine: Engine) -> None:
        """Add up at the first question."""
        self.engine = engine
        self.sums: dict[str, int] = {}
        self.fresh_until = 0.0

    def read(self) -> dict[str, int]:
        """Return the sums, in fen, seconds old at most on books of ordinary size."""
        began_at = time.monotonic()
        if began_at >= self.fresh_until:
            with reading(self.engine) as connection:
                self.sums = sum_by_family(audit.balances(connection))
            ended_at = time.monotonic()
            self.fresh_until = ended_at + max(1.0, self.REST_FACTOR * (ended_at - began_at))
        return self.sums


def refunds_waiting(engine: Engine) -> Snapshot:
    """Say how many refunds wait to be confirmed, how much they come to and since when.

    `failed` are those of them whose last attempt did not arrive.
    """
    with reading(engine) as connection:
        return _owed(connection, schema.refunds)


def payouts_waiting(engine: Engine) -> Snapshot:
    """Say the same of what is owed to creators and agencies; what is `held` does not wait."""
    held_at, amount_fen = schema.payouts.c.held_at, schema.payouts.c.amount_fen
    held_fen = func.sum(amount_fen).filter(held_at.is_not(None))
    query = select(func.count(held_at), held_fen).where(text(schema.IS_OWED))
    with reading(engine) as connection:
        held_count, held_amount_fen = connection.execute(query).one()
        return _owed(connection, schema.payouts) | {
            "held": int(held_count),
            "held_fen": int(held_amount_fen or 0),
        }


def _owed(connection: Connection, table: Table) -> Snapshot:
    since, is_failed = table.c.waits_since, table.c.status == DebtStatus.FAILED.value
    query = select(
        func.count(since),
        func.sum(table.c.amount_fen).filter(since.is_not(None)),
        func.min(since),
        func.count().filter(is_failed),
    )
    row = connection.execute(query.where(text(schema.IS_OWED))).one()
    waiting_count, amount_fen, oldest_at, failed_count = row
    return {
        "waiting": int(waiting_count),
        "fen": int(amount_fen or 0),
        "oldest_seconds": _age_s(oldest_at, now_us()),
        "failed": int(failed_count),
    }


BANNED_STANDINGS = ("banned", "banned_for_good")


def standstill_counts(engine: Engine, at: datetime) -> Snapshot:
    """Count stopped clocks, arbitrations past their window at `at`, and creators under a ban."""
    orders, creators = schema.orders.c, schema.creators.c
    # While its clock is stopped, and only then, an order that waits has no deadline.
    clock_stopped = and_(
        orders.state.in_([state.value for state in ADJUSTABLE_STATES]), orders.due_at.is_(None)
    )
    undecided = orders.state == State.IN_ARBITRATION.value
    queries = {
        "clocks_stopped": select(func.count()).where(clock_stopped),
        "arbitrations": select(func.count()).where(undecided),
        "arbitrations_overdue": select(func.count()).where(undecided, orders.due_at < to_us(at)),
        "creators_banned": select(func.count()).where(creators.standing.in_(BANNED_STANDINGS)),
    }
    with reading(engine) as connection:
        return {
            name: int(connection.execute(query).scalar_one()) for name, query in queries.items()
        }
