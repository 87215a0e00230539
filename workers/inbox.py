"""Inbox: commands accepted over HTTP, durably kept until their outcome is on record.

A row counts as received at its instant: while it is unsettled, no deadline after that instant is
enforced, wherever its message may have got to. That holds without gaps, because a row is stamped
behind a fence: whoever asks for the oldest row waits first for those being written. SQLite's only
writer is such a fence by itself; on PostgreSQL it is an advisory lock, shared by those who write.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from sqlalchemy import Connection, Engine, text

from models.errors import Conflict, TransientError, Unavailable
from workers.database import bulk, schema
from workers.database.engine import reading, writing
from workers.database.schema import inbox

PREFIX = "inbox-"
"""How the ids of messages that carry rows of the inbox begin."""


PER_MESSAGE = 100
"""Commands in one message, as in `workers.client`."""


LONGEST_MESSAGE = 400_000
"""Characters of commands in one message: even if each is escaped, its bytes are few enough."""


ATTEMPTS = 5
"""How often a group is written anew when another process took in the same id at that moment."""


FENCE = 7_310_580
"""The advisory lock: any number that other users of the database are unlikely to have chosen."""


InboxRow = dict[str, Any]


Take = Callable[[int], int]
"""Gives the first of so many stamps, all of one instant of receipt."""


@dataclass(frozen=True, slots=True)
class Submission:
    """A command as it was handed in: well formed, its sender known."""

    command_id: str
    fingerprint: bytes
    text: str
    trace: str | None = None


@dataclass(frozen=True, slots=True)
class Admission:
    """What became of one request: when each command was received, or which ids were reused.

    A request is admitted whole or not at all; `reused` are the places of the offending commands.
    """

    received_at: list[int]
    reused: list[int]


def admit(
    engine: Engine, take: Take, requests: Sequence[Sequence[Submission]]
) -> tuple[list[Admission], list[InboxRow]]:
    """Keep the commands of some requests in one commit; return what became of each, and new rows.

    A command that is known already, settled or not, is not kept again: its sender only did not
    hear us. Raise `Unavailable` when the database is away: nothing was kept then.
    """
    for _ in range(ATTEMPTS - 1):
        try:
            return _admit(engine, take, requests)
        except Conflict:
            continue
    return _admit(engine, take, requests)


def _admit(
    engine: Engine, take: Take, requests: Sequence[Sequence[Submission]]
) -> tuple[list[Admission], list[InboxRow]]:
    ids = {submission.command_id for request in requests for submission in request}
    with writing(engine) as connection:
        if engine.dialect.name == "postgresql":
            connection.execute(text(f"SELECT pg_advisory_xact_lock_shared({FENCE})"))
        group = _Desk(_known(connection, ids), take(len(ids)))
        admissions = [group.hear(request) for request in requests]
        bulk.insert(connection, inbox, group.rows)
    return admissions, group.rows


def _known(connection: Connection, ids: Collection[str]) -> dict[str, tuple[bytes, int]]:
    known_commands = {}
    for table in (inbox.c, schema.receipts.c):
        columns = (table.command_id, table.fingerprint, table.received_at)
        for row in bulk.fetch(connection, columns, table.command_id, ids):
            known_commands[row.command_id] = bytes(row.fingerprint), row.received_at
    return known_commands


@dataclass(slots=True)
class _Desk:
    """One group being written down, at one instant."""

    known: dict[str, tuple[bytes, int]]
    now: int
    rows: list[InboxRow] = field(default_factory=list)
    message_id: str = ""
    carried: int = 0
    length: int = 0

    def hear(self, request: Sequence[Submission]) -> Admission:
        """Write a request down, unless it reuses an id for something else."""
        submissions_by_id: dict[str, Submission] = {}
        reused = []
        for place, submission in enumerate(request):
            expected = self.known.get(submission.command_id, (submission.fingerprint, 0))[0]
            first = submissions_by_id.setdefault(submission.command_id, submission)
            if submission.fingerprint != expected or first.fingerprint != submission.fingerprint:
                reused.append(place)
        if reused:
            return Admission([], reused)
        for submission in submissions_by_id.values():
            if submission.command_id not in self.known:
                self._keep(submission)
        return Admission([self.known[submission.command_id][1] for submission in request], [])

    def _keep(self, submission: Submission) -> None:
        full = self.carried == PER_MESSAGE or self.length + len(submission.text) > LONGEST_MESSAGE
        if full or not self.message_id:
            self.message_id, self.carried, self.length = PREFIX + uuid4().hex, 0, 0
        self.carried, self.length = self.carried + 1, self.length + len(submission.text)
        self.known[submission.command_id] = submission.fingerprint, self.now
        self.rows.append(
            {
                "command_id": submission.command_id,
                "fingerprint": submission.fingerprint,
                "command": submission.text,
                "received_at": self.now,
                "stamp": self.now + len(self.rows),
                "message_id": self.message_id,
                "excused": 0,
                "trace": submission.trace,
            }
        )


def excuse(engine: Engine, message_ids: Collection[str]) -> None:
    """Let these messages' commands hold no deadline back: they concern no order that exists."""
    inbox_message_ids = sorted(
        message_id for message_id in message_ids if message_id.startswith(PREFIX)
    )
    with reading(engine) as connection:
        waiting = inbox.select().where(
            inbox.c.message_id.in_(inbox_message_ids), inbox.c.excused == 0
        )
        if not inbox_message_ids or connection.execute(waiting.limit(1)).first() is None:
            return
    with writing(engine) as connection:
        connection.execute(
            inbox.update().where(inbox.c.message_id.in_(inbox_message_ids)).values(excused=1)
        )


def oldest(engine: Engine, without: Collection[str] = ()) -> int | None:
    """Return when the oldest unsettled command was received, but for those of some messages.

    Everything stamped before this call is seen: whoever is being written down is waited for.
    Raise `Unavailable` where that takes too long.
    """
    if engine.dialect.name == "postgresql":
        _wait_for_writers(engine)
    inbox_message_ids = sorted(
        message_id for message_id in without if message_id.startswith(PREFIX)
    )
    query = inbox.select().with_only_columns(inbox.c.received_at).where(inbox.c.excused == 0)
    query = (
        query.where(inbox.c.message_id.not_in(inbox_message_ids)) if inbox_message_ids else query
    )
    with reading(engine, once=True) as connection:
        result = connection.execute(query.order_by(inbox.c.received_at, inbox.c.stamp).limit(1))
        received_at: int | None = result.scalar()
    return received_at


def _wait_for_writers(engine: Engine) -> None:
    try:
        with writing(engine) as connection:
            connection.execute(text(f"SELECT pg_advisory_xact_lock({FENCE})"))
    except TransientError as error:
        # Another process has stopped in the middle of writing: no command is at fault, so none is
        # handled until it goes on, or PostgreSQL ends its transaction.
        raise Unavailable(f"the inbox is being written: {error}") from error
