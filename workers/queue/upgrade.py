"""Upgrade: carries over what waits under the keys of versions before 0.3.

They shared their keys with every other Dramatiq application on the same Redis, so what is not
known to be ours is let alone.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

import redis
import structlog

from models.errors import Unavailable
from workers.queue.messages import ACTORS, ITEM_FIELDS
from workers.queue.redis import QUEUES, Keys, Scripts
from workers.settings import SettingsError
from workers.timestamps import SECOND_US

log = structlog.get_logger()

OLD_NAMESPACE = "dramatiq"

OLD_EPOCH_KEY = f"{OLD_NAMESPACE}:__epoch__"

OLD_HEARTBEATS_KEY = f"{OLD_NAMESPACE}:__heartbeats__"

OLD_ALIVE_US = 15 * SECOND_US
"""How long an old worker may be silent and still live."""

OLD_SILENCE_S = 4.0
"""How long is looked for a sign of life: old workers give one every second."""

PER_CALL = 100

MAX_STAMP = 2**53


@dataclass(frozen=True, slots=True)
class OldKeys(Keys):
    """The names that one queue's keys had; no other application has any but the first two."""

    namespace: str = OLD_NAMESPACE

    def taken(self, worker: str) -> str:
        return f"{self.namespace}:__acks__.{worker}.{self.queue}"


Part = tuple[str, int, str | bytes]
"""What is handed in: id, stamp, text."""


def has_leftovers(client: redis.Redis) -> bool:
    """Tell whether something of an old version is there: its workers' mark, or its messages."""
    return bool(client.exists(OLD_EPOCH_KEY, *(OldKeys(queue).pending for queue in QUEUES)))


def carry_over(client: redis.Redis, *, wait: Callable[[float], None] = time.sleep) -> int:
    """Hand in what old versions left in Redis, in the order of its receipt; return how many.

    Raise `SettingsError` while an old worker lives: it would take what it must not, and
    `Unavailable` while Redis is away.
    """
    try:
        if not has_leftovers(client):
            return 0
        _refuse_beside_old_workers(client, wait)
        carried_count = sum(_carry_queue(client, queue) for queue in QUEUES)
        client.delete(OLD_EPOCH_KEY)
    except redis.RedisError as error:
        raise Unavailable(f"Redis does not answer: {error}") from error
    log.warning("messages.carried_over", messages=carried_count)
    return carried_count


def _refuse_beside_old_workers(client: redis.Redis, wait: Callable[[float], None]) -> None:
    """Refuse to begin while an old worker lives; one that has just stopped does not."""
    first = _signs_of_life(client)
    if not first:
        return
    wait(OLD_SILENCE_S)
    if any(at > first.get(name, 0) for name, at in _signs_of_life(client).items()):
        raise SettingsError(
            "A worker of a version before 0.3 still runs on this Redis. Stop every one of them "
            "first; what they leave is carried over."
        )


def _signs_of_life(client: redis.Redis) -> dict[str, int]:
    """Say when somebody last asked for messages of ours, or showed that it lives and has some.

    Others send heartbeats under the same key, so a heartbeat alone proves nothing.
    """
    seconds, micros = client.time()
    since = seconds * SECOND_US + micros - OLD_ALIVE_US
    signs = {}
    for queue in QUEUES:
        asked_at = int(client.get(OldKeys(queue).floor) or 0)
        if asked_at > since:
            signs[f"{queue}.floor"] = asked_at
    since_ms = since // 1_000
    heartbeats: Any = client.zrangebyscore(OLD_HEARTBEATS_KEY, since_ms, "+inf", withscores=True)
    for worker, beaten_at_ms in heartbeats:
        if any(_ours_taken_by(client, queue, worker) for queue in QUEUES):
            signs[worker.decode()] = int(beaten_at_ms)
    return signs


def _ours_taken_by(client: redis.Redis, queue: str, worker: bytes) -> list[bytes]:
    """Return the ids that a worker has taken, of messages that an old version of ours stamped."""
    ids: Any = sorted(client.smembers(OldKeys(queue).taken(worker.decode())))
    scores: Any = client.zmscore(OldKeys(queue).pending, ids) if ids else []
    return [message_id for message_id, score in zip(ids, scores, strict=True) if score is not None]


def _carry_queue(client: redis.Redis, queue: str) -> int:
    """Hand in the messages of one queue that are ours, and forget them where they were."""
    keys, carried_count = OldKeys(queue), 0
    # A sender of an old version may still be sending.
    while stamps := _old_stamps(client, queue):
        ids = sorted(stamps, key=lambda message_id: (stamps[message_id], message_id))
        for first in range(0, len(ids), PER_CALL):
            chunk = {message_id: stamps[message_id] for message_id in ids[first : first + PER_CALL]}
            _carry(client, queue, chunk)
        carried_count += len(ids)
    own_suffixes = ("pending", "attempts", "bell", "stamp", "floor")
    client.delete(*(f"{keys.waiting}.{suffix}" for suffix in own_suffixes))
    return carried_count


def _carry(client: redis.Redis, queue: str, stamps: Mapping[bytes, int]) -> None:
    old_keys, keys, ids = OldKeys(queue), Keys(queue), list(stamps)
    workers: Any = client.zrange(OLD_HEARTBEATS_KEY, 0, -1)
    taken_by_worker = {worker: _ours_taken_by(client, queue, worker) for worker in workers}
    in_flight = {message_id for taken_ids in taken_by_worker.values() for message_id in taken_ids}
    death_counts: Any = client.hmget(old_keys.attempts, ids)
    payloads: Any = client.hmget(old_keys.messages, ids)
    parts: list[Part] = []
    for message_id, payload, deaths in zip(ids, payloads, death_counts, strict=True):
        message_parts = _parts(queue, message_id, payload or b"", stamps[message_id])
        death_count = int(deaths or 0) + (message_id in in_flight)
        if death_count:
            client.hset(keys.attempts, mapping={part[0]: death_count for part in message_parts})
        parts += message_parts
    Scripts(client).hand_in(keys, parts, front=False)
    with client.pipeline(transaction=True) as pipe:
        pipe.hdel(old_keys.messages, *ids)
        for message_id in ids:
            pipe.lrem(old_keys.waiting, 1, cast("str", message_id))
        for worker in (worker for worker, taken_ids in taken_by_worker.items() if taken_ids):
            pipe.srem(old_keys.taken(worker.decode()), *ids)
        pipe.execute()


def _old_stamps(client: redis.Redis, queue: str) -> dict[bytes, int]:
    """Return the stamps of what is ours, by id.

    What an old worker has set right stands beside a message, and nothing is of tomorrow.
    """
    keys, stamps = OldKeys(queue), {}
    seconds, micros = client.time()
    now = seconds * SECOND_US + micros
    received_at: dict[bytes, float] = dict(client.zscan_iter(keys.pending))
    for message_id, payload in client.hscan_iter(keys.messages):
        message = _our_message(queue, payload)
        if message is not None:
            stamp = max(message["kwargs"]["stamp"], int(received_at.get(message_id, 0)))
            stamps[message_id] = min(stamp, now)
    return stamps


def _our_message(queue: str, payload: bytes) -> Any:  # noqa: ANN401 - JSON
    """Read a message that an old version of ours has written; None where it is any other."""
    try:
        message: Any = json.loads(payload)
        stamp = message["kwargs"]["stamp"]
        is_ours = message["actor_name"] == ACTORS[queue]
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    return message if is_ours and type(stamp) is int and 0 < stamp < MAX_STAMP else None


def _parts(queue: str, message_id: bytes, payload: bytes, stamp: int) -> list[Part]:
    """Write a message anew: as it is, or taken apart where its commands have stamps of their own.

    Those are of the inbox, whose sweep names a part as it is named here: by its stamp.
    """
    name, message = message_id.decode("utf-8", "surrogateescape"), _our_message(queue, payload)
    kwargs, field = message["kwargs"] if message else {}, ITEM_FIELDS[queue]
    items, stamps = kwargs.get(field), kwargs.get("stamps")
    if not isinstance(items, list) or not isinstance(stamps, list) or len(items) != len(stamps):
        return [(name, stamp, payload)]
    if not all(type(own) is int and 0 < own < MAX_STAMP for own in stamps):
        return [(name, stamp, payload)]
    parts: list[Part] = []
    for number, own_stamp in enumerate(stamps):
        part_kwargs = {
            part_name: [values[number]]
            for part_name in (field, "signatures", "traces")
            if isinstance(values := kwargs.get(part_name), list) and len(values) == len(stamps)
        }
        text = json.dumps({**message, "kwargs": part_kwargs}, separators=(",", ":"))
        parts.append((f"{name}.{own_stamp}", own_stamp, text))
    return parts
