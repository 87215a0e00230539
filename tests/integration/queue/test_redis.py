"""Redis scripts: on a real server, the order of messages, who has taken them, and the watermark."""

from __future__ import annotations

import json
from typing import Any

import pytest
import redis

from models.errors import Unavailable
from tests.support.concurrency import eventually
from tests.support.worker import queue_contents
from workers.client import CommandClient, QueueFull
from workers.queue.messages import wrap
from workers.queue.redis import (
    COMMANDS,
    HEARTBEATS_KEY,
    WAKEUPS,
    FetchedMessage,
    FetchLimits,
    Keys,
    Scripts,
    connect,
)
from workers.queue.watermark import ArrivalClock
from workers.timestamps import from_us, to_us

KEYS = Keys(COMMANDS)


@pytest.fixture
def scripts(redis_client: redis.Redis) -> Scripts:
    return Scripts(redis_client)


def enqueue(scripts: Scripts, *command_texts: str) -> tuple[list[str], int]:
    """Enqueue each text in a message of its own, all in one call; return ids and first stamp."""
    messages = [wrap(COMMANDS, "commands", [text]) for text in command_texts]
    return [message[0] for message in messages], scripts.enqueue(KEYS, messages)


def fetch_messages(
    scripts: Scripts, consumer: str = "one", limit: int = 1_000
) -> list[FetchedMessage]:
    return scripts.fetch(KEYS, consumer, FetchLimits(limit)).found


def message_kwargs(message: FetchedMessage) -> dict[str, Any]:
    kwargs: dict[str, Any] = json.loads(message.payload)["kwargs"]
    return kwargs


def command_texts(messages: list[FetchedMessage]) -> list[str]:
    return [text for message in messages for text in message_kwargs(message)["commands"]]


def now_us(redis_client: redis.Redis) -> int:
    seconds, micros = redis_client.time()
    return int(seconds * 1_000_000 + micros)


def expire_heartbeat(redis_client: redis.Redis, consumer: str) -> None:
    """Make a consumer look as if it had not been heard of for an hour."""
    redis_client.zadd(HEARTBEATS_KEY, {consumer: now_us(redis_client) // 1_000 - 3_600_000})


TEXTS = tuple("abcdefghij")


def test_messages_are_taken_in_the_order_in_which_they_came(scripts: Scripts) -> None:
    for text in TEXTS[:5]:
        enqueue(scripts, text)
    enqueue(scripts, *TEXTS[5:])
    assert command_texts(fetch_messages(scripts, limit=3)) == list("abc")
    assert command_texts(fetch_messages(scripts, "other")) == list("defghij")
    assert fetch_messages(scripts) == []


def test_the_server_stamps_what_comes_in_with_its_own_time(
    scripts: Scripts, redis_client: redis.Redis
) -> None:
    before = now_us(redis_client)
    enqueue(scripts, "a", "b")
    after = now_us(redis_client)
    messages = fetch_messages(scripts)
    assert all(before <= message_kwargs(message)["received_at"] <= after for message in messages)
    assert [message.at for message in messages] == [
        message_kwargs(message)["received_at"] for message in messages
    ]


def test_every_command_has_a_stamp_of_its_own_and_its_sender_knows_it(
    scripts: Scripts, redis_client: redis.Redis
) -> None:
    client = CommandClient(redis_client)
    stamps = [client.submit(text) for text in "abc"]
    stamps += client.submit_many(map(str, range(25_000)), per_message=100)
    stamps += client.submit_many(map(str, range(100)), per_message=7)
    assert len(set(stamps)) == len(stamps)
    assert stamps == sorted(stamps)
    message_stamps: list[int] = []
    while messages := fetch_messages(scripts):
        for message in messages:
            first = message_kwargs(message)["stamp"]
            message_stamps += range(first, first + len(message_kwargs(message)["commands"]))
    assert message_stamps == stamps


def test_a_stamp_is_never_given_again_though_the_clock_is_set_back(
    scripts: Scripts, redis_client: redis.Redis
) -> None:
    ahead_us = now_us(redis_client) + 1_000_000
    redis_client.set(KEYS.stamp, ahead_us)
    assert enqueue(scripts, "a", "b")[1] == ahead_us + 1
    assert enqueue(scripts, "c")[1] == ahead_us + 3
    assert all(
        message_kwargs(message)["received_at"] < ahead_us for message in fetch_messages(scripts)
    )


def test_enqueuing_a_message_again_is_harmless(scripts: Scripts, redis_client: redis.Redis) -> None:
    message = wrap(COMMANDS, "commands", ["a"])
    first = scripts.enqueue(KEYS, [message])
    scripts.enqueue(KEYS, [message, message])
    assert queue_contents(redis_client)["commands waiting"] == 1
    (taken_message,) = fetch_messages(scripts)
    assert message_kwargs(taken_message)["stamp"] == first
    scripts.enqueue(KEYS, [message])
    assert fetch_messages(scripts) == [], "it is still in flight"


def test_a_full_queue_takes_nothing_in_and_says_so(
    redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.queue.redis.MAX_WAITING", 3)
    client = CommandClient(redis_client)
    client.submit_many("abc", per_message=1)
    before = queue_contents(redis_client)
    with pytest.raises(QueueFull):
        client.submit("d")
    with pytest.raises(QueueFull):
        CommandClient(redis_client).submit_many("de", per_message=1)
    assert queue_contents(redis_client) == before
    assert command_texts(fetch_messages(Scripts(redis_client))) == list("abc")
    client.submit("d")


def test_without_redis_a_sender_is_told_so() -> None:
    nowhere = connect("redis://127.0.0.1:1/0")
    with pytest.raises(Unavailable, match="Redis"):
        CommandClient(nowhere).submit("a")
    with pytest.raises(Unavailable):
        ArrivalClock(nowhere, None).now()
    nowhere.close()


def test_a_settled_message_leaves_nothing_behind_in_redis(
    scripts: Scripts, redis_client: redis.Redis
) -> None:
    ids, _ = enqueue(scripts, *TEXTS)
    fetch_messages(scripts)
    scripts.ack(KEYS, "one", ids[:4])
    assert [
        queue_contents(redis_client)[f"commands {counter}"]
        for counter in ("stored", "pending", "taken")
    ] == [6] * 3
    scripts.ack(KEYS, "one", [*ids, "unheard of"])
    scripts.ack(KEYS, "one", [])
    assert set(queue_contents(redis_client).values()) == {0}


def test_a_message_that_another_has_settled_is_not_handed_out(
    scripts: Scripts, redis_client: redis.Redis
) -> None:
    ids, _ = enqueue(scripts, "a", "b", "c")
    redis_client.hdel(KEYS.messages, ids[1])
    assert command_texts(fetch_messages(scripts)) == ["a", "c"]
    assert redis_client.smembers(KEYS.taken("one")) == {ids[0].encode(), ids[2].encode()}
    assert redis_client.zscore(KEYS.pending, ids[1]) is None


def test_released_messages_are_first_again_and_in_order(
    scripts: Scripts, redis_client: redis.Redis
) -> None:
    for text in TEXTS[:8]:
        enqueue(scripts, text)
    ids = [message.message_id for message in fetch_messages(scripts, limit=6)]
    scripts.ack(KEYS, "one", ids[:1])
    assert scripts.release(KEYS, "one", but=ids[1:2]) == 4
    assert command_texts(fetch_messages(scripts, "other")) == list("cdefgh")
    assert redis_client.smembers(KEYS.taken("one")) == {ids[1].encode()}
    assert scripts.release(KEYS, "one", but=ids) == 0


def test_messages_enqueued_in_one_call_are_released_in_their_order(scripts: Scripts) -> None:
    enqueue(scripts, *TEXTS)
    fetch_messages(scripts)
    scripts.release(KEYS, "one")
    assert command_texts(fetch_messages(scripts, "other")) == list(TEXTS)


def test_messages_of_a_dead_consumer_are_first_again_in_order_and_counted(
    scripts: Scripts, redis_client: redis.Redis
) -> None:
    for text in TEXTS[:5]:
        enqueue(scripts, text)
    ids = [message.message_id for message in fetch_messages(scripts, "dead", 3)]
    expire_heartbeat(redis_client, "dead")
    assert sorted(scripts.rescue(KEYS, 1_000, last=True)) == sorted(ids)
    assert redis_client.lrange(KEYS.waiting, 0, 2) == [message_id.encode() for message_id in ids]
    assert redis_client.hmget(KEYS.attempts, ids) == [b"1"] * 3
    assert redis_client.zrange(HEARTBEATS_KEY, 0, -1) == []
    assert scripts.rescue(KEYS, 1_000, last=True) == []


def test_a_message_that_kills_again_is_counted_again(
    scripts: Scripts, redis_client: redis.Redis
) -> None:
    ids, _ = enqueue(scripts, "a")
    for deaths in range(1, 4):
        (message,) = fetch_messages(scripts, f"victim_{deaths}")
        assert message.attempts == deaths - 1
        expire_heartbeat(redis_client, f"victim_{deaths}")
        assert scripts.rescue(KEYS, 1_000, last=True) == ids
    (message,) = fetch_messages(scripts)
    assert message.attempts == 3
    scripts.ack(KEYS, "one", ids)
    assert set(queue_contents(redis_client).values()) == {0}


def test_only_dead_consumers_lose_messages_and_are_forgotten_with_their_last_queue(
    scripts: Scripts, redis_client: redis.Redis
) -> None:
    enqueue(scripts, "a", "b")
    fetch_messages(scripts, "alive", 1)
    fetch_messages(scripts, "dead", 1)
    expire_heartbeat(redis_client, "dead")
    assert len(scripts.rescue(KEYS, 1_000, last=False)) == 1
    assert redis_client.zscore(HEARTBEATS_KEY, "dead") is not None
    scripts.rescue(Keys(WAKEUPS), 1_000, last=True)
    assert redis_client.zrange(HEARTBEATS_KEY, 0, -1) == [b"alive"]
    assert redis_client.scard(KEYS.taken("alive")) == 1


def test_whoever_asks_for_messages_shows_that_it_lives(
    scripts: Scripts, redis_client: redis.Redis
) -> None:
    expire_heartbeat(redis_client, "one")
    assert fetch_messages(scripts, limit=0) == []
    heard_at = redis_client.zscore(HEARTBEATS_KEY, "one")
    assert heard_at
    assert heard_at > now_us(redis_client) / 1_000 - 1_000
    assert scripts.rescue(KEYS, 1_000, last=True) == []


def test_notifications_of_a_queue_do_not_pile_up(
    scripts: Scripts, redis_client: redis.Redis
) -> None:
    for _ in range(40):
        enqueue(scripts, "a")
    assert 1 <= redis_client.llen(KEYS.notify) <= 16


def test_the_watermark_is_the_receipt_of_the_oldest_unsettled_message(
    scripts: Scripts, redis_client: redis.Redis
) -> None:
    arrival_clock, receipts = ArrivalClock(redis_client, None), []
    for text in "abc":
        ids, _ = enqueue(scripts, text)
        receipts.append((ids[0], from_us(int(redis_client.zscore(KEYS.pending, ids[0]) or 0))))
        eventually(lambda: to_us(arrival_clock.now()) > to_us(receipts[-1][1]))
    message_ids, instants = zip(*receipts, strict=True)
    assert arrival_clock.watermark(without=()) == instants[0]
    fetch_messages(scripts)
    assert list(map(from_us, stored_instants(redis_client))) == list(instants)
    assert arrival_clock.watermark(without=()) == instants[0], "in flight is not settled"
    assert arrival_clock.watermark(without=message_ids[:1]) == instants[1]
    assert arrival_clock.watermark(without=message_ids[1:]) == instants[0]
    scripts.ack(KEYS, "one", message_ids[:2])
    assert arrival_clock.watermark(without=()) == instants[2]
    assert instants[2] < arrival_clock.watermark(without=message_ids) <= arrival_clock.now()
    scripts.ack(KEYS, "one", message_ids[2:])
    assert instants[2] < arrival_clock.watermark(without=()) <= arrival_clock.now()


def stored_instants(redis_client: redis.Redis) -> list[int]:
    """Return when messages were received, as they say themselves, oldest first."""
    instants = (
        json.loads(text)["kwargs"]["received_at"] for text in redis_client.hvals(KEYS.messages)
    )
    return sorted(instants)


def test_a_rescued_message_still_counts_for_the_watermark(
    scripts: Scripts, redis_client: redis.Redis
) -> None:
    arrival_clock = ArrivalClock(redis_client, None)
    enqueue(scripts, "a")
    at = arrival_clock.watermark(without=())
    fetch_messages(scripts, "dead")
    expire_heartbeat(redis_client, "dead")
    scripts.rescue(KEYS, 1_000, last=True)
    assert arrival_clock.watermark(without=()) == at
    fetch_messages(scripts)
    scripts.release(KEYS, "one")
    assert arrival_clock.watermark(without=()) == at


def test_a_released_message_holds_no_deadline_back_and_is_settled_all_the_same(
    scripts: Scripts, redis_client: redis.Redis
) -> None:
    arrival_clock = ArrivalClock(redis_client, None)
    ids, _ = enqueue(scripts, "a")
    at = arrival_clock.watermark(without=())
    arrival_clock.excuse(ids)
    assert arrival_clock.watermark(without=()) > at
    assert command_texts(fetch_messages(scripts)) == ["a"]
    arrival_clock.excuse([])


def test_wake_ups_do_not_hold_back_the_time_they_tell_of(redis_client: redis.Redis) -> None:
    arrival_clock = ArrivalClock(redis_client, None)
    before = arrival_clock.now()
    Scripts(redis_client).enqueue(Keys(WAKEUPS), [wrap(WAKEUPS, "orders", ["o1"])])
    eventually(lambda: arrival_clock.watermark(without=()) > before)
