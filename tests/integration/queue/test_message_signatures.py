"""Message signatures: what is not signed is quarantined and its neighbours are settled."""

from __future__ import annotations

from functools import partial

import pytest
import redis
from sqlalchemy import Engine

from models.policy import Policy
from tests.support.sample_commands import registration
from tests.unit.workers.test_signing import NEW_KEY, OLD_KEY, keyring_of
from workers.client import CommandClient
from workers.database.repository import Store
from workers.processing import wakeups
from workers.processing.failures import list_quarantined, quarantine
from workers.processing.processor import BatchProcessor
from workers.queries.reader import Reader
from workers.queue.broker import EarnestBroker
from workers.queue.messages import UNSIGNED, Delivery, wrap
from workers.queue.redis import COMMANDS, QUEUES, WAKEUPS, Keys, Scripts
from workers.queue.watermark import ArrivalClock
from workers.signing import Keyring

KEYS = keyring_of(k1=NEW_KEY, k0=OLD_KEY)


def settle_all(engine: Engine, redis_client: redis.Redis, keys: Keyring) -> list[Delivery]:
    """Take and settle until nothing is left; return what was handed out."""
    broker = EarnestBroker(redis_client, partial(quarantine, engine), keys)
    settler = BatchProcessor(
        Store(engine, Policy()), ArrivalClock(redis_client, engine), lambda: None
    )
    served: list[Delivery] = []
    for queue in QUEUES:
        consumer = broker.consume(queue)
        while redis_client.hlen(Keys(queue).messages):
            if (message := next(consumer)) is None:
                continue
            bundle = message.kwargs["bundle"]
            commands = [command for delivery in bundle.deliveries for command in delivery.commands]
            settler.settle(
                commands, [subject for delivery in bundle.deliveries for subject in delivery.orders]
            )
            bundle.settled = {delivery.message_id for delivery in bundle.deliveries}
            served += bundle.deliveries
            consumer.ack(message)
    return served


def reasons(engine: Engine) -> list[str]:
    return [item.reason for item in list_quarantined(engine)]


@pytest.mark.parametrize("signer", [keyring_of(k1=NEW_KEY), keyring_of(k0=OLD_KEY)])
def test_any_key_in_force_is_good(
    sqlite_engine: Engine, redis_client: redis.Redis, signer: Keyring
) -> None:
    CommandClient(redis_client, signer).submit_many([registration(1), registration(2)])
    assert len(settle_all(sqlite_engine, redis_client, KEYS)) == 1
    assert reasons(sqlite_engine) == []


@pytest.mark.parametrize(
    ("signer", "reason"),
    [
        (UNSIGNED, "not signed"),
        (keyring_of(k9=OLD_KEY), "signed with an unknown key"),
        (keyring_of(k1=OLD_KEY), "wrongly signed"),
    ],
)
def test_any_other_is_quarantined_and_has_no_outcome(
    sqlite_engine: Engine, redis_client: redis.Redis, signer: Keyring, reason: str
) -> None:
    CommandClient(redis_client, signer).submit(registration(1))
    CommandClient(redis_client, KEYS).submit(registration(2))
    settle_all(sqlite_engine, redis_client, KEYS)
    assert reasons(sqlite_engine) == [reason]
    outcomes = Reader(Store(sqlite_engine, Policy())).outcomes(
        ["register_000001", "register_000002"]
    )
    assert list(outcomes) == ["register_000002"]


def test_one_forged_command_among_honest_ones_goes_alone(
    sqlite_engine: Engine, redis_client: redis.Redis
) -> None:
    texts = [registration(n) for n in range(5)]
    name, count, before, after = wrap(COMMANDS, "commands", texts, KEYS)
    forged = before.replace("r3", "r4")
    Scripts(redis_client).enqueue(Keys(COMMANDS), [(name, count, forged, after)])
    (served,) = settle_all(sqlite_engine, redis_client, KEYS)
    assert [command.text for command in served.commands] == [*texts[:3], texts[4]]
    # Each keeps the stamp that its sender was told, whoever is missing.
    first = served.commands[0].stamp
    assert [command.stamp - first for command in served.commands] == [0, 1, 2, 4]
    (item,) = list_quarantined(sqlite_engine)
    assert item.message_id == f"{name}#3"
    assert item.payload == texts[3].replace("r3", "r4").encode()


def test_a_signature_of_one_command_serves_no_other(
    sqlite_engine: Engine, redis_client: redis.Redis
) -> None:
    name, count, before, after = wrap(COMMANDS, "commands", [registration(1)], KEYS)
    _, _, other_before, _ = wrap(COMMANDS, "commands", [registration(2)], KEYS)
    stolen = other_before.split('"signatures"')[1]
    swapped = before.split('"signatures"')[0] + '"signatures"' + stolen
    Scripts(redis_client).enqueue(Keys(COMMANDS), [(name, count, swapped, after)])
    settle_all(sqlite_engine, redis_client, KEYS)
    assert reasons(sqlite_engine) == ["wrongly signed"]


def test_wake_ups_must_be_signed_too(sqlite_engine: Engine, redis_client: redis.Redis) -> None:
    wakeups.send(redis_client, ["o1", "o2"])
    wakeups.send(redis_client, ["o3"], KEYS)
    (served,) = settle_all(sqlite_engine, redis_client, KEYS)
    assert served.orders == ["o3"]
    assert reasons(sqlite_engine) == ["not signed"] * 2


def test_a_forged_wake_up_says_nothing_that_is_not_so(
    sqlite_engine: Engine, redis_client: redis.Redis
) -> None:
    """Nobody needs a key for this: a wake-up carries no time, only the name of an order.

    Whoever is woken asks the door what time it is, so a wake-up that nobody sent does what one
    that was sent does: nothing before the deadline, and after it what was due.
    """
    name, count, before, after = wrap(WAKEUPS, "orders", ["o1"])
    forged = before.replace('"orders"', '"now":"2099-01-01T00:00:00Z","orders"')
    Scripts(redis_client).enqueue(Keys(WAKEUPS), [(name, count, forged, after)])
    (served,) = settle_all(sqlite_engine, redis_client, UNSIGNED)
    assert served.orders == ["o1"]
    assert served.commands == []
