"""Redelivery: carries rows of the inbox to the workers, and again where Redis lost them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any

import redis
from sqlalchemy import Engine, select, tuple_

from models.errors import Unavailable
from workers.database import bulk
from workers.database.engine import reading
from workers.database.schema import inbox
from workers.queue.messages import UNSIGNED, wrap_stamped
from workers.queue.redis import COMMANDS, Keys, Scripts
from workers.signing import Keyring

PAGE = 5_000
"""Rows looked at in one go."""

PER_CALL = 50
"""Messages in one call to Redis, which does nothing else meanwhile."""


def hand_in(
    client: redis.Redis, rows: Sequence[Any], keys: Keyring = UNSIGNED, *, front: bool = False
) -> int:
    """Send rows to the workers; return how many messages were not there already.

    Rows of one message stand together. Raise `Unavailable` when Redis is away.
    """
    by_message = groupby(rows, key=lambda row: (row["message_id"], row["received_at"]))
    messages = []
    for (message_id, received_at), group in by_message:
        commands = [(row["command"], row["stamp"], row["trace"]) for row in group]
        text = wrap_stamped(message_id, received_at, commands, keys)
        messages.append((message_id, received_at, text))
    # What goes in front goes in backwards: the oldest last, so that it ends up first.
    messages = messages[::-1] if front else messages
    scripts, delivered_count = Scripts(client), 0
    try:
        for n in range(0, len(messages), PER_CALL):
            chunk = messages[n : n + PER_CALL]
            delivered_count += scripts.hand_in(Keys(COMMANDS), chunk, front=front)
    except redis.RedisError as error:
        raise Unavailable(f"Redis did not answer: {error}") from error
    return delivered_count


def sweep(engine: Engine, client: redis.Redis, before: int, keys: Keyring = UNSIGNED) -> int:
    """Hand in again what was accepted before an instant and is neither settled nor in Redis."""
    delivered_count, after = 0, (0, 0)
    while page := _page(engine, before, after):
        after = page[-1].received_at, page[-1].stamp
        lost_message_ids = _lost(client, sorted({row.message_id for row in page}))
        # One that killed its worker twice was taken apart: each part goes by its own name.
        parts = {
            f"{row.message_id}.{row.stamp}": row
            for row in page
            if row.message_id in lost_message_ids
        }
        lost_command_ids = [parts[name].command_id for name in sorted(_lost(client, sorted(parts)))]
        if lost_command_ids:
            delivered_count += hand_in(client, _rows(engine, lost_command_ids), keys, front=True)
    return delivered_count


def _page(engine: Engine, before: int, after: tuple[int, int]) -> Sequence[Any]:
    table = inbox.c
    query = select(table.command_id, table.message_id, table.received_at, table.stamp)
    query = query.where(table.received_at < before, tuple_(table.received_at, table.stamp) > after)
    with reading(engine) as connection:
        return connection.execute(query.order_by(table.received_at, table.stamp).limit(PAGE)).all()


def _lost(client: redis.Redis, message_ids: Sequence[str]) -> set[str]:
    try:
        with client.pipeline(transaction=False) as pipe:
            for message_id in message_ids:
                pipe.hexists(Keys(COMMANDS).messages, message_id)
            present = pipe.execute()
    except redis.RedisError as error:
        raise Unavailable(str(error)) from error
    return {
        message_id
        for message_id, is_present in zip(message_ids, present, strict=True)
        if not is_present
    }


def _rows(engine: Engine, command_ids: Sequence[str]) -> list[dict[str, Any]]:
    table = inbox.c
    with reading(engine) as connection:
        inbox_rows = bulk.fetch(connection, table, table.command_id, command_ids)
    rows = [dict(row._mapping) for row in inbox_rows]  # noqa: SLF001 - SQLAlchemy's public name for it
    return sorted(rows, key=lambda row: (row["received_at"], row["stamp"]))
