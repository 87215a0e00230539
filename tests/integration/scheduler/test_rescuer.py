"""Rescuer: messages of dead workers come back, and entries without a message are dropped."""

from __future__ import annotations

import pytest
import redis
from structlog.testing import capture_logs

from models.service.subjects import Subjects
from scheduler.rescuer import MessageRescuer
from tests.support import sample_commands
from tests.support.broker_harness import batch_of, commands_of, require
from tests.support.concurrency import eventually
from tests.support.sample_commands import registration
from tests.support.store_harness import StoreHarness
from tests.support.worker import queue_contents, running_worker
from workers.client import CommandClient
from workers.queue.broker import EarnestBroker
from workers.queue.frontier import Blocker, SubjectKeys
from workers.queue.redis import COMMANDS, QUEUES, WORKERS_KEY, FetchLimits, Keys, Scripts
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
    about_o1 = SubjectKeys.of(Subjects(frozenset({"order:o1"})))
    Scripts(redis_client).reserve([("nothing", 1, about_o1.announcement(0))])
    redis_client.zadd(KEYS.pending, {"nothing": 5, "nor this": 5})
    arrival_clock = ArrivalClock(redis_client, None)
    assert arrival_clock.wakeup_frontier().horizon(["order:o1"]) == 5
    assert arrival_clock.wakeup_frontier().horizon(["order:o2"]) > 5
    with capture_logs() as logs:
        rescuer.run_once()
    assert arrival_clock.wakeup_frontier().horizon(["order:o1"]) > 5
    assert logs == [
        {"event": "queue.mended", "log_level": "error", "queue": COMMANDS}
        | {"put_back": 0, "dropped": 2}
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
            batch = batch_of(message)
            batch.acknowledge(command for d in batch.deliveries[::2] for command in d.commands)
            batch.consumer.ack(message)
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
    assert [redis_client.zscore(KEYS.pending, message_id) for message_id in ids] == stamps


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
        batch = batch_of(message)
        sizes.append(len(batch.deliveries))
        if sizes[-1] == 1:
            assert next(broker.consume(COMMANDS)) is None
        batch.acknowledge(commands_of(message))
        batch.consumer.ack(message)
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
        batch = batch_of(message)
        batch_sizes.append(len(batch.deliveries))
        # The suspect is the youngest: it is held back as long as there is anybody older.
        must_wait = redis_client.hlen(KEYS.messages) > 1
        batch.acknowledge(
            command
            for command in commands_of(message)
            if not (must_wait and command.message_id == suspect.decode())
        )
        consumer.ack(message)
    assert max(batch_sizes) == 3
    assert len(batch_sizes) <= 6


def test_a_held_message_lets_in_what_it_waits_for_behind_one_under_suspicion(
    redis_client: redis.Redis,
) -> None:
    CommandClient(redis_client).submit_many([registration(n) for n in range(3)], per_message=1)
    # Two that another worker has had when it died the second time, and one that is held here.
    suspect, awaited = Scripts(redis_client).fetch(KEYS, "dead", FetchLimits(2)).messages
    broker = EarnestBroker(redis_client, lambda _: None)
    consumer = broker.consume(COMMANDS)
    held = require(next(consumer))
    batch_of(held).blockers = [Blocker(awaited.message_id, 0, awaited.stamp)]
    consumer.ack(held)
    Scripts(redis_client).give_back(KEYS, "dead", [suspect.message_id, awaited.message_id])
    redis_client.hset(KEYS.attempts, mapping={suspect.message_id: 2, awaited.message_id: 2})
    older = {suspect.message_id, awaited.message_id}
    settled: list[str] = []
    while redis_client.hlen(KEYS.messages):
        if (message := next(consumer)) is None:
            continue
        batch = batch_of(message)
        commands = commands_of(message)
        if awaited.message_id not in settled:
            commands = [command for command in commands if command.message_id in older]
        settled += [command.message_id for command in commands]
        batch.acknowledge(commands)
        consumer.ack(message)
    assert settled[:2] == [suspect.message_id, awaited.message_id]
    assert len(settled) == 3


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
    assert Scripts(redis_client).fetch(Keys(COMMANDS), "dead", limits).messages
    redis_client.zadd(WORKERS_KEY, {"dead": 0})


def test_messages_of_a_living_worker_stay_with_it(redis_client: redis.Redis) -> None:
    CommandClient(redis_client).submit(sample_commands.accept())
    take_all_and_die(redis_client)
    seconds, micros = redis_client.time()
    redis_client.zadd(WORKERS_KEY, {"dead": seconds * 1000 + micros // 1000})
    assert MessageRescuer(redis_client).run_once() == 0
    assert queue_contents(redis_client)["commands taken"] == 1
