"""Consumer: what came in is settled or quarantined, and no message hurts, strands or is lost."""

from __future__ import annotations

from functools import partial

import pytest
import redis
from sqlalchemy import Engine

from tests.support.broker_harness import KEYS, Bench, deliveries_of, kwargs, message, present, raw
from tests.support.sample_commands import registration
from workers.client import Client
from workers.processing.failures import list_quarantined, quarantine
from workers.queue.broker import EarnestBroker
from workers.queue.messages import Delivery, wrap
from workers.queue.redis import COMMANDS, WAKEUPS, Keys, Scripts
from workers.queue.watermark import BEGINNING, RedisDoor


@pytest.fixture
def bench(wire: redis.Redis) -> Bench:
    return Bench(wire)


BAD: dict[str, str | bytes] = {
    "no JSON": "}{",
    "empty object": "{}",
    "a list": "[]",
    "a number": "7",
    "null": "null",
    "not UTF-8": b"\xff\xfe\xfd",
    "a NUL": b'{"\x00": 1}',
    "100 000 deep": "[" * 100_000,
    "100 000 objects deep": '{"a":' * 100_000,
    "a huge number": message().replace('"stamp": 5', '"stamp": ' + "9" * 5_000),
    "5 MB": "x" * 5_000_000,
    "another queue": message(queue_name="default"),
    "a queue that is a list": message(queue_name=[COMMANDS]),
    "another actor": message(actor_name="pay_out"),
    "the actor of wake-ups": message(actor_name="wake_orders"),
    "no kwargs": message(kwargs=None),
    "kwargs in a list": message(kwargs=[1]),
    "no commands": kwargs(commands=None),
    "no command in the list": kwargs(commands=[]),
    "too many commands": kwargs(commands=["x"] * 1_001),
    "commands that are objects": kwargs(commands=[{"id": "x"}]),
    "a command among numbers": kwargs(commands=["x", 1]),
    "no stamp": kwargs(stamp=None),
    "a stamp that is text": kwargs(stamp="5"),
    "a stamp that is true": kwargs(stamp=True),
    "a stamp that is a fraction": kwargs(stamp=5.5),
    "a stamp before its receipt": kwargs(stamp=4),
    "a stamp beyond all time": kwargs(stamp=2**60),
    "a negative receipt": kwargs(received_at=-1),
    "not a number": message().replace('"stamp": 5', '"stamp": NaN'),
    "infinite": message().replace('"received_at": 5', '"received_at": Infinity'),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_message_is_quarantined_and_its_neighbours_are_served(
    bench: Bench, name: str
) -> None:
    Client(bench.wire).submit(registration(1))
    raw(bench.wire, "bad", BAD[name])
    Client(bench.wire).submit(registration(2))
    assert bench.drain() == [registration(1), registration(2)]
    (refused_message,) = bench.refused
    assert refused_message.name == "bad"
    assert refused_message.size == len(BAD[name])
    assert not bench.wire.zcard(KEYS.pending)


@pytest.mark.parametrize("message_id", [b"\xff\xfe", b"", b"a\x00b", "三".encode(), b"x" * 9_999])
def test_whatever_an_id_is_made_of_it_is_kept_and_forgotten(
    sqlite_engine: Engine, wire: redis.Redis, message_id: bytes
) -> None:
    broker = EarnestBroker(wire, partial(quarantine, sqlite_engine))
    raw(wire, message_id, "bad")
    raw(wire, b"good", message())
    (good,) = next_deliveries(broker)
    assert good.commands[0].text == registration(1)
    assert next(broker.consume(COMMANDS)) is None
    assert [item.payload for item in list_quarantined(sqlite_engine)] == [b"bad"]
    assert wire.hkeys(KEYS.messages) == [b"good"]


def next_deliveries(broker: EarnestBroker) -> list[Delivery]:
    while (bundle_message := next(broker.consume(COMMANDS))) is None:
        pass
    return deliveries_of(bundle_message)


OPTIONS = {
    "pipe_target": {"queue_name": WAKEUPS, "actor_name": "wake_orders", "args": [["o1"]]},
    "eta": 2**60,
    "max_retries": 10**9,
    "max_age": 0,
    "retries": 10**9,
    "on_failure": "wake_orders",
    "redis_message_id": "another",
}


def test_a_long_batch_of_honest_commands_is_divided_and_not_quarantined(bench: Bench) -> None:
    long = [registration(n, name="𠮷" * 20_000) for n in range(100)]
    stamps = Client(bench.wire).submit_many(long)
    assert bench.drain() == long
    assert stamps == list(range(stamps[0], stamps[0] + 100))
    assert bench.refused == []


def test_stamps_are_nobody_elses(wire: redis.Redis) -> None:
    stamps = [
        stamp
        for _ in range(20)
        for stamp in Client(wire).submit_many(registration(n) for n in range(2_000))
    ]
    assert len(set(stamps)) == len(stamps)


@pytest.mark.parametrize("option", OPTIONS)
def test_no_option_of_a_message_is_honoured(bench: Bench, option: str) -> None:
    raw(bench.wire, "m1", message(options={option: OPTIONS[option]}))
    taken_message = bench.take()
    assert taken_message is not None
    assert taken_message.options == {}
    bench.settle(present(taken_message))
    assert not bench.wire.hlen(KEYS.messages)


def test_a_forged_wake_up_names_ids_or_is_refused(bench: Bench) -> None:
    consumer = bench.broker.consume(WAKEUPS)
    for order_id in ("o'1", "o1\0", "x" * 65, "", "\ud800"):
        Scripts(bench.wire).enqueue(Keys(WAKEUPS), [wrap(WAKEUPS, "orders", [order_id])])
    while bench.wire.hlen(Keys(WAKEUPS).messages):
        assert next(consumer) is None
    assert {refused_message.reason for refused_message in bench.refused} == {
        "orders: ids are wanted"
    }


def test_while_nothing_can_be_quarantined_it_stays_taken_and_is_tried_again(bench: Bench) -> None:
    raw(bench.wire, "bad", "}{")
    bench.away = True
    assert bench.take() is None
    assert bench.take() is None
    assert bench.wire.hexists(KEYS.messages, "bad")
    assert bench.wire.sismember(KEYS.taken(bench.broker.crew.name), "bad")
    bench.away = False
    assert bench.drain() == []
    assert [refused_message.name for refused_message in bench.refused] == ["bad"]


def test_neighbours_are_served_while_nothing_can_be_quarantined(bench: Bench) -> None:
    raw(bench.wire, "bad", "}{")
    Client(bench.wire).submit(registration(1))
    bench.away = True
    served_texts: list[str] = []
    for number in range(2, 5):
        taken_message = bench.take()
        served_texts += bench.settle(taken_message) if taken_message else []
        Client(bench.wire).submit(registration(number))
    assert served_texts == [registration(1), registration(2), registration(3)]


def test_a_stamp_in_the_past_or_future_gains_nothing(bench: Bench) -> None:
    arrival_clock = RedisDoor(bench.wire, None)
    before = arrival_clock.now()
    assert bench.take() is None
    for message_id, score in (("past", 1.0), ("future", 2.0**52), ("never", float("inf"))):
        raw(bench.wire, message_id, message())
        bench.wire.zadd(KEYS.pending, {message_id: score})
    deliveries = deliveries_of(bench.take())
    after = arrival_clock.now()
    arrived_at = [delivery.commands[0].at for delivery in deliveries]
    assert all(before <= at <= after for at in arrived_at)
    assert arrived_at == sorted(arrived_at)


def test_what_never_passed_the_door_is_quarantined(bench: Bench) -> None:
    bench.wire.hset(KEYS.messages, "m", message())
    bench.wire.rpush(KEYS.waiting, "m")
    assert bench.drain() == []
    assert [refused_message.reason for refused_message in bench.refused] == ["no stamp of our door"]


def test_forged_scores_do_not_stop_the_watermark(bench: Bench) -> None:
    bench.wire.zadd(KEYS.pending, {b"\xff": float("-inf"), b"x": float("inf")})
    arrival_clock = RedisDoor(bench.wire, None)
    assert arrival_clock.watermark(()) == BEGINNING
    Scripts(bench.wire).mend(KEYS, thoroughly=True)
    assert arrival_clock.watermark(()) > BEGINNING


def test_what_comes_in_while_a_bundle_is_at_work_makes_one_bundle(bench: Bench) -> None:
    client = Client(bench.wire)
    client.submit(registration(0))
    first = present(bench.take())
    for number in range(1, 6):
        client.submit(registration(number))
        assert bench.take() is None, "it would be a commit of its own, in a queue"
    assert bench.settle(first) == [registration(0)]
    assert bench.settle(present(bench.take())) == [registration(number) for number in range(1, 6)]
