"""Redis scripts: on a real server, who has taken which message, and what is earlier than what."""

from __future__ import annotations

import json
from datetime import datetime
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
    MAX_ITEMS,
    RESERVATION_US,
    STAMP_KEY,
    WAKEUPS,
    WORKERS_KEY,
    FetchedMessage,
    FetchLimits,
    Keys,
    Scripts,
    connect,
    worker_bell,
)
from workers.queue.watermark import ArrivalClock
from workers.timestamps import from_us

KEYS = Keys(COMMANDS)


@pytest.fixture
def scripts(redis_client: redis.Redis) -> Scripts:
    return Scripts(redis_client)


def enqueue(scripts: Scripts, *command_texts: str) -> tuple[list[str], list[int]]:
    """Enqueue each text in a message of its own, all in one call; return ids and stamps."""
    messages = [wrap(COMMANDS, [text]) for text in command_texts]
    return [message[0] for message in messages], scripts.enqueue(KEYS, messages)


def fetch_messages(
    scripts: Scripts, consumer: str = "one", limit: int = 1_000
) -> list[FetchedMessage]:
    return scripts.fetch(KEYS, consumer, FetchLimits(limit)).messages


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
    redis_client.zadd(WORKERS_KEY, {consumer: now_us(redis_client) // 1_000 - 3_600_000})


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
    _, stamps = enqueue(scripts, "a", "b")
    after = now_us(redis_client)
    assert all(before <= stamp <= after + 1 for stamp in stamps)
    messages = fetch_messages(scripts)
    assert [message.stamp for message in messages] == stamps
    assert all(set(message_kwargs(message)) == {"commands"} for message in messages)


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
            count = len(message_kwargs(message)["commands"])
            message_stamps += range(message.stamp, message.stamp + count)
    assert message_stamps == stamps


def test_a_stamp_is_never_given_again_though_the_clock_is_set_back(
    scripts: Scripts, redis_client: redis.Redis
) -> None:
    ahead_us = now_us(redis_client) + 1_000_000
    redis_client.set(STAMP_KEY, ahead_us)
    assert enqueue(scripts, "a", "b")[1] == [ahead_us + 1, ahead_us + 2]
    assert enqueue(scripts, "c")[1] == [ahead_us + 3]
    assert scripts.reserve([("reserved", 5, b"")]) == [ahead_us + 4]
    assert [message.stamp for message in fetch_messages(scripts)] == [
        ahead_us + 1,
        ahead_us + 2,
        ahead_us + 3,
    ]
    assert enqueue(scripts, "d")[1] == [ahead_us + 9]


def test_a_last_stamp_far_ahead_of_all_clocks_is_not_believed(
    scripts: Scripts, redis_client: redis.Redis
) -> None:
    redis_client.set(STAMP_KEY, now_us(redis_client) + 7_200_000_000)
    _, (stamp,) = enqueue(scripts, "a")
    assert stamp <= now_us(redis_client)


def test_stamps_of_both_queues_never_collide(scripts: Scripts, redis_client: redis.Redis) -> None:
    redis_client.set(STAMP_KEY, now_us(redis_client) + 1_000_000)
    stamps: list[int] = []
    for number in range(20):
        queue = (COMMANDS, WAKEUPS)[number % 2]
        stamps += scripts.enqueue(Keys(queue), [wrap(queue, ["a"])])
    assert len(set(stamps)) == len(stamps)


def test_enqueuing_a_message_again_is_harmless_and_returns_the_same_stamp(
    scripts: Scripts, redis_client: redis.Redis
) -> None:
    message = wrap(COMMANDS, ["a"])
    (first,) = scripts.enqueue(KEYS, [message])
    assert scripts.enqueue(KEYS, [message, message]) == [first, first]
    assert queue_contents(redis_client)["commands waiting"] == 1
    (taken_message,) = fetch_messages(scripts)
    assert taken_message.stamp == first
    assert scripts.enqueue(KEYS, [message]) == [first]
    assert fetch_messages(scripts) == [], "it is still in flight"


def test_what_another_dramatiq_has_sent_is_stamped_when_it_is_taken(
    scripts: Scripts, redis_client: redis.Redis
) -> None:
    _, (first,) = enqueue(scripts, "a")
    redis_client.hset(KEYS.messages, "foreign", wrap(COMMANDS, ["b", "c"])[2])
    redis_client.rpush(KEYS.waiting, "foreign")
    _, (last,) = enqueue(scripts, "d")
    own, foreign, later = fetch_messages(scripts)
    assert (own.stamp, later.stamp) == (first, last)
    assert foreign.stamp > last
    assert redis_client.zscore(KEYS.pending, "foreign") == foreign.stamp
    assert enqueue(scripts, "e")[1][0] >= foreign.stamp + MAX_ITEMS, "it may carry so many"


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
    assert redis_client.zrange(WORKERS_KEY, 0, -1) == []
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
    assert redis_client.zscore(WORKERS_KEY, "dead") is not None
    scripts.rescue(Keys(WAKEUPS), 1_000, last=True)
    assert redis_client.zrange(WORKERS_KEY, 0, -1) == [b"alive"]
    assert redis_client.scard(KEYS.taken("alive")) == 1


def test_whoever_asks_for_messages_shows_that_it_lives(
    scripts: Scripts, redis_client: redis.Redis
) -> None:
    expire_heartbeat(redis_client, "one")
    assert fetch_messages(scripts, limit=0) == []
    heard_at = redis_client.zscore(WORKERS_KEY, "one")
    assert heard_at
    assert heard_at > now_us(redis_client) / 1_000 - 1_000
    assert scripts.rescue(KEYS, 1_000, last=True) == []


def test_notifications_of_a_queue_do_not_pile_up(
    scripts: Scripts, redis_client: redis.Redis
) -> None:
    for _ in range(40):
        enqueue(scripts, "a")
    assert 1 <= redis_client.llen(KEYS.notify) <= 16


def test_the_watermark_is_the_receipt_of_the_oldest_message_that_nobody_has_read(
    scripts: Scripts, redis_client: redis.Redis
) -> None:
    arrival_clock = ArrivalClock(redis_client, None)
    ids: list[str] = []
    instants: list[datetime] = []
    for text in "abc":
        (message_id,), (stamp,) = enqueue(scripts, text)
        ids.append(message_id)
        instants.append(from_us(stamp))
        eventually(lambda: arrival_clock.now() > instants[-1])
    assert arrival_clock.watermark() == instants[0]
    fetch_messages(scripts)
    assert arrival_clock.watermark() == instants[0], "taken is not read"
    scripts.frontier(KEYS, {ids[0]: b""})
    assert arrival_clock.watermark() == instants[1]
    scripts.ack(KEYS, "one", ids[:2])
    assert arrival_clock.watermark() == instants[2]
    scripts.ack(KEYS, "one", ids[2:])
    assert instants[2] < arrival_clock.watermark() <= arrival_clock.now()


def test_a_rescued_message_still_counts_for_the_watermark(
    scripts: Scripts, redis_client: redis.Redis
) -> None:
    arrival_clock = ArrivalClock(redis_client, None)
    enqueue(scripts, "a")
    at = arrival_clock.watermark()
    fetch_messages(scripts, "dead")
    expire_heartbeat(redis_client, "dead")
    scripts.rescue(KEYS, 1_000, last=True)
    assert arrival_clock.watermark() == at
    fetch_messages(scripts)
    scripts.release(KEYS, "one")
    assert arrival_clock.watermark() == at


def test_wake_ups_do_not_hold_back_the_time_they_tell_of(redis_client: redis.Redis) -> None:
    arrival_clock = ArrivalClock(redis_client, None)
    before = arrival_clock.now()
    Scripts(redis_client).enqueue(Keys(WAKEUPS), [wrap(WAKEUPS, ["o1"])])
    eventually(lambda: arrival_clock.watermark() > before)


def test_a_frontier_names_what_is_earlier_and_not_mine_with_texts_nobody_has_read(
    scripts: Scripts,
) -> None:
    ids, stamps = enqueue(scripts, "a", "b", "c")
    scripts.frontier(KEYS, {ids[0]: b"about a"})
    reply = scripts.frontier(KEYS, {ids[2]: b"about c"}, before=stamps[2])
    first, second = reply.earlier
    assert (first.message_id, first.stamp, first.subjects) == (ids[0], stamps[0], b"about a")
    assert (second.message_id, second.stamp, second.subjects) == (ids[1], stamps[1], None)
    assert json.loads(second.payload)["kwargs"]["commands"] == ["b"]
    assert reply.unknown_from is None
    assert reply.now >= stamps[2]
    assert scripts.frontier(KEYS, {ids[1]: b""}, before=stamps[0]).earlier == []


def test_a_frontier_without_texts_ends_at_the_first_message_that_nobody_has_read(
    scripts: Scripts,
) -> None:
    ids, stamps = enqueue(scripts, "a", "b", "c")
    scripts.frontier(KEYS, {ids[0]: b"", ids[2]: b""})
    reply = scripts.frontier(KEYS, {}, with_texts=False)
    assert reply.unknown_from == stamps[1]
    assert [message.message_id for message in reply.earlier] == ids[:2]


def test_a_frontier_hands_out_so_many_texts_and_from_there_nothing_is_known(
    scripts: Scripts, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids, stamps = enqueue(scripts, *TEXTS[:3])
    monkeypatch.setattr("workers.queue.redis.MAX_TEXT_BYTES", len(wrap(COMMANDS, ["a"])[2]) + 10)
    reply = scripts.frontier(KEYS, {})
    assert reply.unknown_from == stamps[1]
    assert [message.message_id for message in reply.earlier] == ids[:2]
    assert reply.earlier[1].payload == b""


def test_a_frontier_looks_beyond_its_first_page(scripts: Scripts) -> None:
    ids, _ = enqueue(scripts, *("x" for _ in range(1_300)))
    reply = scripts.frontier(KEYS, dict.fromkeys(ids[100:600], b""))
    assert [message.message_id for message in reply.earlier] == [*ids[:100], *ids[600:]]


def test_what_is_said_of_a_message_that_is_settled_is_forgotten(
    scripts: Scripts, redis_client: redis.Redis
) -> None:
    ids, _ = enqueue(scripts, "a")
    fetch_messages(scripts)
    scripts.ack(KEYS, "one", ids)
    scripts.frontier(KEYS, {ids[0]: b"a worker that was frozen"})
    assert set(queue_contents(redis_client).values()) == {0}


def test_an_entry_whose_message_is_gone_is_waited_for_by_nobody(
    scripts: Scripts, redis_client: redis.Redis
) -> None:
    ids, _ = enqueue(scripts, "a", "b")
    redis_client.hdel(KEYS.messages, ids[0])
    assert [message.message_id for message in scripts.frontier(KEYS, {}).earlier] == ids[1:]


def test_a_reservation_is_earlier_than_what_comes_in_after_it(
    scripts: Scripts, redis_client: redis.Redis
) -> None:
    first, second = scripts.reserve([("inbox-1", 3, b"about"), ("inbox-2", 1, b"")])
    _, (stamp,) = enqueue(scripts, "a")
    assert first + 3 <= second < stamp
    reserved = scripts.frontier(KEYS, {}, before=stamp).earlier
    assert [(item.message_id, item.stamp, item.subjects) for item in reserved] == [
        ("inbox-1", first, b"about"),
        ("inbox-2", second, b""),
    ]
    assert command_texts(fetch_messages(scripts)) == ["a"], "there is no message yet"
    assert scripts.hand_in(KEYS, [("inbox-1", first, wrap(COMMANDS, ["r"])[2])], front=False) == 1
    (message,) = fetch_messages(scripts)
    assert (message.message_id, message.stamp) == ("inbox-1", first)
    scripts.ack(KEYS, "", ["inbox-2"])
    assert redis_client.zscore(KEYS.pending, "inbox-2") is None


def test_a_reservation_without_its_message_is_dropped_when_its_time_is_over(
    scripts: Scripts, redis_client: redis.Redis
) -> None:
    scripts.reserve([("lost", 1, b"about"), ("on its way", 1, b"")])
    redis_client.zadd(KEYS.pending, {"lost": now_us(redis_client) - RESERVATION_US - 1})
    assert scripts.mend(KEYS, thoroughly=False)[1] == 1
    assert redis_client.zrange(KEYS.pending, 0, -1) == [b"on its way"]
    assert redis_client.hkeys(KEYS.subjects) == [b"on its way"]


def test_messages_whose_stamps_are_given_wait_where_their_stamps_say(scripts: Scripts) -> None:
    _, stamps = enqueue(scripts, "b", "d")
    handed_in = [
        ("a", stamps[0] - 1, wrap(COMMANDS, ["a"])[2]),
        ("e", stamps[1] + 9, wrap(COMMANDS, ["e"])[2]),
    ]
    assert scripts.hand_in(KEYS, handed_in[:1], front=True) == 1
    assert scripts.hand_in(KEYS, handed_in, front=False) == 1
    assert command_texts(fetch_messages(scripts, limit=3)) == ["a", "b", "d"]
    assert scripts.hand_in(KEYS, handed_in, front=True) == 0, "taken or waiting is not lost"
    assert command_texts(fetch_messages(scripts)) == ["e"]


@pytest.mark.parametrize("front", [False, True])
def test_an_old_message_handed_in_at_either_end_waits_in_its_place(
    scripts: Scripts, *, front: bool
) -> None:
    enqueue(scripts, "a")
    (stamp,) = scripts.reserve([("reserved", 1, b"")])
    enqueue(scripts, *"cdef")
    scripts.hand_in(KEYS, [("reserved", stamp, wrap(COMMANDS, ["b"])[2])], front=front)
    assert command_texts(fetch_messages(scripts)) == list("abcdef")


def test_parts_of_a_message_wait_where_it_stood_each_with_its_own_stamp(
    scripts: Scripts, redis_client: redis.Redis
) -> None:
    whole = wrap(COMMANDS, ["a", "b"])
    scripts.enqueue(KEYS, [whole])
    enqueue(scripts, "c")
    (message,) = fetch_messages(scripts, limit=1)
    stamps = [message.stamp, message.stamp + 1]
    parts = [
        (f"part {text}", wrap(COMMANDS, [text])[2], stamp)
        for text, stamp in zip("ab", stamps, strict=True)
    ]
    scripts.split(KEYS, "one", whole[0], parts)
    scripts.split(KEYS, "one", whole[0], parts)
    assert redis_client.zscore(KEYS.pending, whole[0]) is None
    messages = fetch_messages(scripts)
    assert command_texts(messages) == ["a", "b", "c"]
    assert [message.stamp for message in messages[:2]] == stamps


def test_only_what_is_earlier_than_a_stamp_is_taken_where_there_is_no_room(
    scripts: Scripts,
) -> None:
    _, stamps = enqueue(scripts, "a", "b", "c")
    result = scripts.fetch(KEYS, "one", FetchLimits(10, before=stamps[1]))
    assert command_texts(result.messages) == ["a"]
    result = scripts.fetch(KEYS, "one", FetchLimits(10, before=stamps[1]))
    assert (result.messages, result.more) == ([], False)
    assert command_texts(fetch_messages(scripts)) == ["b", "c"]


def test_whoever_waits_for_a_message_is_woken_when_it_is_settled(
    scripts: Scripts, redis_client: redis.Redis
) -> None:
    ids, _ = enqueue(scripts, "a", "b")
    fetch_messages(scripts, "other")
    scripts.frontier(KEYS, {ids[0]: b"about"})
    assert not scripts.wait(KEYS, "one", {ids[0]: len(b"about")})
    scripts.ack(KEYS, "other", ids[1:])
    assert redis_client.llen(worker_bell("one")) == 0
    scripts.ack(KEYS, "other", ids[:1])
    assert redis_client.llen(worker_bell("one")) == 1
    assert redis_client.pttl(worker_bell("one")) > 0, "a worker that has died hears nothing"
    assert redis_client.hlen(KEYS.waiters) == 0


def test_whoever_waits_for_a_message_is_woken_when_less_of_it_is_left(
    scripts: Scripts, redis_client: redis.Redis
) -> None:
    ids, _ = enqueue(scripts, "a")
    fetch_messages(scripts, "other")
    scripts.frontier(KEYS, {ids[0]: b"about two"})
    for worker in ("one", "two"):
        assert not scripts.wait(KEYS, worker, {ids[0]: len(b"about two")})
    scripts.ack(KEYS, "other", [], {ids[0]: b"one"})
    assert [redis_client.llen(worker_bell(worker)) for worker in ("one", "two")] == [1, 1]
    assert scripts.frontier(KEYS, {}).earlier[0].subjects == b"one"


def test_nobody_waits_for_what_has_changed_since_it_looked(scripts: Scripts) -> None:
    ids, _ = enqueue(scripts, "a", "b")
    fetch_messages(scripts, "other")
    scripts.frontier(KEYS, dict.fromkeys(ids, b"about two"))
    scripts.ack(KEYS, "other", ids[:1], {ids[1]: b"one"})
    assert scripts.wait(KEYS, "one", {ids[0]: len(b"about two")}), "it is settled"
    assert scripts.wait(KEYS, "one", {ids[1]: len(b"about two")}), "less of it is left"
    assert not scripts.wait(KEYS, "one", {ids[1]: len(b"one")})


def test_whoever_waits_is_woken_when_a_message_is_found_to_be_gone(
    scripts: Scripts, redis_client: redis.Redis
) -> None:
    scripts.reserve([("lost", 1, b"about")])
    assert not scripts.wait(KEYS, "one", {"lost": len(b"about")})
    redis_client.zadd(KEYS.pending, {"lost": now_us(redis_client) - RESERVATION_US - 1})
    scripts.mend(KEYS, thoroughly=False)
    assert redis_client.llen(worker_bell("one")) == 1


def test_what_is_said_of_a_message_outlives_the_worker_that_said_it(
    scripts: Scripts, redis_client: redis.Redis
) -> None:
    ids, _ = enqueue(scripts, "a")
    fetch_messages(scripts, "dead")
    scripts.frontier(KEYS, {ids[0]: b"about"})
    expire_heartbeat(redis_client, "dead")
    scripts.rescue(KEYS, 1_000, last=True)
    assert [message.subjects for message in scripts.frontier(KEYS, {}).earlier] == [b"about"]
