"""Bodies: from the bytes of a request to commands, or to a list of everything wrong with them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime

from fastapi import Request

from models.commands import AnyCommand
from models.commands.orders import PlaceOrder
from models.commands.parsing import MAX_COMMAND_BYTES, Malformed, parse
from models.orders import offers
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


async def read_bytes(request: Request, max_bytes: int = LONGEST_BODY) -> bytes:
    """Read a request's body; raise `Problem` 415 or 413.

    A type that forms cannot send: so no page from elsewhere can make a browser ask for it.
    """
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if content_type != JSON:
        raise Problem(415, f"Content-Type: {JSON} is wanted")
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > max_bytes:
            raise Problem(413, f"a body of at most {max_bytes} bytes is wanted")
    return bytes(body)


def read_body(raw: bytes, caller: Caller, policy: Policy, now: Callable[[], datetime]) -> Body:
    """Read commands; raise `Problem` that names every field that is wrong, in every command."""
    texts, is_list = _split(raw)
    parsed_commands: list[tuple[str, AnyCommand]] = []
    faults: list[Fault] = []
    for position, text in enumerate(texts):
        index = position if is_list else None
        try:
            command = parse(text)
        except Malformed as error:
            faults.extend(faults_of(error, index))
            continue
        order_fault = (
            offers.fault(command, policy, now()) if isinstance(command, PlaceOrder) else None
        )
        if order_fault is not None:
            faults.extend(faults_of(Malformed(order_fault, command.id), index))
        parsed_commands.append((text, command))
    if faults:
        raise Problem(422, "; ".join(map(_said, faults[:5])), errors=faults)
    _check_senders([command for _, command in parsed_commands], caller, is_list=is_list)
    return Body(
        [Knock(command.id, command.fingerprint(), text) for text, command in parsed_commands],
        is_list,
    )


def _split(raw: bytes) -> tuple[list[str], bool]:
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
    position = _skip(text, 1)
    if text[position : position + 1] == "]":
        raise Problem(422, "commands: at least one is wanted", errors=[_NONE])
    while True:
        if len(texts) == MOST_COMMANDS:
            raise Problem(413, _MANY.detail, errors=[_MANY])
        _, end = _DECODER.raw_decode(text, position)
        texts.append(text[position:end])
        position = _skip(text, end)
        separator, position = text[position : position + 1], _skip(text, position + 1)
        if separator == "]":
            return texts, position
        if separator != ",":
            raise ValueError


_NONE = Fault(field="commands", detail="at least one is wanted")


_MANY = Fault(field="commands", detail=f"at most {MOST_COMMANDS} in one request")


def _skip(text: str, position: int) -> int:
    while text[position : position + 1] in BLANK and position < len(text):
        position += 1
    return position


def faults_of(error: Malformed, index: int | None) -> Iterator[Fault]:
    """Name each field that is wrong with a command; raise `Problem` 413 where it is too long."""
    if error.detail.startswith("command: longer"):
        prefix = "" if index is None else f"command {index}: "
        raise Problem(413, f"{prefix}at most {MAX_COMMAND_BYTES} bytes are wanted")
    for line in error.detail.split("; "):
        field, separator, detail = line.partition(": ")
        field_and_detail = (field, detail) if separator else ("command", line)
        yield Fault(
            field=field_and_detail[0], detail=field_and_detail[1], index=index, id=error.command_id
        )


def _said(fault: Fault) -> str:
    prefix = "" if fault.index is None else f"command {fault.index}, "
    return f"{prefix}{fault.field}: {fault.detail}"


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
        if not caller.may_say(command.by)
    ]
    if faults:
        raise Problem(403, "; ".join(map(_said, faults[:5])), errors=faults)
