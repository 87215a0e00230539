"""Parse: from a hostile text to a command, or to one clear sentence about what is wrong."""

from __future__ import annotations

import re

from pydantic import ValidationError

from models.commands import COMMANDS, KINDS, AnyCommand
from models.text import read_loosely, says_a_field_twice

MAX_COMMAND_BYTES = 64 * 1024
"""The longest command text, in bytes: an honest one just fits, every character escaped."""


class Malformed(Exception):
    """A text that is no command; `command_id` is what it calls itself, if that is readable."""

    def __init__(self, detail: str, command_id: str | None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.command_id = command_id


def parse(text: str | bytes) -> AnyCommand:
    """Read a command from JSON text; raise `Malformed` that says which field and why.

    What a sender wrote is never repeated in the answer, except field names and its own id.
    """
    try:
        raw = text.encode() if isinstance(text, str) else text
    except UnicodeEncodeError:
        detail = "command: a lone surrogate is not text"
        raise Malformed(detail, readable_id(text)) from None
    if len(raw) > MAX_COMMAND_BYTES:
        detail = f"command: longer than {MAX_COMMAND_BYTES} bytes"
        raise Malformed(detail, readable_id(raw))
    try:
        command = COMMANDS.validate_json(raw)
    except ValidationError as error:
        raise Malformed(_explain(error), readable_id(raw)) from None
    if says_a_field_twice(raw):
        # One reader takes the first and another the last: what was meant, nobody can tell.
        raise Malformed("command: a field is there twice", readable_id(raw))
    return command


def readable_id(text: str | bytes) -> str | None:
    """Find the id that a malformed command gives itself, if a person could read it."""
    document = read_loosely(text)
    command_id = document.get("id") if isinstance(document, dict) else None
    return (
        command_id
        if isinstance(command_id, str) and re.fullmatch(r"[ -~]{1,64}", command_id)
        else None
    )


def _explain(error: ValidationError) -> str:
    """Say which fields are wrong and why, without a word of what was in them."""
    faults = error.errors(include_input=False, include_url=False, include_context=False)
    lines = []
    for fault in faults[:5]:
        # A field's name is the sender's too: what cannot be printed is written as an escape.
        path = [ascii(str(part))[1:-1][:64] for part in fault["loc"] if part not in KINDS]
        if fault["type"].startswith("union_tag"):
            lines.append("kind: one of the known kinds of command is wanted")
            continue
        lines.append(f"{'.'.join(path) or 'command'}: {fault['msg'].removeprefix('Value error, ')}")
    return "; ".join(lines)
