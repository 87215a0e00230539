"""Auditor: audits the books, checks delivery, and keeps what was found for those who watch."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import structlog
from sqlalchemy import Connection, Engine, Select, and_, exists, func, literal, select

from models.audit.order_checks import Finding
from models.errors import BrokenInvariant
from models.ids import make_command_key
from models.policy import Policy
from workers.database import mappers, schema
from workers.database.archive_schema import ARCHIVED
from workers.database.engine import reading, writing
from workers.database.repository import Store
from workers.database.schema import audits
from workers.processing.wakeups import LEASE_US
from workers.queries.audit import AuditReport, AuditStopped, audit
from workers.timestamps import SECOND_US, from_us, now_us

log = structlog.get_logger()


REST_FACTOR = 20
"""The scheduler's audit rests this many times as long as it ran: it may cost a twentieth."""


MAX_AUDITS_KEPT = 100


def record_audit(engine: Engine, report: AuditReport, took_s: float) -> None:
    """Keep what an audit found, for those who watch; only the latest are kept."""
    findings = [[finding.law, finding.where, finding.detail] for finding in report.findings]
    row = {
        "audited_at": now_us(),
        "orders": report.orders,
        "payments": report.payments,
        "took_ms": round(1000 * took_s),
        "findings": json.dumps(findings, ensure_ascii=False),
    }
    with writing(engine) as connection:
        connection.execute(audits.insert(), row)
        last = select(func.max(audits.c.audit_id)).scalar_subquery()
        connection.execute(audits.delete().where(audits.c.audit_id <= last - MAX_AUDITS_KEPT))


class BookAuditor:
    """The scheduler's audit: whole each time, and rare enough to cost next to nothing."""

    def __init__(self, store: Store, stopping: threading.Event | None = None) -> None:
        """Begin at the first tick; end in the middle where the process is to stop."""
        self.store, self.stopping = store, stopping
        self.not_before = 0.0

    def run_once(self) -> AuditReport | None:
        """Audit the books, unless the last audit was long and not long ago."""
        began = time.monotonic()
        if began < self.not_before:
            return None
        try:
            report = audit(self.store, recompute_archive=False, stopping=self.stopping)
        except AuditStopped:
            return None
        took_s = time.monotonic() - began
        self.not_before = time.monotonic() + REST_FACTOR * took_s
        record_audit(self.store.engine, report, took_s)
        log_method = log.error if report.findings else log.info
        laws = sorted({finding.law for finding in report.findings})
        log_method(
            "books.audited",
            orders=report.orders,
            findings=len(report.findings),
            laws=laws,
            took_ms=round(1000 * took_s),
        )
        return report


STUCK_AFTER_US = 60 * SECOND_US
"""How long after its deadline took effect an order may read as if it had not: twice what a killed
worker's messages need to be settled by another."""


MAX_OUTBOX_AGE_S = 60.0
"""How long an event may wait for the relay."""


MAX_FINDINGS = 100
"""Findings of one kind worth listing."""


@dataclass(frozen=True, slots=True)
class DeliveryStatus:
    """What the database says of delivery; everything but `outbox` should be 0."""

    stuck: int
    unanswered: int
    outbox: int
    outbox_age_s: float
    dead_letters: int
    quarantined: int


def check_delivery(store: Store) -> tuple[DeliveryStatus, list[Finding]]:
    """Look for orders past their deadline, answers never given, and what waits for somebody."""
    now, policies = now_us(), store.known_policies()
    with reading(store.engine) as connection:
        stuck = list(_stuck(connection, policies, now))
        unanswered = list(_unanswered(connection))
        outbox_count, oldest_at = _outbox(connection)
        unreplayed = schema.dead_letters.c.replayed_at.is_(None)
        dead_letter_count = _count(connection, select(schema.dead_letters).where(unreplayed))
        quarantined_count = _count(connection, select(schema.quarantine))
    age_s = max(0, now - oldest_at) / SECOND_US if outbox_count else 0.0
    delivery = DeliveryStatus(
        len(stuck), len(unanswered), outbox_count, age_s, dead_letter_count, quarantined_count
    )
    return delivery, [*stuck, *unanswered, *_overdue_findings(delivery)]


def _stuck(connection: Connection, policies: dict[str, Policy], now: int) -> Iterator[Finding]:
    """Find orders that time should have ended a while ago."""
    table, limit = schema.orders, now - STUCK_AFTER_US
    # Whoever was claimed wakes within a lease: so the index on `wake_at` finds all of them.
    query = select(table.c.order_id, table.c.document).where(
        table.c.wake_at <= now + LEASE_US, table.c.due_at < limit
    )
    for row in connection.execute(query.order_by(table.c.wake_at).limit(MAX_FINDINGS)):
        try:
            order = mappers.read_order(row.document, policies)
        except BrokenInvariant:
            continue
        if order.lapses_at is not None and order.lapses_at < from_us(limit):
            detail = f"still {order.state}, though its time ended at {order.lapses_at}"
            yield Finding("timely", f"order:{row.order_id}", detail)


def _unanswered(connection: Connection) -> Iterator[Finding]:
    """Find receipts whose outcome was never told."""
    receipts = schema.receipts
    # An outcome was told of the id alone before ids belonged to their senders.
    names = (receipts.c.sender.concat(":").concat(receipts.c.command_id), receipts.c.command_id)
    outcome_told = [
        exists().where(
            and_(
                table.c.subject == literal("command:").concat(name),
                table.c.sequence == receipts.c.stamp,
            )
        )
        for name in names
        for table in (schema.events, ARCHIVED[schema.events])
    ]
    query = select(receipts.c.sender, receipts.c.command_id)
    query = query.where(*(~told for told in outcome_told)).limit(MAX_FINDINGS)
    for sender, command_id in connection.execute(query):
        subject = f"command:{make_command_key(sender, command_id)}"
        yield Finding("answered", subject, "has a receipt, and no outcome event")


def _outbox(connection: Connection) -> tuple[int, int]:
    events = schema.events
    query = select(func.count(), func.min(events.c.recorded_at))
    count, oldest = connection.execute(query.where(events.c.published_at.is_(None))).one()
    return int(count), int(oldest or 0)


def _count(connection: Connection, query: Select[Any]) -> int:
    count_query = select(func.count()).select_from(query.subquery())
    return int(connection.execute(count_query).scalar_one())


def _overdue_findings(delivery: DeliveryStatus) -> Iterator[Finding]:
    """Say what waits for somebody who should have come by now."""
    if delivery.outbox_age_s > MAX_OUTBOX_AGE_S:
        detail = f"{delivery.outbox} events wait, the oldest for {delivery.outbox_age_s:.0f} s"
        yield Finding("published", "outbox", detail)
    if delivery.dead_letters:
        detail = f"{delivery.dead_letters} wait for an operator: `earnest dead-letters`"
        yield Finding("settled", "dead letters", detail)
    if delivery.quarantined:
        detail = f"{delivery.quarantined} items wait to be looked at: `earnest quarantine`"
        yield Finding("understood", "quarantine", detail)


class DeliveryAuditor:
    """The scheduler's checkup: rests long after a long one, like its audit of the books."""

    def __init__(self, store: Store) -> None:
        """Begin at the first tick."""
        self.store = store
        self.not_before = 0.0

    def run_once(self) -> None:
        """Check delivery, unless the last checkup was long and not long ago."""
        began = time.monotonic()
        if began < self.not_before:
            return
        delivery, findings = check_delivery(self.store)
        self.not_before = time.monotonic() + REST_FACTOR * (time.monotonic() - began)
        log_method = log.error if findings else log.info
        log_method(
            "delivery.checked",
            laws=sorted({finding.law for finding in findings}),
            **asdict(delivery),
        )
