"""Quarantine: what came through the wire and was no message, kept for a person to look at."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import structlog
from sqlalchemy import Engine, func, select

from workers import dead_letters, inbox, tables
from workers.clock import now_us
from workers.database import insert_new, reading, writing
from workers.envelope import Refused

MOST_KEPT = 4_096
"""Bytes of a payload that are kept: enough to recognise its sender."""

LONGEST_NAME = 100

log = structlog.get_logger()


def quarantine(engine: Engine, refusal: Refused) -> None:
    """Keep the beginning of a payload and why it was refused; twice changes nothing."""
    row = {
        "queue": refusal.queue,
        "message_id": _name(refusal),
        "reason": refusal.reason,
        "payload": refusal.payload[:MOST_KEPT],
        "size": refusal.size,
        "quarantined_at": now_us(),
    }
    dead_letter_rows = [dead_letters.row(command, refusal.reason) for command in refusal.commands]
    with writing(engine) as connection:
        insert_new(connection, tables.quarantine, [row])
        insert_new(connection, tables.dead_letters, dead_letter_rows)
        # What came by HTTP waits for an operator from now on, and holds no deadline back.
        inbox.forget(connection, dead_letters.names(refusal.commands))
    queue, reason = refusal.queue, refusal.reason
    log.warning("message.quarantined", queue=queue, reason=reason, size=refusal.size)


def _name(refusal: Refused) -> str:
    """Name an item in a way that any database can keep, and that is its own.

    An honest id stays what it is. Any other is made printable, and a digest keeps two apart.
    """
    plain = refusal.name.isascii() and refusal.name.isprintable()
    if plain and 0 < len(refusal.name) <= LONGEST_NAME:
        return refusal.name
    raw = refusal.name.encode("utf-8", "surrogateescape")
    digest = hashlib.sha256(raw + b"\0" + refusal.payload).hexdigest()[:16]
    return f"{ascii(refusal.name)[1:-1][:LONGEST_NAME]}~{digest}"


def listed(engine: Engine) -> Sequence[Any]:
    """Return all items, oldest first."""
    table = tables.quarantine
    with reading(engine) as connection:
        return connection.execute(select(table).order_by(table.c.item_id)).all()


def latest(engine: Engine, limit: int) -> Sequence[Any]:
    """Return some items, latest first."""
    table = tables.quarantine
    query = select(table).order_by(table.c.item_id.desc()).limit(limit)
    with reading(engine) as connection:
        return connection.execute(query).all()


def shown(engine: Engine, item_id: int) -> Any | None:  # noqa: ANN401 - a row of the table
    """Return one item, or None."""
    table = tables.quarantine
    with reading(engine) as connection:
        return connection.execute(select(table).where(table.c.item_id == item_id)).one_or_none()


def drop(engine: Engine, item_id: int) -> bool:
    """Forget an item that somebody has looked at; tell whether there was one."""
    table = tables.quarantine
    with writing(engine) as connection:
        return bool(connection.execute(table.delete().where(table.c.item_id == item_id)).rowcount)


def count(engine: Engine) -> int:
    """Count the items."""
    with reading(engine) as connection:
        query = select(func.count()).select_from(tables.quarantine)
        return int(connection.execute(query).scalar_one())
