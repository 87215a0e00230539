"""Outcomes: where commands stand, waiting for those on their way, and how many were settled.

The latter is noted second by second, so that a chart begins full.
"""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict, deque
from collections.abc import Collection, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from anyio import to_thread
from sqlalchemy import Connection, Engine, Table, select, union

from models.errors import TransientError
from models.ids import UNKNOWN, make_command_key
from workers.database import bulk, receipts, schema
from workers.database.archive_schema import ARCHIVED
from workers.database.engine import reading
from workers.database.receipts import UNATTRIBUTED
from workers.database.schema import inbox
from workers.outbox import counters as event_counters
from workers.timestamps import optional_text

POLL_INTERVAL_S = 0.02
"""How often those who wait are looked for, all of them in one query."""

CommandStatus = dict[str, Any]

MAX_SENDERS = 10
"""How many of those who used an id are worth naming to whoever does not say whose is meant."""


@dataclass(frozen=True, slots=True)
class CommandLookup:
    """Which command is meant: its id, and whose it may be.

    That is one of `senders`, like `client:c1`, or anybody whose role is one of `roles`.
    """

    command_id: str
    senders: tuple[str, ...] = ()
    roles: frozenset[str] = frozenset()


def find_commands(
    engine: Engine, lookups: Collection[CommandLookup]
) -> dict[CommandLookup, list[CommandStatus]]:
    """Say where the commands stand that are meant: none, one, or those of several senders."""
    names_by_lookup = {
        lookup: [(sender, lookup.command_id) for sender in _possible_senders(engine, lookup)]
        for lookup in lookups
    }
    statuses_by_name = command_statuses(engine, set().union(*names_by_lookup.values()))
    return {
        lookup: _attributed([statuses_by_name[name] for name in names if name in statuses_by_name])
        for lookup, names in names_by_lookup.items()
    }


def _attributed(statuses: list[CommandStatus]) -> list[CommandStatus]:
    """Leave out those of nobody knows whom, where there are others."""
    return [status for status in statuses if status["sender"]] or statuses[:1]


def _possible_senders(engine: Engine, lookup: CommandLookup) -> Iterable[str]:
    if not lookup.roles:
        return lookup.senders
    used_by = [
        select(table.c.sender).where(table.c.command_id == lookup.command_id)
        for table in (schema.receipts, inbox, schema.parked)
    ]
    with reading(engine) as connection:
        senders = connection.execute(union(*used_by).limit(MAX_SENDERS)).scalars().all()
    own_senders = [sender for sender in senders if sender.partition(":")[0] in lookup.roles]
    return sorted({*lookup.senders, *own_senders})


def command_statuses(
    engine: Engine, names: Collection[tuple[str, str]]
) -> dict[tuple[str, str], CommandStatus]:
    """Say where commands stand: settled, with the first outcome, or pending; unknown ones not.

    They are given as senders and ids. A refusal that claims no id leaves no receipt; then the
    latest answer counts.
    """
    names_by_subject = {
        f"command:{make_command_key(*name)}": name for name in names if name[0] != UNATTRIBUTED
    }
    with reading(engine) as connection:
        receipt_rows = receipts.fetch(connection, names)
        pending_rows = [
            row
            for table in (inbox, schema.parked)
            for columns in [(table.c.sender, table.c.command_id, table.c.received_at)]
            for row in bulk.fetch_pairs(connection, columns, columns[:2], names)
        ]
        answers = _fetch_answers(connection, schema.events, names_by_subject)
        # Answers about an archived order are archived with it, and old ones name the id alone.
        unanswered = [row for row in receipt_rows if _first_answer(row, answers) is None]
        subjects = [
            subject
            for row in unanswered
            for subject in receipts.subjects_of_outcome(row.sender, row.command_id)
        ]
        for table in (schema.events, ARCHIVED[schema.events]):
            answers |= _fetch_answers(connection, table, subjects)
    statuses_by_name = {
        names_by_subject[subject]: _status_of_event(names_by_subject[subject], answer)
        for (subject, _), answer in sorted(answers.items())
        if subject in names_by_subject
    }
    statuses_by_name |= {
        (row.sender, row.command_id): _empty_status(
            (row.sender, row.command_id), "pending", row.received_at
        )
        for row in pending_rows
    }
    return statuses_by_name | {
        (row.sender, row.command_id): _status_of_receipt(row, _first_answer(row, answers))
        for row in receipt_rows
    }


Answers = dict[tuple[str, int], Any]
"""Rows of events that tell an outcome, by their subjects and stamps."""


def _fetch_answers(connection: Connection, table: Table, subjects: Collection[str]) -> Answers:
    columns = (table.c.subject, table.c.sequence, table.c.at, table.c.body)
    rows = bulk.fetch(connection, columns, table.c.subject, subjects)
    return {(row.subject, row.sequence): row for row in rows}


def _first_answer(receipt: Any, answers: Answers) -> Any:  # noqa: ANN401 - rows
    subjects = receipts.subjects_of_outcome(receipt.sender, receipt.command_id)
    return next((answers[key] for s in subjects if (key := (s, receipt.stamp)) in answers), None)


def _status_of_event(name: tuple[str, str], event: Any) -> CommandStatus:  # noqa: ANN401 - a row of events
    body = json.loads(event.body)
    fields = {field: body.get(field) for field in OUTCOME_FIELDS}
    return _empty_status(name, "settled", event.at) | fields


def _status_of_receipt(receipt: Any, event: Any) -> CommandStatus:  # noqa: ANN401 - rows
    body = {} if event is None else json.loads(event.body)
    outcome = {"outcome": receipt.outcome, "reason": receipt.reason, "about": receipt.about}
    extra = {field: body.get(field) for field in ("detail", "first", "shares")}
    extra["limits"] = None if receipt.limits is None else json.loads(receipt.limits)
    name = receipt.sender, receipt.command_id
    return _empty_status(name, "settled", receipt.received_at) | outcome | extra


OUTCOME_FIELDS = ("outcome", "reason", "detail", "about", "limits", "first", "shares")


def _empty_status(name: tuple[str, str], status: str, received_at: int) -> CommandStatus:
    sender, command_id = name
    command_status: CommandStatus = {
        "id": command_id,
        "sender": None if sender in (UNATTRIBUTED, UNKNOWN) else sender,
        "status": status,
        "received_at": optional_text(received_at),
    }
    return command_status | dict.fromkeys(OUTCOME_FIELDS)


class OutcomeWaiter:
    """Looks for outcomes on behalf of all who wait: one query for however many there are."""

    def __init__(self, engine: Engine) -> None:
        """Prepare; nothing is read before somebody waits."""
        self.engine = engine
        self.waiting: dict[CommandLookup, list[asyncio.Event]] = defaultdict(list)
        self.task: asyncio.Task[None] | None = None
        self.closing = asyncio.Event()

    async def find(self, lookup: CommandLookup, wait_s: float) -> list[CommandStatus]:
        """Say where a command stands, and while it is not settled wait for it to be.

        Nobody waits where those of several senders may be meant: all of them come back.
        """
        statuses = (await self._find([lookup]))[lookup]
        if wait_s and not _is_over(statuses):
            await self._wait(lookup, wait_s)
            statuses = (await self._find([lookup]))[lookup]
        return statuses

    def close(self) -> None:
        """Let all who wait go, for a process that ends."""
        self.closing.set()
        for events in self.waiting.values():
            for event in events:
                event.set()

    def tasks(self) -> set[asyncio.Task[None]]:
        """Return the tasks that still read."""
        return {self.task} if self.task else set()

    async def _wait(self, lookup: CommandLookup, wait_s: float) -> None:
        event = asyncio.Event()
        self.waiting[lookup].append(event)
        if self.task is None or self.task.done():
            self.task = asyncio.create_task(self._watch())
        try:
            await asyncio.wait_for(event.wait(), wait_s)
        except TimeoutError:
            pass
        finally:
            self.waiting[lookup].remove(event)
            if not self.waiting[lookup]:
                del self.waiting[lookup]

    async def _watch(self) -> None:
        while self.waiting and not self.closing.is_set():
            await asyncio.sleep(POLL_INTERVAL_S)
            try:
                statuses_by_lookup = await self._find(list(self.waiting))
            except TransientError:
                continue
            for lookup, statuses in statuses_by_lookup.items():
                if _is_over(statuses):
                    for event in self.waiting.get(lookup, ()):
                        event.set()

    async def _find(self, lookups: list[CommandLookup]) -> dict[CommandLookup, list[CommandStatus]]:
        return await to_thread.run_sync(find_commands, self.engine, lookups)


def _is_over(statuses: list[CommandStatus]) -> bool:
    return len(statuses) > 1 or any(status["status"] == "settled" for status in statuses)


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
