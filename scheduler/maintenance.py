"""Maintenance: hands in again what Redis has lost of the inbox, and archives orders at rest."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import redis
import structlog
from sqlalchemy import Connection, Engine, Select, exists, func, literal, select, tuple_

from models.errors import BrokenInvariant
from models.lifecycle import OWED_STATUSES
from models.policy import Policy
from scheduler.auditor import REST_FACTOR
from workers.database import mappers, schema
from workers.database.archive import move_to_archive, subject_of_newest_event
from workers.database.engine import reading, writing
from workers.database.repository import Store
from workers.queue import redelivery
from workers.queue.messages import UNSIGNED
from workers.queue.watermark import ArrivalClock
from workers.signing import Keyring
from workers.timestamps import SECOND_US, from_us, now_us, to_us

log = structlog.get_logger()


SWEEP_AFTER_US = SECOND_US
"""After this a row of the inbox should be in Redis; if it is not, Redis has lost it."""


class Archiver:
    """Puts orders at rest away, a batch at a time; what it does not get to, the next tick does."""

    def __init__(self, store: Store, after: timedelta | None) -> None:
        """Keep how long orders stay after they have ended; None: for ever."""
        self.store, self.after = store, after
        self.not_before = 0.0

    def run_once(self) -> int:
        """Put away one batch, unless the last one was a moment ago; return how many orders."""
        began = time.monotonic()
        if self.after is None or began < self.not_before:
            return 0
        now = from_us(now_us())
        archived = archive_orders(self.store, ArchiveCutoff(now - self.after, now))
        took_s = time.monotonic() - began
        self.not_before = time.monotonic() + REST_FACTOR * took_s
        if archived:
            log.info("orders.archived", orders=archived, took_ms=round(1000 * took_s, 1))
        return archived


def sweep_inbox(engine: Engine, client: redis.Redis, keys: Keyring = UNSIGNED) -> int:
    """Hand in again what was accepted and Redis has lost; return how many messages."""
    before_us = to_us(ArrivalClock(client, engine).now()) - SWEEP_AFTER_US
    redelivered = redelivery.sweep(engine, client, before_us, keys)
    if redelivered:
        log.warning("inbox.redriven", messages=redelivered)
    return redelivered


ARCHIVE_BATCH_SIZE = 100
"""Orders put away in one transaction: some thousand rows, some tens of milliseconds."""


COUNT_PAGE_SIZE = 1_000
"""Orders looked at in one query when they are only counted."""


ArchivePlace = tuple[int, str]


BEGINNING: ArchivePlace = (-1, "")


@dataclass(frozen=True, slots=True)
class ArchiveCutoff:
    """Orders that ended before an instant; at another one they are to be at rest."""

    ended_before: datetime
    at: datetime


@dataclass(frozen=True, slots=True)
class RestingOrders:
    """A page of orders that may be at rest: those that are, and where the next page begins."""

    rows: list[Any]
    place: ArchivePlace | None


def archive_orders(store: Store, cutoff: ArchiveCutoff, limit: int = ARCHIVE_BATCH_SIZE) -> int:
    """Put away one batch of orders, those that ended first; return how many, 0 when none is left.

    Orders that somebody is busy with are passed over. Several may archive at once, and die at it.
    """
    if not _any_ended(store, cutoff):
        return 0
    place: ArchivePlace | None = BEGINNING
    policies = store.known_policies()
    with writing(store.engine) as connection:
        while place is not None:
            page = _resting_page(
                connection, policies, _locked(_ended_query(cutoff, place, limit)), cutoff
            )
            resting_rows = _still_resting(connection, page.rows, cutoff)
            if resting_rows:
                move_to_archive(connection, resting_rows)
                return len(resting_rows)
            place = page.place
    return 0


def count_archivable(store: Store, cutoff: ArchiveCutoff) -> tuple[int, int]:
    """Count the orders to be put away, and those that ended long enough ago and must still stay."""
    ready_count, policies = 0, store.known_policies()
    place: ArchivePlace | None = BEGINNING
    with reading(store.engine) as connection:
        column = schema.orders.c.ended_at
        query = select(func.count()).where(column <= to_us(cutoff.ended_before))
        ended_count = int(connection.execute(query).scalar_one())
        while place is not None:
            page = _resting_page(
                connection, policies, _ended_query(cutoff, place, COUNT_PAGE_SIZE), cutoff
            )
            ready_count, place = ready_count + len(page.rows), page.place
    return ready_count, ended_count - ready_count


def _any_ended(store: Store, cutoff: ArchiveCutoff) -> bool:
    with reading(store.engine) as connection:
        return connection.execute(_ended_query(cutoff, BEGINNING, 1)).first() is not None


def _resting_page(
    connection: Connection, policies: dict[str, Policy], query: Select[Any], cutoff: ArchiveCutoff
) -> RestingOrders:
    order_rows = connection.execute(query).all()
    resting_rows = [row for row in order_rows if _is_archivable(row, policies, cutoff.at)]
    place = (order_rows[-1].ended_at, order_rows[-1].order_id) if order_rows else None
    return RestingOrders(resting_rows, place)


def _still_resting(
    connection: Connection, order_rows: list[Any], cutoff: ArchiveCutoff
) -> list[Any]:
    """Look again, now that nobody can change these orders any more: one was perhaps just paid."""
    order_ids = [row.order_id for row in order_rows]
    query = _ended_query(cutoff, BEGINNING, len(order_ids)).where(
        schema.orders.c.order_id.in_(order_ids)
    )
    resting_ids = {row.order_id for row in connection.execute(query)} if order_ids else set()
    return [row for row in order_rows if row.order_id in resting_ids]


def _is_archivable(row: Any, policies: dict[str, Policy], at: datetime) -> bool:  # noqa: ANN401 - a row
    try:
        return mappers.read_order(row.document, policies).is_archivable(at)
    except BrokenInvariant:
        # An audit tells of it; it keeps nobody else from being put away.
        return False


def _locked(query: Select[Any]) -> Select[Any]:
    return query.with_for_update(skip_locked=True, of=schema.orders)


def _ended_query(cutoff: ArchiveCutoff, after: ArchivePlace, limit: int) -> Select[Any]:
    """Ask for orders that ended, owe nothing to anybody and have nothing to tell any more."""
    order, refund, payout, event = (
        table.c for table in (schema.orders, schema.refunds, schema.payouts, schema.events)
    )
    owed_statuses = sorted(status.value for status in OWED_STATUSES)
    subject = literal("order:").concat(order.order_id)
    key = tuple_(order.ended_at, order.order_id)
    query = select(schema.orders).where(
        order.ended_at <= to_us(cutoff.ended_before),
        key > after,
        ~exists().where(refund.order_id == order.order_id, refund.status.in_(owed_statuses)),
        ~exists().where(payout.order_id == order.order_id, payout.status.in_(owed_statuses)),
        ~exists().where(event.subject == subject, event.published_at.is_(None)),
        subject != subject_of_newest_event(),
    )
    return query.order_by(order.ended_at, order.order_id).limit(limit)
