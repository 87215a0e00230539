"""Show: orders and money, as tables for people and as JSON for programs."""

from __future__ import annotations

import json
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any

from models.fields import duration_text, instant_text
from models.lifecycle import State
from models.orders.order import Order
from ops import tables
from ops.refused import Refused
from ops.simulate import describe
from ops.waits import WAITS_FOR
from workers.database.engine import CACHE_KIB, open_database
from workers.database.migrations import is_current
from workers.database.repository import Store
from workers.queries.reader import Reader
from workers.runtime import policy_in_force
from workers.settings import Settings

MOST_SHOWN = 200
"""Rows of a table for people; `--json` lists everything."""


HEADS = ("order", "status", "reason", "client", "creator", "total", "held", "due now", "until")


def reader(settings: Settings, cache_kib: int = CACHE_KIB) -> Reader:
    """Open the database for reading; refuse one that was never prepared."""
    engine = open_database(settings.database_url, cache_kib=cache_kib)
    file = engine.url.database or ""
    # Looking must not create what it looks for.
    if settings.embedded_database and not Path(file).exists():
        raise Refused(f"no database at {file} yet: `earnest up` or `earnest demo` begins")
    if not is_current(engine):
        raise Refused("the database is not prepared: `earnest migrate` does it, `earnest up` too")
    return Reader(Store(engine, policy_in_force(settings)))


def orders(settings: Settings, state: str | None, *, as_json: bool) -> int:
    """List orders by id."""
    if state is not None and state not in set(State):
        raise Refused(f"--status {state}: known are {', '.join(State)}")
    matching_orders = reader(settings).orders(state=state)
    if as_json:
        _print_json_orders(matching_orders)
        return 0
    first_orders = list(islice(matching_orders, MOST_SHOWN + 1))
    rows = [_row(order) for order in first_orders[:MOST_SHOWN]]
    print(tables.draw("Orders (amounts in fen)", HEADS, rows) if rows else "No orders.")
    if len(first_orders) > MOST_SHOWN:
        print(f"… and more: only the first {MOST_SHOWN} are shown; --json lists all")
    return 0


def _print_json_orders(orders: Any) -> None:  # noqa: ANN401 - an iterator of orders
    # One object, written as it is read: a million orders need no memory.
    print('{"orders": {', end="")
    for number, order in enumerate(orders):
        print(", " if number else "", end="")
        print(f"{json.dumps(order.order_id)}: {json.dumps(describe(order))}", end="")
    print("}}")


def _row(order: Order) -> tuple[tables.Cell, ...]:
    return (
        order.order_id,
        order.state.value,
        order.reason,
        order.client_id,
        order.creator_id,
        order.total_fen,
        order.held_fen,
        order.balance_due_fen,
        instant_text(order.due_at) if order.due_at else None,
    )


def order(settings: Settings, order_id: str, *, as_json: bool) -> int:
    """Show one order: where it is, why, and what happens next."""
    source = reader(settings)
    order = source.order(order_id)
    if order is None:
        raise Refused(f"no order {order_id}: `earnest orders list` shows those there are")
    events = [event.published() for event in source.timeline(order_id)]
    if as_json:
        document = {"orders": {order_id: describe(order)}, "events": events}
        print(json.dumps(document, ensure_ascii=False))
        return 0
    print(tables.draw(f"Order {order_id} (amounts in fen)", HEADS, [_row(order)]))
    print(f"\nNext: {next_step(order)}\n")
    rows = [(event["at"], event["type"], event["caused_by"], details(event)) for event in events]
    print(tables.draw("History", ("at", "event", "because of", "details"), rows))
    return 0


def next_step(order: Order) -> str:
    """Say in a sentence what the order waits for and what ends the wait."""
    if order.is_final:
        return f"nothing; it ended as {order.state} ({order.reason})"
    due = f" ({order.balance_due_fen} fen)" if order.balance_due_fen else ""
    waits = f"it waits for {WAITS_FOR[order.state]}{due}"
    if order.stoppers:
        time_left = duration_text(order.left) if order.left is not None else "no time"
        return (
            f"{waits}; its clock is stopped by {' and '.join(order.stoppers)}, {time_left} is left"
        )
    if order.due_at is None or order.lapses_at is None:
        return f"{waits}; no time ends that"
    until = instant_text(order.due_at)
    grace = (
        "" if order.lapses_at == order.due_at else f", in effect {instant_text(order.lapses_at)}"
    )
    return f"{waits}, until {until}{grace}"


_HEAD = {"type", "order_id", "at", "sequence", "caused_by", "brief", "name", "industry"}


def details(event: dict[str, Any]) -> str:
    """Say in one line what an event tells beyond its place."""
    fields = {key: value for key, value in event.items() if key not in _HEAD and value is not None}
    return tables.fit(" ".join(f"{key}={value}" for key, value in fields.items()), 100)


def books(settings: Settings, *, as_json: bool) -> int:
    """Show balances and audit the books; returns 1 if anything is wrong with them."""
    source = reader(settings)
    ledger, report = source.balances(), source.audit()
    if as_json:
        findings = [asdict(finding) for finding in report.findings]
        audit = {"ok": not findings, "orders": report.orders, "findings": findings}
        print(json.dumps({"ledger": ledger, "audit": audit}, ensure_ascii=False))
        return 1 if report.findings else 0
    print(tables.draw("Money (fen)", ("account", "balance"), list(ledger.items())))
    print(f"\nSum {sum(ledger.values())}. Audited {report.orders} orders: ", end="")
    print("the books are right." if not report.findings else f"{len(report.findings)} findings:")
    for finding in report.findings:
        print(f"  {finding.law}, {finding.where}: {finding.detail}")
    return 1 if report.findings else 0
