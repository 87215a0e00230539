"""Order across workers: several processes at one Redis, and every subject's commands in order.

What is in flight elsewhere is waited for, whoever has it and whatever becomes of that worker: its
messages are rescued, taken apart, declared anew after a wipe, or were only promised over HTTP.
"""

from __future__ import annotations

import itertools
import json
import random
import threading
from collections import defaultdict
from datetime import datetime, timedelta

import pytest
import redis
from dramatiq.broker import MessageProxy
from sqlalchemy import Engine

from models.commands.parsing import parse_command
from models.errors import Unavailable
from models.lifecycle import State
from models.orders.order import Order
from models.policy import Policy
from models.service.subjects import subjects_of
from tests.support import sample_commands
from tests.support.broker_harness import KEYS, BrokerHarness, batch_of, commands_of, write_raw
from tests.support.concurrency import eventually, wait_until
from tests.support.sample_commands import SampleCommand, accept, command, pay, place, registration
from tests.support.stories import DEPOSIT
from tests.support.worker import queue_contents, running_worker
from workers.client import CommandClient
from workers.database import schema
from workers.database.engine import reading
from workers.database.repository import Store
from workers.processing.processor import BatchProcessor
from workers.queries.reader import Reader
from workers.queue import consumer, watermark
from workers.queue.frontier import SubjectKeys
from workers.queue.in_flight import MAX_TAKEN
from workers.queue.messages import Received, wrap
from workers.queue.redis import QUEUES, RESERVATION_US, FetchLimits, Keys, Scripts
from workers.queue.watermark import ArrivalClock, begin_epoch
from workers.timestamps import from_us


class Worker:
    """A worker process whose batches the test takes and settles by hand."""

    def __init__(self, engine: Engine, redis_client: redis.Redis) -> None:
        self.broker_harness = BrokerHarness(redis_client)
        self.clock = ArrivalClock(redis_client, engine)
        self.clock.watermark()
        store = Store(engine, Policy())
        store.adopt_policy()
        self.processor = BatchProcessor(store, self.clock, lambda: None)

    def take(self) -> MessageProxy:
        """Take the next batch."""
        while (message := self.broker_harness.take()) is None:
            continue
        return message

    def settle(self, message: MessageProxy | None = None) -> list[str]:
        """Settle a batch, or the next; return the ids of the commands that must wait."""
        message = message or self.take()
        self.processor.settle_batch(batch_of(message))
        left = commands_of(message)
        self.broker_harness.consumer.ack(message)
        return [json.loads(received.text)["id"] for received in left]

    def work(self) -> list[str]:
        """Settle what there is, if there is anything; return what must wait."""
        message = self.broker_harness.take()
        return self.settle(message) if message else []


class WorkerScene:
    """Two orders of two creators that wait for their deposits, and the workers at their Redis."""

    def __init__(self, engine: Engine, redis_client: redis.Redis) -> None:
        self.engine, self.redis_client = engine, redis_client
        begin_epoch(redis_client, engine, in_use=False)
        self.client, self.scripts = CommandClient(redis_client), Scripts(redis_client)
        self.reader = Reader(Store(engine, Policy()))
        self.submit(*sample_commands.admit(), registration(2))
        self.submit(place("o1"), place("o2", creator_id="r2"))
        assert self.worker().settle() == []

    def worker(self) -> Worker:
        return Worker(self.engine, self.redis_client)

    def submit(self, *samples: SampleCommand | str, per_message: int = 100) -> list[int]:
        return self.client.submit_many(samples, per_message=per_message)

    def reason(self, sample: SampleCommand) -> str | None:
        """Return why a command was refused, or None."""
        by = sample["by"]
        (receipt,) = self.reader.outcomes([f"{by['role']}:{by['id']}:{sample['id']}"]).values()
        return receipt.reason

    def names_of(self, creator_id: str) -> list[str]:
        """Return the names that a creator was registered under, one after the other."""
        table = schema.events.c
        query = schema.events.select().where(table.subject == f"creator:{creator_id}")
        with reading(self.engine) as connection:
            rows = list(connection.execute(query.order_by(table.sequence)))
        return [json.loads(row.body)["name"] for row in rows]

    def states(self) -> list[str]:
        return [order.state for order in sorted(self.reader.orders(), key=lambda o: o.order_id)]

    def bury_silent_workers(self) -> None:
        """Give back what workers have that are not heard of."""
        for queue in QUEUES:
            self.scripts.rescue(Keys(queue), 0, last=queue == QUEUES[-1])

    def check_nothing_is_left(self) -> None:
        assert set(queue_contents(self.redis_client).values()) == {0}
        assert self.reader.audit().findings == []


@pytest.fixture
def scene(
    sqlite_engine: Engine, redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> WorkerScene:
    """Give the scene, where whoever waits looks again soon: by itself, and not on a signal."""
    monkeypatch.setattr(consumer, "IDLE_S", 0.02)
    return WorkerScene(sqlite_engine, redis_client)


DEPOSIT_OF_O1, ACCEPTANCE = pay("p1", {"o1": DEPOSIT}), accept("o1")


def in_flight_elsewhere(scene: WorkerScene) -> tuple[Worker, MessageProxy, Worker]:
    """Let one worker have the deposit, and another the acceptance that came after it."""
    first, second = scene.worker(), scene.worker()
    scene.submit(DEPOSIT_OF_O1)
    message = first.take()
    scene.submit(ACCEPTANCE)
    return first, message, second


def test_a_command_waits_for_an_earlier_one_in_flight_whose_text_nobody_has_read(
    scene: WorkerScene,
) -> None:
    first, message, second = in_flight_elsewhere(scene)
    other = command("nudge_creator", "client", "o2")
    scene.submit(other)
    for _ in range(3):
        assert second.settle() == [ACCEPTANCE["id"]]
    assert scene.reason(other) == "wrong_state", "it is about another order"
    assert first.settle(message) == []
    assert second.settle() == []
    assert [scene.reason(sample) for sample in (DEPOSIT_OF_O1, ACCEPTANCE)] == [None, None]
    scene.check_nothing_is_left()


def test_a_command_waits_for_an_earlier_one_in_the_queue(scene: WorkerScene) -> None:
    scene.submit(DEPOSIT_OF_O1, ACCEPTANCE, per_message=1)
    waiting = scene.redis_client.lpop(KEYS.waiting)
    assert isinstance(waiting, bytes)
    second = scene.worker()
    assert second.settle() == [ACCEPTANCE["id"]]
    # As somebody who gives it back.
    scene.redis_client.hset(KEYS.attempts, waiting, 0)
    scene.redis_client.lpush(KEYS.waiting, waiting)
    assert second.settle() == []
    assert scene.states() == ["awaiting_balance", "awaiting_deposit"]
    scene.check_nothing_is_left()


def test_of_a_partly_settled_message_only_what_is_left_is_waited_for(scene: WorkerScene) -> None:
    first, message, second = in_flight_elsewhere(scene)
    assert second.settle() == [ACCEPTANCE["id"]]
    own = [registration(3), json.dumps(command("nudge_creator", "client", "o1"))]
    scene.submit(*own)
    assert len(second.settle()) == 2, "the registration is settled, the nudge waits"
    third = scene.worker()
    again = json.loads(registration(3, name="again")) | {"id": "register_again"}
    cancel = command("cancel_order", "client", "o1")
    scene.submit(again, cancel)
    assert third.settle() == [cancel["id"]]
    assert first.settle(message) == []
    assert second.settle() == []
    assert third.settle() == []
    assert [scene.reason(sample) for sample in (ACCEPTANCE, again, cancel)] == [
        *(None, None, "would_forfeit"),
    ]
    scene.check_nothing_is_left()


def test_what_a_dead_worker_had_is_rescued_and_still_comes_first(scene: WorkerScene) -> None:
    _, _, second = in_flight_elsewhere(scene)
    assert second.settle() == [ACCEPTANCE["id"]]
    scene.bury_silent_workers()
    # Suspected messages keep little company: whatever is in one batch, the order is the same.
    eventually(lambda: not scene.redis_client.hlen(KEYS.messages) or second.work() is None)
    assert [scene.reason(sample) for sample in (DEPOSIT_OF_O1, ACCEPTANCE)] == [None, None]
    scene.check_nothing_is_left()


def test_a_worker_that_was_frozen_finds_its_commands_settled(scene: WorkerScene) -> None:
    frozen, message, second = in_flight_elsewhere(scene)
    scene.bury_silent_workers()
    eventually(lambda: not scene.redis_client.hlen(KEYS.messages) or second.work() is None)
    outcome_count = scene.reader.count_outcomes()
    assert frozen.settle(message) == []
    assert scene.reader.count_outcomes() == outcome_count
    assert scene.states() == ["awaiting_balance", "awaiting_deposit"]
    scene.check_nothing_is_left()


def test_the_parts_of_a_message_that_is_taken_apart_keep_their_places(scene: WorkerScene) -> None:
    first, second = scene.worker(), scene.worker()
    scene.submit(DEPOSIT_OF_O1, ACCEPTANCE)
    (whole_id,) = scene.redis_client.lrange(KEYS.waiting, 0, -1)
    scene.redis_client.hset(KEYS.attempts, whole_id, 2)
    cancel = command("cancel_order", "client", "o1")
    stamps = [*scene.submit(cancel)]
    suspect = scene.redis_client.lpop(KEYS.waiting)
    assert suspect == whole_id
    assert second.settle() == [cancel["id"]]
    scene.redis_client.lpush(KEYS.waiting, whole_id)
    # Whoever takes it takes it apart, and hands out each part alone.
    eventually(lambda: first.work() is None or scene.redis_client.zcard(KEYS.pending) == 1)
    assert scene.redis_client.zrange(KEYS.pending, 0, -1, withscores=True)[0][1] == stamps[0]
    assert second.settle() == []
    assert [scene.reason(sample) for sample in (DEPOSIT_OF_O1, ACCEPTANCE, cancel)] == [
        *(None, None, "would_forfeit"),
    ]
    scene.check_nothing_is_left()


def test_after_a_wipe_what_is_in_flight_is_waited_for_as_before(
    scene: WorkerScene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watermark, "GRACE", timedelta(seconds=0.5))
    first, deposit, second = in_flight_elsewhere(scene)
    acceptance = second.take()
    scene.redis_client.flushall()
    with pytest.raises(Unavailable, match="wiped"):
        second.processor.settle_batch(batch_of(acceptance))
    for worker in (second, first):
        # They say again what they have, at their next signs of life.
        assert worker.broker_harness.take() is None
        assert worker.broker_harness.take() is None
    with pytest.raises(Unavailable, match="wiped"):
        second.processor.settle_batch(batch_of(acceptance))
    eventually(lambda: second.clock.watermark() > watermark.BEGINNING)
    assert second.settle(acceptance) == [ACCEPTANCE["id"]]
    eventually(lambda: first.clock.watermark() > watermark.BEGINNING)
    assert first.settle(deposit) == []
    assert second.settle() == []
    assert scene.states() == ["awaiting_balance", "awaiting_deposit"]
    scene.check_nothing_is_left()


def reserve(scene: WorkerScene, sample: SampleCommand) -> tuple[str, int]:
    """Reserve a stamp for a command, as the web process does before it commits its row."""
    keys = SubjectKeys.of(subjects_of(parse_command(json.dumps(sample))))
    (stamp,) = scene.scripts.reserve([("inbox-1", 1, keys.announcement(0))])
    return "inbox-1", stamp


def test_a_command_waits_for_one_that_was_promised_a_stamp_over_http(scene: WorkerScene) -> None:
    message_id, stamp = reserve(scene, DEPOSIT_OF_O1)
    scene.submit(ACCEPTANCE)
    worker = scene.worker()
    assert worker.settle() == [ACCEPTANCE["id"]]
    _, _, text = wrap("commands", [json.dumps(DEPOSIT_OF_O1)], message_id=message_id)
    scene.scripts.hand_in(KEYS, [(message_id, stamp, text)], front=False)
    assert worker.settle() == []
    assert [scene.reason(sample) for sample in (DEPOSIT_OF_O1, ACCEPTANCE)] == [None, None]
    scene.check_nothing_is_left()


def test_a_promise_that_is_not_kept_is_not_waited_for_for_ever(scene: WorkerScene) -> None:
    message_id, stamp = reserve(scene, DEPOSIT_OF_O1)
    scene.submit(ACCEPTANCE)
    worker = scene.worker()
    assert worker.settle() == [ACCEPTANCE["id"]]
    # As if the fifteen seconds had gone by.
    scene.redis_client.zadd(KEYS.pending, {message_id: stamp - RESERVATION_US})
    scene.scripts.mend(KEYS, thoroughly=False)
    assert worker.settle() == []
    assert scene.reason(ACCEPTANCE) == "wrong_state"
    scene.check_nothing_is_left()


def test_what_cannot_be_read_announces_nothing(scene: WorkerScene) -> None:
    first, second = scene.worker(), scene.worker()
    first.broker_harness.database_is_down = True
    write_raw(scene.redis_client, "bad", json.dumps(DEPOSIT_OF_O1))
    assert first.broker_harness.take() is None
    scene.submit(ACCEPTANCE)
    assert second.settle() == []
    assert scene.reason(ACCEPTANCE) == "wrong_state"
    first.broker_harness.database_is_down = False
    eventually(lambda: first.work() == [] and first.broker_harness.quarantined)
    scene.check_nothing_is_left()


def test_behind_more_texts_than_are_worth_reading_everything_waits_until_they_are_read(
    scene: WorkerScene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.queue.redis.MAX_TEXT_BYTES", 100)
    first, second = scene.worker(), scene.worker()
    scene.submit(registration(3))
    message = first.take()
    scene.submit(ACCEPTANCE)
    assert second.settle() == [ACCEPTANCE["id"]]
    first.processor.settle_batch(batch_of(message))
    assert second.settle() == []
    first.broker_harness.consumer.ack(message)
    scene.check_nothing_is_left()


def test_however_messages_are_dealt_out_every_creators_registrations_are_in_order(
    scene: WorkerScene,
) -> None:
    generator = random.Random(7)  # noqa: S311 - dealing out is no secret
    workers = [scene.worker() for _ in range(3)]
    numbers = itertools.count(100)
    names: dict[str, list[str]] = defaultdict(list)
    in_hand: dict[int, MessageProxy] = {}
    for _ in range(60):
        samples = []
        for _ in range(generator.randint(1, 4)):
            number = next(numbers)
            creator_id = f"r{generator.randint(10, 13)}"
            sample = json.loads(registration(number, name=f"name {number}"))
            samples.append(sample | {"creator_id": creator_id})
            names[creator_id].append(f"name {number}")
        scene.submit(*samples)
        at = generator.randrange(3)
        if at in in_hand:
            workers[at].settle(in_hand.pop(at))
        elif (message := workers[at].broker_harness.take()) is not None:
            in_hand[at] = message
    for at, message in in_hand.items():
        workers[at].settle(message)
    for worker in itertools.islice(itertools.cycle(workers), 300):
        worker.work()
        if not scene.redis_client.hlen(KEYS.messages):
            break
    for creator_id, expected in names.items():
        assert scene.names_of(creator_id) == expected
    scene.check_nothing_is_left()


# --- Waiting, and how much of it


def test_whoever_waits_is_woken_by_a_signal_and_does_not_ask_meanwhile(
    scene: WorkerScene, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, message, second = in_flight_elsewhere(scene)
    assert second.settle() == [ACCEPTANCE["id"]]
    monkeypatch.setattr(consumer, "IDLE_S", 4.5)
    # Each strike that is left of earlier messages would let it look once more.
    scene.redis_client.delete(KEYS.notify)
    taken: list[MessageProxy | None] = []
    waiter = threading.Thread(target=lambda: taken.append(second.broker_harness.take()))
    waiter.start()
    waiter.join(0.5)
    assert taken == [], "it looks again although nothing has changed"
    assert first.settle(message) == []
    waiter.join(3.0)
    assert len(taken) == 1
    assert second.settle(taken[0]) == []
    scene.check_nothing_is_left()


def test_whoever_waits_takes_what_comes_in_meanwhile_at_once(
    scene: WorkerScene, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, message, second = in_flight_elsewhere(scene)
    assert second.settle() == [ACCEPTANCE["id"]]
    monkeypatch.setattr(consumer, "IDLE_S", 4.5)
    scene.redis_client.delete(KEYS.notify)
    settled = threading.Event()

    def work() -> None:
        while not scene.reader.outcomes(["platform:p1:register_000004"]):
            second.work()
        settled.set()

    waiter = threading.Thread(target=work)
    waiter.start()
    assert not settled.wait(0.3)
    scene.submit(registration(4))
    assert settled.wait(3.0)
    waiter.join()
    assert first.settle(message) == []
    assert second.settle() == []


def test_two_thousand_commands_held_behind_one_do_not_keep_it_out(scene: WorkerScene) -> None:
    scene.submit(registration(10, name="oldest"))
    (oldest,) = scene.scripts.fetch(KEYS, "silent", FetchLimits(1)).messages
    samples = [
        json.loads(registration(100 + n, name=f"name {n}")) | {"creator_id": "r10"}
        for n in range(2_000)
    ]
    scene.submit(*samples, per_message=1)
    worker = scene.worker()
    for _ in range(12):
        worker.work()
        assert len(worker.broker_harness.consumer.in_flight) <= MAX_TAKEN
    assert scene.redis_client.zcard(KEYS.pending) == 2_001
    assert scene.redis_client.llen(KEYS.waiting) == 2_000 - MAX_TAKEN
    scene.scripts.give_back(KEYS, "silent", [oldest.message_id])
    wait_until(lambda: worker.work() == [] and not scene.redis_client.hlen(KEYS.messages))
    assert scene.names_of("r10") == ["oldest", *(f"name {n}" for n in range(2_000))]
    scene.check_nothing_is_left()


def test_two_real_workers_settle_in_order_what_is_in_flight_at_a_third(
    sqlite_engine: Engine, redis_client: redis.Redis
) -> None:
    scene = WorkerScene(sqlite_engine, redis_client)
    third, message, _ = in_flight_elsewhere(scene)
    others = [place(f"n{n}", creator_id="r2") for n in range(20)]
    cancel = command("cancel_order", "client", "o1")
    with running_worker(sqlite_engine, redis_client), running_worker(sqlite_engine, redis_client):
        scene.submit(*others, cancel, per_message=1)
        eventually(lambda: len(list(scene.reader.orders())) == 22)
        assert scene.states()[-2:] == ["awaiting_deposit", "awaiting_deposit"]
        assert redis_client.hlen(KEYS.messages) == 3, "one in flight, and two that wait for it"
        assert third.settle(message) == []
        eventually(lambda: not redis_client.hlen(KEYS.messages))
    assert [scene.reason(sample) for sample in (DEPOSIT_OF_O1, ACCEPTANCE, cancel)] == [
        *(None, None, "would_forfeit"),
    ]
    scene.check_nothing_is_left()


# --- Deadlines

SOON = timedelta(seconds=1.5)


class DeadlineRace:
    """An order whose deadline is near, a worker that takes commands, and another that ticks."""

    def __init__(self, engine: Engine, redis_client: redis.Redis) -> None:
        self.redis_client, self.engine = redis_client, engine
        begin_epoch(redis_client, engine, in_use=False)
        self.worker, self.ticker = Worker(engine, redis_client), Worker(engine, redis_client)
        steps = [*sample_commands.admit(), place(), pay("p1", {"o1": DEPOSIT})]
        at = self.ticker.clock.now() - Policy().accept_window
        for number, step in enumerate(steps, start=1):
            if number == len(steps):
                at = self.ticker.clock.now() - Policy().accept_window + SOON
            received = Received(json.dumps(step), at, number, f"m{number}")
            assert self.ticker.processor.settle([received]) == []
        self.due_at: datetime = at + Policy().accept_window
        assert self.order.due_at == self.due_at

    @property
    def order(self) -> Order:
        order = Reader(self.ticker.processor.store).order("o1")
        assert order is not None
        return order

    def submit(self, *samples: SampleCommand | str) -> None:
        """Hand in commands in one message, in time."""
        stamps = CommandClient(self.redis_client).submit_many(samples)
        assert from_us(stamps[-1]) < self.due_at, "the machine was too slow for this test"

    def accept(self) -> MessageProxy:
        """Hand in the acceptance, in time, and have the worker take it."""
        self.submit(accept())
        return self.worker.take()

    def tick(self) -> State:
        """Let the deadline pass, wake the order, and say what it is now."""
        wait_until(lambda: self.ticker.clock.now() > self.due_at)
        self.ticker.processor.wake(["o1"])
        return self.order.state

    def settle(self, message: MessageProxy, worker: Worker | None = None) -> State:
        """Settle what the worker has, late as it is."""
        assert (worker or self.worker).settle(message) == []
        return self.order.state

    def bury_silent_workers(self) -> None:
        for queue in QUEUES:
            Scripts(self.redis_client).rescue(Keys(queue), 0, last=queue == QUEUES[-1])


@pytest.fixture
def deadline_race(
    sqlite_engine: Engine, redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> DeadlineRace:
    monkeypatch.setattr(consumer, "IDLE_S", 0.05)
    return DeadlineRace(sqlite_engine, redis_client)


def test_with_nothing_on_its_way_the_deadline_takes_effect(deadline_race: DeadlineRace) -> None:
    assert deadline_race.tick() is State.EXPIRED


def test_a_deadline_does_not_overtake_a_command_in_the_queue(deadline_race: DeadlineRace) -> None:
    deadline_race.submit(accept())
    assert deadline_race.tick() is State.OFFERED
    assert deadline_race.settle(deadline_race.worker.take()) is State.AWAITING_BALANCE


def test_a_deadline_does_not_overtake_a_command_in_flight(deadline_race: DeadlineRace) -> None:
    message = deadline_race.accept()
    assert deadline_race.tick() is State.OFFERED
    assert deadline_race.settle(message) is State.AWAITING_BALANCE


def test_a_deadline_does_not_overtake_a_command_that_is_held_back(
    deadline_race: DeadlineRace,
) -> None:
    elsewhere = Worker(deadline_race.engine, deadline_race.redis_client)
    deadline_race.submit(command("nudge_creator", "client", "o1"))
    nudge = elsewhere.take()
    deadline_race.submit(accept())
    assert len(deadline_race.worker.settle()) == 1
    assert elsewhere.settle(nudge) == []
    assert deadline_race.tick() is State.OFFERED
    assert deadline_race.settle(deadline_race.worker.take()) is State.AWAITING_BALANCE


def test_a_deadline_passes_commands_in_flight_that_are_read_and_about_something_else(
    deadline_race: DeadlineRace,
) -> None:
    elsewhere = Worker(deadline_race.engine, deadline_race.redis_client)
    deadline_race.submit(registration(5))
    elsewhere.take()
    deadline_race.submit(json.loads(registration(5)) | {"id": "register_again"})
    assert deadline_race.worker.settle() == ["register_again"]
    assert deadline_race.tick() is State.OFFERED, "nobody has said what the first is about"
    (first, *_) = Scripts(deadline_race.redis_client).frontier(KEYS, {}).earlier
    Scripts(deadline_race.redis_client).frontier(KEYS, {first.message_id: b""})
    assert deadline_race.tick() is State.EXPIRED


def test_a_deadline_does_not_overtake_a_command_whose_worker_was_killed(
    deadline_race: DeadlineRace,
) -> None:
    deadline_race.accept()
    deadline_race.bury_silent_workers()
    assert deadline_race.tick() is State.OFFERED
    next_worker = Worker(deadline_race.engine, deadline_race.redis_client)
    assert deadline_race.settle(next_worker.take(), next_worker) is State.AWAITING_BALANCE


def test_a_deadline_does_not_overtake_a_command_of_a_partly_settled_message(
    deadline_race: DeadlineRace,
) -> None:
    deadline_race.submit(registration(1), accept())
    message = deadline_race.worker.take()
    batch = batch_of(message)
    first, _ = commands_of(message)
    deadline_race.worker.processor.settle([first], None, batch.acknowledge)
    assert len(commands_of(message)) == 1
    assert deadline_race.tick() is State.OFFERED
    assert deadline_race.settle(message) is State.AWAITING_BALANCE


def test_a_deadline_does_not_overtake_a_command_that_only_its_worker_remembers(
    deadline_race: DeadlineRace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watermark, "GRACE", timedelta(seconds=0.5))
    message = deadline_race.accept()
    deadline_race.redis_client.flushall()
    assert deadline_race.tick() is State.OFFERED
    # The worker says again what it has, at its next sign of life.
    assert deadline_race.worker.broker_harness.take() is None
    assert deadline_race.tick() is State.OFFERED
    eventually(lambda: deadline_race.worker.clock.watermark() > watermark.BEGINNING)
    assert deadline_race.tick() is State.OFFERED
    assert deadline_race.settle(message) is State.AWAITING_BALANCE


def test_a_command_declared_again_after_a_wipe_outlives_its_worker(
    deadline_race: DeadlineRace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watermark, "GRACE", timedelta(0))
    deadline_race.accept()
    deadline_race.redis_client.flushall()
    assert deadline_race.worker.broker_harness.take() is None
    deadline_race.bury_silent_workers()
    next_worker = Worker(deadline_race.engine, deadline_race.redis_client)
    assert deadline_race.settle(next_worker.take(), next_worker) is State.AWAITING_BALANCE


def test_after_a_wipe_deadlines_take_effect_again(
    deadline_race: DeadlineRace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watermark, "GRACE", timedelta(seconds=0.5))
    deadline_race.redis_client.flushall()
    assert deadline_race.worker.broker_harness.take() is None
    deadline_race.ticker.clock.watermark()
    wait_until(lambda: deadline_race.tick() is State.EXPIRED)


def test_a_tick_after_the_acknowledgement_finds_the_command_settled(
    deadline_race: DeadlineRace,
) -> None:
    assert deadline_race.settle(deadline_race.accept()) is State.AWAITING_BALANCE
    assert deadline_race.tick() is State.AWAITING_BALANCE
    assert deadline_race.redis_client.zcard(KEYS.pending) == 0
