"""Tasks: a creator's task list, as a table for people and as JSON for programs."""

from __future__ import annotations

import argparse
import json
from typing import Any

from sqlalchemy import Engine

from models.fields import instant_text
from ops import tables
from ops.refused import Refused
from ops.show import reader
from workers.queries.order_filters import Wanted
from workers.queries.order_lists import BadCursor, Task, TaskPage
from workers.queries.order_lists import tasks as read
from workers.settings import Settings

HEADS = (
    *("task", "name", "client", "creator", "industry", "amount"),
    *("created", "to publish", "status", "state", "reason"),
)


PAGE = 200
"""Tasks read at a time."""


def described(task: Task) -> dict[str, Any]:
    """Describe a task as JSON: instants are UTC, amounts fen."""
    publish_at = task.expected_publish_at
    return {
        "task_id": task.task_id,
        "name": task.name,
        "client_id": task.client_id,
        "client_name": task.client_name,
        "creator_id": task.creator_id,
        "industry": task.industry,
        "amount_fen": task.amount_fen,
        "created_at": instant_text(task.created_at),
        "expected_publish_at": None if publish_at is None else instant_text(publish_at),
        "status": task.status.value,
        "state": task.state.value,
        "reason": task.reason,
    }


def show(settings: Settings, order_filter: Wanted, options: argparse.Namespace) -> int:
    """Print as many tasks as were asked for, and say where the list goes on."""
    engine = reader(settings).store.engine
    try:
        page = collected(engine, order_filter, options.cursor, options.limit)
    except BadCursor as error:
        raise Refused(f"--{error}") from None
    if options.json:
        documents = [described(task) for task in page.tasks]
        print(json.dumps({"tasks": documents, "next": page.cursor}, ensure_ascii=False))
        return 0
    rows = [_row(task) for task in page.tasks]
    print(tables.draw("Tasks, the latest first (amounts in fen)", HEADS, rows) if rows else NONE)
    if page.cursor is not None:
        print(f"… and it goes on: --cursor {page.cursor}")
    return 0


NONE = "No tasks."


def collected(engine: Engine, order_filter: Wanted, cursor: str | None, limit: int) -> TaskPage:
    """Read on until there are as many tasks as were asked for, or no more."""
    tasks: list[Task] = []
    while True:
        page_size = min(PAGE, limit - len(tasks))
        page = read(engine, order_filter, cursor=cursor, limit=page_size)
        tasks += page.tasks
        cursor = page.cursor
        if cursor is None or len(tasks) == limit:
            return TaskPage(tasks, cursor)


def _row(task: Task) -> tuple[tables.Cell, ...]:
    publish_at = task.expected_publish_at
    return (
        task.task_id,
        task.name,
        task.client_name or task.client_id,
        task.creator_id,
        task.industry,
        task.amount_fen,
        instant_text(task.created_at),
        None if publish_at is None else instant_text(publish_at),
        task.status.value,
        task.state.value,
        task.reason,
    )
