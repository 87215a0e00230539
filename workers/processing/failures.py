"""Failures: dead letters, which no repetition settles, and quarantine, for what is no message.

Both are kept until an operator acts.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection, Sequence
from typing import Any

import structlog
from sqlalchemy import Connection, Engine, func, select

from models.commands.parsing import find_command_name
from workers.database import bulk, repository, schema
from workers.database.engine import insert_new, reading, writing
from workers.database.mappers import Row
from workers.queue.messages import Received, RefusedItem
from workers.timestamps import from_us, now_us, to_us

log = structlog.get_logger()


MAX_ERROR_LENGTH = 2_000
"""Characters of an error worth keeping: its name and message, never the command's text."""


def add_dead_letter(engine: Engine, command: Received, error: Exception) -> None:
    """Keep a command that could not be settled; a second time changes nothing."""
    with writing(engine) as connection:
        dead_letter = dead_letter_row(command, f"{type(error).__name__}: {error}")
        insert_new(connection, schema.dead_letters, [dead_letter])
        repository.remove_from_inbox(connection, inbox_keys([command]))


def inbox_keys(commands: Collection[Received]) -> list[repository.InboxKey]:
    """Name commands as the inbox does, those that have a sender and an id."""
    names = ((*find_command_name(command.text), command.stamp) for command in commands)
    return [
        (sender, command_id, stamp) for sender, command_id, stamp in names if sender and command_id
    ]


def dead_letter_row(command: Received, error: str) -> Row:
    """Write a dead letter. NUL and lone surrogates, which no database keeps, become visible."""
    return {
        "command": _writable(command.text),
        "received_at": to_us(command.at),
        "stamp": command.stamp,
        "error": _writable(error)[:MAX_ERROR_LENGTH],
        "died_at": now_us(),
    }


def _writable(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\u0000")


def read_dead_letter(dead_letter: Any) -> Received:  # noqa: ANN401 - a row of the table
    """Read the command of a dead letter as it was received: same instant, same stamp."""
    message_id = f"letter:{dead_letter.letter_id}"
    return Received(
        dead_letter.command, from_us(dead_letter.received_at), dead_letter.stamp, message_id
    )


def list_dead_letters(engine: Engine, *, replayed: bool = True) -> Sequence[Any]:
    """Return all dead letters, oldest first, or those that still wait for somebody to act."""
    table = schema.dead_letters
    query = select(table).order_by(table.c.letter_id)
    query = query if replayed else query.where(table.c.replayed_at.is_(None))
    with reading(engine) as connection:
        return connection.execute(query).all()


def latest_dead_letters(engine: Engine, limit: int) -> Sequence[Any]:
    """Return some dead letters that wait for somebody to act, latest first."""
    table = schema.dead_letters
    query = select(table).where(table.c.replayed_at.is_(None))
    with reading(engine) as connection:
        return connection.execute(query.order_by(table.c.letter_id.desc()).limit(limit)).all()


def count_dead_letters(connection: Connection) -> int:
    """Count the dead letters that wait for somebody to act."""
    table = schema.dead_letters
    query = select(func.count()).where(table.c.replayed_at.is_(None))
    return int(connection.execute(query).scalar_one())


def dead_letters_by_id(engine: Engine, letter_ids: Collection[int]) -> dict[int, Any]:
    """Return some dead letters by their ids; ids of none are missing from the answer."""
    table = schema.dead_letters
    query = select(table).where(table.c.letter_id.in_(sorted(letter_ids)))
    with reading(engine) as connection:
        return {dead_letter.letter_id: dead_letter for dead_letter in connection.execute(query)}


def mark_replayed(engine: Engine, letter_id: int) -> None:
    """Note that a dead letter's command has been settled; the first time counts."""
    table = schema.dead_letters
    condition = (table.c.letter_id == letter_id) & table.c.replayed_at.is_(None)
    with writing(engine) as connection:
        connection.execute(table.update().where(condition).values(replayed_at=now_us()))


MAX_PAYLOAD_BYTES = 4_096
"""Bytes of a payload that are kept: enough to recognise its sender."""


MAX_NAME_LENGTH = 100


MAX_QUARANTINED = 10_000
"""Items that are kept: whoever looks at so many knows enough. The oldest go first."""


MAX_QUARANTINED_BYTES = 16 * 1024 * 1024
"""Bytes of payloads that are kept. The largest go first."""


DROPPED_TOTAL = "quarantine_dropped"
"""The running total of what was dropped to make room."""


def quarantine(engine: Engine, refusals: Sequence[RefusedItem]) -> None:
    """Keep the beginnings of payloads and why they were refused, all in one commit.

    Twice changes nothing. What there is no room for goes: first the oldest, then the largest.
    """
    now = now_us()
    rows = [
        {
            "queue": refusal.queue,
            "message_id": _quarantine_name(refusal),
            "reason": refusal.reason,
            "payload": refusal.payload[:MAX_PAYLOAD_BYTES],
            "size": refusal.size,
            "quarantined_at": now,
        }
        for refusal in refusals
    ]
    commands = [command for refusal in refusals for command in refusal.commands]
    dead_letter_rows = [
        dead_letter_row(command, refusal.reason)
        for refusal in refusals
        for command in refusal.commands
    ]
    with writing(engine) as connection:
        bulk.insert(connection, schema.quarantine, rows, ignore_existing=True)
        bulk.insert(connection, schema.dead_letters, dead_letter_rows, ignore_existing=True)
        # What came by HTTP waits for an operator from now on, and holds no deadline back.
        repository.remove_from_inbox(connection, inbox_keys(commands))
        dropped_count = _drop_excess(connection)
    counts = Counter((refusal.queue, refusal.reason) for refusal in refusals)
    for (queue, reason), count in counts.items():
        log.warning("messages.quarantined", queue=queue, reason=reason, items=count)
    if dropped_count:
        log.error("quarantine.full", dropped=dropped_count, kept=MAX_QUARANTINED)


def _drop_excess(connection: Connection) -> int:
    """Drop items until the rest are few enough, and small enough; return how many went."""
    table = schema.quarantine.c
    size = func.length(table.payload)
    count, total_bytes = connection.execute(
        select(func.count(), func.coalesce(func.sum(size), 0)).select_from(schema.quarantine)
    ).one()
    if count <= MAX_QUARANTINED and total_bytes <= MAX_QUARANTINED_BYTES:
        return 0
    items = connection.execute(
        select(table.item_id, size.label("size")).order_by(table.item_id.desc())
    ).all()
    excess_ids = [item.item_id for item in items[MAX_QUARANTINED:]]
    kept_items = items[:MAX_QUARANTINED]
    total_bytes = sum(item.size for item in kept_items)
    for item in sorted(kept_items, key=lambda item: (-item.size, item.item_id)):
        if total_bytes <= MAX_QUARANTINED_BYTES:
            break
        total_bytes -= item.size
        excess_ids.append(item.item_id)
    bulk.delete(connection, schema.quarantine, "item_id", excess_ids)
    total = {"name": DROPPED_TOTAL, "labels": "", "value": len(excess_ids)}
    bulk.add_to_totals(connection, schema.tallies, [total])
    return len(excess_ids)


def count_dropped(engine: Engine) -> int:
    """Count what was ever dropped from the quarantine to make room."""
    total = schema.tallies.c
    with reading(engine) as connection:
        query = select(total.value).where(total.name == DROPPED_TOTAL)
        return int(connection.execute(query).scalar() or 0)


def _quarantine_name(refusal: RefusedItem) -> str:
    """Name an item in a way that any database can keep, and that is its own.

    An honest id stays what it is. Any other is made printable, and a digest keeps two apart.
    """
    plain = refusal.name.isascii() and refusal.name.isprintable()
    if plain and 0 < len(refusal.name) <= MAX_NAME_LENGTH:
        return refusal.name
    raw = refusal.name.encode("utf-8", "surrogateescape")
    digest = hashlib.sha256(raw + b"\0" + refusal.payload).hexdigest()[:16]
    return f"{ascii(refusal.name)[1:-1][:MAX_NAME_LENGTH]}~{digest}"


def list_quarantined(engine: Engine) -> Sequence[Any]:
    """Return all items, oldest first."""
    table = schema.quarantine
    with reading(engine) as connection:
        return connection.execute(select(table).order_by(table.c.item_id)).all()


def quarantine_reasons(engine: Engine) -> dict[str, int]:
    """Count quarantined items by why they were refused, the most frequent first."""
    table = schema.quarantine.c
    query = select(table.reason, func.count()).group_by(table.reason)
    with reading(engine) as connection:
        rows = connection.execute(query.order_by(func.count().desc(), table.reason)).all()
    return {row[0]: int(row[1]) for row in rows}


def latest_quarantined(engine: Engine, limit: int) -> Sequence[Any]:
    """Return some items, latest first."""
    table = schema.quarantine
    query = select(table).order_by(table.c.item_id.desc()).limit(limit)
    with reading(engine) as connection:
        return connection.execute(query).all()


def quarantined_item(engine: Engine, item_id: int) -> Any | None:  # noqa: ANN401 - a row of the table
    """Return one item, or None."""
    table = schema.quarantine
    with reading(engine) as connection:
        return connection.execute(select(table).where(table.c.item_id == item_id)).one_or_none()


def drop_quarantined(engine: Engine, item_id: int) -> bool:
    """Forget an item that somebody has looked at; tell whether there was one."""
    table = schema.quarantine
    with writing(engine) as connection:
        return bool(connection.execute(table.delete().where(table.c.item_id == item_id)).rowcount)


def count_quarantined(engine: Engine) -> int:
    """Count the items."""
    with reading(engine) as connection:
        query = select(func.count()).select_from(schema.quarantine)
        return int(connection.execute(query).scalar_one())
