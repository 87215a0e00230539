"""Outcomes: where commands stand, and waiting for those that are still on their way."""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from collections.abc import Collection
from typing import Any

from anyio import to_thread
from sqlalchemy import Engine

from models.errors import TransientError
from workers import bulk, tables
from workers.archive_tables import ARCHIVED
from workers.clock import instant
from workers.database import reading
from workers.door_tables import inbox

LOOK_S = 0.02
"""How often those who wait are looked for, all of them in one query."""

Standing = dict[str, Any]


def standings(engine: Engine, command_ids: Collection[str]) -> dict[str, Standing]:
    """Say where commands stand: settled, with the first outcome, or pending; unknown ones not.

    A refusal that claims no id leaves no receipt; then the latest answer counts.
    """
    receipt, kept, event = tables.receipts.c, inbox.c, tables.events.c
    subjects = [f"command:{one}" for one in command_ids]
    before = ARCHIVED[tables.events].c
    told, told_before = ((one.subject, one.sequence, one.at, one.body) for one in (event, before))
    with reading(engine) as connection:
        settled = bulk.fetch(connection, receipt, receipt.command_id, command_ids)
        mine = (kept.command_id, kept.received_at)
        waiting = bulk.fetch(connection, mine, kept.command_id, command_ids)
        answers = [*bulk.fetch(connection, told, event.subject, subjects)]
        # What was told about an order at rest is where the order is.
        heard = {one.subject for one in answers}
        away = [f"command:{one.command_id}" for one in settled]
        away = [one for one in away if one not in heard]
        answers += bulk.fetch(connection, told_before, before.subject, away)
    by_age = sorted(answers, key=lambda one: one.sequence)
    found = {one.subject[8:]: _answered(one.subject[8:], one) for one in by_age}
    details = {one.subject[8:]: one for one in reversed(by_age)}
    found |= {one.command_id: _pending(one) for one in waiting}
    return found | {one.command_id: _settled(one, details.get(one.command_id)) for one in settled}


def _answered(name: str, event: Any) -> Standing:  # noqa: ANN401 - a row of events
    body = json.loads(event.body)
    kept = ("outcome", "reason", "detail", "about")
    return _standing(name, "settled", event.at) | {one: body[one] for one in kept}


def _pending(row: Any) -> Standing:  # noqa: ANN401 - a row of the inbox
    return _standing(row.command_id, "pending", row.received_at)


def _settled(receipt: Any, event: Any) -> Standing:  # noqa: ANN401 - rows
    detail = None if event is None else json.loads(event.body)["detail"]
    said = {"outcome": receipt.outcome, "reason": receipt.reason, "about": receipt.about}
    known = _standing(receipt.command_id, "settled", receipt.received_at)
    return known | said | {"detail": detail}


def _standing(name: str, status: str, received_at: int) -> Standing:
    known: Standing = {"id": name, "status": status, "received_at": instant(received_at)}
    return known | dict.fromkeys(("outcome", "reason", "detail", "about"))


class Lookout:
    """Looks for outcomes on behalf of all who wait: one query for however many there are."""

    def __init__(self, engine: Engine) -> None:
        """Begin when somebody waits."""
        self.engine = engine
        self.waiting: dict[str, list[asyncio.Event]] = defaultdict(list)
        self.task: asyncio.Task[None] | None = None
        self.closing = asyncio.Event()

    async def standing(self, command_id: str, wait_s: float) -> Standing | None:
        """Say where a command stands, and while it is not settled wait for it to be."""
        found = await self._look([command_id])
        if wait_s and not _is_settled(found.get(command_id)):
            await self._wait(command_id, wait_s)
            found = await self._look([command_id])
        return found.get(command_id)

    def close(self) -> None:
        """Let all who wait go, for a process that ends."""
        self.closing.set()
        for events in self.waiting.values():
            for one in events:
                one.set()

    def tasks(self) -> set[asyncio.Task[None]]:
        """Return what is still looking."""
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
            await asyncio.sleep(LOOK_S)
            try:
                found = await self._look(list(self.waiting))
            except TransientError:
                continue
            for name, one in found.items():
                if _is_settled(one):
                    for event in self.waiting.get(name, ()):
                        event.set()

    async def _look(self, command_ids: list[str]) -> dict[str, Standing]:
        return await to_thread.run_sync(standings, self.engine, command_ids)


def _is_settled(found: Standing | None) -> bool:
    return found is not None and found["status"] == "settled"
