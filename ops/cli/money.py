"""Money: the books by account, and the audit of books and delivery."""

from __future__ import annotations

import json
from dataclasses import asdict

from ops import terminal
from ops.context import open_reader
from scheduler.auditor import check_delivery
from workers.settings import Settings


def show_books(settings: Settings, *, as_json: bool) -> int:
    """Show balances and audit the books; returns 1 if anything is wrong with them."""
    with open_reader(settings) as reader:
        ledger, report = reader.balances(), reader.audit()
    if as_json:
        findings = [asdict(finding) for finding in report.findings]
        audit = {"ok": not findings, "orders": report.orders, "findings": findings}
        print(json.dumps({"ledger": ledger, "audit": audit}, ensure_ascii=False))
        return 1 if report.findings else 0
    print(terminal.draw_table("Money (fen)", ("account", "balance"), list(ledger.items())))
    print(f"\nSum {sum(ledger.values())}. Audited {report.orders} orders: ", end="")
    print("the books are right." if not report.findings else f"{len(report.findings)} findings:")
    for finding in report.findings:
        print(f"  {finding.law}, {finding.where}: {finding.detail}")
    return 1 if report.findings else 0


def show_audit(settings: Settings, *, as_json: bool) -> int:
    """Audit the books and check delivery; returns 1 if anything needs somebody."""
    with open_reader(settings) as reader:
        report = reader.audit()
        delivery, delivery_findings = check_delivery(reader.store)
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
    print(terminal.draw_table("Delivery", ("what", "value"), rows))
    print(f"\nAudited {report.orders} orders and {report.payments} payments: ", end="")
    print("all is right." if not findings else f"{len(findings)} findings:")
    for finding in findings:
        print(terminal.without_controls(f"  {finding.law}, {finding.where}: {finding.detail}"))
    return 1 if findings else 0
