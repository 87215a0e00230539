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
from tests.support.broker_harness import batch_of, commands_of, require
from tests.support.command_line import run_in_process
from tests.support.sample_commands import registration
from tests.support.stock_dramatiq import settle_commands_of, stock_broker
from tests.support.store_harness import StoreHarness
from tests.support.stories import START
from workers import inbox
from workers.client import CommandClient
from workers.inbox import Submission
from workers.outbox import relay
from workers.outbox import streams as event_streams
from workers.outbox.relay import Relay
from workers.outbox.streams import PUBLISHED_KEY, SERVER_ID_KEY
from workers.processing import wakeups
from workers.queries import monitoring
from workers.queue import redelivery
from workers.queue.broker import EarnestBroker
from workers.queue.frontier import Blocker
from workers.queue.messages import HeldCommand, Received, wrap
from workers.queue.redis import (
    COMMANDS,
    NAMESPACE,
    SCRIPT_NAMES,
    WAKEUPS,
    Keys,
    Scripts,
    connect,
    script_text,
)
from workers.queue.reservations import StampReservations
from workers.queue.stalled import read_stalled
from workers.queue.upgrade import carry_over
from workers.queue.watermark import ArrivalClock, LocalArrivalClock, begin_epoch
from workers.server_checks import check_servers
from workers.settings import RetentionLimits, project_root
from workers.timestamps import from_us, now_us

RULES = project_root() / "deploy" / "redis.acl"
TEXT = json.dumps(registration(1))
SUBMISSION = Submission("platform:p", "registration_1", b"fingerprint", TEXT)
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


@pytest.fixture
def nothing_published(connect_as: ConnectAs) -> None:
    """Let nothing have been published by the databases of other tests."""
    connect_as("relay").hset(PUBLISHED_KEY, "position", 0)


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
    assert [command.stamp for command in commands_of(message)] == stamps
    batch_of(message).acknowledge(commands_of(message))
    consumer.ack(message)
    assert next(consumer) is None


def test_a_stock_dramatiq_sender_can_send_commands(
    connect_as: ConnectAs, acl_redis_url: str
) -> None:
    del acl_redis_url
    broker = stock_broker(connect_as("dramatiq"), maintenance_chance=0)
    settle_commands_of(broker).send(commands=[registration(3)])
    consumer = EarnestBroker(connect_as("worker"), lambda _: None).consume(COMMANDS)
    message = next(consumer)
    assert [command.text for command in commands_of(message)] == [registration(3)]
    batch_of(message).acknowledge(commands_of(message))
    consumer.ack(require(message))


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
    assert "pause_clock" in commands_of(message)[0].text
    batch_of(message).acknowledge(commands_of(message))
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
        ("HSET", Keys(COMMANDS).subjects, "id", "nothing"),
        ("XADD", event_streams.EVENTS_STREAM, "*", "event", "forged"),
        ("XREAD", "STREAMS", event_streams.EVENTS_STREAM, 0),
    ],
    "dramatiq": [
        ("FLUSHALL",),
        ("KEYS", "*"),
        ("HGETALL", Keys(COMMANDS).messages),
        ("HDEL", Keys(COMMANDS).messages, "id"),
        ("LRANGE", Keys(COMMANDS).waiting, 0, -1),
        ("LPOP", Keys(COMMANDS).waiting),
        ("DEL", Keys(COMMANDS).messages),
        ("ZADD", Keys(COMMANDS).pending, 1, "id"),
        ("RPUSH", Keys(WAKEUPS).waiting, "forged"),
        ("XADD", event_streams.EVENTS_STREAM, "*", "event", "forged"),
    ],
    "worker": [
        ("FLUSHALL",),
        ("KEYS", "*"),
        ("DEL", event_streams.EVENTS_STREAM),
        ("XADD", event_streams.EVENTS_STREAM, "*", "event", "forged"),
    ],
    "scheduler": [
        ("FLUSHALL",),
        ("DEL", event_streams.EVENTS_STREAM),
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
@pytest.mark.parametrize("script", sorted({*SCRIPT_NAMES} - {"enqueue"}))
def test_a_producer_gains_nothing_from_the_other_scripts(
    connect_as: ConnectAs, script: str
) -> None:
    sha = connect_as("worker").script_load(script_text(script))
    keys = [Keys(COMMANDS).waiting, NAMESPACE]
    usual = ["w", "m", "1", "", "1", "1", "1", "", "", "1"]
    arguments: dict[str, list[Any]] = {
        "ack": ["w", "1", "m"],
        "hand_in": ["1", "m", "1", "{}"],
        "mend": ["mend", 9, 9],
        "rescue": [1, 1],
        "reserve": ["m", 1, "x"],
        "restore": ["w", "m", "{}", 1, 0],
    }
    assert is_refused(
        connect_as("producer"), "EVALSHA", sha, 2, *keys, *arguments.get(script, usual)
    )


@pytest.mark.usefixtures("scripts_loaded")
def test_a_producer_cannot_enqueue_a_wake_up(connect_as: ConnectAs) -> None:
    with pytest.raises(redis.exceptions.NoPermissionError):
        Scripts(connect_as("producer")).enqueue(Keys(WAKEUPS), [wrap(WAKEUPS, ["o1"])])


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
    begin_epoch(client, sqlite_engine, in_use=False)
    clock = ArrivalClock(client, sqlite_engine)
    assert clock.watermark() <= clock.now()
    command = Received(TEXT, START, 1, "m1")
    clock.note_held([HeldCommand(command, Blocker("m0", 1, 0))])
    assert [item.behind for item in read_stalled(connect_as("web"), now_us())] == ["m0"]
    clock.stall_notes.next_note_at = 0.0
    clock.note_held([])
    relay.notify_relay(client)


def test_a_worker_may_carry_over_what_an_old_version_left(connect_as: ConnectAs) -> None:
    client = connect_as("worker")
    assert carry_over(client) == 0


@pytest.mark.usefixtures("nothing_published")
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


@pytest.mark.usefixtures("nothing_published")
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
    reservations = StampReservations(client, LocalArrivalClock(client))
    (admission,), rows = inbox.admit(sqlite_engine, reservations, [[SUBMISSION]])
    assert redelivery.hand_in(client, rows) == 1
    before = admission.stamps[0] + 1
    assert redelivery.sweep(sqlite_engine, connect_as("scheduler"), before) == 0
    reservations.cancel(["nobody's"])
    queue_report = monitoring.queue_status(sqlite_engine, client)
    assert queue_report["redis"] == "up"
    assert event_streams.list_groups(client, RetentionLimits()) is not None
    assert ArrivalClock(client, sqlite_engine).watermark() is not None
    relay.notify_relay(client)
