"""Debts: refunds and payouts, one or a list, at rest or not; and money that no order has taken."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine, Subquery, select, text, union

from models.ids import parse_reference
from models.lifecycle import OWED_STATUSES, DebtStatus
from models.obligations import Payment, Payout, Refund, SuspenseItem
from workers.database import schema
from workers.database.archive_schema import with_archive
from workers.database.engine import reading
from workers.database.mappers import PAYMENTS, PAYOUTS, REFUNDS, SUSPENDED, TableMapper


@dataclass(frozen=True, slots=True, kw_only=True)
class DebtFilter:
    """Which refunds or payouts: those that fit everything that is not None.

    `payee` is a refund's client, or a payout's party like `creator:k1`; `held` is about payouts.
    """

    status: DebtStatus | None = None
    payee: str | None = None
    held: bool | None = None


def find_refund(engine: Engine, name: str) -> Refund | None:
    """Return the refund of an id, or of a reference of an attempt that there has been."""
    refund: Refund | None = _find(engine, REFUNDS, name)
    return refund


def find_payout(engine: Engine, name: str) -> Payout | None:
    """Return the payout of an id, or of a reference of an attempt that there has been."""
    payout: Payout | None = _find(engine, PAYOUTS, name)
    return payout


def list_refunds(
    engine: Engine, debt_filter: DebtFilter, *, after: str = "", limit: int
) -> Sequence[Refund]:
    """Return so many refunds with ids after `after`, in the order of their ids."""
    return _list(engine, REFUNDS, debt_filter, after, limit)


def list_payouts(
    engine: Engine, debt_filter: DebtFilter, *, after: str = "", limit: int
) -> Sequence[Payout]:
    """Return so many payouts with ids after `after`, in the order of their ids."""
    return _list(engine, PAYOUTS, debt_filter, after, limit)


def payouts_of(engine: Engine, order_id: str) -> Sequence[Payout]:
    """Return the payouts of an order, in the order of their ids."""
    table = with_archive(schema.payouts)
    query = select(table).where(table.c.order_id == order_id).order_by(table.c.payout_id)
    with reading(engine) as connection:
        return [PAYOUTS.read(row) for row in connection.execute(query)]


def suspended_for(engine: Engine, order_id: str) -> Sequence[SuspenseItem]:
    """Return the shares in suspense that were meant for an order, by their payments' ids."""
    table = schema.suspended.c
    query = select(schema.suspended).where(table.order_id == order_id, table.resolved_at.is_(None))
    with reading(engine) as connection:
        rows = connection.execute(query.order_by(table.payment_id)).all()
    return [SUSPENDED.read(row) for row in rows]


def payments_not_taken_by(engine: Engine, order_id: str) -> Sequence[Payment]:
    """Return the payments meant for an order of which a share came into suspense or went back."""
    suspended, refunds = schema.suspended.c, with_archive(schema.refunds).c
    payment_ids = union(
        select(suspended.payment_id).where(suspended.order_id == order_id),
        select(refunds.payment_id).where(refunds.order_id == order_id),
    )
    table = schema.payments
    query = select(table).where(table.c.payment_id.in_(payment_ids)).order_by(table.c.payment_id)
    with reading(engine) as connection:
        return [PAYMENTS.read(row) for row in connection.execute(query)]


def _find(engine: Engine, mapper: TableMapper, name: str) -> Any:  # noqa: ANN401 - of the mapper's kind
    table, reference = with_archive(mapper.table), parse_reference(name)
    condition = table.c[mapper.key] == name
    if reference is not None:
        condition = table.c.reference_stem == reference.stem
    with reading(engine) as connection:
        row = connection.execute(select(table).where(condition)).first()
    if row is None or (reference is not None and row.attempt < reference.attempt):
        return None
    return mapper.read(row)


def _list(
    engine: Engine, mapper: TableMapper, debt_filter: DebtFilter, after: str, limit: int
) -> list[Any]:
    table, status = with_archive(mapper.table), debt_filter.status
    query = select(table).where(table.c[mapper.key] > after)
    if status is not None:
        query = query.where(table.c.status == status.value)
    if status in OWED_STATUSES:
        # In these words, so that an index of what is owed finds it among all that has left.
        query = query.where(text(schema.IS_OWED))
    if debt_filter.payee is not None:
        query = query.where(_payee_column(table, mapper) == debt_filter.payee)
    if debt_filter.held is not None:
        held_at = table.c.held_at
        query = query.where(held_at.is_not(None) if debt_filter.held else held_at.is_(None))
    with reading(engine) as connection:
        rows = connection.execute(query.order_by(table.c[mapper.key]).limit(limit)).all()
    return [mapper.read(row) for row in rows]


def _payee_column(table: Subquery, mapper: TableMapper) -> Any:  # noqa: ANN401 - a column of text
    return table.c.client_id if mapper is REFUNDS else table.c.party
