"""Rescuer: messages of dead workers come back, entries without a message go."""

from __future__ import annotations

import json

import pytest
import redis
from structlog.testing import capture_logs

from scheduler.rescuer import Rescuer
from tests.support import sample_commands
from tests.support.concurrency import eventually
from tests.support.sample_commands import registration
from tests.support.store_harness import Desk
from tests.support.worker import left, working
from workers.client import Client
from workers.queue.broker import EarnestBroker
from workers.queue.redis import COMMANDS, HEARTBEATS, QUEUES, Keys, Scripts, Taking
from workers.queue.watermark import RedisDoor

KEYS = Keys(COMMANDS)


@pytest.fixture
def rescuer(wire: redis.Redis) -> Rescuer:
    """Give a rescuer that has looked thoroughly once already."""
    primed_rescuer = Rescuer(wire)
    primed_rescuer.run_once()
    return primed_rescuer


def test_a_message_that_nobody_has_comes_back_at_the_second_look(
    wire: redis.Redis, rescuer: Rescuer
) -> None:
    Client(wire).submit_many([registration(n) for n in range(3)], per_message=1)
    stranded = wire.lpop(KEYS.waiting)
    assert [rescuer.run_once(), rescuer.run_once(), rescuer.run_once()] == [0, 1, 0]
    assert wire.lindex(KEYS.waiting, 0) == stranded


def test_an_entry_without_a_message_holds_deadlines_back_no_longer(
    wire: redis.Redis, rescuer: Rescuer
) -> None:
    wire.zadd(KEYS.pending, {"nothing": 5})
    arrival_clock = RedisDoor(wire, None)
    assert arrival_clock.watermark(()).year == 1970
    rescuer.run_once()
    with capture_logs() as logs:
        rescuer.run_once()
    assert arrival_clock.watermark(()).year > 1970
    assert logs == [
        {"event": "queue.mended", "log_level": "error", "queue": COMMANDS}
        | {"put_back": 0, "dropped": 1}
    ]


def test_what_a_living_worker_has_is_left_alone(wire: redis.Redis, rescuer: Rescuer) -> None:
    Client(wire).submit_many([registration(n) for n in range(3)], per_message=1)
    broker = EarnestBroker(wire, lambda _: None)
    assert next(broker.consume(COMMANDS)) is not None
    wire.zadd(KEYS.pending, {"nothing": 5})
    assert [rescuer.run_once() for _ in range(3)] == [0, 0, 0]
    assert wire.llen(KEYS.waiting) == 0
    assert wire.zcard(KEYS.pending) == 3


def test_an_honest_queue_is_never_looked_at_thoroughly(wire: redis.Redis, rescuer: Rescuer) -> None:
    Client(wire).submit_many([registration(n) for n in range(300)], per_message=1)
    broker = EarnestBroker(wire, lambda _: None)
    for _ in range(3):
        message = next(broker.consume(COMMANDS))
        if message is not None:
            bundle = message.kwargs["bundle"]
            bundle.settled = {delivery.message_id for delivery in bundle.deliveries[::2]}
            broker.consume(COMMANDS).ack(message)
        rescuer.run_once()
        assert not any(rescuer.odd.values())


def test_messages_of_the_dead_come_back_in_order(wire: redis.Redis) -> None:
    stamps = Client(wire).submit_many([registration(n) for n in range(500)], per_message=1)
    for consumer in ("a", "b", "c"):
        Scripts(wire).fetch(KEYS, consumer, Taking(100))
    for queue in QUEUES:
        Scripts(wire).rescue(Keys(queue), 0, last=queue == QUEUES[-1])
    ids = wire.lrange(KEYS.waiting, 0, -1)
    restored_stamps = [
        json.loads(payload or b"")["kwargs"]["stamp"] for payload in wire.hmget(KEYS.messages, ids)
    ]
    assert restored_stamps == stamps


def test_after_one_death_there_is_little_company_and_after_two_none(wire: redis.Redis) -> None:
    Client(wire).submit_many([registration(n) for n in range(50)], per_message=1)
    first, second, *_ = wire.lrange(KEYS.waiting, 0, -1)
    wire.hset(KEYS.attempts, mapping={first: 2, second: 1})
    broker = EarnestBroker(wire, lambda _: None)
    sizes = []
    while wire.hlen(KEYS.messages):
        if (message := next(broker.consume(COMMANDS))) is None:
            continue
        # While it is at work, nobody else of this process gets anything.
        bundle = message.kwargs["bundle"]
        sizes.append(len(bundle.deliveries))
        if sizes[-1] == 1:
            assert next(broker.consume(COMMANDS)) is None
        bundle.settled = {delivery.message_id for delivery in bundle.deliveries}
        broker.consume(COMMANDS).ack(message)
    assert sizes == [1, 8, 41]


def test_a_suspect_that_must_wait_lets_the_older_ones_in(wire: redis.Redis) -> None:
    Client(wire).submit_many([registration(n) for n in range(4)], per_message=1)
    suspect = wire.rpop(KEYS.waiting)
    assert isinstance(suspect, bytes)
    wire.lpush(KEYS.waiting, suspect)
    wire.hset(KEYS.attempts, suspect, 2)
    broker = EarnestBroker(wire, lambda _: None)
    consumer, batch_sizes = broker.consume(COMMANDS), []
    while wire.hlen(KEYS.messages):
        if (message := next(consumer)) is None:
            continue
        bundle = message.kwargs["bundle"]
        batch_sizes.append(len(bundle.deliveries))
        # The suspect is the youngest: it is held back as long as there is anybody older.
        must_wait = wire.hlen(KEYS.messages) > 1
        message_ids = {delivery.message_id for delivery in bundle.deliveries}
        bundle.settled = message_ids - ({suspect.decode()} if must_wait else set())
        consumer.ack(message)
    assert max(batch_sizes) == 3
    assert len(batch_sizes) <= 6


def test_what_a_dead_worker_had_is_given_to_another(overdue: Desk, wire: redis.Redis) -> None:
    command = sample_commands.ask("cancel_order", "client", "o1")
    Client(wire).submit(command)
    die_with_everything(wire)
    assert left(wire)["commands taken"] == 1
    assert Rescuer(wire).run_once() == 1
    assert left(wire)["commands taken"] == 0
    with working(overdue.engine, wire) as workplace:
        eventually(lambda: workplace.settled(command["id"]))
        eventually(workplace.idle)


def die_with_everything(wire: redis.Redis) -> None:
    """Take every command as a worker does, and be silent from then on."""
    taking = Taking(100)
    assert Scripts(wire).fetch(Keys(COMMANDS), "dead", taking).found
    wire.zadd(HEARTBEATS, {"dead": 0})


def test_what_a_living_worker_has_stays_with_it(wire: redis.Redis) -> None:
    Client(wire).submit(sample_commands.accept())
    die_with_everything(wire)
    seconds, micros = wire.time()
    wire.zadd(HEARTBEATS, {"dead": seconds * 1000 + micros // 1000})
    assert Rescuer(wire).run_once() == 0
    assert left(wire)["commands taken"] == 1
