"""Redis scripts: on a real server, who came first, who holds what, and what is still to come."""

from __future__ import annotations

import json
from typing import Any

import pytest
import redis

from models.errors import Unavailable
from tests.support.concurrency import eventually
from tests.support.worker import left
from workers.client import Client, QueueFull
from workers.queue.messages import wrap
from workers.queue.redis import COMMANDS, HEARTBEATS, WAKEUPS, Found, Keys, Scripts, Taking, connect
from workers.queue.watermark import RedisDoor
from workers.timestamps import from_us, to_us

KEYS = Keys(COMMANDS)


@pytest.fixture
def scripts(wire: redis.Redis) -> Scripts:
    return Scripts(wire)


def enqueue(scripts: Scripts, *texts: str) -> tuple[list[str], int]:
    """Enqueue each text in a message of its own, all in one call; return ids and first stamp."""
    messages = [wrap(COMMANDS, "commands", [text]) for text in texts]
    return [message[0] for message in messages], scripts.enqueue(KEYS, messages)


def take(scripts: Scripts, consumer: str = "one", limit: int = 1_000) -> list[Found]:
    return scripts.fetch(KEYS, consumer, Taking(limit)).found


def kwargs(message: Found) -> dict[str, Any]:
    message_kwargs: dict[str, Any] = json.loads(message.payload)["kwargs"]
    return message_kwargs


def texts(messages: list[Found]) -> list[str]:
    return [text for message in messages for text in kwargs(message)["commands"]]


def now_us(wire: redis.Redis) -> int:
    seconds, micros = wire.time()
    return int(seconds * 1_000_000 + micros)


def silence(wire: redis.Redis, consumer: str) -> None:
    """Make a consumer look as if it had not been heard of for an hour."""
    wire.zadd(HEARTBEATS, {consumer: now_us(wire) // 1_000 - 3_600_000})


LETTERS = tuple("abcdefghij")


def test_messages_are_taken_in_the_order_in_which_they_came(scripts: Scripts) -> None:
    for text in LETTERS[:5]:
        enqueue(scripts, text)
    enqueue(scripts, *LETTERS[5:])
    assert texts(take(scripts, limit=3)) == list("abc")
    assert texts(take(scripts, "other")) == list("defghij")
    assert take(scripts) == []


def test_the_server_stamps_what_comes_in_with_its_own_time(
    scripts: Scripts, wire: redis.Redis
) -> None:
    before = now_us(wire)
    enqueue(scripts, "a", "b")
    after = now_us(wire)
    messages = take(scripts)
    assert all(before <= kwargs(message)["received_at"] <= after for message in messages)
    assert [message.at for message in messages] == [
        kwargs(message)["received_at"] for message in messages
    ]


def test_every_command_has_a_stamp_of_its_own_and_its_sender_knows_it(
    scripts: Scripts, wire: redis.Redis
) -> None:
    client = Client(wire)
    stamps = [client.submit(text) for text in "abc"]
    stamps += client.submit_many(map(str, range(25_000)), per_message=100)
    stamps += client.submit_many(map(str, range(100)), per_message=7)
    assert len(set(stamps)) == len(stamps)
    assert stamps == sorted(stamps)
    message_stamps: list[int] = []
    while messages := take(scripts):
        for message in messages:
            first = kwargs(message)["stamp"]
            message_stamps += range(first, first + len(kwargs(message)["commands"]))
    assert message_stamps == stamps


def test_a_stamp_is_never_given_again_though_the_clock_is_set_back(
    scripts: Scripts, wire: redis.Redis
) -> None:
    ahead = now_us(wire) + 1_000_000
    wire.set(KEYS.stamp, ahead)
    assert enqueue(scripts, "a", "b")[1] == ahead + 1
    assert enqueue(scripts, "c")[1] == ahead + 3
    assert all(kwargs(message)["received_at"] < ahead for message in take(scripts))


def test_to_enqueue_a_message_again_is_harmless(scripts: Scripts, wire: redis.Redis) -> None:
    message = wrap(COMMANDS, "commands", ["a"])
    first = scripts.enqueue(KEYS, [message])
    scripts.enqueue(KEYS, [message, message])
    assert left(wire)["commands waiting"] == 1
    (taken_message,) = take(scripts)
    assert kwargs(taken_message)["stamp"] == first
    scripts.enqueue(KEYS, [message])
    assert take(scripts) == [], "it is still in somebody's hands"


def test_a_full_queue_takes_nothing_in_and_says_so(
    wire: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.queue.redis.MOST_WAITING", 3)
    client = Client(wire)
    client.submit_many("abc", per_message=1)
    before = left(wire)
    with pytest.raises(QueueFull):
        client.submit("d")
    with pytest.raises(QueueFull):
        Client(wire).submit_many("de", per_message=1)
    assert left(wire) == before
    assert texts(take(Scripts(wire))) == list("abc")
    client.submit("d")


def test_without_redis_a_sender_is_told_so() -> None:
    nowhere = connect("redis://127.0.0.1:1/0")
    with pytest.raises(Unavailable, match="Redis"):
        Client(nowhere).submit("a")
    with pytest.raises(Unavailable):
        RedisDoor(nowhere, None).now()
    nowhere.close()


def test_what_is_settled_leaves_nothing_behind(scripts: Scripts, wire: redis.Redis) -> None:
    ids, _ = enqueue(scripts, *LETTERS)
    take(scripts)
    scripts.ack(KEYS, "one", ids[:4])
    assert [left(wire)[f"commands {counter}"] for counter in ("stored", "pending", "taken")] == [
        6
    ] * 3
    scripts.ack(KEYS, "one", [*ids, "unheard of"])
    scripts.ack(KEYS, "one", [])
    assert set(left(wire).values()) == {0}


def test_what_another_has_settled_is_not_handed_out(scripts: Scripts, wire: redis.Redis) -> None:
    ids, _ = enqueue(scripts, "a", "b", "c")
    wire.hdel(KEYS.messages, ids[1])
    assert texts(take(scripts)) == ["a", "c"]
    assert wire.smembers(KEYS.taken("one")) == {ids[0].encode(), ids[2].encode()}
    assert wire.zscore(KEYS.pending, ids[1]) is None


def test_what_is_given_back_is_first_again_and_in_order(
    scripts: Scripts, wire: redis.Redis
) -> None:
    for text in LETTERS[:8]:
        enqueue(scripts, text)
    ids = [message.message_id for message in take(scripts, limit=6)]
    scripts.ack(KEYS, "one", ids[:1])
    assert scripts.release(KEYS, "one", but=ids[1:2]) == 4
    assert texts(take(scripts, "other")) == list("cdefgh")
    assert wire.smembers(KEYS.taken("one")) == {ids[1].encode()}
    assert scripts.release(KEYS, "one", but=ids) == 0


def test_what_came_in_one_call_is_given_back_in_its_order_too(scripts: Scripts) -> None:
    enqueue(scripts, *LETTERS)
    take(scripts)
    scripts.release(KEYS, "one")
    assert texts(take(scripts, "other")) == list(LETTERS)


def test_what_the_dead_had_is_first_again_in_order_and_counted(
    scripts: Scripts, wire: redis.Redis
) -> None:
    for text in LETTERS[:5]:
        enqueue(scripts, text)
    ids = [message.message_id for message in take(scripts, "dead", 3)]
    silence(wire, "dead")
    assert sorted(scripts.rescue(KEYS, 1_000, last=True)) == sorted(ids)
    assert wire.lrange(KEYS.waiting, 0, 2) == [message_id.encode() for message_id in ids]
    assert wire.hmget(KEYS.attempts, ids) == [b"1"] * 3
    assert wire.zrange(HEARTBEATS, 0, -1) == []
    assert scripts.rescue(KEYS, 1_000, last=True) == []


def test_what_killed_again_is_counted_again(scripts: Scripts, wire: redis.Redis) -> None:
    ids, _ = enqueue(scripts, "a")
    for deaths in range(1, 4):
        (message,) = take(scripts, f"victim_{deaths}")
        assert message.attempts == deaths - 1
        silence(wire, f"victim_{deaths}")
        assert scripts.rescue(KEYS, 1_000, last=True) == ids
    (message,) = take(scripts)
    assert message.attempts == 3
    scripts.ack(KEYS, "one", ids)
    assert set(left(wire).values()) == {0}


def test_only_the_dead_are_robbed_and_forgotten_with_their_last_queue(
    scripts: Scripts, wire: redis.Redis
) -> None:
    enqueue(scripts, "a", "b")
    take(scripts, "alive", 1)
    take(scripts, "dead", 1)
    silence(wire, "dead")
    assert len(scripts.rescue(KEYS, 1_000, last=False)) == 1
    assert wire.zscore(HEARTBEATS, "dead") is not None
    scripts.rescue(Keys(WAKEUPS), 1_000, last=True)
    assert wire.zrange(HEARTBEATS, 0, -1) == [b"alive"]
    assert wire.scard(KEYS.taken("alive")) == 1


def test_whoever_asks_for_messages_shows_that_it_lives(scripts: Scripts, wire: redis.Redis) -> None:
    silence(wire, "one")
    assert take(scripts, limit=0) == []
    heard_at = wire.zscore(HEARTBEATS, "one")
    assert heard_at
    assert heard_at > now_us(wire) / 1_000 - 1_000
    assert scripts.rescue(KEYS, 1_000, last=True) == []


def test_the_bell_wakes_whoever_rests_and_does_not_pile_up(
    scripts: Scripts, wire: redis.Redis
) -> None:
    for _ in range(40):
        enqueue(scripts, "a")
    assert 1 <= wire.llen(KEYS.bell) <= 16


def test_the_watermark_is_the_receipt_of_the_oldest_that_is_not_settled(
    scripts: Scripts, wire: redis.Redis
) -> None:
    arrival_clock, receipts = RedisDoor(wire, None), []
    for text in "abc":
        ids, _ = enqueue(scripts, text)
        receipts.append((ids[0], from_us(int(wire.zscore(KEYS.pending, ids[0]) or 0))))
        eventually(lambda: to_us(arrival_clock.now()) > to_us(receipts[-1][1]))
    names, instants = zip(*receipts, strict=True)
    assert arrival_clock.watermark(without=()) == instants[0]
    take(scripts)
    assert list(map(from_us, stored_instants(wire))) == list(instants)
    assert arrival_clock.watermark(without=()) == instants[0], "in somebody's hands is not settled"
    assert arrival_clock.watermark(without=names[:1]) == instants[1]
    assert arrival_clock.watermark(without=names[1:]) == instants[0]
    scripts.ack(KEYS, "one", names[:2])
    assert arrival_clock.watermark(without=()) == instants[2]
    assert instants[2] < arrival_clock.watermark(without=names) <= arrival_clock.now()
    scripts.ack(KEYS, "one", names[2:])
    assert instants[2] < arrival_clock.watermark(without=()) <= arrival_clock.now()


def stored_instants(wire: redis.Redis) -> list[int]:
    """Return when messages were received, as they say themselves, oldest first."""
    instants = (json.loads(text)["kwargs"]["received_at"] for text in wire.hvals(KEYS.messages))
    return sorted(instants)


def test_a_rescued_message_still_counts_for_the_watermark(
    scripts: Scripts, wire: redis.Redis
) -> None:
    arrival_clock = RedisDoor(wire, None)
    enqueue(scripts, "a")
    at = arrival_clock.watermark(without=())
    take(scripts, "dead")
    silence(wire, "dead")
    scripts.rescue(KEYS, 1_000, last=True)
    assert arrival_clock.watermark(without=()) == at
    take(scripts)
    scripts.release(KEYS, "one")
    assert arrival_clock.watermark(without=()) == at


def test_an_excused_message_holds_no_deadline_back_and_is_settled_all_the_same(
    scripts: Scripts, wire: redis.Redis
) -> None:
    arrival_clock = RedisDoor(wire, None)
    ids, _ = enqueue(scripts, "a")
    at = arrival_clock.watermark(without=())
    arrival_clock.excuse(ids)
    assert arrival_clock.watermark(without=()) > at
    assert texts(take(scripts)) == ["a"]
    arrival_clock.excuse([])


def test_wake_ups_do_not_hold_back_the_time_they_tell_of(wire: redis.Redis) -> None:
    arrival_clock = RedisDoor(wire, None)
    before = arrival_clock.now()
    Scripts(wire).enqueue(Keys(WAKEUPS), [wrap(WAKEUPS, "orders", ["o1"])])
    eventually(lambda: arrival_clock.watermark(without=()) > before)
