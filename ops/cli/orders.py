"""Orders: orders, tasks, deadlines and explanations, as tables and as JSON."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from itertools import islice
from statistics import quantiles

from sqlalchemy import Engine

from models.fields import format_instant
from models.lifecycle import State
from models.orders.order import Order
from ops import terminal
from ops.context import now_and_watermark, open_reader
from ops.errors import UsageError
from ops.explain.account import explain_order
from ops.explain.render import render_text
from ops.order_views import event_details, next_step, serialize_order
from ops.serializers import serialize_task
from ops.terminal import MAX_ROWS
from workers.queries import monitoring
from workers.queries.order_filters import OrderFilter
from workers.queries.order_lists import BadCursor, CreatorTask, CreatorTaskPage, creator_tasks
from workers.queue.redis import connect
from workers.queue.watermark import ArrivalClock
from workers.settings import Settings
from workers.timestamps import from_us, now_us

ORDER_HEADS = (
    "order",
    "status",
    "reason",
    "client",
    "creator",
    "total",
    "held",
    "due now",
    "until",
)


def list_orders(settings: Settings, state: str | None, *, as_json: bool) -> int:
    """List orders by id."""
    if state is not None and state not in set(State):
        raise UsageError(f"--status {state}: known are {', '.join(State)}")
    with open_reader(settings) as reader:
        matching_orders = reader.orders(state=state)
        if as_json:
            _print_json_orders(matching_orders)
            return 0
        first_orders = list(islice(matching_orders, MAX_ROWS + 1))
    rows = [_order_row(order) for order in first_orders[:MAX_ROWS]]
    print(
        terminal.draw_table("Orders (amounts in fen)", ORDER_HEADS, rows) if rows else "No orders."
    )
    if len(first_orders) > MAX_ROWS:
        print(f"… and more: only the first {MAX_ROWS} are shown; --json lists all")
    return 0


def _print_json_orders(orders: Iterator[Order]) -> None:
    # One object, written as it is read: a million orders need no memory.
    print('{"orders": {', end="")
    for number, order in enumerate(orders):
        print(", " if number else "", end="")
        print(f"{json.dumps(order.order_id)}: {json.dumps(serialize_order(order))}", end="")
    print("}}")


def _order_row(order: Order) -> tuple[terminal.Cell, ...]:
    return (
        order.order_id,
        order.state.value,
        order.reason,
        order.client_id,
        order.creator_id,
        order.total_fen,
        order.held_fen,
        order.balance_due_fen,
        format_instant(order.due_at) if order.due_at else None,
    )


def show_order(settings: Settings, order_id: str, *, as_json: bool) -> int:
    """Show one order: where it is, why, and what happens next."""
    with open_reader(settings) as reader:
        order = reader.order(order_id)
        if order is None:
            raise UsageError(f"no order {order_id}: `earnest orders list` shows those there are")
        events = [event.published() for event in reader.timeline(order_id)]
    if as_json:
        document = {"orders": {order_id: serialize_order(order)}, "events": events}
        print(terminal.format_json(document))
        return 0
    print(
        terminal.draw_table(f"Order {order_id} (amounts in fen)", ORDER_HEADS, [_order_row(order)])
    )
    print(f"\nNext: {next_step(order)}\n")
    rows = [
        (event["at"], event["type"], event["caused_by"], event_details(event)) for event in events
    ]
    print(terminal.draw_table("History", ("at", "event", "because of", "details"), rows))
    return 0


TASK_HEADS = (
    *("task", "name", "client", "creator", "industry", "amount"),
    *("created", "to publish", "status", "state", "reason"),
)

TASK_PAGE_SIZE = 200
"""Tasks read at a time."""


def list_tasks(settings: Settings, order_filter: OrderFilter, options: argparse.Namespace) -> int:
    """Print as many tasks as were asked for, and say where the list goes on."""
    try:
        with open_reader(settings) as reader:
            page = read_tasks(reader.store.engine, order_filter, options.cursor, options.limit)
    except BadCursor as error:
        raise UsageError(f"--{error}") from None
    if options.json:
        documents = [serialize_task(task) for task in page.tasks]
        print(terminal.format_json({"tasks": documents, "next": page.cursor}))
        return 0
    rows = [_task_row(task) for task in page.tasks]
    print(
        terminal.draw_table("Tasks, the latest first (amounts in fen)", TASK_HEADS, rows)
        if rows
        else "No tasks."
    )
    if page.cursor is not None:
        print(f"… and it goes on: --cursor {page.cursor}")
    return 0


def read_tasks(
    engine: Engine, order_filter: OrderFilter, cursor: str | None, limit: int
) -> CreatorTaskPage:
    """Read on until there are as many tasks as were asked for, or no more."""
    tasks: list[CreatorTask] = []
    while True:
        page_size = min(TASK_PAGE_SIZE, limit - len(tasks))
        page = creator_tasks(engine, order_filter, cursor=cursor, limit=page_size)
        tasks += page.tasks
        cursor = page.cursor
        if cursor is None or len(tasks) == limit:
            return CreatorTaskPage(tasks, cursor)


def _task_row(task: CreatorTask) -> tuple[terminal.Cell, ...]:
    publish_at = task.expected_publish_at
    return (
        task.task_id,
        task.name,
        task.client_name or task.client_id,
        task.creator_id,
        task.industry,
        task.amount_fen,
        format_instant(task.created_at),
        None if publish_at is None else format_instant(publish_at),
        task.status.value,
        task.state.value,
        task.reason,
    )


DEADLINE_HEADS = ("order", "state", "until", "in seconds", "client", "creator")


def show_deadlines(settings: Settings, *, as_json: bool) -> int:
    """Show what falls due within the hour, what is overdue, and how late deadlines have been."""
    with open_reader(settings) as reader:
        report = monitoring.deadline_status(reader.store, from_us(now_us()))
        report["lateness"] = _lateness_summary(reader.lateness())
    if as_json:
        print(json.dumps(report))
        return 0
    rows = [
        (
            deadline["order_id"],
            deadline["state"],
            deadline["due_at"],
            round(deadline["seconds"]),
            deadline["client_id"],
            deadline["creator_id"],
        )
        for deadline in report["next"]
    ]
    print(terminal.draw_table("Due within the hour, and overdue", DEADLINE_HEADS, rows))
    worst = f", the oldest by {report['worst_overdue_seconds']:.1f} s" if report["overdue"] else ""
    print(f"\n{report['due_within']} due within the hour, {report['overdue']} overdue{worst}.")
    armed = ", ".join(f"{count} {state}" for state, count in report["armed"].items())
    print(f"Waiting: {armed or 'nobody'}.")
    lateness = report["lateness"]
    if lateness["deadlines"]:
        print(
            f"{lateness['deadlines']} deadlines took effect, "
            f"half of them within {lateness['p50']:.3f} s, "
            f"99 % within {lateness['p99']:.3f} s, the last within {lateness['max']:.3f} s."
        )
    return 0


def _lateness_summary(seconds: list[float]) -> dict[str, float]:
    """Sum up, in seconds, how late deadlines were on record."""
    if not seconds:
        return {"deadlines": 0, "p50": 0.0, "p99": 0.0, "max": 0.0}
    cuts = quantiles([*seconds, *seconds], n=100)
    max_s = max(seconds)
    return {"deadlines": len(seconds), "p50": cuts[49], "p99": min(cuts[98], max_s), "max": max_s}


def show_explanation(settings: Settings, order_id: str, *, as_json: bool) -> int:
    """Explain why an order is where it is, and what happens next."""
    with open_reader(settings) as reader, connect(settings.redis_url) as redis_client:
        at, watermark = now_and_watermark(ArrivalClock(redis_client, reader.store.engine))
        explanation = explain_order(reader.store, order_id, at=at, watermark=watermark)
    if explanation is None:
        raise UsageError(f"no order {order_id}: `earnest orders list` shows those there are")
    print(terminal.format_json(explanation) if as_json else render_text(explanation))
    return 0
