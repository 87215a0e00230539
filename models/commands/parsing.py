"""Parsing: from a hostile text to a command, or to one clear sentence about what is wrong.

The text may be nested too deeply, name a field twice or hold numbers of thousands of digits.
"""

from __future__ import annotations

import json
import re

from pydantic import ValidationError

from models.commands import COMMAND_ADAPTER, COMMAND_KINDS, AnyCommand

MAX_COMMAND_BYTES = 64 * 1024
"""The longest command text, in bytes: an honest one just fits, every character escaped."""


class MalformedCommand(Exception):
    """A text that is no command; `command_id` is what it calls itself, if that is readable."""

    def __init__(self, detail: str, command_id: str | None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.command_id = command_id


def parse_command(text: str | bytes) -> AnyCommand:
    """Read a command from JSON text; raise `MalformedCommand` that says which field and why.

    What a sender wrote is never repeated in the answer, except field names and its own id.
    """
    try:
        raw = text.encode() if isinstance(text, str) else text
    except UnicodeEncodeError:
        detail = "command: a lone surrogate is not text"
        raise MalformedCommand(detail, find_command_id(text)) from None
    if len(raw) > MAX_COMMAND_BYTES:
        detail = f"command: longer than {MAX_COMMAND_BYTES} bytes"
        raise MalformedCommand(detail, find_command_id(raw))
    try:
        command = COMMAND_ADAPTER.validate_json(raw)
    except ValidationError as error:
        raise MalformedCommand(_describe_errors(error), find_command_id(raw)) from None
    if has_duplicate_field(raw):
        # One reader takes the first and another the last: what was meant, nobody can tell.
        raise MalformedCommand("command: a field is there twice", find_command_id(raw))
    return command


def find_command_id(text: str | bytes) -> str | None:
    """Find the id that a malformed command gives itself, if a person could read it."""
    document = read_json_leniently(text)
    command_id = document.get("id") if isinstance(document, dict) else None
    return (
        command_id
        if isinstance(command_id, str) and re.fullmatch(r"[ -~]{1,64}", command_id)
        else None
    )


def _describe_errors(error: ValidationError) -> str:
    """Say which fields are wrong and why, without a word of what was in them."""
    faults = error.errors(include_input=False, include_url=False, include_context=False)
    messages = []
    for fault in faults[:5]:
        # A field's name is the sender's too: what cannot be printed is written as an escape.
        path = [ascii(str(part))[1:-1][:64] for part in fault["loc"] if part not in COMMAND_KINDS]
        if fault["type"].startswith("union_tag"):
            messages.append("kind: one of the known kinds of command is wanted")
            continue
        messages.append(
            f"{'.'.join(path) or 'command'}: {fault['msg'].removeprefix('Value error, ')}"
        )
    return "; ".join(messages)


def read_json_leniently(raw: str | bytes) -> object:
    """Read JSON as well as it can be read, or return None: for naming what will be refused."""
    try:
        text = raw if isinstance(raw, str) else raw.decode()
        return json.loads(truncate_nesting(text), parse_int=_parse_integer)
    except (ValueError, RecursionError):
        return None


MAX_DEPTH = 24
"""Levels of nesting kept; no honest command has more than four."""


def truncate_nesting(text: str) -> str:
    """Cut away what is nested deeper than `MAX_DEPTH`, without recursion.

    A text 100 000 levels deep becomes one that any reader survives, and that is still no command.
    """
    depth, pieces, start = 0, [], 0
    for token in _JSON_TOKEN.finditer(text):
        bracket = token[0]
        if bracket in "[{":
            depth += 1
            if depth == MAX_DEPTH + 1:
                pieces.append(text[start : token.start()] + "null")
        elif bracket in "]}":
            if depth == MAX_DEPTH + 1:
                start = token.end()
            depth -= 1
    if depth > MAX_DEPTH:
        return "".join(pieces)
    return "".join([*pieces, text[start:]])


_JSON_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*+"?|[\[\]{}]', re.DOTALL)

MAX_DIGITS = 40
"""Digits of the longest number worth converting."""


def _parse_integer(digits: str) -> int | str:
    # Python refuses to convert thousands of digits; kept as text they are refused as no number.
    return int(digits) if len(digits) <= MAX_DIGITS else digits


def has_duplicate_field(raw: bytes) -> bool:
    """Tell whether an object in a well-formed JSON text has two members of one name."""
    try:
        _STRICT_DECODER.decode(raw.decode())
    except _DuplicateFieldError:
        return True
    return False


class _DuplicateFieldError(Exception):
    pass


def _reject_duplicate_fields(members: list[tuple[str, object]]) -> None:
    if len({name for name, _ in members}) != len(members):
        raise _DuplicateFieldError


_STRICT_DECODER = json.JSONDecoder(object_pairs_hook=_reject_duplicate_fields)
