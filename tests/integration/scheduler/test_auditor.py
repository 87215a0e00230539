"""Auditor: the scheduled audit runs, rests, gives way and finds what does not add up."""

from __future__ import annotations

import threading

from scheduler.auditor import BookAuditor
from tests.support.store_harness import StoreHarness
from workers.database.engine import writing


def test_the_audit_runs_and_rests(overdue: StoreHarness) -> None:
    auditor = BookAuditor(overdue.store)
    report = auditor.run_once()
    assert report
    assert (report.orders, report.findings) == (1, [])
    assert auditor.run_once() is None


def test_a_scheduler_that_is_stopping_gives_its_audit_up_unrecorded(overdue: StoreHarness) -> None:
    stopping = threading.Event()
    auditor = BookAuditor(overdue.store, stopping)
    stopping.set()
    assert auditor.run_once() is None
    assert overdue.rows("audits") == []
    stopping.clear()
    assert auditor.run_once()
    assert len(overdue.rows("audits")) == 1


def test_the_audit_finds_what_does_not_add_up(overdue: StoreHarness) -> None:
    with writing(overdue.engine) as connection:
        connection.exec_driver_sql(
            "INSERT INTO postings VALUES ('order:o1', 1, 1, 'psp', 'escrow:o1', 7)"
        )
    report = BookAuditor(overdue.store).run_once()
    assert report
    assert {"posted", "escrow"} <= {finding.law for finding in report.findings}
