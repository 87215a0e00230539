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
from workers.pages import BadCursor
from workers.settings import Settings
from workers.tasks import Task, TaskPage
from workers.tasks import tasks as read
from workers.wanted import Wanted

HEADS = (
    *("task", "name", "client", "creator", "industry", "amount"),
    *("created", "to publish", "status", "state", "reason"),
)

PAGE = 200
"""Tasks read at a time."""


def described(task: Task) -> dict[str, Any]:
    """Describe a task as JSON: instants are UTC, amounts fen."""
    expected = task.expected_publish_at
    return {
        "task_id": task.task_id,
        "name": task.name,
        "client_id": task.client_id,
        "client_name": task.client_name,
        "creator_id": task.creator_id,
        "industry": task.industry,
        "amount_fen": task.amount_fen,
        "created_at": instant_text(task.created_at),
        "expected_publish_at": None if expected is None else instant_text(expected),
        "status": task.status.value,
        "state": task.state.value,
        "reason": task.reason,
    }


def show(settings: Settings, wanted: Wanted, options: argparse.Namespace) -> int:
    """Print as many tasks as were asked for, and say where the list goes on."""
    engine = reader(settings).store.engine
    try:
        found = collected(engine, wanted, options.cursor, options.limit)
    except BadCursor as error:
        raise Refused(f"--{error}") from None
    if options.json:
        shown = [described(one) for one in found.tasks]
        print(json.dumps({"tasks": shown, "next": found.cursor}, ensure_ascii=False))
        return 0
    rows = [_row(one) for one in found.tasks]
    print(tables.draw("Tasks, the latest first (amounts in fen)", HEADS, rows) if rows else NONE)
    if found.cursor is not None:
        print(f"… and it goes on: --cursor {found.cursor}")
    return 0


NONE = "No tasks."


def collected(engine: Engine, wanted: Wanted, cursor: str | None, limit: int) -> TaskPage:
    """Read on until there are as many tasks as were asked for, or no more."""
    found: list[Task] = []
    while True:
        left = min(PAGE, limit - len(found))
        page = read(engine, wanted, cursor=cursor, limit=left)
        found += page.tasks
        cursor = page.cursor
        if cursor is None or len(found) == limit:
            return TaskPage(found, cursor)


def _row(task: Task) -> tuple[tables.Cell, ...]:
    expected = task.expected_publish_at
    return (
        task.task_id,
        task.name,
        task.client_name or task.client_id,
        task.creator_id,
        task.industry,
        task.amount_fen,
        instant_text(task.created_at),
        None if expected is None else instant_text(expected),
        task.status.value,
        task.state.value,
        task.reason,
    )
