"""Upgrade: what versions before 0.3 left under the old keys is carried over, and nothing else."""

from __future__ import annotations

import json
from typing import Any

import pytest
import redis
from dramatiq import Message

from tests.support.broker_harness import BrokerHarness, deliveries_of
from tests.support.stock_dramatiq import stock_broker
from workers.client import CommandClient
from workers.queue.redis import COMMANDS, WAKEUPS, Keys
from workers.queue.upgrade import (
    OLD_EPOCH_KEY,
    OLD_HEARTBEATS_KEY,
    OLD_SILENCE_S,
    OldKeys,
    carry_over,
    has_leftovers,
)
from workers.settings import SettingsError

OLD = OldKeys(COMMANDS)

ACTORS = {COMMANDS: "settle_commands", WAKEUPS: "wake_orders"}


def now_us(client: redis.Redis) -> int:
    seconds, micros = client.time()
    return int(seconds * 1_000_000 + micros)


def leave(
    client: redis.Redis, message_id: str, stamp: int, *, queue: str = COMMANDS, **kwargs: object
) -> None:
    """Leave a message as the script of version 0.2 wrote it."""
    keys, items = OldKeys(queue), {COMMANDS: "commands", WAKEUPS: "orders"}[queue]
    fields = {"queue_name": queue, "actor_name": ACTORS[queue], "args": [], "options": {}}
    stamped_kwargs = {items: [message_id], "received_at": stamp, "stamp": stamp} | kwargs
    client.hset(keys.messages, message_id, json.dumps(fields | {"kwargs": stamped_kwargs}))
    client.zadd(keys.pending, {message_id: stamp})
    client.rpush(keys.waiting, message_id)
    client.set(OLD_EPOCH_KEY, 1)


def take_as_dead_worker(client: redis.Redis, message_id: str) -> None:
    """Take a message as a worker of version 0.2 that died an hour ago."""
    client.lrem(OLD.waiting, 1, message_id)
    client.sadd(OLD.taken("w1"), message_id)
    client.zadd(OLD_HEARTBEATS_KEY, {"w1": now_us(client) // 1_000 - 3_600_000})


def no_wait(_: float) -> None:
    raise AssertionError("there is nobody to wait for")


def old_keys(client: redis.Redis) -> set[str]:
    names: Any = client.keys("dramatiq:*")
    return {name.decode() for name in names}


def test_nothing_is_carried_over_where_no_old_version_was(redis_client: redis.Redis) -> None:
    assert carry_over(redis_client, wait=no_wait) == 0
    assert redis_client.keys("*") == []


def test_what_waits_or_was_taken_is_carried_over_in_the_order_of_its_receipt(
    redis_client: redis.Redis,
) -> None:
    hour_ago = now_us(redis_client) - 3_600_000_000
    for number in (2, 0, 1, 3):
        leave(redis_client, f"m{number}", hour_ago + number)
    take_as_dead_worker(redis_client, "m1")
    redis_client.hset(OLD.attempts, "m3", 0)
    redis_client.hset(OLD.waiting + ".nobody's", "x", "y")
    assert carry_over(redis_client, wait=no_wait) == 4
    assert old_keys(redis_client) == {OLD_HEARTBEATS_KEY, OLD.waiting + ".nobody's"}
    assert redis_client.lrange(Keys(COMMANDS).waiting, 0, -1) == [b"m0", b"m1", b"m2", b"m3"]
    harness = BrokerHarness(redis_client)
    assert sorted(harness.drain()) == ["m0", "m1", "m2", "m3"]
    assert harness.quarantined == []


def test_carried_messages_keep_stamp_and_place_before_what_came_later(
    redis_client: redis.Redis,
) -> None:
    hour_ago = now_us(redis_client) - 3_600_000_000
    harness = BrokerHarness(redis_client)
    (newest,) = CommandClient(redis_client).submit_many(["new"])
    leave(redis_client, "m1", hour_ago + 1)
    leave(redis_client, "m0", hour_ago)
    carry_over(redis_client, wait=no_wait)
    deliveries = deliveries_of(harness.take())
    texts_and_stamps = [(d.commands[0].text, d.commands[0].stamp) for d in deliveries]
    assert texts_and_stamps == [("m0", hour_ago), ("m1", hour_ago + 1), ("new", newest)]


def test_a_death_under_the_old_version_counts_under_the_new(redis_client: redis.Redis) -> None:
    hour_ago = now_us(redis_client) - 3_600_000_000
    for number in range(3):
        leave(redis_client, f"m{number}", hour_ago + number)
    take_as_dead_worker(redis_client, "m1")
    redis_client.hset(OLD.attempts, "m2", 2)
    carry_over(redis_client, wait=no_wait)
    attempts: Any = redis_client.hgetall(Keys(COMMANDS).attempts)
    assert attempts == {b"m0": b"0", b"m1": b"1", b"m2": b"2"}


def test_commands_of_the_inbox_keep_stamps_of_their_own(redis_client: redis.Redis) -> None:
    hour_ago = now_us(redis_client) - 3_600_000_000
    stamps = [hour_ago, hour_ago + 7]
    leave(redis_client, "inbox-1", hour_ago, commands=["a", "b"], stamps=stamps, traces=[None, "t"])
    carry_over(redis_client, wait=no_wait)
    deliveries = deliveries_of(BrokerHarness(redis_client).take())
    assert [delivery.message_id for delivery in deliveries] == [f"inbox-1.{s}" for s in stamps]
    commands = [command for delivery in deliveries for command in delivery.commands]
    assert [(command.text, command.stamp) for command in commands] == [
        ("a", stamps[0]),
        ("b", stamps[1]),
    ]


def test_wake_ups_are_carried_over_too(redis_client: redis.Redis) -> None:
    leave(redis_client, "o1", now_us(redis_client) - 60_000_000, queue=WAKEUPS)
    assert carry_over(redis_client, wait=no_wait) == 1
    assert redis_client.lrange(Keys(WAKEUPS).waiting, 0, -1) == [b"o1"]


def test_messages_of_an_old_sender_are_found_though_no_old_worker_ever_ran(
    redis_client: redis.Redis,
) -> None:
    leave(redis_client, "m1", now_us(redis_client) - 1_000_000)
    redis_client.delete(OLD_EPOCH_KEY)
    assert has_leftovers(redis_client)
    assert carry_over(redis_client, wait=no_wait) == 1
    assert not has_leftovers(redis_client)


def test_a_new_worker_refuses_to_run_beside_an_idle_old_one(redis_client: redis.Redis) -> None:
    leave(redis_client, "m1", 5)
    redis_client.set(OLD.floor, now_us(redis_client))

    def ask_for_messages(pause_s: float) -> None:
        assert pause_s == OLD_SILENCE_S
        redis_client.set(OLD.floor, now_us(redis_client))

    with pytest.raises(SettingsError, match="Stop every one of them"):
        carry_over(redis_client, wait=ask_for_messages)
    assert redis_client.llen(OLD.waiting) == 1
    assert redis_client.exists(Keys(COMMANDS).messages) == 0


def test_a_new_worker_refuses_to_run_beside_an_old_one_that_is_busy_with_a_backlog(
    redis_client: redis.Redis,
) -> None:
    leave(redis_client, "m1", 5)
    take_as_dead_worker(redis_client, "m1")

    def beat(_: float = 0.0) -> None:
        redis_client.zadd(OLD_HEARTBEATS_KEY, {"w1": now_us(redis_client) // 1_000})

    beat()
    redis_client.zincrby(OLD_HEARTBEATS_KEY, -100, "w1")
    with pytest.raises(SettingsError, match="Stop every one of them"):
        carry_over(redis_client, wait=beat)


def test_an_old_worker_that_has_just_stopped_holds_nobody_up(redis_client: redis.Redis) -> None:
    leave(redis_client, "m1", 5)
    redis_client.set(OLD.floor, now_us(redis_client))
    pauses: list[float] = []
    assert carry_over(redis_client, wait=pauses.append) == 1
    assert pauses == [OLD_SILENCE_S]


def test_the_heartbeat_of_somebody_elses_worker_is_none_of_an_old_one(
    redis_client: redis.Redis,
) -> None:
    leave(redis_client, "m1", 5)
    stock = stock_broker(redis_client, namespace="dramatiq")
    stock.do_qsize("default")
    assert carry_over(redis_client, wait=no_wait) == 1


def test_somebody_elses_queue_of_the_same_name_stays_as_it_is(redis_client: redis.Redis) -> None:
    stock = stock_broker(redis_client, namespace="dramatiq")
    for number in range(3):
        stock.enqueue(Message[Any](COMMANDS, "theirs", (number,), {}, {}))
        leave(redis_client, f"m{number}", 5 + number)
    consumer = stock.consume(COMMANDS, prefetch=2)
    first = next(consumer)
    assert first is not None
    assert first.actor_name == "theirs"
    ours_taken_by_them = OldKeys(COMMANDS).taken(stock.broker_id)
    assert redis_client.sismember(ours_taken_by_them, "m0")
    before: Any = redis_client.hgetall(OLD.messages)
    assert carry_over(redis_client, wait=lambda _: None) == 3
    after: Any = redis_client.hgetall(OLD.messages)
    assert after == {name: text for name, text in before.items() if name not in names(3)}
    assert redis_client.llen(OLD.waiting) == 2
    assert redis_client.smembers(ours_taken_by_them) == {first.options["redis_message_id"].encode()}
    consumer.ack(first)
    assert redis_client.hlen(OLD.messages) == 2


def names(count: int) -> set[bytes]:
    return {f"m{number}".encode() for number in range(count)}
