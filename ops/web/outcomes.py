"""Outcomes: where commands stand, waiting for those on their way, and how many were settled.

The latter is noted second by second, so that a chart begins full.
"""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict, deque
from collections.abc import Collection
from contextlib import suppress
from typing import Any

from anyio import to_thread
from sqlalchemy import Engine

from models.errors import TransientError
from workers.database import bulk, schema
from workers.database.archive_schema import ARCHIVED
from workers.database.engine import reading
from workers.database.schema import inbox
from workers.outbox import counters as event_counters
from workers.timestamps import optional_text

POLL_INTERVAL_S = 0.02
"""How often those who wait are looked for, all of them in one query."""

CommandStatus = dict[str, Any]


def command_statuses(engine: Engine, command_ids: Collection[str]) -> dict[str, CommandStatus]:
    """Say where commands stand: settled, with the first outcome, or pending; unknown ones not.

    A refusal that claims no id leaves no receipt; then the latest answer counts.
    """
    receipt_columns, inbox_columns, event_columns = schema.receipts.c, inbox.c, schema.events.c
    subjects = [f"command:{command_id}" for command_id in command_ids]
    archived_columns = ARCHIVED[schema.events].c
    answer_columns, archived_answer_columns = (
        (columns.subject, columns.sequence, columns.at, columns.body)
        for columns in (event_columns, archived_columns)
    )
    with reading(engine) as connection:
        receipt_rows = bulk.fetch(
            connection, receipt_columns, receipt_columns.command_id, command_ids
        )
        pending_columns = (inbox_columns.command_id, inbox_columns.received_at)
        inbox_rows = bulk.fetch(connection, pending_columns, inbox_columns.command_id, command_ids)
        answer_rows = [*bulk.fetch(connection, answer_columns, event_columns.subject, subjects)]
        # Answers about an archived order are archived with it.
        answered_subjects = {answer.subject for answer in answer_rows}
        archived_subjects = [f"command:{receipt.command_id}" for receipt in receipt_rows]
        archived_subjects = [
            subject for subject in archived_subjects if subject not in answered_subjects
        ]
        answer_rows += bulk.fetch(
            connection, archived_answer_columns, archived_columns.subject, archived_subjects
        )
    by_age = sorted(answer_rows, key=lambda answer: answer.sequence)
    statuses_by_id = {
        answer.subject[8:]: _status_of_event(answer.subject[8:], answer) for answer in by_age
    }
    first_answers = {answer.subject[8:]: answer for answer in reversed(by_age)}
    statuses_by_id |= {row.command_id: _status_of_inbox_row(row) for row in inbox_rows}
    return statuses_by_id | {
        receipt.command_id: _status_of_receipt(receipt, first_answers.get(receipt.command_id))
        for receipt in receipt_rows
    }


def _status_of_event(command_id: str, event: Any) -> CommandStatus:  # noqa: ANN401 - a row of events
    body = json.loads(event.body)
    keys = ("outcome", "reason", "detail", "about")
    return _empty_status(command_id, "settled", event.at) | {key: body[key] for key in keys}


def _status_of_inbox_row(row: Any) -> CommandStatus:  # noqa: ANN401 - a row of the inbox
    return _empty_status(row.command_id, "pending", row.received_at)


def _status_of_receipt(receipt: Any, event: Any) -> CommandStatus:  # noqa: ANN401 - rows
    detail = None if event is None else json.loads(event.body)["detail"]
    outcome = {"outcome": receipt.outcome, "reason": receipt.reason, "about": receipt.about}
    command_status = _empty_status(receipt.command_id, "settled", receipt.received_at)
    return command_status | outcome | {"detail": detail}


def _empty_status(command_id: str, status: str, received_at: int) -> CommandStatus:
    command_status: CommandStatus = {
        "id": command_id,
        "status": status,
        "received_at": optional_text(received_at),
    }
    return command_status | dict.fromkeys(("outcome", "reason", "detail", "about"))


class OutcomeWaiter:
    """Looks for outcomes on behalf of all who wait: one query for however many there are."""

    def __init__(self, engine: Engine) -> None:
        """Prepare; nothing is read before somebody waits."""
        self.engine = engine
        self.waiting: dict[str, list[asyncio.Event]] = defaultdict(list)
        self.task: asyncio.Task[None] | None = None
        self.closing = asyncio.Event()

    async def status(self, command_id: str, wait_s: float) -> CommandStatus | None:
        """Say where a command stands, and while it is not settled wait for it to be."""
        statuses_by_id = await self._read_statuses([command_id])
        if wait_s and not _is_settled(statuses_by_id.get(command_id)):
            await self._wait(command_id, wait_s)
            statuses_by_id = await self._read_statuses([command_id])
        return statuses_by_id.get(command_id)

    def close(self) -> None:
        """Let all who wait go, for a process that ends."""
        self.closing.set()
        for events in self.waiting.values():
            for event in events:
                event.set()

    def tasks(self) -> set[asyncio.Task[None]]:
        """Return the tasks that still read."""
        return {self.task} if self.task else set()

    async def _wait(self, command_id: str, wait_s: float) -> None:
        event = asyncio.Event()
        self.waiting[command_id].append(event)
        if self.task is None or self.task.done():
            self.task = asyncio.create_task(self._watch())
        try:
            await asyncio.wait_for(event.wait(), wait_s)
        except TimeoutError:
            pass
        finally:
            self.waiting[command_id].remove(event)
            if not self.waiting[command_id]:
                del self.waiting[command_id]

    async def _watch(self) -> None:
        while self.waiting and not self.closing.is_set():
            await asyncio.sleep(POLL_INTERVAL_S)
            try:
                statuses_by_id = await self._read_statuses(list(self.waiting))
            except TransientError:
                continue
            for command_id, command_status in statuses_by_id.items():
                if _is_settled(command_status):
                    for event in self.waiting.get(command_id, ()):
                        event.set()

    async def _read_statuses(self, command_ids: list[str]) -> dict[str, CommandStatus]:
        return await to_thread.run_sync(command_statuses, self.engine, command_ids)


def _is_settled(command_status: CommandStatus | None) -> bool:
    return command_status is not None and command_status["status"] == "settled"


MAX_TOTALS = 300
SAMPLE_INTERVAL_S = 1.0


class ThroughputHistory:
    """Running totals of the last five minutes, one a second, the latest last."""

    def __init__(self, engine: Engine) -> None:
        """Begin with nothing."""
        self.engine = engine
        self.totals: deque[int] = deque(maxlen=MAX_TOTALS)
        self.closing = asyncio.Event()

    async def record(self) -> None:
        """Take a total every second, until told to stop: never in the middle of one."""
        clock = asyncio.get_running_loop().time
        next_at = clock()
        while not self.closing.is_set():
            with suppress(TransientError):
                self.totals.append(await to_thread.run_sync(self._settled_total))
            next_at = max(next_at + SAMPLE_INTERVAL_S, clock())
            with suppress(TimeoutError):
                await asyncio.wait_for(self.closing.wait(), next_at - clock())

    def _settled_total(self) -> int:
        with reading(self.engine) as connection:
            return sum(event_counters.read_counters(connection).get("settled", {}).values())
