"""Inbox: a command accepted over HTTP is settled once, as of its receipt, though Redis forgets."""

from __future__ import annotations

import base64
import json
import threading
from dataclasses import replace
from typing import Any

import pytest
import redis
from sqlalchemy import Engine, event, select

from models.commands.parsing import parse_command
from models.errors import Unavailable
from models.service.subjects import subjects_of
from tests.support.clocks import FixedReservations
from tests.support.store_harness import StoreHarness
from tests.support.stories import START
from workers import inbox
from workers.client import CommandClient
from workers.database import schema
from workers.database.engine import open_database, reading, writing
from workers.inbox import Submission
from workers.outbox.relay import Relay
from workers.outbox.streams import EVENTS_STREAM
from workers.processing import failures
from workers.processing.failures import quarantine
from workers.processing.processor import BatchProcessor
from workers.queue import redelivery
from workers.queue.frontier import Frontier, SubjectKeys
from workers.queue.messages import (
    UNSIGNED,
    Delivery,
    Received,
    RefusedItem,
    read_message,
    split_delivery,
)
from workers.queue.redis import COMMANDS, FetchLimits, Keys, Scripts, connect
from workers.queue.reservations import StampReservations
from workers.queue.watermark import ArrivalClock, LocalArrivalClock
from workers.signing import Keyring
from workers.timestamps import from_us, to_us

RECEIVED_US = to_us(START)
KEYS = Keys(COMMANDS)


def make_submission(command_id: str, **changes: str) -> Submission:
    body = {"id": command_id, "kind": "register_mcn", "by": {"role": "platform", "id": "p"}}
    text = json.dumps(body | {"mcn_id": command_id, "name": "M"} | changes)
    return Submission("platform:p", command_id, parse_command(text).fingerprint(), text)


def admit(engine: Engine, *submissions: Submission, at: int = RECEIVED_US) -> inbox.Admission:
    (admission,), _ = inbox.admit(engine, FixedReservations(at), [submissions])
    return admission


def admit_without_redis(engine: Engine, *submissions: Submission, at: int = RECEIVED_US) -> None:
    inbox.admit(engine, FixedReservations(at, redis_is_away=True), [submissions])


def read_inbox_rows(engine: Engine) -> list[dict[str, Any]]:
    with reading(engine) as connection:
        inbox_rows = connection.execute(schema.inbox.select().order_by(schema.inbox.c.stamp))
        return [dict(row) for row in inbox_rows.mappings()]


def received_commands(client: redis.Redis) -> list[Received]:
    """Take everything from the queue, as a worker would."""
    return [command for delivery in deliveries(client) for command in delivery.commands]


def deliveries(client: redis.Redis, keys: Keyring = UNSIGNED) -> list[Delivery]:
    fetched_batch = Scripts(client).fetch(Keys(COMMANDS), "tester", FetchLimits(100))
    return [read_message(COMMANDS, message, keys) for message in fetched_batch.messages]


def outcomes(engine: Engine) -> dict[str, tuple[str, int]]:
    with reading(engine) as connection:
        receipts = connection.execute(select(schema.receipts))
        return {row.command_id: (row.outcome, row.received_at) for row in receipts}


def test_a_command_submitted_again_is_stored_in_the_inbox_once(engine: Engine) -> None:
    first, again = (
        admit(engine, make_submission("command_1")),
        admit(engine, make_submission("command_1"), at=RECEIVED_US + 9),
    )
    assert again == first == inbox.Admission([RECEIVED_US], [])
    assert len(read_inbox_rows(engine)) == 1


def test_the_inbox_refuses_an_id_used_for_another_command(engine: Engine) -> None:
    admit(engine, make_submission("command_1"))
    conflicting_submission = make_submission("command_1", name="other")
    assert admit(engine, make_submission("command_2"), conflicting_submission).reused == [1]
    assert [row["command_id"] for row in read_inbox_rows(engine)] == ["command_1"]


def test_the_inbox_refuses_two_commands_under_one_id_in_one_request(engine: Engine) -> None:
    twice = (make_submission("command_1"), make_submission("command_1", name="other"))
    assert admit(engine, *twice).reused == [1]
    assert read_inbox_rows(engine) == []


def test_the_inbox_knows_an_id_that_is_settled(harness: StoreHarness) -> None:
    settled_submission = make_submission("command_1")
    harness.handle(json.loads(settled_submission.text), START)
    assert admit(harness.engine, settled_submission, at=RECEIVED_US + 5).stamps == [RECEIVED_US]
    assert admit(harness.engine, make_submission("command_1", name="other")).reused == [0]
    assert read_inbox_rows(harness.engine) == []


def test_redelivered_messages_stay_within_the_size_limit(engine: Engine) -> None:
    admit(engine, *(make_submission(f"command_{n}") for n in range(250)))
    message_ids = [row["message_id"] for row in read_inbox_rows(engine)]
    assert sorted(message_ids.count(message_id) for message_id in set(message_ids)) == [
        50,
        100,
        100,
    ]
    assert [row["stamp"] for row in read_inbox_rows(engine)] == list(
        range(RECEIVED_US, RECEIVED_US + 250)
    )


def test_settling_a_command_removes_it_from_the_inbox(
    harness: StoreHarness, redis_client: redis.Redis
) -> None:
    admit(harness.engine, make_submission("command_1"), make_submission("command_2"))
    redelivery.hand_in(redis_client, read_inbox_rows(harness.engine))
    harness.settle(*received_commands(redis_client))
    assert read_inbox_rows(harness.engine) == []
    assert outcomes(harness.engine) == {
        "command_1": ("applied", RECEIVED_US),
        "command_2": ("applied", RECEIVED_US + 1),
    }


def about(command_id: str) -> SubjectKeys:
    """Return what the commands of this test are about, as somebody who waits for them asks."""
    return SubjectKeys.of(subjects_of(parse_command(make_submission(command_id).text)))


def test_a_command_is_announced_before_its_row_is_written(engine: Engine) -> None:
    reservations = FixedReservations(RECEIVED_US)
    submissions = [
        replace(make_submission(f"command_{n}"), announce=about(f"command_{n}").announcement)
        for n in range(2)
    ]
    _, rows = inbox.admit(engine, reservations, [submissions])
    ((message_id, count, blob),) = reservations.reserved
    assert ({row["message_id"] for row in rows}, count) == ({message_id}, 2)
    frontier = Frontier(RECEIVED_US)
    frontier.add_message(message_id, RECEIVED_US, blob)
    for n in range(2):
        blocker = frontier.find_blocker(RECEIVED_US + 2, about(f"command_{n}"))
        assert blocker is not None
        assert blocker.stamp == rows[n]["stamp"] == RECEIVED_US + n
    assert frontier.find_blocker(RECEIVED_US + 2, about("command_2")) is None


def test_what_was_reserved_for_rows_that_are_not_written_is_given_up(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise Unavailable("the database is away")

    reservations = FixedReservations(RECEIVED_US)
    monkeypatch.setattr("workers.inbox.bulk.insert", fail)
    with pytest.raises(Unavailable):
        inbox.admit(engine, reservations, [[make_submission("command_1")]])
    assert reservations.cancelled == [message_id for message_id, _, _ in reservations.reserved]
    assert len(reservations.cancelled) == 1
    assert read_inbox_rows(engine) == []


def test_nothing_is_reserved_for_commands_that_are_known(engine: Engine) -> None:
    admit(engine, make_submission("command_1"))
    reservations = FixedReservations(RECEIVED_US + 9)
    inbox.admit(engine, reservations, [[make_submission("command_1")]])
    assert reservations.reserved == []


def test_a_command_accepted_while_redis_is_away_counts_as_earlier_than_all_that_is_later(
    engine: Engine, redis_client: redis.Redis
) -> None:
    arrival_clock = ArrivalClock(redis_client, engine)
    at = to_us(arrival_clock.now()) - 5
    admit_without_redis(engine, make_submission("command_1"), at=at)
    admit(engine, make_submission("command_2"), at=at - 5)
    assert inbox.oldest_unreserved(engine) == at
    assert arrival_clock.watermark() == from_us(at)
    frontier = arrival_clock.frontier({}, before=at + 100)
    assert frontier.find_blocker(at, about("anything")) is None
    blocker = frontier.find_blocker(at + 1, about("anything"))
    assert blocker is not None
    assert (blocker.message_id, blocker.stamp) == ("", at)


def test_a_command_accepted_while_redis_is_away_is_handed_in_with_its_stamp(
    harness: StoreHarness, redis_client: redis.Redis
) -> None:
    arrival_clock = ArrivalClock(redis_client, harness.engine)
    at = to_us(arrival_clock.now()) - 5
    admit_without_redis(harness.engine, make_submission("command_1"), at=at)
    assert redelivery.sweep(harness.engine, redis_client, at + 1) == 1
    assert [row["reserved"] for row in read_inbox_rows(harness.engine)] == [1]
    assert inbox.oldest_unreserved(harness.engine) is None
    (command,) = received_commands(redis_client)
    assert (command.stamp, command.at) == (at, from_us(at))
    assert arrival_clock.watermark() == from_us(at), "nobody has read it yet"


def test_an_arrival_clock_that_has_missed_redis_sweeps_the_inbox_before_it_answers(
    harness: StoreHarness, redis_client: redis.Redis, redis_url: str
) -> None:
    client = connect(redis_url)
    arrival_clock = ArrivalClock(client, harness.engine)
    at = to_us(arrival_clock.now()) - 5
    admit(harness.engine, make_submission("command_1"), at=at)
    redis_client.execute_command("ACL", "SETUSER", "default", "-evalsha")  # type: ignore[no-untyped-call]
    try:
        with pytest.raises(Unavailable):
            arrival_clock.watermark()
    finally:
        redis_client.execute_command("ACL", "SETUSER", "default", "+@all")  # type: ignore[no-untyped-call]
    # What was reserved may be among what Redis has lost meanwhile: the row is handed in again.
    assert arrival_clock.watermark() == from_us(at)
    assert [command.stamp for command in received_commands(redis_client)] == [at]
    client.close()


def test_the_oldest_unreserved_row_is_not_read_before_admissions_under_way_are_committed(
    engine: Engine,
) -> None:
    stamping, go_on = threading.Event(), threading.Event()

    class SlowReservations(FixedReservations):
        def stamp_here(self, count: int) -> int:
            stamping.set()
            assert go_on.wait(60)
            return super().stamp_here(count)

    reservations = SlowReservations(RECEIVED_US, redis_is_away=True)
    writer = threading.Thread(
        target=inbox.admit, args=(engine, reservations, [[make_submission("command_1")]])
    )
    writer.start()
    assert stamping.wait(60)
    oldest_us: list[int | None] = []

    def ask() -> None:
        oldest_us.append(inbox.oldest_unreserved(engine))

    asker = threading.Thread(target=ask)
    asker.start()
    asker.join(0.2)
    assert oldest_us == []
    go_on.set()
    writer.join(20)
    asker.join(20)
    assert oldest_us == [RECEIVED_US]


@pytest.mark.postgres
def test_a_web_process_stopped_in_mid_admission_keeps_handlers_waiting_and_makes_no_dead_letter(
    postgresql_url: str,
) -> None:
    engine, impatient_engine = open_database(postgresql_url), open_database(postgresql_url)
    event.listen(
        impatient_engine,
        "connect",
        lambda dbapi_connection, _: dbapi_connection.execute("SET lock_timeout = '50ms'"),
    )
    with writing(engine) as connection:
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock_shared({inbox.FENCE})")
        with pytest.raises(Unavailable, match="being written"):
            inbox.oldest_unreserved(impatient_engine)
    engine.dispose()
    impatient_engine.dispose()


def test_an_inbox_message_that_redis_lost_is_redelivered_as_it_was(
    harness: StoreHarness, redis_client: redis.Redis
) -> None:
    admit(harness.engine, *(make_submission(f"command_{n}") for n in range(3)))
    redelivery.hand_in(redis_client, read_inbox_rows(harness.engine))
    assert redelivery.sweep(harness.engine, redis_client, RECEIVED_US + 1) == 0
    before = received_commands(redis_client)
    redis_client.flushall()
    assert redelivery.sweep(harness.engine, redis_client, RECEIVED_US) == 0
    assert redelivery.sweep(harness.engine, redis_client, RECEIVED_US + 3) == 3
    again = received_commands(redis_client)
    assert [(c.text, c.stamp, c.at) for c in again] == [(c.text, c.stamp, c.at) for c in before]
    # Each goes by its own name: of the message that was lost, another may settle the rest.
    assert [c.message_id for c in again] == [f"{c.message_id}.{c.stamp}" for c in before]
    harness.settle(*again)
    harness.settle(*before)
    assert len(outcomes(harness.engine)) == 3
    assert redelivery.sweep(harness.engine, redis_client, RECEIVED_US + 3) == 0


def test_a_partly_settled_message_is_redelivered_in_part(
    harness: StoreHarness, redis_client: redis.Redis
) -> None:
    admit(harness.engine, *(make_submission(f"command_{n}") for n in range(3)))
    redelivery.hand_in(redis_client, read_inbox_rows(harness.engine))
    first, second, third = received_commands(redis_client)
    harness.settle(second)
    redis_client.flushall()
    redelivery.sweep(harness.engine, redis_client, RECEIVED_US + 3)
    assert [(command.text, command.stamp) for command in received_commands(redis_client)] == [
        (command.text, command.stamp) for command in (first, third)
    ]


def test_a_dead_letter_leaves_the_inbox_and_waits_for_an_operator(
    harness: StoreHarness, redis_client: redis.Redis
) -> None:
    admit(harness.engine, make_submission("command_1"), make_submission("command_2"))
    redelivery.hand_in(redis_client, read_inbox_rows(harness.engine))
    first, second = received_commands(redis_client)
    failures.add_dead_letter(harness.engine, first, ValueError("nobody knows"))
    assert [row["command_id"] for row in read_inbox_rows(harness.engine)] == ["command_2"]
    quarantine(harness.engine, [RefusedItem(COMMANDS, "m", b"", "kills", 0, commands=(second,))])
    assert read_inbox_rows(harness.engine) == []
    assert len(failures.list_dead_letters(harness.engine)) == 2


def test_a_command_overtaken_on_its_way_to_redis_keeps_its_instant_of_receipt(
    harness: StoreHarness, redis_client: redis.Redis
) -> None:
    at = to_us(ArrivalClock(redis_client, harness.engine).now())
    admit(harness.engine, make_submission("command_1"), at=at)
    CommandClient(redis_client).submit(json.loads(make_submission("command_2").text))
    assert [command.at > from_us(at) for command in received_commands(redis_client)] == [True]
    redelivery.hand_in(redis_client, read_inbox_rows(harness.engine))
    assert [command.at for command in received_commands(redis_client)] == [from_us(at)]


def test_a_message_that_was_divided_is_not_redelivered_whole(
    harness: StoreHarness, redis_client: redis.Redis
) -> None:
    admit(harness.engine, *(make_submission(f"command_{n}") for n in range(3)))
    redelivery.hand_in(redis_client, read_inbox_rows(harness.engine))
    (whole,) = deliveries(redis_client)
    scripts, keys = Scripts(redis_client), Keys(COMMANDS)
    scripts.split(keys, "tester", whole.message_id, split_delivery(COMMANDS, whole))
    assert redelivery.sweep(harness.engine, redis_client, RECEIVED_US + 1) == 0
    split_deliveries = deliveries(redis_client)
    assert [delivery.commands[0].stamp for delivery in split_deliveries] == [
        RECEIVED_US,
        RECEIVED_US + 1,
        RECEIVED_US + 2,
    ]
    scripts.ack(keys, "tester", [split_deliveries[0].message_id])
    assert redelivery.sweep(harness.engine, redis_client, RECEIVED_US + 1) == 1
    assert [command.stamp for command in received_commands(redis_client)] == [RECEIVED_US]


TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def test_a_trace_context_is_carried_from_the_inbox_to_the_events(
    harness: StoreHarness, redis_client: redis.Redis
) -> None:
    traced_submission = replace(make_submission("command_1"), trace=TRACE)
    admit(harness.engine, traced_submission, make_submission("command_2"))
    redelivery.hand_in(redis_client, read_inbox_rows(harness.engine))
    CommandClient(redis_client).submit_many([make_submission("command_3").text], trace=TRACE)
    CommandClient(redis_client).submit_many(
        [make_submission("command_4").text], trace="what is none is dropped"
    )
    harness.settle(*received_commands(redis_client))
    Relay(harness.engine, redis_client).run_once()
    entries: Any = redis_client.xrange(EVENTS_STREAM)
    events = [json.loads(fields[b"event"]) for _, fields in entries]
    traces = {event["data"]["command_id"]: event.get("traceparent") for event in events[-4:]}
    assert traces == {
        "command_1": TRACE,
        "command_2": None,
        "command_3": TRACE,
        "command_4": None,
    }
    assert [event.get("traceparent") for event in events].count(TRACE) == 4


def test_redelivered_messages_are_signed_where_keys_are_in_force(
    harness: StoreHarness, redis_client: redis.Redis
) -> None:
    keys = Keyring.parse("k1:" + base64.b64encode(bytes(range(32))).decode())
    admit(harness.engine, make_submission("command_1"))
    redelivery.hand_in(redis_client, read_inbox_rows(harness.engine), keys)
    (delivery,) = deliveries(redis_client, keys)
    assert (len(delivery.commands), delivery.refused) == (1, [])


def test_the_inbox_clock_is_never_behind_the_arrival_clock(
    redis_client: redis.Redis, engine: Engine
) -> None:
    local_clock, arrival_clock = LocalArrivalClock(redis_client), ArrivalClock(redis_client, engine)
    for _ in range(100):
        before_us = to_us(arrival_clock.now())
        assert local_clock.take(1) >= before_us
    assert local_clock.take(500) + 500 <= local_clock.take(1)
    assert abs(local_clock.now() - to_us(arrival_clock.now())) < 1_000_000


def test_the_inbox_rows_of_a_batch_do_not_hold_it_back(
    harness: StoreHarness, redis_client: redis.Redis
) -> None:
    arrival_clock = ArrivalClock(redis_client, harness.engine)
    processor = BatchProcessor(harness.store, arrival_clock, harness.notify)
    at = to_us(arrival_clock.now())
    admit_without_redis(harness.engine, make_submission("command_1"), at=at)
    (row,) = read_inbox_rows(harness.engine)
    command = Received(row["command"], from_us(at), at, row["message_id"])
    assert processor.settle([command]) == []
    assert read_inbox_rows(harness.engine) == []


def test_stamps_are_reserved_in_redis_and_while_it_is_away_given_here(
    redis_client: redis.Redis, redis_url: str
) -> None:
    client = connect(redis_url)
    reservations = StampReservations(client, LocalArrivalClock(client))
    messages = [("inbox-1", 2, b"about"), ("inbox-2", 1, b"")]
    stamps = reservations.reserve(messages)
    assert stamps is not None
    assert [redis_client.zscore(KEYS.pending, name) for name, _, _ in messages] == stamps
    assert redis_client.hget(KEYS.subjects, "inbox-1") == b"about"
    reservations.cancel(["inbox-1"])
    assert redis_client.zrange(KEYS.pending, 0, -1) == [b"inbox-2"]
    nowhere = connect("redis://127.0.0.1:1/0")
    reservations.scripts = Scripts(nowhere)
    assert reservations.reserve(messages) is None
    reservations.cancel(["inbox-2"])
    assert reservations.stamp_here(5) + 5 <= reservations.stamp_here(1)
    nowhere.close()
    client.close()
