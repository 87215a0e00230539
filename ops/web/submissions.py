"""Submissions: from the bytes of a request to commands that are in the inbox, and queued.

One thread commits whatever requests have gathered, one queues it. A commit costs the same for one
command as for a thousand, so requests that come together are committed together. Whoever is
answered is in the inbox; Redis only makes it quick.
"""

from __future__ import annotations

import asyncio
import json
import queue
import re
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeVar

import redis
import structlog
from fastapi import Request
from pydantic import BaseModel, ValidationError
from sqlalchemy import Engine, func, select

from models.commands import AnyCommand
from models.commands.parsing import (
    MAX_COMMAND_BYTES,
    CommandTooLong,
    MalformedCommand,
    has_duplicate_field,
    parse_command,
)
from models.errors import TransientError
from models.policy import Policy
from models.service.handlers import find_field_error
from models.service.subjects import subjects_of
from ops.web.auth import Caller
from ops.web.errors import Fault, Problem, fault_text
from workers.database.engine import reading
from workers.database.schema import inbox as inbox_table
from workers.inbox import Admission, InboxRow, Submission, admit, note_reserved
from workers.queue import redelivery
from workers.queue.frontier import SubjectKeys
from workers.queue.messages import UNSIGNED
from workers.queue.redis import COMMANDS, Keys
from workers.queue.reservations import StampReservations
from workers.queue.watermark import LocalArrivalClock
from workers.signing import Keyring

log = structlog.get_logger()

MAX_COMMANDS = 500
"""Commands in one request."""

MAX_BODY_BYTES = 4 * 1024 * 1024
"""Bytes of a request: five hundred commands with the longest briefs people write."""

JSON_TYPE = "application/json"
BLANK = " \t\r\n"

_DECODER = json.JSONDecoder(
    # Numbers are read where commands are; here a hostile one may not cost anything.
    parse_int=lambda _: 0,
    parse_float=lambda _: 0.0,
)


@dataclass(frozen=True, slots=True)
class SubmissionBody:
    """What a request asks: the commands, ready for the inbox, and whether it was a list."""

    submissions: list[Submission]
    is_list: bool


async def read_bytes(request: Request, max_bytes: int = MAX_BODY_BYTES) -> bytes:
    """Read a request's body; raise `Problem` 415 or 413.

    A type that forms cannot send: so no page from elsewhere can make a browser ask for it.
    """
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if content_type != JSON_TYPE:
        raise Problem(415, f"Content-Type: {JSON_TYPE} is wanted")
    too_long = Problem(413, f"a body of at most {max_bytes} bytes is wanted")
    if _announced_length(request) > max_bytes:
        raise too_long
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > max_bytes:
            raise too_long
    return bytes(body)


BodyModel = TypeVar("BodyModel", bound=BaseModel)


async def read_model(request: Request, model: type[BodyModel], max_bytes: int) -> BodyModel:
    """Read a body as strictly as commands are read; raise `Problem` 413, 415, or 422 by field."""
    raw = await read_bytes(request, max_bytes)
    try:
        body = model.model_validate_json(raw)
    except ValidationError as invalid:
        errors = invalid.errors(include_input=False, include_url=False)
        faults = [
            Fault(field=".".join(map(str, error["loc"])) or "body", detail=error["msg"])
            for error in errors
        ]
        detail = "; ".join(map(fault_text, faults))
        raise Problem(422, detail, errors=faults) from None
    if has_duplicate_field(raw):
        fault = Fault(field="body", detail="a field is there twice")
        raise Problem(422, fault_text(fault), errors=[fault])
    return body


def _announced_length(request: Request) -> int:
    digits = request.headers.get("content-length", "")
    return int(digits) if re.fullmatch("[0-9]{1,18}", digits) else 0


def read_body(
    raw: bytes, caller: Caller, policy: Policy, now: Callable[[], datetime]
) -> SubmissionBody:
    """Read commands; raise `Problem` that names every field that is wrong, in every command."""
    texts, is_list = _split_commands(raw)
    parsed_commands: list[tuple[str, AnyCommand]] = []
    faults: list[Fault] = []
    for position, text in enumerate(texts):
        index = position if is_list else None
        try:
            command = parse_command(text)
        except MalformedCommand as error:
            faults.extend(faults_of(error, index))
            continue
        field_error = find_field_error(command, policy, now())
        if field_error is not None:
            malformed = MalformedCommand([field_error], command.sender, command.id)
            faults.extend(faults_of(malformed, index))
        parsed_commands.append((text, command))
    if faults:
        raise Problem(422, "; ".join(map(fault_text, faults[:5])), errors=faults)
    _check_senders([command for _, command in parsed_commands], caller, is_list=is_list)
    return SubmissionBody(
        [submission_of(text, command) for text, command in parsed_commands],
        is_list,
    )


def submission_of(text: str, command: AnyCommand) -> Submission:
    """Make a command ready for the inbox."""
    keys = SubjectKeys.of(subjects_of(command))
    return Submission(command.sender, command.id, command.fingerprint(), text, keys.announcement)


def _split_commands(raw: bytes) -> tuple[list[str], bool]:
    """Cut a body into the texts of its commands, each as its sender wrote it."""
    try:
        text = raw.decode("utf-8").strip(BLANK)
        if not text.startswith("["):
            _, end = _DECODER.raw_decode(text)
            texts, is_list = [text], False
        else:
            texts, end = _elements(text)
            is_list = True
    except (ValueError, RecursionError):
        raise Problem(400, "the body is not JSON") from None
    if text[end:].strip(BLANK):
        raise Problem(400, "the body is more than one JSON value")
    return texts, is_list


def _elements(text: str) -> tuple[list[str], int]:
    texts: list[str] = []
    position = _skip_blanks(text, 1)
    if text[position : position + 1] == "]":
        raise Problem(422, "commands: at least one is wanted", errors=[_NO_COMMANDS])
    while True:
        if len(texts) == MAX_COMMANDS:
            raise Problem(413, _TOO_MANY_COMMANDS.detail, errors=[_TOO_MANY_COMMANDS])
        _, end = _DECODER.raw_decode(text, position)
        texts.append(text[position:end])
        position = _skip_blanks(text, end)
        separator, position = text[position : position + 1], _skip_blanks(text, position + 1)
        if separator == "]":
            return texts, position
        if separator != ",":
            raise ValueError


_NO_COMMANDS = Fault(field="commands", detail="at least one is wanted")
_TOO_MANY_COMMANDS = Fault(field="commands", detail=f"at most {MAX_COMMANDS} in one request")


def _skip_blanks(text: str, position: int) -> int:
    while text[position : position + 1] in BLANK and position < len(text):
        position += 1
    return position


def faults_of(error: MalformedCommand, index: int | None) -> Iterator[Fault]:
    """Name each field that is wrong with a command; raise `Problem` 413 where it is too long."""
    if isinstance(error, CommandTooLong):
        prefix = "" if index is None else f"command {index}: "
        raise Problem(413, f"{prefix}at most {MAX_COMMAND_BYTES} bytes are wanted")
    for field_error in error.errors:
        yield Fault(
            field=field_error.field, detail=field_error.detail, index=index, id=error.command_id
        )


def _check_senders(commands: list[AnyCommand], caller: Caller, *, is_list: bool) -> None:
    """Refuse commands that claim to come from somebody their sender cannot speak for."""
    faults = [
        Fault(
            field="by",
            detail=f"this token does not speak for {command.by.role} {command.by.id}",
            index=position if is_list else None,
            id=command.id,
        )
        for position, command in enumerate(commands)
        if not caller.may_speak_for(command.by)
    ]
    if faults:
        raise Problem(403, "; ".join(map(fault_text, faults[:5])), errors=faults)


MAX_COMMIT_COMMANDS = 5_000
"""Commands in one commit."""

COMMIT_TIMEOUT_S = 30.0
"""A commit that takes longer than this is not coming back."""

LOAD_POLL_INTERVAL_S = 0.25
"""How often our arrival clock is compared with Redis', and the load measured."""


@dataclass(frozen=True, slots=True)
class SubmissionLimits:
    """How much may wait before senders are told to come back: unsettled, queued, in hand."""

    unsettled: int = 100_000
    queued: int = 200_000
    in_hand: int = 20_000


@dataclass(frozen=True, slots=True)
class PendingSubmission:
    """The commands of one request, and the promise of their fate."""

    submissions: Sequence[Submission]
    admission: Future[Admission] = field(default_factory=Future)


class SubmissionQueue:
    """Takes commands in. `admit` may be called by any number of requests at once."""

    def __init__(
        self,
        engine: Engine,
        client: redis.Redis,
        limits: SubmissionLimits | None = None,
        keys: Keyring = UNSIGNED,
    ) -> None:
        """Prepare; raise `Unavailable` while the arrival clock cannot be read.

        What is queued is signed with `keys`: who asks was checked by token.
        """
        self.keys = keys
        self.engine, self.client, self.limits = engine, client, limits or SubmissionLimits()
        self.clock = LocalArrivalClock(client)
        self.reservations = StampReservations(client, self.clock)
        self.unsettled = self.queued = self.in_hand = 0
        self.busy_since: float | None = None
        self._requests: queue.SimpleQueue[PendingSubmission | None] = queue.SimpleQueue()
        self._committed: queue.SimpleQueue[list[InboxRow] | None] = queue.SimpleQueue()
        self._threads = [
            threading.Thread(target=self._commit_loop, name="commit", daemon=True),
            threading.Thread(target=self._forward_loop, name="forward", daemon=True),
        ]

    def start(self) -> None:
        """Begin to commit and to queue."""
        self._measure_load()
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Finish what is in hand; the scheduler's sweep queues what was only committed."""
        self._requests.put(None)
        for thread in self._threads:
            thread.join(timeout=10)

    def alive(self) -> bool:
        """Tell whether both threads live, and no commit has been under way for long."""
        busy_since = self.busy_since
        is_stuck = busy_since is not None and time.monotonic() - busy_since > COMMIT_TIMEOUT_S
        return not is_stuck and all(thread.is_alive() for thread in self._threads)

    def is_full(self) -> bool:
        """Tell whether so much waits that more would only wait longer."""
        limits = self.limits
        return (
            self.unsettled > limits.unsettled
            or self.queued > limits.queued
            or self.in_hand > limits.in_hand
        )

    async def admit(self, submissions: Sequence[Submission]) -> Admission:
        """Put commands into the inbox, all or none; raise `Unavailable` when none is in it."""
        request = PendingSubmission(submissions)
        self.in_hand += len(submissions)
        try:
            self._requests.put(request)
            # Shielded: a request that is given up would take its promise back from the thread
            # that is about to keep it, and that thread from everybody else.
            return await asyncio.shield(asyncio.wrap_future(request.admission))
        finally:
            self.in_hand -= len(submissions)

    def _commit_loop(self) -> None:
        while (request := self._requests.get()) is not None:
            requests, command_count = [request], len(request.submissions)
            while command_count < MAX_COMMIT_COMMANDS and not self._requests.empty():
                next_request = self._requests.get()
                if next_request is None:
                    self._requests.put(None)
                    break
                requests.append(next_request)
                command_count += len(next_request.submissions)
            self.busy_since = time.monotonic()
            self._commit(requests)
            self.busy_since = None
        self._committed.put(None)

    def _commit(self, requests: list[PendingSubmission]) -> None:
        try:
            admissions, rows = admit(
                self.engine, self.reservations, [request.submissions for request in requests]
            )
        except TransientError as error:
            self._refuse(requests, error)
        except Exception as error:  # noqa: BLE001 - one request's fault is not its neighbours'
            if len(requests) == 1:
                self._refuse(requests, error)
            else:
                for request in requests:
                    self._commit([request])
        else:
            self._committed.put(rows)
            self.unsettled += len(rows)
            for request, admission in zip(requests, admissions, strict=True):
                request.admission.set_result(admission)

    def _refuse(self, requests: list[PendingSubmission], error: Exception) -> None:
        log.warning("intake.failed", requests=len(requests), error=str(error)[:300])
        for request in requests:
            request.admission.set_exception(error)

    def _forward_loop(self) -> None:
        measured_at = time.monotonic()
        while True:
            try:
                rows = self._committed.get(timeout=LOAD_POLL_INTERVAL_S)
            except queue.Empty:
                rows = []
            if rows is None:
                return
            try:
                redelivery.hand_in(self.client, rows, self.keys)
                if unreserved := [row["stamp"] for row in rows if not row["reserved"]]:
                    note_reserved(self.engine, unreserved)
            except TransientError as error:
                # They are safe where they are: the scheduler's sweep hands them in later.
                log.warning("intake.not_carried", commands=len(rows), error=str(error)[:300])
            if time.monotonic() - measured_at >= LOAD_POLL_INTERVAL_S:
                self._measure_load()
                measured_at = time.monotonic()

    def _measure_load(self) -> None:
        try:
            if self.clock.look():
                self.queued = int(self.client.llen(Keys(COMMANDS).waiting))
            with reading(self.engine) as connection:
                query = select(func.count()).select_from(inbox_table)
                self.unsettled = int(connection.execute(query).scalar_one())
        except (redis.RedisError, TransientError) as error:
            log.warning("intake.blind", error=str(error)[:300])
