"""Inbox: commands accepted over HTTP, durably kept until their outcome is on record.

Their stamps are reserved in Redis before their rows are committed, with what they are about: so
nobody who came later overtakes them on their way. While Redis is away they are stamped here, and
count as earlier than all that comes later until they are handed in. Whoever asks for the oldest
such row waits first for those being written, at a fence that those who write share: an advisory
lock on PostgreSQL, a locked file beside SQLite's.
"""

from __future__ import annotations

import fcntl
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol
from uuid import uuid4

from sqlalchemy import Connection, Engine, func, select, text

from models.errors import Conflict, TransientError, Unavailable
from workers.database import bulk, receipts, schema
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


FENCE_TIMEOUT_S, FENCE_POLL_S = 5.0, 0.001


RECENT_EVENTS = 5_000
"""Events among which the last stamp is sought: more than workers can have in flight."""


InboxRow = dict[str, Any]


CommandName = tuple[str, str]
"""Whose command it is, and its id."""


ReservedMessage = tuple[str, int, bytes]
"""A message that is to be written: its id, how many commands it carries, what they are about."""


class Reservations(Protocol):
    """Gives the stamps of commands whose messages are not written yet."""

    def reserve(self, messages: Sequence[ReservedMessage]) -> list[int] | None:
        """Reserve the stamps of each message's commands, and return the first of each.

        None while nobody can give stamps that all others heed.
        """

    def stamp_here(self, count: int) -> int:
        """Return the first of so many stamps of this process's own."""

    def cancel(self, message_ids: Sequence[str]) -> None:
        """Give up what was reserved for messages that do not come."""


def about_nothing(_: int) -> bytes:
    """Announce that nobody need wait for a command."""
    return b""


@dataclass(frozen=True, slots=True)
class Submission:
    """A command as it was handed in: well formed, its sender known.

    `announce` writes down what it is about, given its place in its message.
    """

    sender: str
    command_id: str
    fingerprint: bytes
    text: str
    announce: Callable[[int], bytes] = about_nothing
    trace: str | None = None

    @property
    def name(self) -> CommandName:
        """Tell it from all others: an id belongs to its sender."""
        return self.sender, self.command_id


@dataclass(frozen=True, slots=True)
class Admission:
    """What became of one request: the stamp of each command, or which ids were reused.

    A request is admitted whole or not at all; `reused` are the places of the offending commands.
    """

    stamps: list[int]
    reused: list[int]


def admit(
    engine: Engine, reservations: Reservations, requests: Sequence[Sequence[Submission]]
) -> tuple[list[Admission], list[InboxRow]]:
    """Keep the commands of some requests in one commit; return what became of each, and new rows.

    A command that is known already, settled or not, is not kept again: its sender only did not
    hear us. Raise `Unavailable` when the database is away: nothing was kept then.
    """
    for _ in range(ATTEMPTS - 1):
        try:
            return _admit(engine, reservations, requests)
        except Conflict:
            continue
    return _admit(engine, reservations, requests)


def _admit(
    engine: Engine, reservations: Reservations, requests: Sequence[Sequence[Submission]]
) -> tuple[list[Admission], list[InboxRow]]:
    submissions = {submission.name: submission for request in requests for submission in request}
    messages: list[_Message] = []
    try:
        with ExitStack() as fence, writing(engine) as connection:
            known = _known(connection, submissions)
            reused, new = _sort_out(requests, {name: known[name][0] for name in known})
            messages = _messages(new)
            rows = _stamp(connection, reservations, messages, fence)
            bulk.insert(connection, inbox, rows)
    except Exception:
        reservations.cancel([message.message_id for message in messages])
        raise
    stamps = {name: stamp for name, (_, stamp) in known.items()}
    stamps |= {(row["sender"], row["command_id"]): row["stamp"] for row in rows}
    return [
        Admission([] if places else [stamps[submission.name] for submission in request], places)
        for request, places in zip(requests, reused, strict=True)
    ], rows


def _sort_out(
    requests: Sequence[Sequence[Submission]], fingerprints: dict[CommandName, bytes]
) -> tuple[list[list[int]], list[Submission]]:
    """Say which commands of each request reuse an id for something else, and which are to be kept.

    `fingerprints` are of those known already; a request that reuses an id is not kept at all.
    """
    reused: list[list[int]] = []
    new: list[Submission] = []
    for request in requests:
        own: dict[CommandName, bytes] = {}
        places = []
        for place, submission in enumerate(request):
            fingerprint = submission.fingerprint
            first = own.setdefault(submission.name, fingerprint)
            known = fingerprints.get(submission.name, first)
            if fingerprint != known or fingerprint != first:
                places.append(place)
        reused.append(places)
        for submission in () if places else request:
            if submission.name not in fingerprints:
                fingerprints[submission.name] = submission.fingerprint
                new.append(submission)
    return reused, new


@dataclass(slots=True)
class _Message:
    """Commands that travel together, in the order of their stamps."""

    message_id: str
    submissions: list[Submission] = field(default_factory=list)
    length: int = 0

    def reservation(self) -> ReservedMessage:
        announced = (
            submission.announce(offset) for offset, submission in enumerate(self.submissions)
        )
        return self.message_id, len(self.submissions), b"".join(announced)

    def rows(self, first_stamp: int, *, reserved: bool) -> list[InboxRow]:
        return [
            {
                "command_id": submission.command_id,
                "sender": submission.sender,
                "fingerprint": submission.fingerprint,
                "command": submission.text,
                "received_at": first_stamp + offset,
                "stamp": first_stamp + offset,
                "message_id": self.message_id,
                "reserved": int(reserved),
                "trace": submission.trace,
            }
            for offset, submission in enumerate(self.submissions)
        ]


def _messages(submissions: Sequence[Submission]) -> list[_Message]:
    """Divide commands into messages that workers will not find too long."""
    messages: list[_Message] = []
    for submission in submissions:
        message = messages[-1] if messages else None
        if (
            message is None
            or len(message.submissions) == PER_MESSAGE
            or message.length + len(submission.text) > LONGEST_MESSAGE
        ):
            message = _Message(PREFIX + uuid4().hex)
            messages.append(message)
        message.submissions.append(submission)
        message.length += len(submission.text)
    return messages


def _stamp(
    connection: Connection,
    reservations: Reservations,
    messages: Sequence[_Message],
    fence: ExitStack,
) -> list[InboxRow]:
    """Give every command its stamp, Redis's if it can be had."""
    if not messages:
        return []
    first_stamps = reservations.reserve([message.reservation() for message in messages])
    if first_stamps is not None:
        pairs = zip(messages, first_stamps, strict=True)
        return [row for message, first in pairs for row in message.rows(first, reserved=True)]
    if connection.dialect.name == "postgresql":
        connection.execute(text(f"SELECT pg_advisory_xact_lock_shared({FENCE})"))
    else:
        fence.enter_context(_file_fence(connection.engine, fcntl.LOCK_SH))
    rows: list[InboxRow] = []
    for message in messages:
        first = reservations.stamp_here(len(message.submissions))
        rows += message.rows(first, reserved=False)
    return rows


def _known(
    connection: Connection, submissions: Mapping[CommandName, Submission]
) -> dict[CommandName, tuple[bytes, int]]:
    """Return of those commands that are known already what they say, and when they came."""
    columns = (inbox.c.sender, inbox.c.command_id, inbox.c.fingerprint, inbox.c.received_at)
    by = (inbox.c.sender, inbox.c.command_id)
    waiting = bulk.fetch_pairs(connection, columns, by, submissions.keys())
    settled = receipts.fetch_first(
        connection,
        submissions.keys(),
        lambda name, fingerprint: submissions[name].fingerprint == fingerprint,
    )
    rows_by_name = {(row.sender, row.command_id): row for row in waiting} | settled
    return {name: (bytes(row.fingerprint), row.received_at) for name, row in rows_by_name.items()}


def oldest_unreserved(engine: Engine) -> int | None:
    """Return the stamp of the oldest unsettled command of which Redis has never heard, or None.

    Everything stamped before this call is seen: whoever is being written down is waited for.
    Raise `Unavailable` where that takes too long.
    """
    _wait_for_writers(engine)
    query = inbox.select().with_only_columns(inbox.c.stamp).where(inbox.c.reserved == 0)
    with reading(engine, once=True) as connection:
        stamp: int | None = connection.execute(query.order_by(inbox.c.stamp).limit(1)).scalar()
    return stamp


def note_reserved(engine: Engine, stamps: Sequence[int]) -> None:
    """Note that Redis has heard of commands that were accepted while it was away."""
    with writing(engine) as connection:
        bulk.update(
            connection, inbox, "stamp", [{"stamp": stamp, "reserved": 1} for stamp in stamps]
        )


def last_stamp(engine: Engine) -> int:
    """Return the latest stamp that was given to a command, as far as the database tells."""
    events = schema.events.c
    recent = select(events.subject, events.sequence).order_by(events.position.desc())
    newest = recent.limit(RECENT_EVENTS).subquery().c
    settled = select(func.max(newest.sequence)).where(newest.subject.like("command:%"))
    with reading(engine) as connection:
        waiting = connection.execute(select(func.max(inbox.c.stamp))).scalar() or 0
        return max(waiting, connection.execute(settled).scalar() or 0)


def _wait_for_writers(engine: Engine) -> None:
    try:
        if engine.dialect.name == "postgresql":
            with writing(engine) as connection:
                connection.execute(text(f"SELECT pg_advisory_xact_lock({FENCE})"))
        else:
            with _file_fence(engine, fcntl.LOCK_EX):
                pass
    except TransientError as error:
        # Another process has stopped in the middle of writing: no command is at fault, so none is
        # handled until it goes on, or PostgreSQL ends its transaction.
        raise Unavailable(f"the inbox is being written: {error}") from error


@contextmanager
def _file_fence(engine: Engine, kind: int) -> Iterator[None]:
    """Hold the fence beside a SQLite file; raise `Unavailable` where somebody keeps it for long."""
    give_up_at = time.monotonic() + FENCE_TIMEOUT_S
    with open(f"{engine.url.database}.fence", "wb") as file:  # noqa: PTH123 - as cheap as it gets
        while True:
            try:
                fcntl.flock(file, kind | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > give_up_at:
                    raise Unavailable("a process holds the fence of the inbox") from None
                time.sleep(FENCE_POLL_S)
        yield
