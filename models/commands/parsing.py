"""Parsing: from a hostile text to a command, or to one clear sentence about what is wrong.

The text may be nested too deeply, name a field twice or hold numbers of thousands of digits.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from models.commands import COMMAND_ADAPTER, COMMAND_KINDS, AnyCommand
from models.commands.operators import OperatorAct
from models.errors import FieldError
from models.fields import FIELD_ERROR, ID_PATTERN, SENDER_ROLES, STORED
from models.ids import make_command_key

MAX_COMMAND_BYTES = 64 * 1024
"""The longest command text, in bytes: an honest one just fits, every character escaped."""


class MalformedCommand(Exception):
    """A text that is no command: which fields are wrong, and why.

    `command_id` is what it calls itself, and `sender` who it says has sent it, if readable.
    """

    def __init__(
        self, errors: Sequence[FieldError], sender: str | None, command_id: str | None
    ) -> None:
        self.errors, self.sender, self.command_id = tuple(errors), sender, command_id
        super().__init__(self.detail)

    @property
    def key(self) -> str:
        """Name it for all senders, as far as it can be read."""
        return make_command_key(self.sender, self.command_id)

    @property
    def detail(self) -> str:
        """Say it all in one sentence."""
        return "; ".join(map(str, self.errors))


class CommandTooLong(MalformedCommand):
    """A text longer than any command."""


def parse_command(text: str | bytes) -> AnyCommand:
    """Read a command from JSON text; raise `MalformedCommand` that says which field and why.

    What a sender wrote is never repeated in the answer, except field names and its own id.
    """
    try:
        raw = text.encode() if isinstance(text, str) else text
    except UnicodeEncodeError:
        error = FieldError("command", "a lone surrogate is not text")
        raise MalformedCommand([error], *find_command_name(text)) from None
    if len(raw) > MAX_COMMAND_BYTES:
        error = FieldError("command", f"longer than {MAX_COMMAND_BYTES} bytes")
        raise CommandTooLong([error], *find_command_name(raw))
    try:
        command = COMMAND_ADAPTER.validate_json(raw)
    except ValidationError as invalid:
        raise MalformedCommand(_field_errors(invalid), *find_command_name(raw)) from None
    if has_duplicate_field(raw):
        # One reader takes the first and another the last: what was meant, nobody can tell.
        error = FieldError("command", "a field is there twice")
        raise MalformedCommand([error], *find_command_name(raw))
    return command


def write_command(command: AnyCommand) -> str:
    """Write a command as text that `read_command` reads."""
    # What an operator says for somebody has no id and no sender of its own.
    within = {"command": {"id", "by"}} if isinstance(command, OperatorAct) else None
    return command.model_dump_json(exclude=within)


def read_command(text: str) -> AnyCommand:
    """Read a command that `write_command` wrote: the same command, down to its fingerprint."""
    return COMMAND_ADAPTER.validate_json(text, context=STORED)


def find_command_name(text: str | bytes) -> tuple[str | None, str | None]:
    """Find the sender of a command and its id, malformed or not, as far as they can be read."""
    document = read_json_leniently(text)
    if not isinstance(document, dict):
        return None, None
    by, command_id = document.get("by"), document.get("id")
    is_readable = isinstance(command_id, str) and re.fullmatch(r"[ -~]{1,64}", command_id)
    return _find_sender(by) if isinstance(by, dict) else None, command_id if is_readable else None


def _find_sender(by: dict[str, object]) -> str | None:
    role, sender_id = by.get("role"), by.get("id")
    is_sender = (
        isinstance(role, str)
        and role in SENDER_ROLES
        and isinstance(sender_id, str)
        and re.fullmatch(ID_PATTERN, sender_id)
    )
    return f"{role}:{sender_id}" if is_sender else None


def _field_errors(invalid: ValidationError) -> list[FieldError]:
    """Say which fields are wrong and why, without a word of what was in them; five at most."""
    return list(map(_field_error, invalid.errors(include_input=False, include_url=False)[:5]))


def _field_error(error: ErrorDetails) -> FieldError:
    if error["type"].startswith("union_tag"):
        return FieldError("kind", "one of the known kinds of command is wanted")
    # A field's name is the sender's too: what cannot be printed is written as an escape.
    path = [ascii(str(part))[1:-1][:64] for part in error["loc"] if part not in COMMAND_KINDS]
    if error["type"] == FIELD_ERROR:
        path.append(error["ctx"]["field"])
    return FieldError(".".join(path) or "command", error["msg"].removeprefix("Value error, "))


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
