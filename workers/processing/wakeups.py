"""Wake-ups: finding whose time has come, and telling workers to look at them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import redis
from sqlalchemy import Column, Engine, Select, func, literal, select, union_all
from sqlalchemy.sql.dml import ReturningUpdate

from models.errors import Unavailable
from workers.database import schema
from workers.database.engine import reading, writing
from workers.database.mappers import MAPPERS
from workers.queue.messages import UNSIGNED, wrap
from workers.queue.redis import WAKEUPS, Keys, Scripts
from workers.signing import Keyring
from workers.timestamps import SECOND_US, to_us

LEASE_US = 15 * SECOND_US
"""After this a wake-up counts as lost and is sent again."""


PER_MESSAGE = 100
"""Orders named in one message."""


WAKEABLE_KEYS: tuple[tuple[str, Column[Any]], ...] = (
    ("", schema.orders.c.order_id),
    *(
        (f"{mapper.wake_prefix}:", mapper.table.c[mapper.key])
        for mapper in MAPPERS
        if mapper.wake_prefix
    ),
)
"""What has deadlines: how wake-ups name it, and its key; each table has a column `wake_at`."""


def nothing_due(engine: Engine, before: datetime) -> bool:
    """Tell, by one look at each index, whether nothing wants attention yet."""
    looks = (_due(key, before).limit(1).subquery() for _, key in WAKEABLE_KEYS)
    any_due = (select(literal(1)).select_from(look) for look in looks)
    with reading(engine) as connection:
        return connection.execute(union_all(*any_due)).first() is None


def has_orders(engine: Engine) -> bool:
    """Tell whether there is any order that time may have something to say about."""
    with reading(engine) as connection:
        return connection.execute(select(schema.orders.c.order_id).limit(1)).first() is not None


def count_due(engine: Engine, before: datetime, limit: int) -> int:
    """Count what wants attention, up to a number of each kind."""
    looks = (_due(key, before).limit(limit).subquery() for _, key in WAKEABLE_KEYS)
    counts = (select(func.count().label("due")).select_from(look) for look in looks)
    with reading(engine) as connection:
        return sum(connection.execute(union_all(*counts)).scalars())


def claim(engine: Engine, before: datetime, limit: int) -> list[str]:
    """Claim what wants attention, for the length of a lease; return the subjects.

    The claim moves `wake_at` ahead: whoever settles the order moves it back to where the rules
    want it, and a wake-up that is lost comes again. Several schedulers share the work.
    """
    lease, claimed = to_us(before) + LEASE_US, list[str]()
    with writing(engine) as connection:
        for prefix, key in WAKEABLE_KEYS:
            if len(claimed) == limit:
                break
            take = _take(key, before, limit - len(claimed)).values(wake_at=lease)
            claimed += [f"{prefix}{name}" for name in connection.execute(take).scalars()]
    return claimed


def _take(key: Column[Any], before: datetime, limit: int) -> ReturningUpdate[tuple[str]]:
    due = _due(key, before).order_by(key.table.c.wake_at).limit(limit)
    due = due.with_for_update(skip_locked=True)
    return key.table.update().where(key.in_(due.scalar_subquery())).returning(key)


def _due(key: Column[Any], before: datetime) -> Select[tuple[str]]:
    return select(key).where(key.table.c.wake_at <= to_us(before))


def send(client: redis.Redis, subjects: Sequence[str], keys: Keyring = UNSIGNED) -> None:
    """Ask workers to look at subjects, many in one message; signed, where keys are given."""
    groups = [subjects[n : n + PER_MESSAGE] for n in range(0, len(subjects), PER_MESSAGE)]
    if not groups:
        return
    try:
        messages = [wrap(WAKEUPS, group, keys) for group in groups]
        Scripts(client).enqueue(Keys(WAKEUPS), messages)
    except redis.RedisError as error:
        raise Unavailable(str(error)) from error


def count_waiting(client: redis.Redis) -> int:
    """Return how many wake-up messages nobody has taken yet."""
    try:
        return int(client.llen(Keys(WAKEUPS).waiting))
    except redis.RedisError as error:
        raise Unavailable(str(error)) from error
