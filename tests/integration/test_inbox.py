"""Inbox: what was accepted over HTTP is settled once, in its own time, whatever Redis forgets."""

from __future__ import annotations

import base64
import json
import threading
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
import redis
from sqlalchemy import Engine, event, select

from models.commands.parsing import parse
from models.errors import Unavailable
from tests.support.concurrency import eventually
from tests.support.store_harness import Desk
from tests.support.stories import START
from workers import inbox
from workers.client import Client
from workers.database import schema
from workers.database.engine import open_database, reading, writing
from workers.database.schema import inbox as rows
from workers.inbox import Knock
from workers.outbox.relay import Relay
from workers.outbox.streams import EVENTS
from workers.processing import failures
from workers.processing.batch import PATIENCE
from workers.processing.failures import quarantine
from workers.processing.processor import Settler
from workers.queue import redelivery
from workers.queue.consumer import sort
from workers.queue.messages import UNSIGNED, Delivery, Received, Refused, parts
from workers.queue.redis import COMMANDS, Keys, Scripts, Taking
from workers.queue.watermark import DoorClock, RedisDoor
from workers.signing import Keyring
from workers.timestamps import from_us, to_us

AT = to_us(START)


def knock(command_id: str, **changes: str) -> Knock:
    body = {"id": command_id, "kind": "register_mcn", "by": {"role": "platform", "id": "p"}}
    text = json.dumps(body | {"mcn_id": command_id, "name": "M"} | changes)
    return Knock(command_id, parse(text).fingerprint(), text)


def admit(engine: Engine, *knocks: Knock, at: int = AT) -> inbox.Admission:
    (admission,), _ = inbox.admit(engine, lambda _: at, [knocks])
    return admission


def kept(engine: Engine) -> list[dict[str, Any]]:
    with reading(engine) as connection:
        inbox_rows = connection.execute(rows.select().order_by(rows.c.stamp))
        return [dict(row) for row in inbox_rows.mappings()]


def delivered(client: redis.Redis) -> list[Received]:
    """Take everything from the queue, as a worker would."""
    return [submission for delivery in deliveries(client) for submission in delivery.commands]


def deliveries(client: redis.Redis, keys: Keyring = UNSIGNED) -> list[Delivery]:
    catch = Scripts(client).fetch(Keys(COMMANDS), "tester", Taking(100))
    return [sort(COMMANDS, message, keys) for message in catch.found]


def outcomes(engine: Engine) -> dict[str, tuple[str, int]]:
    with reading(engine) as connection:
        receipts = connection.execute(select(schema.receipts))
        return {row.command_id: (row.outcome, row.received_at) for row in receipts}


def test_a_command_that_is_said_again_is_kept_once(engine: Engine) -> None:
    first, again = admit(engine, knock("command_1")), admit(engine, knock("command_1"), at=AT + 9)
    assert again == first == inbox.Admission([AT], [])
    assert len(kept(engine)) == 1


def test_an_id_cannot_be_used_for_something_else(engine: Engine) -> None:
    admit(engine, knock("command_1"))
    conflicting_knock = knock("command_1", name="other")
    assert admit(engine, knock("command_2"), conflicting_knock).reused == [1]
    assert [row["command_id"] for row in kept(engine)] == ["command_1"]


def test_a_request_cannot_say_two_things_under_one_id(engine: Engine) -> None:
    twice = (knock("command_1"), knock("command_1", name="other"))
    assert admit(engine, *twice).reused == [1]
    assert kept(engine) == []


def test_a_settled_id_is_known_at_the_door(desk: Desk) -> None:
    settled_knock = knock("command_1")
    desk.tell(json.loads(settled_knock.text), START)
    assert admit(desk.engine, settled_knock, at=AT + 5).received_at == [AT]
    assert admit(desk.engine, knock("command_1", name="other")).reused == [0]
    assert kept(desk.engine) == []


def test_messages_stay_within_what_the_wire_carries(engine: Engine) -> None:
    admit(engine, *(knock(f"command_{n}") for n in range(250)))
    message_ids = [row["message_id"] for row in kept(engine)]
    assert sorted(message_ids.count(message_id) for message_id in set(message_ids)) == [
        50,
        100,
        100,
    ]
    assert [row["stamp"] for row in kept(engine)] == list(range(AT, AT + 250))


def test_settling_a_command_empties_its_place(desk: Desk, wire: redis.Redis) -> None:
    admit(desk.engine, knock("command_1"), knock("command_2"))
    redelivery.hand_in(wire, kept(desk.engine))
    desk.settle(*delivered(wire))
    assert kept(desk.engine) == []
    assert set(outcomes(desk.engine).values()) == {("applied", AT)}


def test_an_unsettled_command_holds_deadlines_back_although_redis_is_wiped(
    engine: Engine, wire: redis.Redis
) -> None:
    arrival_clock = RedisDoor(wire, engine)
    at = to_us(arrival_clock.now()) - 5
    admit(engine, knock("command_1"), at=at)
    redelivery.hand_in(wire, kept(engine))
    wire.flushall()
    assert arrival_clock.watermark(without=()) == from_us(at)
    assert arrival_clock.watermark(without=[kept(engine)[0]["message_id"]]) > from_us(at)
    arrival_clock.excuse([kept(engine)[0]["message_id"]])
    assert arrival_clock.watermark(without=()) > from_us(at)


def test_whoever_asks_for_the_oldest_waits_for_those_being_written(engine: Engine) -> None:
    stamping, go_on = threading.Event(), threading.Event()

    def take(_: int) -> int:
        stamping.set()
        assert go_on.wait(20)
        return AT

    writer = threading.Thread(target=inbox.admit, args=(engine, take, [[knock("command_1")]]))
    writer.start()
    assert stamping.wait(20)
    oldest_us: list[int | None] = []

    def ask() -> None:
        with writing(engine):
            oldest_us.append(inbox.oldest(engine))

    asker = threading.Thread(target=ask)
    asker.start()
    asker.join(0.2)
    assert oldest_us == []
    go_on.set()
    writer.join(20)
    asker.join(20)
    assert oldest_us == [AT]


@pytest.mark.postgres
def test_a_door_that_stops_in_the_middle_keeps_judges_waiting_and_buries_nothing(
    postgresql_url: str,
) -> None:
    engine, impatient = open_database(postgresql_url), open_database(postgresql_url)
    event.listen(
        impatient,
        "connect",
        lambda dbapi_connection, _: dbapi_connection.execute("SET lock_timeout = '50ms'"),
    )
    with writing(engine) as connection:
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock_shared({inbox.FENCE})")
        with pytest.raises(Unavailable, match="being written"):
            inbox.oldest(impatient)
    engine.dispose()
    impatient.dispose()


def test_what_redis_lost_is_handed_in_again_as_it_was(desk: Desk, wire: redis.Redis) -> None:
    admit(desk.engine, *(knock(f"command_{n}") for n in range(3)))
    redelivery.hand_in(wire, kept(desk.engine))
    assert redelivery.sweep(desk.engine, wire, AT + 1) == 0
    before = delivered(wire)
    wire.flushall()
    assert redelivery.sweep(desk.engine, wire, AT) == 0
    assert redelivery.sweep(desk.engine, wire, AT + 1) == 1
    assert delivered(wire) == before
    desk.settle(*before)
    desk.settle(*before)
    assert len(outcomes(desk.engine)) == 3
    assert redelivery.sweep(desk.engine, wire, AT + 1) == 0


def test_what_was_partly_settled_comes_again_in_part(desk: Desk, wire: redis.Redis) -> None:
    admit(desk.engine, *(knock(f"command_{n}") for n in range(3)))
    redelivery.hand_in(wire, kept(desk.engine))
    first, second, third = delivered(wire)
    desk.settle(second)
    wire.flushall()
    redelivery.sweep(desk.engine, wire, AT + 1)
    assert delivered(wire) == [first, third]


def test_an_acceptance_waits_for_a_placement_that_redis_lost(desk: Desk) -> None:
    desk.admit()
    order = {"order_id": "o1", "creator_id": "k1", "name": "N", "task_type": "xigua"}
    terms = {"industry": "I", "brief": "B", "amount_fen": 100_000, "prepay_deposit": True}
    by = {"role": "client", "id": "c1"}
    placement = {"id": "placement", "kind": "place_order", "by": by, **order, **terms}
    desk.door.waiting["lost"] = desk.now
    creator = {"role": "creator", "id": "k1"}
    accept = {"id": "acceptance", "kind": "accept_order", "by": creator, "order_id": "o1"}
    acceptance = desk.receive(accept, desk.now + timedelta(seconds=1))
    desk.door.present = acceptance.at + 10 * PATIENCE
    assert desk.settle(acceptance) == [acceptance]
    desk.settle(desk.receive(placement, desk.now, message_id="lost"))
    desk.door.waiting.clear()
    assert desk.settle(acceptance) == []
    assert desk.answer(acceptance)[1] == "wrong_state"


def test_a_dead_letter_leaves_the_inbox_and_waits_for_an_operator(
    desk: Desk, wire: redis.Redis
) -> None:
    admit(desk.engine, knock("command_1"), knock("command_2"))
    redelivery.hand_in(wire, kept(desk.engine))
    first, second = delivered(wire)
    failures.bury(desk.engine, first, ValueError("nobody knows"))
    assert [row["command_id"] for row in kept(desk.engine)] == ["command_2"]
    quarantine(desk.engine, Refused(COMMANDS, "m", b"", "kills", 0, commands=(second,)))
    assert kept(desk.engine) == []
    assert len(failures.list_dead_letters(desk.engine)) == 2


def test_what_was_overtaken_on_its_way_keeps_its_instant(desk: Desk, wire: redis.Redis) -> None:
    at = to_us(RedisDoor(wire, desk.engine).now())
    admit(desk.engine, knock("command_1"), at=at)
    Client(wire).submit(json.loads(knock("command_2").text))
    assert [submission.at > from_us(at) for submission in delivered(wire)] == [True]
    redelivery.hand_in(wire, kept(desk.engine))
    assert [submission.at for submission in delivered(wire)] == [from_us(at)]


def test_one_that_was_taken_apart_is_not_handed_in_whole(desk: Desk, wire: redis.Redis) -> None:
    admit(desk.engine, *(knock(f"command_{n}") for n in range(3)))
    redelivery.hand_in(wire, kept(desk.engine))
    (whole,) = deliveries(wire)
    scripts, keys = Scripts(wire), Keys(COMMANDS)
    scripts.split(keys, "tester", whole.message_id, parts(COMMANDS, whole))
    assert redelivery.sweep(desk.engine, wire, AT + 1) == 0
    apart = deliveries(wire)
    assert [delivery.commands[0].stamp for delivery in apart] == [AT, AT + 1, AT + 2]
    scripts.ack(keys, "tester", [apart[0].message_id])
    assert redelivery.sweep(desk.engine, wire, AT + 1) == 1
    assert [submission.stamp for submission in delivered(wire)] == [AT]


TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def test_a_trace_context_is_carried_from_the_door_to_the_events(
    desk: Desk, wire: redis.Redis
) -> None:
    traced = replace(knock("command_1"), trace=TRACE)
    admit(desk.engine, traced, knock("command_2"))
    redelivery.hand_in(wire, kept(desk.engine))
    Client(wire).submit_many([knock("command_3").text], trace=TRACE)
    Client(wire).submit_many([knock("command_4").text], trace="what is none is dropped")
    desk.settle(*delivered(wire))
    Relay(desk.engine, wire).run_once()
    entries: Any = wire.xrange(EVENTS)
    events = [json.loads(fields[b"event"]) for _, fields in entries]
    traces = {event["data"]["command_id"]: event.get("traceparent") for event in events[-4:]}
    assert traces == {
        "command_1": TRACE,
        "command_2": None,
        "command_3": TRACE,
        "command_4": None,
    }
    assert [event.get("traceparent") for event in events].count(TRACE) == 4


def test_what_is_carried_is_signed_where_that_is_asked_for(desk: Desk, wire: redis.Redis) -> None:
    keys = Keyring.parse("k1:" + base64.b64encode(bytes(range(32))).decode())
    admit(desk.engine, knock("command_1"))
    redelivery.hand_in(wire, kept(desk.engine), keys)
    (delivery,) = deliveries(wire, keys)
    assert (len(delivery.commands), delivery.refused) == (1, [])


def test_the_door_clock_is_never_behind_the_door(wire: redis.Redis, engine: Engine) -> None:
    clock, arrival_clock = DoorClock(wire), RedisDoor(wire, engine)
    for _ in range(100):
        before_us = to_us(arrival_clock.now())
        assert clock.take(1) >= before_us
    assert clock.take(500) + 500 <= clock.take(1)
    assert abs(clock.now() - to_us(arrival_clock.now())) < 1_000_000


@pytest.mark.parametrize("without", [False, True])
def test_a_settler_s_own_rows_do_not_hold_it_back(
    desk: Desk, wire: redis.Redis, *, without: bool
) -> None:
    arrival_clock = RedisDoor(wire, desk.engine)
    settler = Settler(desk.store, arrival_clock, desk.ring)
    admit(desk.engine, knock("command_1"), at=to_us(arrival_clock.now()))
    (row,) = kept(desk.engine)
    submission = Received(row["command"], from_us(row["received_at"]), row["stamp"], "inbox-x")
    if without:
        submission = Received(submission.text, submission.at, submission.stamp, row["message_id"])
    assert settler.settle([submission]) == []
    eventually(lambda: kept(desk.engine) == [])
