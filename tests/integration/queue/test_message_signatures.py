"""Message signatures: an unsigned message is quarantined, and its neighbours are settled."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import pytest
import redis
from sqlalchemy import Engine

from models.policy import Policy
from tests.support.broker_harness import batch_of
from tests.support.sample_commands import registration
from tests.support.store_harness import recorded_commits
from tests.unit.workers.test_signing import NEW_KEY, OLD_KEY, keyring_of
from workers.client import CommandClient
from workers.database.repository import Store
from workers.processing import failures, wakeups
from workers.processing.failures import list_quarantined, quarantine
from workers.processing.processor import BatchProcessor
from workers.queries.reader import Reader
from workers.queue.broker import EarnestBroker
from workers.queue.messages import UNSIGNED, Delivery, RefusedItem, wrap
from workers.queue.redis import COMMANDS, QUEUES, WAKEUPS, Keys, Scripts
from workers.queue.watermark import ArrivalClock
from workers.signing import Keyring

KEYS = keyring_of(k1=NEW_KEY, k0=OLD_KEY)


def settle_all(
    engine: Engine,
    redis_client: redis.Redis,
    keys: Keyring,
    after_batch: Callable[[], object] = lambda: None,
) -> list[Delivery]:
    """Take and settle until nothing is left; return the deliveries handed out."""
    broker = EarnestBroker(redis_client, partial(quarantine, engine), keys)
    processor = BatchProcessor(
        Store(engine, Policy()), ArrivalClock(redis_client, engine), lambda: None
    )
    deliveries: list[Delivery] = []
    for queue in QUEUES:
        consumer = broker.consume(queue)
        while redis_client.hlen(Keys(queue).messages):
            if (message := next(consumer)) is None:
                continue
            batch = batch_of(message)
            deliveries += [replace(delivery) for delivery in batch.deliveries]
            if queue == COMMANDS:
                processor.settle_batch(batch)
            else:
                processor.wake([name for delivery in batch.deliveries for name in delivery.orders])
                batch.acknowledge_all()
            consumer.ack(message)
            after_batch()
    return deliveries


def quarantine_reasons(engine: Engine) -> list[str]:
    return [item.reason for item in list_quarantined(engine)]


@pytest.mark.parametrize("signer", [keyring_of(k1=NEW_KEY), keyring_of(k0=OLD_KEY)])
def test_a_signature_by_any_key_in_force_is_accepted(
    sqlite_engine: Engine, redis_client: redis.Redis, signer: Keyring
) -> None:
    CommandClient(redis_client, signer).submit_many([registration(1), registration(2)])
    assert len(settle_all(sqlite_engine, redis_client, KEYS)) == 1
    assert quarantine_reasons(sqlite_engine) == []


@pytest.mark.parametrize(
    ("signer", "reason"),
    [
        (UNSIGNED, "not signed"),
        (keyring_of(k9=OLD_KEY), "signed with an unknown key"),
        (keyring_of(k1=OLD_KEY), "wrongly signed"),
    ],
)
def test_a_command_without_a_valid_signature_is_quarantined_and_has_no_outcome(
    sqlite_engine: Engine, redis_client: redis.Redis, signer: Keyring, reason: str
) -> None:
    CommandClient(redis_client, signer).submit(registration(1))
    CommandClient(redis_client, KEYS).submit(registration(2))
    settle_all(sqlite_engine, redis_client, KEYS)
    assert quarantine_reasons(sqlite_engine) == [reason]
    outcomes = Reader(Store(sqlite_engine, Policy())).outcomes(
        ["platform:p1:register_000001", "platform:p1:register_000002"]
    )
    assert list(outcomes) == ["platform:p1:register_000002"]


def test_one_forged_command_is_quarantined_without_its_neighbours_in_the_message(
    sqlite_engine: Engine, redis_client: redis.Redis
) -> None:
    texts = [registration(n) for n in range(5)]
    name, count, text = wrap(COMMANDS, texts, KEYS)
    forged = text.replace("r3", "r4")
    Scripts(redis_client).enqueue(Keys(COMMANDS), [(name, count, forged)])
    (deliveries,) = settle_all(sqlite_engine, redis_client, KEYS)
    assert [command.text for command in deliveries.commands] == [*texts[:3], texts[4]]
    # Each keeps the stamp that its sender was given, though one is missing.
    first = deliveries.commands[0].stamp
    assert [command.stamp - first for command in deliveries.commands] == [0, 1, 2, 4]
    (item,) = list_quarantined(sqlite_engine)
    assert item.message_id == f"{name}#3"
    assert item.payload == texts[3].replace("r3", "r4").encode()


FLOOD_MESSAGES = 20


def test_a_signed_command_does_not_wait_for_a_flood_of_unsigned_ones(
    engine: Engine, redis_client: redis.Redis
) -> None:
    enqueue, items = Scripts(redis_client).enqueue, [f'{{"id": "flood{n}"}}' for n in range(1_000)]
    enqueue(Keys(COMMANDS), [wrap(COMMANDS, items) for _ in range(FLOOD_MESSAGES)])
    enqueue(Keys(COMMANDS), [wrap(COMMANDS, [registration(1)], KEYS)])
    commits_before: list[int] = []
    with recorded_commits(engine) as commits:
        settle_all(engine, redis_client, KEYS, lambda: commits_before.append(len(commits)))
    assert commits_before[0] <= FLOOD_MESSAGES, "it is settled in the first batch"
    assert len(commits) <= 3 * FLOOD_MESSAGES, "not a commit an item, by far"
    assert Reader(Store(engine, Policy())).count_outcomes() == 1
    assert failures.quarantine_reasons(engine) == {"not signed": failures.MAX_QUARANTINED}
    assert failures.count_dropped(engine) == FLOOD_MESSAGES * 1_000 - failures.MAX_QUARANTINED


def test_a_quarantine_that_is_full_drops_the_largest_and_the_oldest(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(failures, "MAX_QUARANTINED", 4)
    monkeypatch.setattr(failures, "MAX_QUARANTINED_BYTES", 100)
    for name, size in (("a", 10), ("b", 10), ("c", 70), ("d", 10), ("e", 30)):
        quarantine(engine, [RefusedItem(COMMANDS, name, b"x" * size, "not JSON", size)])
    assert [item.message_id for item in list_quarantined(engine)] == ["b", "d", "e"]
    assert failures.count_dropped(engine) == 2


def test_a_signature_of_one_command_serves_no_other(
    sqlite_engine: Engine, redis_client: redis.Redis
) -> None:
    name, count, text = wrap(COMMANDS, [registration(1)], KEYS)
    _, _, other_text = wrap(COMMANDS, [registration(2)], KEYS)
    stolen_signature = other_text.split('"signatures"')[1]
    forged = text.split('"signatures"')[0] + '"signatures"' + stolen_signature
    Scripts(redis_client).enqueue(Keys(COMMANDS), [(name, count, forged)])
    settle_all(sqlite_engine, redis_client, KEYS)
    assert quarantine_reasons(sqlite_engine) == ["wrongly signed"]


def test_wake_ups_must_be_signed_too(sqlite_engine: Engine, redis_client: redis.Redis) -> None:
    wakeups.send(redis_client, ["o1", "o2"])
    wakeups.send(redis_client, ["o3"], KEYS)
    (deliveries,) = settle_all(sqlite_engine, redis_client, KEYS)
    assert deliveries.orders == ["o3"]
    assert quarantine_reasons(sqlite_engine) == ["not signed"] * 2


def test_an_unsigned_wake_up_cannot_bring_a_time_of_its_own(
    sqlite_engine: Engine, redis_client: redis.Redis
) -> None:
    """Nobody needs a key for this: a wake-up carries no time, only the name of an order.

    Whoever is woken asks the arrival clock what time it is, so a forged wake-up does what a real
    one does: nothing before the deadline, and after it what was due.
    """
    name, count, text = wrap(WAKEUPS, ["o1"])
    forged = text.replace('"orders"', '"now":"2099-01-01T00:00:00Z","orders"')
    Scripts(redis_client).enqueue(Keys(WAKEUPS), [(name, count, forged)])
    (deliveries,) = settle_all(sqlite_engine, redis_client, UNSIGNED)
    assert deliveries.orders == ["o1"]
    assert deliveries.commands == []
