"""Money: the books by account, their audit, and refunds and payouts."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from itertools import islice
from typing import Any

from sqlalchemy import Engine

from models.lifecycle import DebtStatus
from models.obligations import Debt
from ops import terminal
from ops.context import open_reader
from ops.errors import UsageError
from ops.serializers import serialize_payout, serialize_refund
from ops.terminal import MAX_ROWS
from scheduler.auditor import check_delivery
from workers.queries import debts
from workers.queries.debts import DebtFilter
from workers.settings import Settings


def show_books(settings: Settings, *, as_json: bool) -> int:
    """Show balances and audit the books; returns 1 if anything is wrong with them."""
    with open_reader(settings) as reader:
        ledger, report = reader.balances(), reader.audit()
    if as_json:
        findings = [asdict(finding) for finding in report.findings]
        audit = {"ok": not findings, "orders": report.orders, "findings": findings}
        print(terminal.format_json({"ledger": ledger, "audit": audit}))
        return 1 if report.findings else 0
    print(terminal.draw_table("Money (fen)", ("account", "balance"), list(ledger.items())))
    print(f"\nSum {sum(ledger.values())}. Audited {report.orders} orders: ", end="")
    print("the books are right." if not report.findings else f"{len(report.findings)} findings:")
    for finding in report.findings:
        print(terminal.without_controls(f"  {finding.law}, {finding.where}: {finding.detail}"))
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
        print(terminal.format_json({"ok": not findings} | audited_counts | report_details))
        return 1 if findings else 0
    rows = [(name.replace("_", " "), str(value)) for name, value in asdict(delivery).items()]
    print(terminal.draw_table("Delivery", ("what", "value"), rows))
    print(f"\nAudited {report.orders} orders and {report.payments} payments: ", end="")
    print("all is right." if not findings else f"{len(findings)} findings:")
    for finding in findings:
        print(terminal.without_controls(f"  {finding.law}, {finding.where}: {finding.detail}"))
    return 1 if findings else 0


PAGE_SIZE = 500
"""Refunds or payouts read at a time."""

DEBT_HEADS = ("id", "to", "amount", "status", "attempt", "reference", "since", "held")


def show_refunds(settings: Settings, name: str | None, status: str | None, *, as_json: bool) -> int:
    """List refunds by id, or show one by its id or a reference; returns 1 if there is none."""
    debt_filter = DebtFilter(status=_read_status(status))
    with open_reader(settings) as reader:
        engine = reader.store.engine
        if name is not None:
            refund = debts.find_refund(engine, name)
            document = None if refund is None else serialize_refund(refund)
            return _show_debt("refund", document, as_json=as_json)
        refunds = _pages(engine, debts.list_refunds, debt_filter)
        return _show_debts("refunds", map(serialize_refund, refunds), as_json=as_json)


def show_payouts(
    settings: Settings, name: str | None, status: str | None, *, held: bool, as_json: bool
) -> int:
    """List payouts by id, or show one by its id or a reference; returns 1 if there is none."""
    debt_filter = DebtFilter(status=_read_status(status), held=True if held else None)
    with open_reader(settings) as reader:
        engine = reader.store.engine
        if name is not None:
            payout = debts.find_payout(engine, name)
            document = None if payout is None else serialize_payout(payout)
            return _show_debt("payout", document, as_json=as_json)
        payouts = _pages(engine, debts.list_payouts, debt_filter)
        return _show_debts("payouts", map(serialize_payout, payouts), as_json=as_json)


def _read_status(text: str | None) -> DebtStatus | None:
    if text is not None and text not in set(DebtStatus):
        raise UsageError(f"--status {text}: known are {', '.join(DebtStatus)}")
    return None if text is None else DebtStatus(text)


def _pages(
    engine: Engine, list_page: Callable[..., Sequence[Debt]], debt_filter: DebtFilter
) -> Iterator[Debt]:
    after = ""
    while page := list_page(engine, debt_filter, after=after, limit=PAGE_SIZE):
        yield from page
        after = page[-1].debt_id


def _show_debt(kind: str, document: dict[str, Any] | None, *, as_json: bool) -> int:
    if document is None:
        print(json.dumps(None) if as_json else f"No such {kind}.")
        return 1
    if as_json:
        print(json.dumps(document))
    else:
        rows = [(field_name.replace("_", " "), value) for field_name, value in document.items()]
        print(terminal.draw_table(kind.capitalize(), ("what", "value"), rows))
    return 0


def _show_debts(kind: str, documents: Iterator[dict[str, Any]], *, as_json: bool) -> int:
    if as_json:
        # One object, written as it is read: a million need no memory.
        print(f'{{"{kind}": [', end="")
        for number, debt in enumerate(documents):
            print(f"{', ' if number else ''}{json.dumps(debt)}", end="")
        print("]}")
        return 0
    first = list(islice(documents, MAX_ROWS + 1))
    rows = [_debt_row(debt) for debt in first[:MAX_ROWS]]
    title = f"{kind.capitalize()} (amounts in fen)"
    print(terminal.draw_table(title, DEBT_HEADS, rows) if rows else f"No {kind}.")
    if len(first) > MAX_ROWS:
        print(f"… and more: only the first {MAX_ROWS} are shown; --json lists all")
    return 0


def _debt_row(debt: dict[str, Any]) -> tuple[terminal.Cell, ...]:
    return (
        debt.get("refund_id") or debt["payout_id"],
        debt.get("client_id") or debt["party"],
        debt["amount_fen"],
        debt["status"],
        debt["attempt"],
        debt["reference"],
        debt["confirmed_at"] or debt["waits_since"] or debt["requested_at"],
        debt.get("held_at"),
    )
