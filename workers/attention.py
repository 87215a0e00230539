"""Attention: what waits for a person or for a bank, and no process of ours can hurry."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Engine, Table, and_, func, select

from models.lifecycle import LAPSING, State
from workers import debt_tables, party_tables, tables
from workers.clock import SECOND_US, now_us, to_us
from workers.database import reading

Shown = dict[str, Any]


def refunds(engine: Engine) -> Shown:
    """Say how many refunds wait to be confirmed, how much they come to and since when."""
    return _owed(engine, debt_tables.refunds)


def payouts(engine: Engine) -> Shown:
    """Say the same of what is owed to creators and agencies."""
    return _owed(engine, debt_tables.payouts)


def _owed(engine: Engine, table: Table) -> Shown:
    columns = table.c
    query = select(func.count(), func.sum(columns.amount_fen), func.min(columns.requested_at))
    with reading(engine) as connection:
        count, amount_fen, oldest_at = connection.execute(
            query.where(columns.confirmed_at.is_(None))
        ).one()
    age_s = 0.0 if oldest_at is None else max(0, now_us() - oldest_at) / SECOND_US
    return {"waiting": int(count), "fen": int(amount_fen or 0), "oldest_seconds": age_s}


def standstill(engine: Engine, at: datetime) -> Shown:
    """Count stopped clocks, arbitrations past their window at `at`, and creators under a ban."""
    orders, creators = tables.orders.c, party_tables.creators.c
    # While its clock is stopped, and only then, an order that waits has no deadline.
    clock_stopped = and_(
        orders.state.in_([state.value for state in LAPSING]), orders.due_at.is_(None)
    )
    undecided = orders.state == State.IN_ARBITRATION.value
    queries = {
        "clocks_stopped": select(func.count()).where(clock_stopped),
        "arbitrations": select(func.count()).where(undecided),
        "arbitrations_overdue": select(func.count()).where(undecided, orders.due_at < to_us(at)),
        "creators_banned": select(func.count()).where(creators.standing.in_(BANNED)),
    }
    with reading(engine) as connection:
        return {
            name: int(connection.execute(query).scalar_one()) for name, query in queries.items()
        }


BANNED = ("banned", "banned_for_good")
