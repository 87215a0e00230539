"""Checking: the checker in its production form, for operators and for monitoring."""

from __future__ import annotations

import json
from dataclasses import asdict

from ops import tables
from ops.opened import books
from workers.checkup import checkup
from workers.settings import Settings


def audit(settings: Settings, *, as_json: bool) -> int:
    """Audit the books and check delivery; returns 1 if anything needs somebody."""
    with books(settings) as source:
        report = source.audit()
        delivery, complaints = checkup(source.store)
    findings = [*report.findings, *complaints]
    if as_json:
        looked = {"orders": report.orders, "payments": report.payments}
        found = {"delivery": asdict(delivery), "findings": [asdict(one) for one in findings]}
        print(json.dumps({"ok": not findings} | looked | found, ensure_ascii=False))
        return 1 if findings else 0
    rows = [(name.replace("_", " "), str(value)) for name, value in asdict(delivery).items()]
    print(tables.draw("Delivery", ("what", "value"), rows))
    print(f"\nAudited {report.orders} orders and {report.payments} payments: ", end="")
    print("all is right." if not findings else f"{len(findings)} findings:")
    for one in findings:
        print(tables.plain(f"  {one.law}, {one.where}: {one.detail}"))
    return 1 if findings else 0
