"""Checking: the checker in its production form, for operators and for monitoring."""

from __future__ import annotations

import json
from dataclasses import asdict

from ops import tables
from ops.opened import books
from scheduler.auditor import checkup
from workers.settings import Settings


def audit(settings: Settings, *, as_json: bool) -> int:
    """Audit the books and check delivery; returns 1 if anything needs somebody."""
    with books(settings) as reader:
        report = reader.audit()
        delivery, delivery_findings = checkup(reader.store)
    findings = [*report.findings, *delivery_findings]
    if as_json:
        audited_counts = {"orders": report.orders, "payments": report.payments}
        report_details = {
            "delivery": asdict(delivery),
            "findings": [asdict(finding) for finding in findings],
        }
        print(
            json.dumps({"ok": not findings} | audited_counts | report_details, ensure_ascii=False)
        )
        return 1 if findings else 0
    rows = [(name.replace("_", " "), str(value)) for name, value in asdict(delivery).items()]
    print(tables.draw("Delivery", ("what", "value"), rows))
    print(f"\nAudited {report.orders} orders and {report.payments} payments: ", end="")
    print("all is right." if not findings else f"{len(findings)} findings:")
    for finding in findings:
        print(tables.plain(f"  {finding.law}, {finding.where}: {finding.detail}"))
    return 1 if findings else 0
