"""Audit tick: the scheduler's audit of the books, and its verdicts, kept for those who watch."""

from __future__ import annotations

import json
import threading
import time

import structlog
from sqlalchemy import Engine, func, select

from workers.audit import Report, Stopped, audit
from workers.clock import now_us
from workers.database import writing
from workers.door_tables import audits
from workers.store import Store

SHARE = 20
"""The scheduler's audit rests this many times as long as it ran: it may cost a twentieth."""

VERDICTS_KEPT = 100

log = structlog.get_logger()


def keep_verdict(engine: Engine, report: Report, took_s: float) -> None:
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
        connection.execute(audits.delete().where(audits.c.audit_id <= last - VERDICTS_KEPT))


class AuditTick:
    """The scheduler's audit: whole each time, and rare enough to cost next to nothing."""

    def __init__(self, store: Store, stopping: threading.Event | None = None) -> None:
        """Begin at the first tick; end in the middle where the process is to stop."""
        self.store, self.stopping = store, stopping
        self.not_before = 0.0

    def run_once(self) -> Report | None:
        """Audit the books, unless the last audit was long and not long ago."""
        began = time.monotonic()
        if began < self.not_before:
            return None
        try:
            report = audit(self.store, recompute_archive=False, stopping=self.stopping)
        except Stopped:
            return None
        took_s = time.monotonic() - began
        self.not_before = time.monotonic() + SHARE * took_s
        keep_verdict(self.store.engine, report, took_s)
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
