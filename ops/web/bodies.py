"""Bodies: from the bytes of a request to commands, or to a list of everything wrong with them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime

from fastapi import Request

from models import placing
from models.commands import AnyCommand, PlaceOrder
from models.parse import MAX_COMMAND_BYTES, Malformed, parse
from models.policy import Policy
from ops.web.auth import Caller
from ops.web.problems import Fault, Problem
from workers.inbox import Knock

MOST_COMMANDS = 500
"""Commands in one request."""

LONGEST_BODY = 4 * 1024 * 1024
"""Bytes of a request: five hundred commands with the longest briefs people write."""

JSON = "application/json"
BLANK = " \t\r\n"

_DECODER = json.JSONDecoder(
    # Numbers are read where commands are; here a hostile one may not cost anything.
    parse_int=lambda _: 0,
    parse_float=lambda _: 0.0,
)


@dataclass(frozen=True, slots=True)
class Body:
    """What a request asks: the commands, ready for the inbox, and whether it was a list."""

    knocks: list[Knock]
    listed: bool


async def read_bytes(request: Request, most: int = LONGEST_BODY) -> bytes:
    """Read a request's body; raise `Problem` 415 or 413.

    A type that forms cannot send: so no page from elsewhere can make a browser ask for it.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != JSON:
        raise Problem(415, f"Content-Type: {JSON} is wanted")
    found = bytearray()
    async for chunk in request.stream():
        found += chunk
        if len(found) > most:
            raise Problem(413, f"a body of at most {most} bytes is wanted")
    return bytes(found)


def read_body(raw: bytes, caller: Caller, policy: Policy, now: Callable[[], datetime]) -> Body:
    """Read commands; raise `Problem` that names every field that is wrong, in every command."""
    texts, listed = _split(raw)
    asked: list[tuple[str, AnyCommand]] = []
    faults: list[Fault] = []
    for number, text in enumerate(texts):
        index = number if listed else None
        try:
            command = parse(text)
        except Malformed as fault:
            faults.extend(faults_of(fault, index))
            continue
        wrong = placing.fault(command, policy, now()) if isinstance(command, PlaceOrder) else None
        if wrong is not None:
            faults.extend(faults_of(Malformed(wrong, command.id), index))
        asked.append((text, command))
    if faults:
        raise Problem(422, "; ".join(map(_said, faults[:5])), errors=faults)
    _check_senders([one for _, one in asked], caller, listed=listed)
    return Body([Knock(one.id, one.fingerprint(), text) for text, one in asked], listed)


def _split(raw: bytes) -> tuple[list[str], bool]:
    """Cut a body into the texts of its commands, each as its sender wrote it."""
    try:
        text = raw.decode("utf-8").strip(BLANK)
        if not text.startswith("["):
            _, end = _DECODER.raw_decode(text)
            found, listed = [text], False
        else:
            found, end = _elements(text)
            listed = True
    except (ValueError, RecursionError):
        raise Problem(400, "the body is not JSON") from None
    if text[end:].strip(BLANK):
        raise Problem(400, "the body is more than one JSON value")
    return found, listed


def _elements(text: str) -> tuple[list[str], int]:
    found: list[str] = []
    place = _skip(text, 1)
    if text[place : place + 1] == "]":
        raise Problem(422, "commands: at least one is wanted", errors=[_NONE])
    while True:
        if len(found) == MOST_COMMANDS:
            raise Problem(413, _MANY.detail, errors=[_MANY])
        _, end = _DECODER.raw_decode(text, place)
        found.append(text[place:end])
        place = _skip(text, end)
        sign, place = text[place : place + 1], _skip(text, place + 1)
        if sign == "]":
            return found, place
        if sign != ",":
            raise ValueError


_NONE = Fault(field="commands", detail="at least one is wanted")
_MANY = Fault(field="commands", detail=f"at most {MOST_COMMANDS} in one request")


def _skip(text: str, place: int) -> int:
    while text[place : place + 1] in BLANK and place < len(text):
        place += 1
    return place


def faults_of(fault: Malformed, index: int | None) -> Iterator[Fault]:
    """Name each field that is wrong with a command; raise `Problem` 413 where it is too long."""
    if fault.detail.startswith("command: longer"):
        place = "" if index is None else f"command {index}: "
        raise Problem(413, f"{place}at most {MAX_COMMAND_BYTES} bytes are wanted")
    for line in fault.detail.split("; "):
        field, found, detail = line.partition(": ")
        named = (field, detail) if found else ("command", line)
        yield Fault(field=named[0], detail=named[1], index=index, id=fault.command_id)


def _said(fault: Fault) -> str:
    place = "" if fault.index is None else f"command {fault.index}, "
    return f"{place}{fault.field}: {fault.detail}"


def _check_senders(commands: list[AnyCommand], caller: Caller, *, listed: bool) -> None:
    """Refuse commands that claim to come from somebody their sender cannot speak for."""
    wrong = [
        Fault(
            field="by",
            detail=f"this token does not speak for {one.by.role} {one.by.id}",
            index=number if listed else None,
            id=one.id,
        )
        for number, one in enumerate(commands)
        if not caller.may_say(one.by)
    ]
    if wrong:
        raise Problem(403, "; ".join(map(_said, wrong[:5])), errors=wrong)
