"""Dead letters: commands that no repetition settles, kept until an operator acts."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import Connection, Engine, func, select

from models.commands.parsing import Malformed, parse
from workers import inbox, tables
from workers.clock import from_us, now_us, to_us
from workers.database import insert_new, reading, writing
from workers.rows import Row
from workers.turns import Received

LONGEST_ERROR = 2_000
"""Characters of an error worth keeping: its name and message, never the command's text."""


def bury(engine: Engine, command: Received, error: Exception) -> None:
    """Keep a command that could not be settled; burying it twice changes nothing."""
    with writing(engine) as connection:
        dead_letter = row(command, f"{type(error).__name__}: {error}")
        insert_new(connection, tables.dead_letters, [dead_letter])
        inbox.forget(connection, names([command]))


def names(commands: Collection[Received]) -> list[tuple[str, int]]:
    """Name commands as the inbox does, by id and stamp, those that have an id."""
    ids_and_stamps = ((_command_id(command.text), command.stamp) for command in commands)
    return [(command_id, stamp) for command_id, stamp in ids_and_stamps if command_id]


def _command_id(text: str) -> str | None:
    try:
        return parse(text).id
    except Malformed as fault:
        return fault.command_id


def row(command: Received, error: str) -> Row:
    """Write a letter. NUL and lone surrogates, which no database keeps, become visible."""
    return {
        "command": _writable(command.text),
        "received_at": to_us(command.at),
        "stamp": command.stamp,
        "error": _writable(error)[:LONGEST_ERROR],
        "died_at": now_us(),
    }


def _writable(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\u0000")


def read(dead_letter: Any) -> Received:  # noqa: ANN401 - a row of the table
    """Read the command of a letter as it came through the door: same instant, same stamp."""
    message_id = f"letter:{dead_letter.letter_id}"
    return Received(
        dead_letter.command, from_us(dead_letter.received_at), dead_letter.stamp, message_id
    )


def listed(engine: Engine, *, replayed: bool = True) -> Sequence[Any]:
    """Return all letters, oldest first, or those that still wait for somebody to act."""
    table = tables.dead_letters
    query = select(table).order_by(table.c.letter_id)
    query = query if replayed else query.where(table.c.replayed_at.is_(None))
    with reading(engine) as connection:
        return connection.execute(query).all()


def latest(engine: Engine, limit: int) -> Sequence[Any]:
    """Return some letters that wait for somebody to act, latest first."""
    table = tables.dead_letters
    query = select(table).where(table.c.replayed_at.is_(None))
    with reading(engine) as connection:
        return connection.execute(query.order_by(table.c.letter_id.desc()).limit(limit)).all()


def count(connection: Connection) -> int:
    """Count the letters that wait for somebody to act."""
    table = tables.dead_letters
    query = select(func.count()).where(table.c.replayed_at.is_(None))
    return int(connection.execute(query).scalar_one())


def found(engine: Engine, letter_ids: Collection[int]) -> dict[int, Any]:
    """Return some letters by their ids; ids of none are missing from the answer."""
    table = tables.dead_letters
    query = select(table).where(table.c.letter_id.in_(sorted(letter_ids)))
    with reading(engine) as connection:
        return {dead_letter.letter_id: dead_letter for dead_letter in connection.execute(query)}


def mark_replayed(engine: Engine, letter_id: int) -> None:
    """Note that a letter's command has been settled; the first time counts."""
    table = tables.dead_letters
    condition = (table.c.letter_id == letter_id) & table.c.replayed_at.is_(None)
    with writing(engine) as connection:
        connection.execute(table.update().where(condition).values(replayed_at=now_us()))
