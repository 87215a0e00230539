"""Stock Dramatiq: its senders are understood, its applications let alone, its command runs ours."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import dramatiq
import pytest
import redis
from dramatiq.brokers.redis import RedisBroker
from sqlalchemy import Engine

from ops.cli import doctor
from scheduler.rescuer import MessageRescuer
from tests.support.broker_harness import BrokerHarness, require
from tests.support.concurrency import eventually
from tests.support.sample_commands import registration
from tests.support.stock_dramatiq import settle_commands_of, stock_broker
from tests.support.worker import queue_contents, running_worker
from workers.client import CommandClient
from workers.processing.failures import quarantine, quarantine_reasons
from workers.queries import monitoring
from workers.queue.broker import EarnestBroker
from workers.queue.redis import COMMANDS, QUEUES, RESERVATION_US, Keys, Scripts
from workers.queue.upgrade import OLD_EPOCH_KEY, OldKeys
from workers.settings import Settings, project_root
from workers.signing import Keyring

KEYS = Keys(COMMANDS)

Send = Callable[["dramatiq.Actor[Any, Any]", dict[str, Any]], object]


def send_objects(actor: dramatiq.Actor[Any, Any], command: dict[str, Any]) -> object:
    return actor.send(commands=[command])


def send_texts(actor: dramatiq.Actor[Any, Any], command: dict[str, Any]) -> object:
    return actor.send(commands=[json.dumps(command)])


def send_by_position(actor: dramatiq.Actor[Any, Any], command: dict[str, Any]) -> object:
    return actor.send([command])


def send_with_options(actor: dramatiq.Actor[Any, Any], command: dict[str, Any]) -> object:
    kwargs = {"commands": [command]}
    return actor.send_with_options(kwargs=kwargs, max_retries=9, on_failure="nobody")


def send_in_a_pipeline(actor: dramatiq.Actor[Any, Any], command: dict[str, Any]) -> object:
    next_message = actor.message(commands=[command])
    messages = [actor.message(commands=[command]), next_message]
    pipeline: Any = dramatiq.pipeline(messages, broker=actor.broker)
    return pipeline.run()


WAYS_TO_SEND: tuple[Send, ...] = (
    send_objects,
    send_texts,
    send_by_position,
    send_with_options,
    send_in_a_pipeline,
)


def as_object(number: int) -> dict[str, Any]:
    command: dict[str, Any] = json.loads(registration(number))
    return command


@pytest.mark.parametrize("send", WAYS_TO_SEND)
def test_a_command_that_a_stock_sender_has_sent_is_settled(
    sqlite_engine: Engine, redis_client: redis.Redis, send: Send
) -> None:
    actor = settle_commands_of(stock_broker(redis_client))
    with running_worker(sqlite_engine, redis_client) as running:
        send(actor, as_object(1))
        eventually(lambda: running.settled(as_object(1)["id"]) and running.idle())
        (receipt,) = running.rows("receipts")
        assert receipt.outcome == "applied"
        assert running.rows("quarantine") == []
        assert running.alive()


def test_a_stock_senders_command_is_stamped_when_it_is_first_taken_and_keeps_its_stamp(
    redis_client: redis.Redis,
) -> None:
    actor = settle_commands_of(stock_broker(redis_client))
    actor.send(commands=[as_object(1), as_object(2)])
    (before,) = CommandClient(redis_client).submit_many([registration(3)])
    first = EarnestBroker(redis_client, lambda _: None)
    deliveries = require(next(first.consume(COMMANDS))).kwargs["batch"].deliveries
    stamps = {d.message_id: [c.stamp for c in d.commands] for d in deliveries}
    later_stamps, own_stamps = sorted(stamps.values(), key=len, reverse=True)
    assert own_stamps == [before]
    assert later_stamps[0] > before
    assert later_stamps == [later_stamps[0], later_stamps[0] + 1]
    first.release_all()
    second = EarnestBroker(redis_client, lambda _: None)
    again = require(next(second.consume(COMMANDS))).kwargs["batch"].deliveries
    assert {d.message_id: [c.stamp for c in d.commands] for d in again} == stamps
    # Their order is that of their stamps, and no longer that of sending.
    assert [d.stamp for d in again] == [before, later_stamps[0]]


def test_with_keys_in_force_what_a_stock_sender_sends_is_quarantined_and_doctor_says_why(
    sqlite_engine: Engine, redis_client: redis.Redis, redis_url: str
) -> None:
    settle_commands_of(stock_broker(redis_client)).send(commands=[as_object(1)])
    keys = Keyring.parse("k1:" + "A" * 43 + "=")
    broker = EarnestBroker(redis_client, partial(quarantine, sqlite_engine), keys)
    consumer = broker.consume(COMMANDS)
    eventually(lambda: next(consumer) is None and quarantine_reasons(sqlite_engine) != {})
    assert quarantine_reasons(sqlite_engine) == {"not signed": 1}
    assert not any(queue_contents(redis_client).values())
    url = sqlite_engine.url.render_as_string(hide_password=False)
    settings = Settings.read({}, database_url=url, redis_url=redis_url)
    (check,) = [check for check in doctor.examine(settings) if check.name == "quarantine"]
    assert check.state == "warn"
    assert "1 not signed" in check.detail
    assert "Dramatiq's own senders cannot sign" in check.detail


def test_doctor_tells_of_messages_that_an_old_version_left(
    sqlite_engine: Engine, redis_client: redis.Redis, redis_url: str
) -> None:
    url = sqlite_engine.url.render_as_string(hide_password=False)
    settings = Settings.read({}, database_url=url, redis_url=redis_url)
    assert "old messages" not in [check.name for check in doctor.examine(settings)]
    redis_client.set(OLD_EPOCH_KEY, 1)
    (check,) = [check for check in doctor.examine(settings) if check.name == "old messages"]
    assert check.state == "warn"


def test_a_stock_senders_maintenance_touches_nothing_of_ours(redis_client: redis.Redis) -> None:
    client = CommandClient(redis_client)
    client.submit_many([registration(number) for number in range(3)], per_message=1)
    broker = EarnestBroker(redis_client, lambda _: None)
    require(next(broker.consume(COMMANDS)))
    client.submit(registration(9))
    before = dump(redis_client)
    # A heartbeat of another sender long ago, so that there is a dead one to look after.
    stock = stock_broker(redis_client, heartbeat_timeout=1)
    redis_client.zadd(f"{stock.namespace}:__heartbeats__", {"dead": 1})
    for queue in QUEUES:
        stock.do_qsize(queue)
    after = dump(redis_client)
    assert {name for name in after if after[name] != before.get(name)} == {
        f"{stock.namespace}:__heartbeats__".encode()
    }
    assert before.keys() <= after.keys()


def dump(client: redis.Redis) -> dict[bytes, bytes | None]:
    """Return every key with everything it holds."""
    names: Any = client.keys("*")
    return {name: client.dump(name) for name in names}


def test_a_reservation_that_nobody_came_for_lapses_though_a_stock_senders_messages_wait(
    redis_client: redis.Redis,
) -> None:
    scripts = Scripts(redis_client)
    scripts.reserve([("lost", 1, b"")])
    redis_client.zincrby(KEYS.pending, -2 * RESERVATION_US, "lost")
    # They bear no stamps before they are taken, so there is one message for one stamp.
    settle_commands_of(stock_broker(redis_client)).send(commands=[as_object(1)])
    assert scripts.mend(KEYS, thoroughly=False) == (0, 1, True)
    assert redis_client.zcard(KEYS.pending) == 0


def test_stock_tools_read_how_much_waits_and_is_in_flight(redis_client: redis.Redis) -> None:
    stock, harness = stock_broker(redis_client), BrokerHarness(redis_client)
    stock.declare_queue(COMMANDS)
    CommandClient(redis_client).submit_many([registration(n) for n in range(3)], per_message=1)
    assert redis_client.llen(f"{stock.namespace}:{COMMANDS}") == 3
    assert stock.do_qsize(COMMANDS) == 3
    batch = require(harness.take())
    assert redis_client.llen(f"{stock.namespace}:{COMMANDS}") == 0
    assert redis_client.hlen(f"{stock.namespace}:{COMMANDS}.msgs") == 3
    harness.settle(batch)
    stock.join(COMMANDS, timeout=1_000)


def test_a_message_of_ours_is_one_that_dramatiq_can_decode(redis_client: redis.Redis) -> None:
    CommandClient(redis_client).submit(registration(1))
    messages: Any = redis_client.hgetall(KEYS.messages)
    ((name, payload),) = messages.items()
    message = dramatiq.Message.decode(payload)
    assert (message.queue_name, message.actor_name) == (COMMANDS, "settle_commands")
    assert message.kwargs == {"commands": [registration(1)]}
    assert message.message_id == message.options["redis_message_id"] == name.decode()
    assert abs(message.message_timestamp - redis_client.time()[0] * 1_000) < 60_000


def stock_application(client: redis.Redis) -> RedisBroker:
    """Return the broker of somebody else's application, with a queue that is named like ours."""
    broker = stock_broker(client, namespace="dramatiq", heartbeat_timeout=1)
    for queue in ("default", COMMANDS):
        dramatiq.actor(broker=broker, queue_name=queue, actor_name=f"theirs_{queue}")(print)
    return broker


def send_to_theirs(broker: RedisBroker, count: int) -> set[str]:
    messages = [
        broker.get_actor(f"theirs_{queue}").send(queue, number)
        for queue in ("default", COMMANDS)
        for number in range(count)
    ]
    return {message.message_id for message in messages}


def take_all(broker: RedisBroker) -> set[str]:
    """Take everything as a worker of theirs, and never acknowledge it: the worker is killed."""
    message_ids = set()
    for queue in ("default", COMMANDS):
        consumer = broker.consume(queue, prefetch=100, timeout=1)
        while (message := next(consumer)) is not None:
            message_ids.add(message.message_id)
    return message_ids


def test_beside_a_stock_application_whose_workers_and_ours_are_killed_nobody_loses_anything(
    redis_client: redis.Redis,
) -> None:
    other_broker, rescuer = stock_application(redis_client), MessageRescuer(redis_client)
    sent_ids = send_to_theirs(other_broker, 5)
    client = CommandClient(redis_client)
    client.submit_many([registration(number) for number in range(5)], per_message=1)
    ours_killed = EarnestBroker(redis_client, lambda _: None)
    require(next(ours_killed.consume(COMMANDS)))
    assert take_all(stock_application(redis_client)) == sent_ids
    # Whoever looks after their own here must not look after the others'.
    for _ in range(3):
        rescuer.run_once()
        other_broker.do_qsize("default")
        other_broker.do_qsize(COMMANDS)
    assert Scripts(redis_client).rescue(KEYS, 0, last=True) != []
    harness = BrokerHarness(redis_client)
    assert len(harness.drain()) == 5
    assert harness.quarantined == []
    assert take_all(stock_application(redis_client)) == sent_ids


def test_somebody_elses_living_worker_does_not_pass_for_one_of_ours(
    sqlite_engine: Engine, redis_client: redis.Redis
) -> None:
    stock_application(redis_client).do_qsize("default")
    stock_broker(redis_client).do_qsize(COMMANDS)
    assert monitoring.queue_status(sqlite_engine, redis_client)["workers_alive"] == 0
    next(EarnestBroker(redis_client, lambda _: None).consume(COMMANDS))
    assert monitoring.queue_status(sqlite_engine, redis_client)["workers_alive"] == 1


def test_two_installations_on_one_redis_have_keys_of_their_own(redis_url: str) -> None:
    program = (
        "import sys; from workers.client import CommandClient; from workers.queue.redis import *;"
        "from workers.outbox.streams import STREAMS; client = connect(sys.argv[1]);"
        "CommandClient(client).submit('{}');"
        "print(Keys('commands').waiting, client.llen(Keys('commands').waiting), *STREAMS)"
    )
    for name in ("earnest", "earnest-2"):
        environ = os.environ | {"EARNEST_NAMESPACE": name}
        command = [sys.executable, "-c", program, redis_url]
        printed = subprocess.run(
            command, env=environ, cwd=project_root(), capture_output=True, text=True, check=True
        )
        assert printed.stdout == f"{name}:commands 1 {name}:events {name}:reminders\n"


@contextmanager
def running_dramatiq(
    engine: Engine, redis_url: str, folder: Path
) -> Iterator[subprocess.Popen[bytes]]:
    """Run `dramatiq workers.app` with one process, and kill what is left of it."""
    url = engine.url.render_as_string(hide_password=False)
    settings = Settings.read({}, database_url=url, redis_url=redis_url, var=folder)
    command = [sys.executable, "-m", "dramatiq", "workers.app", "--processes", "1", "--threads=2"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            command,
            env=os.environ | settings.environ(),
            cwd=project_root(),
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        try:
            yield process
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def test_dramatiqs_own_command_starts_real_workers_and_stops_them_in_good_order(
    engine: Engine, redis_client: redis.Redis, redis_url: str, tmp_path: Path
) -> None:
    CommandClient(redis_client).submit("no command at all")
    with running_dramatiq(engine, redis_url, tmp_path) as process:
        settle_commands_of(stock_broker(redis_client)).send(commands=[as_object(1)])
        eventually(lambda: not any(queue_contents(redis_client).values()))
        assert monitoring.queue_status(engine, redis_client)["workers_alive"] == 1
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 0
    log = (tmp_path / "log").read_text()
    assert "Traceback" not in log
    assert quarantine_reasons(engine) == {}
    assert not any(queue_contents(redis_client).values())


def test_an_old_message_is_carried_over_before_dramatiqs_own_command_takes_anything(
    sqlite_engine: Engine, redis_client: redis.Redis, redis_url: str, tmp_path: Path
) -> None:
    old_keys, stamp = OldKeys(COMMANDS), redis_client.time()[0] * 1_000_000 - 60_000_000
    kwargs = {"commands": [registration(1)], "received_at": stamp, "stamp": stamp}
    message = {"queue_name": COMMANDS, "actor_name": "settle_commands", "kwargs": kwargs}
    redis_client.hset(old_keys.messages, "m1", json.dumps(message))
    redis_client.zadd(old_keys.pending, {"m1": stamp})
    redis_client.rpush(old_keys.waiting, "m1")
    with running_dramatiq(sqlite_engine, redis_url, tmp_path):
        eventually(lambda: "messages.carried_over" in (tmp_path / "log").read_text())
        eventually(lambda: not any(queue_contents(redis_client).values()))
    assert redis_client.keys("dramatiq:*") == []
