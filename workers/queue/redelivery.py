"""Redelivery: carries rows of the inbox to the workers, and again where Redis lost them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any

import redis
from sqlalchemy import Engine, select

from models.errors import Unavailable
from workers import inbox
from workers.database.engine import reading
from workers.database.schema import inbox as inbox_table
from workers.queue.messages import UNSIGNED, wrap
from workers.queue.redis import COMMANDS, Keys, Scripts
from workers.signing import Keyring

PAGE = 1_000
"""Rows looked at in one go."""

PER_CALL = 50
"""Messages in one call to Redis, which does nothing else meanwhile."""


def hand_in(
    client: redis.Redis, rows: Sequence[Any], keys: Keyring = UNSIGNED, *, front: bool = False
) -> int:
    """Send rows to the workers; return how many messages were not there already.

    Rows of one message stand together. `front` says that they are older than what waits. Raise
    `Unavailable` when Redis is away.
    """
    messages = []
    for message_id, group in groupby(rows, key=itemgetter("message_id")):
        message_rows = list(group)
        texts = [row["command"] for row in message_rows]
        traces = [row["trace"] for row in message_rows]
        _, _, text = wrap(COMMANDS, texts, keys, traces, message_id)
        messages.append((message_id, message_rows[0]["stamp"], text))
    scripts, delivered_count = Scripts(client), 0
    try:
        for n in range(0, len(messages), PER_CALL):
            chunk = messages[n : n + PER_CALL]
            delivered_count += scripts.hand_in(Keys(COMMANDS), chunk, front=front)
    except redis.RedisError as error:
        raise Unavailable(f"Redis did not answer: {error}") from error
    return delivered_count


def sweep(engine: Engine, client: redis.Redis, before: int, keys: Keyring = UNSIGNED) -> int:
    """Hand in again what was stamped before an instant and is neither settled nor in Redis."""
    delivered_count, after = 0, 0
    while page := _page(engine, before, after):
        after = page[-1]["stamp"]
        lost_ids = _lost(client, sorted({row["message_id"] for row in page}))
        # Settled in part, or taken apart: each part goes by its own name.
        parts = [
            row | {"message_id": f"{row['message_id']}.{row['stamp']}"}
            for row in page
            if row["message_id"] in lost_ids
        ]
        lost_part_ids = _lost(client, [part["message_id"] for part in parts])
        lost_parts = [part for part in parts if part["message_id"] in lost_part_ids]
        if lost_parts:
            delivered_count += hand_in(client, lost_parts, keys, front=True)
            # What was reserved for the whole is reserved for its parts now.
            Scripts(client).ack(Keys(COMMANDS), "", sorted(lost_ids))
        unreserved = [row["stamp"] for row in page if not row["reserved"]]
        if unreserved:
            inbox.note_reserved(engine, unreserved)
    return delivered_count


def _page(engine: Engine, before: int, after: int) -> list[dict[str, Any]]:
    table = inbox_table.c
    query = select(inbox_table).where(table.stamp < before, table.stamp > after)
    with reading(engine) as connection:
        rows = connection.execute(query.order_by(table.stamp).limit(PAGE)).mappings()
        return [dict(row) for row in rows]


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
