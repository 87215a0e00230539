"""Consumer: every message is settled or quarantined, and none is lost or stops its neighbours."""

from __future__ import annotations

import json
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
import redis
from dramatiq.broker import MessageProxy
from sqlalchemy import Engine

from models.service.subjects import Subjects
from tests.support.broker_harness import (
    KEYS,
    BrokerHarness,
    batch_of,
    commands_of,
    deliveries_of,
    message_text,
    message_with_kwargs,
    require,
    write_raw,
)
from tests.support.concurrency import eventually
from tests.support.sample_commands import registration
from tests.support.worker import queue_contents
from workers.client import CommandClient
from workers.processing.failures import list_quarantined, quarantine
from workers.queue.broker import EarnestBroker
from workers.queue.frontier import Blocker, Frontier, SubjectKeys
from workers.queue.messages import Delivery, announce, wrap
from workers.queue.redis import COMMANDS, MAX_ITEMS, QUEUES, WAKEUPS, Keys, Scripts
from workers.queue.watermark import BEGINNING, ArrivalClock
from workers.timestamps import from_us


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
    "a huge number": message_with_kwargs(commands=[5]).replace("5", "9" * 5_000),
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
    "a command among numbers": message_with_kwargs(commands=["x", 1]),
    "not a number": message_with_kwargs(commands=[5]).replace("5", "NaN"),
    "infinite": message_with_kwargs(commands=[5]).replace("5", "Infinity"),
    "too many arguments": message_text(args=[["x"], ["y"]]),
    "arguments that are no list": message_text(args={"commands": ["x"]}),
    "by position, and no list": message_text(args=["x"], kwargs={}),
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


def test_commands_as_objects_or_by_position_are_taken_from_any_dramatiq(
    broker_harness: BrokerHarness,
) -> None:
    command = json.loads(registration(1))
    write_raw(broker_harness.redis_client, "objects", message_with_kwargs(commands=[command]))
    by_position = message_text(args=[[registration(2)]], kwargs={})
    write_raw(broker_harness.redis_client, "by position", by_position)
    texts = broker_harness.drain()
    assert [json.loads(text) for text in texts] == [command, json.loads(registration(2))]
    assert broker_harness.quarantined == []


def test_what_a_text_says_of_its_receipt_is_not_believed(broker_harness: BrokerHarness) -> None:
    forged = message_with_kwargs(commands=[registration(1)], received_at=5, stamp=5)
    write_raw(broker_harness.redis_client, "forged", forged)
    (command,) = commands_of(broker_harness.take())
    assert command.stamp == broker_harness.redis_client.zscore(KEYS.pending, "forged")
    assert command.at == from_us(command.stamp)
    assert command.at.year > 1970


@pytest.mark.parametrize("subject", ["o'1", "o1\0", "x" * 65, "", "\ud800", "odd:o1", "creator:"])
def test_a_forged_wake_up_names_ids_or_is_refused(
    broker_harness: BrokerHarness, subject: str
) -> None:
    consumer = broker_harness.broker.consume(WAKEUPS)
    Scripts(broker_harness.redis_client).enqueue(Keys(WAKEUPS), [wrap(WAKEUPS, [subject])])
    while broker_harness.redis_client.hlen(Keys(WAKEUPS).messages):
        assert next(consumer) is None
    assert {item.reason for item in broker_harness.quarantined} == {"orders: ids are wanted"}


def test_a_wake_up_may_name_anything_that_time_has_something_to_say_about(
    broker_harness: BrokerHarness,
) -> None:
    subjects = ["o1", "creator:k1", "refund:rf_p1_o1~2", "payout:po_o1_creator"]
    subjects += ["parked:1772416800000000", "suspense:p1:o1"]
    Scripts(broker_harness.redis_client).enqueue(Keys(WAKEUPS), [wrap(WAKEUPS, subjects)])
    (delivery,) = deliveries_of(next(broker_harness.broker.consume(WAKEUPS)))
    assert delivery.orders == subjects


def test_a_bad_message_that_cannot_be_quarantined_stays_taken_and_is_tried_again(
    broker_harness: BrokerHarness,
) -> None:
    write_raw(broker_harness.redis_client, "bad", "}{")
    broker_harness.database_is_down = True
    assert broker_harness.take() is None
    assert broker_harness.take() is None
    assert broker_harness.redis_client.hexists(KEYS.messages, "bad")
    assert broker_harness.redis_client.sismember(
        KEYS.taken(broker_harness.broker.process.name), "bad"
    )
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
    after = arrival_clock.now() + timedelta(microseconds=3 * MAX_ITEMS)
    arrived_at = [delivery.commands[0].at for delivery in deliveries]
    assert [delivery.message_id for delivery in deliveries] == ["past", "future", "never"]
    assert all(before <= at <= after for at in arrived_at)
    assert arrived_at == sorted(arrived_at)
    for delivery in deliveries:
        stored = broker_harness.redis_client.zscore(KEYS.pending, delivery.message_id)
        assert stored == delivery.stamp


def test_forged_scores_do_not_stop_the_watermark_for_ever(broker_harness: BrokerHarness) -> None:
    client = broker_harness.redis_client
    for message_id in ("past", "future"):
        write_raw(client, message_id, message_text())
    scores: dict[Any, float] = {"past": float("-inf"), "future": float("inf"), "x": 7.0}
    scores[b"\xff"] = float("-inf")
    client.zadd(KEYS.pending, scores)
    arrival_clock = ArrivalClock(client, None)
    assert arrival_clock.watermark() == BEGINNING
    broker_harness.drain()
    Scripts(client).mend(KEYS, thoroughly=True)
    assert arrival_clock.watermark() > BEGINNING
    eventually(lambda: arrival_clock.now() - arrival_clock.watermark() < timedelta(seconds=1))


@pytest.mark.parametrize("score", ["-inf", "inf", "1e+300", "-7", "1772416800000000.5"])
def test_a_forged_score_of_a_message_that_waits_stops_nobody(
    broker_harness: BrokerHarness, score: str
) -> None:
    client = broker_harness.redis_client
    write_raw(client, "forged", message_text())
    client.zadd(KEYS.pending, {"forged": float(score)})
    arrival_clock = ArrivalClock(client, None)
    assert arrival_clock.frontier({}, 2**52).now > 0
    assert arrival_clock.watermark() <= arrival_clock.now()


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


def leave(message: MessageProxy | None, *left: str) -> None:
    """Settle all of a batch but some texts, as if something earlier were in their way."""
    batch = batch_of(message)
    held = [command for command in commands_of(message) if command.text in left]
    batch.acknowledge(command for command in commands_of(message) if command.text not in left)
    batch.blockers = [Blocker("earlier", 0, 1) for _ in held]
    batch.consumer.ack(require(message))


def test_what_is_left_of_a_batch_is_part_of_the_next_with_what_came_in_since(
    broker_harness: BrokerHarness,
) -> None:
    client = CommandClient(broker_harness.redis_client)
    client.submit_many([registration(n) for n in range(3)])
    leave(broker_harness.take(), registration(1))
    client.submit(registration(3))
    second = broker_harness.take()
    assert [command.text for command in commands_of(second)] == [registration(1), registration(3)]
    assert [delivery.stamp for delivery in deliveries_of(second)] == sorted(
        delivery.stamp for delivery in deliveries_of(second)
    )
    broker_harness.settle(require(second))
    assert set(queue_contents(broker_harness.redis_client).values()) == {0}


def test_an_acknowledged_part_of_a_message_is_no_longer_announced(
    broker_harness: BrokerHarness,
) -> None:
    client = broker_harness.redis_client
    CommandClient(client).submit_many([registration(n) for n in range(3)])
    message = broker_harness.take()
    (delivery,) = deliveries_of(message)
    broker_harness.broker.process.scripts.frontier(
        KEYS, {delivery.message_id: announce(delivery.stamp, delivery.commands)}
    )
    leave(message, registration(1))
    (earlier,) = Scripts(client).frontier(KEYS, {}).earlier
    assert earlier.subjects == announce(delivery.stamp, delivery.commands)
    assert [command.stamp - delivery.stamp for command in delivery.commands] == [1]
    frontier = Frontier(0)
    frontier.add_message(delivery.message_id, delivery.stamp, earlier.subjects)
    later = SubjectKeys.of(Subjects(frozenset({"creator:r0", "creator:r2"})))
    assert frontier.find_blocker(2**52, later) is None
    waiting = SubjectKeys.of(Subjects(frozenset({"creator:r1"})))
    assert frontier.find_blocker(2**52, waiting) is not None


def test_what_is_held_back_is_given_back_by_a_worker_that_stops_and_taken_in_order(
    broker_harness: BrokerHarness,
) -> None:
    client = CommandClient(broker_harness.redis_client)
    client.submit_many([registration(n) for n in range(4)], per_message=1)
    leave(broker_harness.take(), registration(0), registration(2))
    client.submit(registration(4))
    broker_harness.broker.release_all()
    next_worker = BrokerHarness(broker_harness.redis_client)
    texts = [registration(0), registration(2), registration(4)]
    assert next_worker.settle(require(next_worker.take())) == texts


def test_a_nack_loses_nothing(broker_harness: BrokerHarness) -> None:
    CommandClient(broker_harness.redis_client).submit(registration(1))
    message = require(broker_harness.take())
    broker_harness.consumer.nack(message)
    assert broker_harness.settle(require(broker_harness.take())) == [registration(1)]


def test_a_worker_that_was_frozen_while_another_settled_its_message_does_no_harm(
    broker_harness: BrokerHarness,
) -> None:
    client = broker_harness.redis_client
    CommandClient(client).submit(registration(1))
    frozen = require(broker_harness.take())
    for queue in QUEUES:
        Scripts(client).rescue(Keys(queue), 0, last=queue == QUEUES[-1])
    other = BrokerHarness(client)
    assert other.settle(require(other.take())) == [registration(1)]
    broker_harness.settle(frozen)
    assert set(queue_contents(client).values()) == {0}
