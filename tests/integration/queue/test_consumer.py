"""Consumer: every message is settled or quarantined, and none is lost or stops its neighbours."""

from __future__ import annotations

from functools import partial

import pytest
import redis
from sqlalchemy import Engine

from tests.support.broker_harness import (
    KEYS,
    BrokerHarness,
    deliveries_of,
    message_text,
    message_with_kwargs,
    require,
    write_raw,
)
from tests.support.sample_commands import registration
from workers.client import CommandClient
from workers.processing.failures import list_quarantined, quarantine
from workers.queue.broker import EarnestBroker
from workers.queue.messages import Delivery, wrap
from workers.queue.redis import COMMANDS, WAKEUPS, Keys, Scripts
from workers.queue.watermark import BEGINNING, ArrivalClock


@pytest.fixture
def broker_harness(redis_client: redis.Redis) -> BrokerHarness:
    return BrokerHarness(redis_client)


BAD_MESSAGES: dict[str, str | bytes] = {
    "no JSON": "}{",
    "empty object": "{}",
    "a list": "[]",
    "a number": "7",
    "null": "null",
    "not UTF-8": b"\xff\xfe\xfd",
    "a NUL": b'{"\x00": 1}',
    "100 000 deep": "[" * 100_000,
    "100 000 objects deep": '{"a":' * 100_000,
    "a huge number": message_text().replace('"stamp": 5', '"stamp": ' + "9" * 5_000),
    "5 MB": "x" * 5_000_000,
    "another queue": message_text(queue_name="default"),
    "a queue that is a list": message_text(queue_name=[COMMANDS]),
    "another actor": message_text(actor_name="pay_out"),
    "the actor of wake-ups": message_text(actor_name="wake_orders"),
    "no kwargs": message_text(kwargs=None),
    "kwargs in a list": message_text(kwargs=[1]),
    "no commands": message_with_kwargs(commands=None),
    "no command in the list": message_with_kwargs(commands=[]),
    "too many commands": message_with_kwargs(commands=["x"] * 1_001),
    "commands that are objects": message_with_kwargs(commands=[{"id": "x"}]),
    "a command among numbers": message_with_kwargs(commands=["x", 1]),
    "no stamp": message_with_kwargs(stamp=None),
    "a stamp that is text": message_with_kwargs(stamp="5"),
    "a stamp that is true": message_with_kwargs(stamp=True),
    "a stamp that is a fraction": message_with_kwargs(stamp=5.5),
    "a stamp before its receipt": message_with_kwargs(stamp=4),
    "a stamp beyond all time": message_with_kwargs(stamp=2**60),
    "a negative receipt": message_with_kwargs(received_at=-1),
    "not a number": message_text().replace('"stamp": 5', '"stamp": NaN'),
    "infinite": message_text().replace('"received_at": 5', '"received_at": Infinity'),
}


@pytest.mark.parametrize("name", BAD_MESSAGES)
def test_a_bad_message_is_quarantined_and_its_neighbours_are_served(
    broker_harness: BrokerHarness, name: str
) -> None:
    CommandClient(broker_harness.redis_client).submit(registration(1))
    write_raw(broker_harness.redis_client, "bad", BAD_MESSAGES[name])
    CommandClient(broker_harness.redis_client).submit(registration(2))
    assert broker_harness.drain() == [registration(1), registration(2)]
    (item,) = broker_harness.quarantined
    assert item.name == "bad"
    assert item.size == len(BAD_MESSAGES[name])
    assert not broker_harness.redis_client.zcard(KEYS.pending)


@pytest.mark.parametrize("message_id", [b"\xff\xfe", b"", b"a\x00b", "三".encode(), b"x" * 9_999])
def test_a_message_id_of_any_bytes_can_be_quarantined_and_acknowledged(
    sqlite_engine: Engine, redis_client: redis.Redis, message_id: bytes
) -> None:
    broker = EarnestBroker(redis_client, partial(quarantine, sqlite_engine))
    write_raw(redis_client, message_id, "bad")
    write_raw(redis_client, b"good", message_text())
    (good,) = next_deliveries(broker)
    assert good.commands[0].text == registration(1)
    assert next(broker.consume(COMMANDS)) is None
    assert [item.payload for item in list_quarantined(sqlite_engine)] == [b"bad"]
    assert redis_client.hkeys(KEYS.messages) == [b"good"]


def next_deliveries(broker: EarnestBroker) -> list[Delivery]:
    while (batch_message := next(broker.consume(COMMANDS))) is None:
        pass
    return deliveries_of(batch_message)


OPTIONS = {
    "pipe_target": {"queue_name": WAKEUPS, "actor_name": "wake_orders", "args": [["o1"]]},
    "eta": 2**60,
    "max_retries": 10**9,
    "max_age": 0,
    "retries": 10**9,
    "on_failure": "wake_orders",
    "redis_message_id": "another",
}


def test_a_long_batch_of_honest_commands_is_divided_and_not_quarantined(
    broker_harness: BrokerHarness,
) -> None:
    long = [registration(n, name="𠮷" * 20_000) for n in range(100)]
    stamps = CommandClient(broker_harness.redis_client).submit_many(long)
    assert broker_harness.drain() == long
    assert stamps == list(range(stamps[0], stamps[0] + 100))
    assert broker_harness.quarantined == []


def test_every_command_has_an_arrival_number_of_its_own(redis_client: redis.Redis) -> None:
    stamps = [
        stamp
        for _ in range(20)
        for stamp in CommandClient(redis_client).submit_many(registration(n) for n in range(2_000))
    ]
    assert len(set(stamps)) == len(stamps)


@pytest.mark.parametrize("option", OPTIONS)
def test_no_option_of_a_message_is_honoured(broker_harness: BrokerHarness, option: str) -> None:
    write_raw(broker_harness.redis_client, "m1", message_text(options={option: OPTIONS[option]}))
    taken_message = broker_harness.take()
    assert taken_message is not None
    assert taken_message.options == {}
    broker_harness.settle(require(taken_message))
    assert not broker_harness.redis_client.hlen(KEYS.messages)


def test_a_forged_wake_up_names_ids_or_is_refused(broker_harness: BrokerHarness) -> None:
    consumer = broker_harness.broker.consume(WAKEUPS)
    for order_id in ("o'1", "o1\0", "x" * 65, "", "\ud800"):
        Scripts(broker_harness.redis_client).enqueue(
            Keys(WAKEUPS), [wrap(WAKEUPS, "orders", [order_id])]
        )
    while broker_harness.redis_client.hlen(Keys(WAKEUPS).messages):
        assert next(consumer) is None
    assert {item.reason for item in broker_harness.quarantined} == {"orders: ids are wanted"}


def test_a_bad_message_that_cannot_be_quarantined_stays_taken_and_is_tried_again(
    broker_harness: BrokerHarness,
) -> None:
    write_raw(broker_harness.redis_client, "bad", "}{")
    broker_harness.database_is_down = True
    assert broker_harness.take() is None
    assert broker_harness.take() is None
    assert broker_harness.redis_client.hexists(KEYS.messages, "bad")
    assert broker_harness.redis_client.sismember(KEYS.taken(broker_harness.broker.crew.name), "bad")
    broker_harness.database_is_down = False
    assert broker_harness.drain() == []
    assert [item.name for item in broker_harness.quarantined] == ["bad"]


def test_other_messages_are_handed_out_while_a_bad_one_cannot_be_quarantined(
    broker_harness: BrokerHarness,
) -> None:
    write_raw(broker_harness.redis_client, "bad", "}{")
    CommandClient(broker_harness.redis_client).submit(registration(1))
    broker_harness.database_is_down = True
    served_texts: list[str] = []
    for number in range(2, 5):
        taken_message = broker_harness.take()
        served_texts += broker_harness.settle(taken_message) if taken_message else []
        CommandClient(broker_harness.redis_client).submit(registration(number))
    assert served_texts == [registration(1), registration(2), registration(3)]


def test_a_forged_score_does_not_change_when_a_command_was_received(
    broker_harness: BrokerHarness,
) -> None:
    arrival_clock = ArrivalClock(broker_harness.redis_client, None)
    before = arrival_clock.now()
    assert broker_harness.take() is None
    for message_id, score in (("past", 1.0), ("future", 2.0**52), ("never", float("inf"))):
        write_raw(broker_harness.redis_client, message_id, message_text())
        broker_harness.redis_client.zadd(KEYS.pending, {message_id: score})
    deliveries = deliveries_of(broker_harness.take())
    after = arrival_clock.now()
    arrived_at = [delivery.commands[0].at for delivery in deliveries]
    assert all(before <= at <= after for at in arrived_at)
    assert arrived_at == sorted(arrived_at)


def test_a_message_without_an_arrival_number_is_quarantined(broker_harness: BrokerHarness) -> None:
    broker_harness.redis_client.hset(KEYS.messages, "m", message_text())
    broker_harness.redis_client.rpush(KEYS.waiting, "m")
    assert broker_harness.drain() == []
    assert [item.reason for item in broker_harness.quarantined] == ["no stamp of our door"]


def test_forged_scores_do_not_stop_the_watermark(broker_harness: BrokerHarness) -> None:
    broker_harness.redis_client.zadd(KEYS.pending, {b"\xff": float("-inf"), b"x": float("inf")})
    arrival_clock = ArrivalClock(broker_harness.redis_client, None)
    assert arrival_clock.watermark(()) == BEGINNING
    Scripts(broker_harness.redis_client).mend(KEYS, thoroughly=True)
    assert arrival_clock.watermark(()) > BEGINNING


def test_messages_that_arrive_while_a_batch_is_at_work_make_one_batch(
    broker_harness: BrokerHarness,
) -> None:
    client = CommandClient(broker_harness.redis_client)
    client.submit(registration(0))
    first = require(broker_harness.take())
    for number in range(1, 6):
        client.submit(registration(number))
        assert broker_harness.take() is None, "it would be a commit of its own, in a queue"
    assert broker_harness.settle(first) == [registration(0)]
    assert broker_harness.settle(require(broker_harness.take())) == [
        registration(number) for number in range(1, 6)
    ]
