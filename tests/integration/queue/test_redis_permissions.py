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
from scheduler.deadlines import Waker
from scheduler.rescuer import Rescuer
from tests.support import servers
from tests.support.command_line import spoken
from tests.support.sample_commands import registration
from tests.support.store_harness import Desk
from tests.support.stories import START
from workers import inbox
from workers.client import Client
from workers.inbox import Knock
from workers.outbox import relay
from workers.outbox import streams as event_streams
from workers.outbox.relay import Relay
from workers.outbox.streams import MEMORY
from workers.processing import wakeups
from workers.queries import monitoring
from workers.queue import redelivery
from workers.queue.broker import EarnestBroker
from workers.queue.messages import wrap
from workers.queue.redis import COMMANDS, WAKEUPS, Keys, Scripts, connect
from workers.queue.watermark import DoorClock, RedisDoor, open_door
from workers.server_checks import check_servers
from workers.settings import Limits, project_root
from workers.timestamps import from_us, now_us

RULES = project_root() / "deploy" / "redis.acl"


TEXT = json.dumps(registration(1))


KNOCK = Knock("registration_1", b"fingerprint", TEXT)


Role = Callable[[str], redis.Redis]


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Run a server that obeys the file; give its URL, with which nobody gets in."""
    with servers.running_redis(tmp_path_factory.mktemp("guarded")) as url:
        with redis.Redis.from_url(url) as operator:
            for line in RULES.read_text().splitlines():
                if line.startswith("user "):
                    # A selector is one argument, with the blanks inside it.
                    operator.execute_command("ACL", "SETUSER", *words(line)[1:])
        yield url


def words(line: str) -> list[str]:
    return re.findall(r"\([^)]*\)|[^\s()]+", line)


@pytest.fixture
def role(guarded: str) -> Iterator[Role]:
    """Give a way to connect as any role."""
    clients: list[redis.Redis] = []

    def connected(name: str) -> redis.Redis:
        url = guarded.replace("unix://", f"unix://{name}:change-me-{name}@")
        clients.append(connect(url))
        return clients[-1]

    yield connected
    for client in clients:
        client.close()


@pytest.fixture
def loaded(role: Role) -> None:
    Scripts(role("scheduler")).load()


def refused(client: redis.Redis, *command: object) -> bool:
    """Tell whether a command is not allowed."""
    try:
        client.execute_command(*command)  # type: ignore[no-untyped-call]
    except redis.exceptions.NoPermissionError:
        return True
    except redis.exceptions.ResponseError as error:
        # What a script may not do, it says in its own words.
        return "ermission" in str(error) or "NOPERM" in str(error)
    return False


def test_nobody_gets_in_without_a_name(guarded: str) -> None:
    with connect(guarded) as client, pytest.raises(redis.AuthenticationError):
        client.ping()


@pytest.mark.usefixtures("loaded")
def test_a_producer_can_hand_in_commands_and_a_worker_take_them(role: Role) -> None:
    stamps = Client(role("producer")).submit_many([registration(1), registration(2)])
    broker = EarnestBroker(role("worker"), lambda _: None)
    consumer = broker.consume(COMMANDS)
    message = next(consumer)
    assert message is not None
    bundle = message.kwargs["bundle"]
    commands = [command for delivery in bundle.deliveries for command in delivery.commands]
    assert [command.stamp for command in commands] == stamps
    bundle.settled = {delivery.message_id for delivery in bundle.deliveries}
    consumer.ack(message)
    assert next(consumer) is None


@pytest.mark.usefixtures("loaded")
def test_a_producer_s_rights_are_enough_for_an_operator_at_a_terminal(
    sqlite_engine: Engine, role: Role, guarded: str, tmp_path: Path
) -> None:
    Desk(engine=sqlite_engine, now=from_us(now_us())).admit().offer("o1")
    url = guarded.replace("unix://", "unix://producer:change-me-producer@")
    database = sqlite_engine.url.render_as_string(hide_password=False)
    server_options = ("--redis-url", url, "--database-url", database, "--var", tmp_path)
    words = ("operate", "pause", "o1", "--reason", "ill", "--as", "ann", "--yes")
    result = spoken(*words, "--timeout", "0", *server_options)
    assert "none yet" in result.out
    consumer = EarnestBroker(role("worker"), lambda _: None).consume(COMMANDS)
    message = next(consumer)
    assert message is not None
    (delivery,) = message.kwargs["bundle"].deliveries
    assert "pause_clock" in delivery.commands[0].text
    message.kwargs["bundle"].settled = {delivery.message_id}
    consumer.ack(message)


def test_a_producer_that_is_early_is_told_so(role: Role, guarded: str) -> None:
    del guarded
    producer = role("producer")
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
        ("XADD", event_streams.EVENTS, "*", "event", "forged"),
        ("XREAD", "STREAMS", event_streams.EVENTS, 0),
    ],
    "worker": [
        ("FLUSHALL",),
        ("KEYS", "*"),
        ("XADD", event_streams.EVENTS, "*", "event", "forged"),
    ],
    "scheduler": [
        ("FLUSHALL",),
        ("XADD", event_streams.EVENTS, "*", "event", "forged"),
        ("KEYS", "*"),
    ],
    "relay": [
        ("FLUSHALL",),
        ("LRANGE", Keys(COMMANDS).waiting, 0, -1),
        ("DEL", event_streams.EVENTS),
        ("XDEL", event_streams.EVENTS, "0-1"),
        ("RPUSH", Keys(COMMANDS).waiting, "forged"),
    ],
    "web": [
        ("FLUSHALL",),
        ("KEYS", "*"),
        ("EVAL", "while true do end", 0),
        ("HGETALL", Keys(COMMANDS).messages),
        ("HSET", Keys(COMMANDS).messages, "id", "overwritten"),
        ("XADD", event_streams.EVENTS, "*", "event", "forged"),
        ("XTRIM", event_streams.EVENTS, "MAXLEN", 0),
        ("LPOP", relay.BELL),
    ],
    "subscriber": [
        ("FLUSHALL",),
        ("XADD", event_streams.EVENTS, "*", "event", "forged"),
        ("XTRIM", event_streams.EVENTS, "MAXLEN", 0),
        ("XDEL", event_streams.EVENTS, "0-1"),
        ("XGROUP", "DESTROY", event_streams.EVENTS, "g"),
        ("XGROUP", "SETID", event_streams.EVENTS, "g", "0"),
        ("HGETALL", Keys(COMMANDS).messages),
        ("RPUSH", Keys(COMMANDS).waiting, "forged"),
    ],
}


@pytest.mark.parametrize("name", FORBIDDEN)
def test_a_role_can_do_nothing_else(role: Role, name: str) -> None:
    client = role(name)
    assert [command for command in FORBIDDEN[name] if not refused(client, *command)] == []


@pytest.mark.usefixtures("loaded")
@pytest.mark.parametrize("script", ["fetch", "ack", "rescue", "release", "mend", "split"])
def test_a_producer_gains_nothing_from_the_other_scripts(role: Role, script: str) -> None:
    text = Path(project_root() / "workers" / "queue" / "lua" / f"{script}.lua").read_text()
    sha = role("worker").script_load(text)
    keys = [Keys(COMMANDS).waiting, Keys(COMMANDS).messages, Keys(COMMANDS).pending]
    assert refused(role("producer"), "EVALSHA", sha, 8, *keys, *[Keys(COMMANDS).bell] * 5, "1")


@pytest.mark.usefixtures("loaded")
def test_a_producer_cannot_enqueue_a_wake_up(role: Role) -> None:
    with pytest.raises(redis.exceptions.NoPermissionError):
        Scripts(role("producer")).enqueue(Keys(WAKEUPS), [wrap(WAKEUPS, "orders", ["o1"])])


def test_a_scheduler_can_tick_and_rescue(role: Role, sqlite_engine: Engine) -> None:
    client = role("scheduler")
    assert Waker(sqlite_engine, client).run_once() == 0
    wakeups.send(client, ["o1"])
    assert Rescuer(client).run_once() >= 0


def test_a_worker_can_start_and_keep_the_door(role: Role, sqlite_engine: Engine) -> None:
    client = role("worker")
    check_servers(sqlite_engine, client)
    open_door(client, in_use=False)
    assert RedisDoor(client, None).watermark(()) <= RedisDoor(client, None).now()
    RedisDoor(client, None).excuse(["m1"])
    relay.ring(client)


def test_events_are_published_by_one_and_read_by_another(role: Role, sqlite_engine: Engine) -> None:
    desk, reader = Desk(engine=sqlite_engine), role("subscriber")
    desk.admit()
    role("relay").xgroup_create(event_streams.EVENTS, "g", mkstream=True)
    assert relay.Relay(sqlite_engine, role("relay")).run_once() > 0
    streams: Any = reader.xreadgroup("g", "c", {event_streams.EVENTS: ">"})
    ((_, entries),) = streams
    assert reader.xack(event_streams.EVENTS, "g", entries[0][0]) == 1


def test_the_relay_can_publish_tell_again_and_trim(role: Role, sqlite_engine: Engine) -> None:
    desk = Desk(engine=sqlite_engine)
    desk.settle(desk.receive("{", START))
    publisher = Relay(sqlite_engine, role("relay"))
    assert publisher.run_once() == 1
    role("relay").set(MEMORY, "somebody else")
    assert publisher.run_once() == 0
    assert publisher.retention.run_once() == 0
    assert role("subscriber").xrange(event_streams.EVENTS)


def test_the_web_process_can_hand_in_and_watch(role: Role, sqlite_engine: Engine) -> None:
    client = role("web")
    assert DoorClock(client).now() > 0
    admissions, rows = inbox.admit(sqlite_engine, DoorClock(client).take, [[KNOCK]])
    assert redelivery.hand_in(client, rows) == 1
    assert redelivery.sweep(sqlite_engine, role("scheduler"), admissions[0].received_at[0] + 1) == 0
    queue_report = monitoring.queues(sqlite_engine, client)
    assert queue_report["redis"] == "up"
    assert event_streams.groups(client, Limits()) is not None
    assert RedisDoor(client, sqlite_engine).watermark(()) is not None
    relay.ring(client)
