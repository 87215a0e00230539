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


def quarantine(engine: Engine, refused: Refused) -> None:
    """Keep the beginning of a payload and why it was refused; twice changes nothing."""
    row = {
        "queue": refused.queue,
        "message_id": _name(refused),
        "reason": refused.reason,
        "payload": refused.payload[:MOST_KEPT],
        "size": refused.size,
        "quarantined_at": now_us(),
    }
    letters = [dead_letters.row(one, refused.reason) for one in refused.commands]
    with writing(engine) as connection:
        insert_new(connection, tables.quarantine, [row])
        insert_new(connection, tables.dead_letters, letters)
        # What came by HTTP waits for an operator from now on, and holds no deadline back.
        inbox.forget(connection, dead_letters.names(refused.commands))
    queue, reason = refused.queue, refused.reason
    log.warning("message.quarantined", queue=queue, reason=reason, size=refused.size)


def _name(refused: Refused) -> str:
    """Name an item in a way that any database can keep, and that is its own.

    An honest id stays what it is. Any other is made printable, and a digest keeps two apart.
    """
    plain = refused.name.isascii() and refused.name.isprintable()
    if plain and 0 < len(refused.name) <= LONGEST_NAME:
        return refused.name
    raw = refused.name.encode("utf-8", "surrogateescape")
    digest = hashlib.sha256(raw + b"\0" + refused.payload).hexdigest()[:16]
    return f"{ascii(refused.name)[1:-1][:LONGEST_NAME]}~{digest}"


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
