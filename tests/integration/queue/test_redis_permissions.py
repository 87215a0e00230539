"""Redis permissions: every role can do its work with deploy/redis.acl, and nothing else."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from sqlalchemy import Engine

from models.errors import Unavailable
from scheduler.deadlines import DeadlineScheduler
from scheduler.rescuer import MessageRescuer
from tests.support import servers
from tests.support.command_line import run_in_process
from tests.support.sample_commands import registration
from tests.support.store_harness import StoreHarness
from tests.support.stories import START
from workers import inbox
from workers.client import CommandClient
from workers.inbox import Submission
from workers.outbox import relay
from workers.outbox import streams as event_streams
from workers.outbox.relay import Relay
from workers.outbox.streams import SERVER_ID_KEY
from workers.processing import wakeups
from workers.queries import monitoring
from workers.queue import redelivery
from workers.queue.broker import EarnestBroker
from workers.queue.messages import wrap
from workers.queue.redis import COMMANDS, WAKEUPS, Keys, Scripts, connect
from workers.queue.watermark import ArrivalClock, LocalArrivalClock, open_door
from workers.server_checks import check_servers
from workers.settings import RetentionLimits, project_root
from workers.timestamps import from_us, now_us

RULES = project_root() / "deploy" / "redis.acl"
TEXT = json.dumps(registration(1))
SUBMISSION = Submission("registration_1", b"fingerprint", TEXT)
ConnectAs = Callable[[str], redis.Redis]


@pytest.fixture(scope="module")
def acl_redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Run a server that obeys the file; give its URL, with which nobody gets in."""
    with servers.running_redis(tmp_path_factory.mktemp("guarded")) as url:
        with redis.Redis.from_url(url) as admin_client:
            for line in RULES.read_text().splitlines():
                if line.startswith("user "):
                    # A selector is one argument, with the blanks inside it.
                    admin_client.execute_command("ACL", "SETUSER", *rule_words(line)[1:])
        yield url


def rule_words(line: str) -> list[str]:
    return re.findall(r"\([^)]*\)|[^\s()]+", line)


@pytest.fixture
def connect_as(acl_redis_url: str) -> Iterator[ConnectAs]:
    """Give a way to connect as any role."""
    clients: list[redis.Redis] = []

    def connect_with_role(name: str) -> redis.Redis:
        url = acl_redis_url.replace("unix://", f"unix://{name}:change-me-{name}@")
        clients.append(connect(url))
        return clients[-1]

    yield connect_with_role
    for client in clients:
        client.close()


@pytest.fixture
def scripts_loaded(connect_as: ConnectAs) -> None:
    Scripts(connect_as("scheduler")).load()


def is_refused(client: redis.Redis, *command: object) -> bool:
    """Tell whether a command is not allowed."""
    try:
        client.execute_command(*command)  # type: ignore[no-untyped-call]
    except redis.exceptions.NoPermissionError:
        return True
    except redis.exceptions.ResponseError as error:
        # What a script may not do, it says in its own words.
        return "ermission" in str(error) or "NOPERM" in str(error)
    return False


def test_redis_refuses_connections_without_a_user(acl_redis_url: str) -> None:
    with connect(acl_redis_url) as client, pytest.raises(redis.AuthenticationError):
        client.ping()


@pytest.mark.usefixtures("scripts_loaded")
def test_a_producer_can_hand_in_commands_and_a_worker_take_them(connect_as: ConnectAs) -> None:
    stamps = CommandClient(connect_as("producer")).submit_many([registration(1), registration(2)])
    broker = EarnestBroker(connect_as("worker"), lambda _: None)
    consumer = broker.consume(COMMANDS)
    message = next(consumer)
    assert message is not None
    batch = message.kwargs["bundle"]
    commands = [command for delivery in batch.deliveries for command in delivery.commands]
    assert [command.stamp for command in commands] == stamps
    batch.settled = {delivery.message_id for delivery in batch.deliveries}
    consumer.ack(message)
    assert next(consumer) is None


@pytest.mark.usefixtures("scripts_loaded")
def test_a_producers_rights_are_enough_for_an_operator_at_a_terminal(
    sqlite_engine: Engine, connect_as: ConnectAs, acl_redis_url: str, tmp_path: Path
) -> None:
    StoreHarness(engine=sqlite_engine, now=from_us(now_us())).admit().offer("o1")
    url = acl_redis_url.replace("unix://", "unix://producer:change-me-producer@")
    database = sqlite_engine.url.render_as_string(hide_password=False)
    server_options = ("--redis-url", url, "--database-url", database, "--var", tmp_path)
    arguments = ("operate", "pause", "o1", "--reason", "ill", "--as", "ann", "--yes")
    result = run_in_process(*arguments, "--timeout", "0", *server_options)
    assert "none yet" in result.out
    consumer = EarnestBroker(connect_as("worker"), lambda _: None).consume(COMMANDS)
    message = next(consumer)
    assert message is not None
    (delivery,) = message.kwargs["bundle"].deliveries
    assert "pause_clock" in delivery.commands[0].text
    message.kwargs["bundle"].settled = {delivery.message_id}
    consumer.ack(message)


def test_a_producer_gets_an_error_for_a_script_that_nobody_has_loaded(
    connect_as: ConnectAs, acl_redis_url: str
) -> None:
    del acl_redis_url
    producer = connect_as("producer")
    script = producer.register_script("return 1")
    with pytest.raises(redis.ResponseError):
        script(keys=[Keys(COMMANDS).waiting])
    with pytest.raises(Unavailable):
        wakeups.send(producer, ["o1"])


FORBIDDEN: dict[str, list[tuple[object, ...]]] = {
    "producer": [
        ("EVAL", "while true do end", 0),
        ("SCRIPT", "LOAD", "return 1"),
        ("FLUSHALL",),
        ("CONFIG", "GET", "*"),
        ("KEYS", "*"),
        ("ACL", "LIST"),
        ("HGETALL", Keys(COMMANDS).messages),
        ("HSET", Keys(COMMANDS).messages, "id", "overwritten"),
        ("LRANGE", Keys(COMMANDS).waiting, 0, -1),
        ("LPUSH", Keys(COMMANDS).waiting, "in front"),
        ("LPOP", Keys(COMMANDS).waiting),
        ("RPUSH", Keys(COMMANDS).pending, "of the wrong type"),
        ("RPUSH", Keys(WAKEUPS).waiting, "forged"),
        ("ZREM", Keys(COMMANDS).pending, "id"),
        ("SET", Keys(COMMANDS).floor, 1),
        ("HSET", Keys(COMMANDS).attempts, "id", 3),
        ("XADD", event_streams.EVENTS_STREAM, "*", "event", "forged"),
        ("XREAD", "STREAMS", event_streams.EVENTS_STREAM, 0),
    ],
    "worker": [
        ("FLUSHALL",),
        ("KEYS", "*"),
        ("XADD", event_streams.EVENTS_STREAM, "*", "event", "forged"),
    ],
    "scheduler": [
        ("FLUSHALL",),
        ("XADD", event_streams.EVENTS_STREAM, "*", "event", "forged"),
        ("KEYS", "*"),
    ],
    "relay": [
        ("FLUSHALL",),
        ("LRANGE", Keys(COMMANDS).waiting, 0, -1),
        ("DEL", event_streams.EVENTS_STREAM),
        ("XDEL", event_streams.EVENTS_STREAM, "0-1"),
        ("RPUSH", Keys(COMMANDS).waiting, "forged"),
    ],
    "web": [
        ("FLUSHALL",),
        ("KEYS", "*"),
        ("EVAL", "while true do end", 0),
        ("HGETALL", Keys(COMMANDS).messages),
        ("HSET", Keys(COMMANDS).messages, "id", "overwritten"),
        ("XADD", event_streams.EVENTS_STREAM, "*", "event", "forged"),
        ("XTRIM", event_streams.EVENTS_STREAM, "MAXLEN", 0),
        ("LPOP", relay.NOTIFY_KEY),
    ],
    "subscriber": [
        ("FLUSHALL",),
        ("XADD", event_streams.EVENTS_STREAM, "*", "event", "forged"),
        ("XTRIM", event_streams.EVENTS_STREAM, "MAXLEN", 0),
        ("XDEL", event_streams.EVENTS_STREAM, "0-1"),
        ("XGROUP", "DESTROY", event_streams.EVENTS_STREAM, "g"),
        ("XGROUP", "SETID", event_streams.EVENTS_STREAM, "g", "0"),
        ("HGETALL", Keys(COMMANDS).messages),
        ("RPUSH", Keys(COMMANDS).waiting, "forged"),
    ],
}


@pytest.mark.parametrize("name", FORBIDDEN)
def test_a_redis_role_may_do_nothing_else(connect_as: ConnectAs, name: str) -> None:
    client = connect_as(name)
    assert [command for command in FORBIDDEN[name] if not is_refused(client, *command)] == []


@pytest.mark.usefixtures("scripts_loaded")
@pytest.mark.parametrize("script", ["fetch", "ack", "rescue", "release", "mend", "split"])
def test_a_producer_gains_nothing_from_the_other_scripts(
    connect_as: ConnectAs, script: str
) -> None:
    text = Path(project_root() / "workers" / "queue" / "lua" / f"{script}.lua").read_text()
    sha = connect_as("worker").script_load(text)
    keys = [Keys(COMMANDS).waiting, Keys(COMMANDS).messages, Keys(COMMANDS).pending]
    assert is_refused(
        connect_as("producer"), "EVALSHA", sha, 8, *keys, *[Keys(COMMANDS).notify] * 5, "1"
    )


@pytest.mark.usefixtures("scripts_loaded")
def test_a_producer_cannot_enqueue_a_wake_up(connect_as: ConnectAs) -> None:
    with pytest.raises(redis.exceptions.NoPermissionError):
        Scripts(connect_as("producer")).enqueue(Keys(WAKEUPS), [wrap(WAKEUPS, "orders", ["o1"])])


def test_a_scheduler_can_tick_and_rescue(connect_as: ConnectAs, sqlite_engine: Engine) -> None:
    client = connect_as("scheduler")
    assert DeadlineScheduler(sqlite_engine, client).run_once() == 0
    wakeups.send(client, ["o1"])
    assert MessageRescuer(client).run_once() >= 0


def test_a_worker_may_start_and_keep_the_arrival_clock(
    connect_as: ConnectAs, sqlite_engine: Engine
) -> None:
    client = connect_as("worker")
    check_servers(sqlite_engine, client)
    open_door(client, in_use=False)
    assert ArrivalClock(client, None).watermark(()) <= ArrivalClock(client, None).now()
    ArrivalClock(client, None).excuse(["m1"])
    relay.notify_relay(client)


def test_events_are_published_by_one_and_read_by_another(
    connect_as: ConnectAs, sqlite_engine: Engine
) -> None:
    harness, reader = StoreHarness(engine=sqlite_engine), connect_as("subscriber")
    harness.admit()
    connect_as("relay").xgroup_create(event_streams.EVENTS_STREAM, "g", mkstream=True)
    assert relay.Relay(sqlite_engine, connect_as("relay")).run_once() > 0
    streams: Any = reader.xreadgroup("g", "c", {event_streams.EVENTS_STREAM: ">"})
    ((_, entries),) = streams
    assert reader.xack(event_streams.EVENTS_STREAM, "g", entries[0][0]) == 1


def test_the_relay_may_publish_republish_and_trim(
    connect_as: ConnectAs, sqlite_engine: Engine
) -> None:
    harness = StoreHarness(engine=sqlite_engine)
    harness.settle(harness.receive("{", START))
    publisher = Relay(sqlite_engine, connect_as("relay"))
    assert publisher.run_once() == 1
    connect_as("relay").set(SERVER_ID_KEY, "somebody else")
    assert publisher.run_once() == 0
    assert publisher.retention.run_once() == 0
    assert connect_as("subscriber").xrange(event_streams.EVENTS_STREAM)


def test_the_web_process_may_submit_and_watch(connect_as: ConnectAs, sqlite_engine: Engine) -> None:
    client = connect_as("web")
    assert LocalArrivalClock(client).now() > 0
    admissions, rows = inbox.admit(sqlite_engine, LocalArrivalClock(client).take, [[SUBMISSION]])
    assert redelivery.hand_in(client, rows) == 1
    assert (
        redelivery.sweep(sqlite_engine, connect_as("scheduler"), admissions[0].received_at[0] + 1)
        == 0
    )
    queue_report = monitoring.queue_status(sqlite_engine, client)
    assert queue_report["redis"] == "up"
    assert event_streams.list_groups(client, RetentionLimits()) is not None
    assert ArrivalClock(client, sqlite_engine).watermark(()) is not None
    relay.notify_relay(client)
