"""Rescuer: messages of dead workers come back, and entries without a message are dropped."""

from __future__ import annotations

import json

import pytest
import redis
from structlog.testing import capture_logs

from scheduler.rescuer import MessageRescuer
from tests.support import sample_commands
from tests.support.concurrency import eventually
from tests.support.sample_commands import registration
from tests.support.store_harness import StoreHarness
from tests.support.worker import queue_contents, running_worker
from workers.client import CommandClient
from workers.queue.broker import EarnestBroker
from workers.queue.redis import COMMANDS, HEARTBEATS_KEY, QUEUES, FetchLimits, Keys, Scripts
from workers.queue.watermark import ArrivalClock

KEYS = Keys(COMMANDS)


@pytest.fixture
def rescuer(redis_client: redis.Redis) -> MessageRescuer:
    """Give a rescuer that has checked the queues thoroughly once already."""
    primed_rescuer = MessageRescuer(redis_client)
    primed_rescuer.run_once()
    return primed_rescuer


def test_a_message_that_nobody_has_comes_back_at_the_second_check(
    redis_client: redis.Redis, rescuer: MessageRescuer
) -> None:
    CommandClient(redis_client).submit_many([registration(n) for n in range(3)], per_message=1)
    stranded = redis_client.lpop(KEYS.waiting)
    assert [rescuer.run_once(), rescuer.run_once(), rescuer.run_once()] == [0, 1, 0]
    assert redis_client.lindex(KEYS.waiting, 0) == stranded


def test_an_entry_without_a_message_holds_deadlines_back_no_longer(
    redis_client: redis.Redis, rescuer: MessageRescuer
) -> None:
    redis_client.zadd(KEYS.pending, {"nothing": 5})
    arrival_clock = ArrivalClock(redis_client, None)
    assert arrival_clock.watermark(()).year == 1970
    rescuer.run_once()
    with capture_logs() as logs:
        rescuer.run_once()
    assert arrival_clock.watermark(()).year > 1970
    assert logs == [
        {"event": "queue.mended", "log_level": "error", "queue": COMMANDS}
        | {"put_back": 0, "dropped": 1}
    ]


def test_a_thorough_check_leaves_messages_of_a_living_worker_alone(
    redis_client: redis.Redis, rescuer: MessageRescuer
) -> None:
    CommandClient(redis_client).submit_many([registration(n) for n in range(3)], per_message=1)
    broker = EarnestBroker(redis_client, lambda _: None)
    assert next(broker.consume(COMMANDS)) is not None
    redis_client.zadd(KEYS.pending, {"nothing": 5})
    assert [rescuer.run_once() for _ in range(3)] == [0, 0, 0]
    assert redis_client.llen(KEYS.waiting) == 0
    assert redis_client.zcard(KEYS.pending) == 3


def test_a_consistent_queue_is_never_checked_thoroughly(
    redis_client: redis.Redis, rescuer: MessageRescuer
) -> None:
    CommandClient(redis_client).submit_many([registration(n) for n in range(300)], per_message=1)
    broker = EarnestBroker(redis_client, lambda _: None)
    for _ in range(3):
        message = next(broker.consume(COMMANDS))
        if message is not None:
            batch = message.kwargs["bundle"]
            batch.settled = {delivery.message_id for delivery in batch.deliveries[::2]}
            broker.consume(COMMANDS).ack(message)
        rescuer.run_once()
        assert not any(rescuer.was_inconsistent.values())


def test_messages_of_the_dead_come_back_in_order(redis_client: redis.Redis) -> None:
    stamps = CommandClient(redis_client).submit_many(
        [registration(n) for n in range(500)], per_message=1
    )
    for consumer in ("a", "b", "c"):
        Scripts(redis_client).fetch(KEYS, consumer, FetchLimits(100))
    for queue in QUEUES:
        Scripts(redis_client).rescue(Keys(queue), 0, last=queue == QUEUES[-1])
    ids = redis_client.lrange(KEYS.waiting, 0, -1)
    restored_stamps = [
        json.loads(payload or b"")["kwargs"]["stamp"]
        for payload in redis_client.hmget(KEYS.messages, ids)
    ]
    assert restored_stamps == stamps


def test_a_message_shares_a_batch_with_few_after_one_death_and_with_none_after_two(
    redis_client: redis.Redis,
) -> None:
    CommandClient(redis_client).submit_many([registration(n) for n in range(50)], per_message=1)
    first, second, *_ = redis_client.lrange(KEYS.waiting, 0, -1)
    redis_client.hset(KEYS.attempts, mapping={first: 2, second: 1})
    broker = EarnestBroker(redis_client, lambda _: None)
    sizes = []
    while redis_client.hlen(KEYS.messages):
        if (message := next(broker.consume(COMMANDS))) is None:
            continue
        # While it is at work, nobody else of this process gets anything.
        batch = message.kwargs["bundle"]
        sizes.append(len(batch.deliveries))
        if sizes[-1] == 1:
            assert next(broker.consume(COMMANDS)) is None
        batch.settled = {delivery.message_id for delivery in batch.deliveries}
        broker.consume(COMMANDS).ack(message)
    assert sizes == [1, 8, 41]


def test_a_suspected_message_that_must_wait_lets_older_ones_in(redis_client: redis.Redis) -> None:
    CommandClient(redis_client).submit_many([registration(n) for n in range(4)], per_message=1)
    suspect = redis_client.rpop(KEYS.waiting)
    assert isinstance(suspect, bytes)
    redis_client.lpush(KEYS.waiting, suspect)
    redis_client.hset(KEYS.attempts, suspect, 2)
    broker = EarnestBroker(redis_client, lambda _: None)
    consumer, batch_sizes = broker.consume(COMMANDS), []
    while redis_client.hlen(KEYS.messages):
        if (message := next(consumer)) is None:
            continue
        batch = message.kwargs["bundle"]
        batch_sizes.append(len(batch.deliveries))
        # The suspect is the youngest: it is held back as long as there is anybody older.
        must_wait = redis_client.hlen(KEYS.messages) > 1
        message_ids = {delivery.message_id for delivery in batch.deliveries}
        batch.settled = message_ids - ({suspect.decode()} if must_wait else set())
        consumer.ack(message)
    assert max(batch_sizes) == 3
    assert len(batch_sizes) <= 6


def test_messages_of_a_dead_worker_are_given_to_another(
    overdue: StoreHarness, redis_client: redis.Redis
) -> None:
    command = sample_commands.command("cancel_order", "client", "o1")
    CommandClient(redis_client).submit(command)
    take_all_and_die(redis_client)
    assert queue_contents(redis_client)["commands taken"] == 1
    assert MessageRescuer(redis_client).run_once() == 1
    assert queue_contents(redis_client)["commands taken"] == 0
    with running_worker(overdue.engine, redis_client) as worker:
        eventually(lambda: worker.settled(command["id"]))
        eventually(worker.idle)


def take_all_and_die(redis_client: redis.Redis) -> None:
    """Take every command as a worker does, and be silent from then on."""
    limits = FetchLimits(100)
    assert Scripts(redis_client).fetch(Keys(COMMANDS), "dead", limits).found
    redis_client.zadd(HEARTBEATS_KEY, {"dead": 0})


def test_messages_of_a_living_worker_stay_with_it(redis_client: redis.Redis) -> None:
    CommandClient(redis_client).submit(sample_commands.accept())
    take_all_and_die(redis_client)
    seconds, micros = redis_client.time()
    redis_client.zadd(HEARTBEATS_KEY, {"dead": seconds * 1000 + micros // 1000})
    assert MessageRescuer(redis_client).run_once() == 0
    assert queue_contents(redis_client)["commands taken"] == 1
