"""Relay: what was recorded is published, in order for each subject, at least once."""

from __future__ import annotations

import json
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import pytest
import redis
from sqlalchemy import Engine, text

from models.errors import BrokenInvariant, Unavailable
from models.fields import MICROSECOND
from tests.support import sample_commands
from tests.support.concurrency import eventually
from tests.support.store_harness import StoreHarness
from tests.support.stories import START, span
from workers.database import schema
from workers.database.engine import hold_lease, open_database, release_lease, writing
from workers.database.migrations import migrate
from workers.outbox import relay
from workers.outbox.recovery import WIPE_WINDOW
from workers.outbox.relay import BATCH_SIZE, NOTIFY_KEY, Relay, notify_relay
from workers.outbox.streams import EVENTS_STREAM, REMINDERS_STREAM
from workers.outbox.timeline import read_timeline
from workers.queue.redis import connect

StreamEvents = list[dict[str, Any]]


@pytest.fixture
def story(harness: StoreHarness) -> StoreHarness:
    """Give a harness with an order that was placed, reminded of, accepted and forfeited."""
    harness.admit().offer("o1", "o2")
    harness.wake("o1", START + span("12h"))
    harness.ask("nudge_creator", "client", order_id="o1")
    harness.ask("accept_order", "creator", order_id="o1")
    harness.wake("o1", START + span("4d12h"))
    harness.wake("o1", START + span("9d"))
    return harness


def stream_events(redis_client: redis.Redis, name: str = EVENTS_STREAM) -> StreamEvents:
    entries: list[Any] = redis_client.xrange(name) or []
    return [json.loads(fields[b"event"]) for _, fields in entries]


def test_every_event_is_published_once_and_in_the_order_of_recording(
    story: StoreHarness, redis_client: redis.Redis
) -> None:
    event_relay = Relay(story.engine, redis_client)
    assert event_relay.run_once() == len(story.published())
    assert [event["data"] for event in stream_events(redis_client)] == story.published()
    assert event_relay.run_once() == 0
    assert len(stream_events(redis_client)) == len(story.published())


def test_a_published_event_is_a_cloud_event(story: StoreHarness, redis_client: redis.Redis) -> None:
    Relay(story.engine, redis_client).run_once()
    event_rows = sorted(story.rows("events"), key=lambda row: row.position)
    for row, event in zip(event_rows, stream_events(redis_client), strict=True):
        assert event == {
            "specversion": "1.0",
            "id": f"{row.subject}/{row.sequence}",
            "source": "earnest",
            "type": row.type,
            "subject": row.subject,
            "time": event["time"],
            "datacontenttype": "application/json",
            "data": json.loads(row.body),
        }
        assert datetime.fromisoformat(event["time"]) == datetime.fromisoformat(event["data"]["at"])
        assert event["time"].endswith("Z")


def test_events_of_each_subject_are_published_in_order_and_without_gaps(
    story: StoreHarness, redis_client: redis.Redis
) -> None:
    Relay(story.engine, redis_client).run_once()
    sequences = defaultdict(list)
    for event in stream_events(redis_client):
        sequences[event["subject"]].append(event["data"]["sequence"])
    assert len({event["id"] for event in stream_events(redis_client)}) == len(
        stream_events(redis_client)
    )
    orders = {name: numbers for name, numbers in sequences.items() if name.startswith("order:")}
    assert orders == {name: list(range(1, len(n) + 1)) for name, n in orders.items()}
    assert orders


def test_reminders_have_a_stream_of_their_own_with_nothing_else(
    story: StoreHarness, redis_client: redis.Redis
) -> None:
    Relay(story.engine, redis_client).run_once()
    reminders = [
        event for event in stream_events(redis_client) if event["type"].endswith(".reminded")
    ]
    assert stream_events(redis_client, REMINDERS_STREAM) == reminders
    assert [reminder["data"]["cause"] for reminder in reminders] == [
        "deadline",
        "nudge",
        "deadline",
    ]


@contextmanager
def publishing_marks_refused(engine: Engine) -> Iterator[None]:
    """Let the database refuse to mark events as published, as a failing one might."""
    create_statement, drop_statement = {
        "sqlite": (
            "CREATE TRIGGER stuck BEFORE UPDATE ON events BEGIN SELECT RAISE(ABORT, 'stuck'); END",
            "DROP TRIGGER stuck",
        ),
        "postgresql": (
            "ALTER TABLE events ADD CONSTRAINT stuck CHECK (published_at IS NULL)",
            "ALTER TABLE events DROP CONSTRAINT stuck",
        ),
    }[engine.dialect.name]
    for statement in (create_statement, drop_statement):
        with writing(engine) as connection:
            connection.execute(text(statement))
        if statement == create_statement:
            yield


def test_events_published_but_not_marked_are_published_again_under_the_same_ids(
    story: StoreHarness, redis_client: redis.Redis
) -> None:
    event_relay, number = Relay(story.engine, redis_client), len(story.published())
    with publishing_marks_refused(story.engine), pytest.raises(BrokenInvariant, match="stuck"):
        event_relay.run_once()
    assert len(stream_events(redis_client)) == number
    assert event_relay.run_once() == number
    ids = [event["id"] for event in stream_events(redis_client)]
    assert ids[:number] == ids[number:]
    assert event_relay.run_once() == 0


def test_an_event_that_could_not_be_published_is_not_marked_as_published(
    story: StoreHarness, redis_client: redis.Redis
) -> None:
    nowhere = connect("redis://127.0.0.1:1/0")
    with pytest.raises(Unavailable):
        Relay(story.engine, nowhere).run_once()
    nowhere.close()
    assert Relay(story.engine, redis_client).run_once() == len(story.published())


def test_events_that_redis_lost_are_republished_before_anything_newer(
    story: StoreHarness, redis_client: redis.Redis
) -> None:
    event_relay = Relay(story.engine, redis_client)
    event_relay.run_once()
    before = stream_events(redis_client)
    redis_client.flushall()
    story.ask("register_mcn", "platform", mcn_id="m9", name="M")
    # An event published again was counted once already.
    assert event_relay.run_once() == len(story.published()) - len(before) > 0
    assert len(stream_events(redis_client)) == len(story.published())
    after = [event["id"] for event in stream_events(redis_client)]
    assert after[: len(before)] == [event["id"] for event in before]
    assert event_relay.run_once() == 0


def test_events_published_long_ago_are_not_republished_after_a_wipe(
    story: StoreHarness, redis_client: redis.Redis
) -> None:
    event_relay = Relay(story.engine, redis_client)
    event_relay.run_once()
    window_us = WIPE_WINDOW // MICROSECOND
    with writing(story.engine) as connection:
        connection.execute(
            schema.events.update().values(published_at=schema.events.c.published_at - window_us)
        )
    redis_client.flushall()
    assert event_relay.run_once() == 0
    assert stream_events(redis_client) == []


def test_a_long_backlog_is_published_in_batches(
    harness: StoreHarness, redis_client: redis.Redis
) -> None:
    harness.settle(*(harness.receive("{", START) for _ in range(BATCH_SIZE + 1)))
    event_relay = Relay(harness.engine, redis_client)
    assert [event_relay.run_once() for _ in range(3)] == [BATCH_SIZE, 1, 0]
    assert [event["data"] for event in stream_events(redis_client)] == harness.published()


@pytest.mark.postgres
def test_an_event_that_is_committed_after_its_successor_is_published_too(
    postgresql_url: str, redis_client: redis.Redis
) -> None:
    engine = open_database(postgresql_url)
    migrate(engine)
    harness, event_relay = StoreHarness(engine=engine), Relay(engine, redis_client)
    row = {"sequence": 1, "type": "t", "at": 1, "recorded_at": 1, "caused_by": "-", "body": "{}"}
    with writing(engine) as slow_connection:
        slow_connection.execute(schema.events.insert(), [row | {"subject": "slow"}])
        with writing(engine) as quick_connection:
            quick_connection.execute(schema.events.insert(), [row | {"subject": "quick"}])
        assert event_relay.run_once() == 1
    assert event_relay.run_once() == 1
    assert [event["subject"] for event in stream_events(redis_client)] == ["quick", "slow"]
    assert [row.subject for row in sorted(harness.rows("events"))] == ["slow", "quick"]
    engine.dispose()


@contextmanager
def running_relays(*relays: Relay) -> Iterator[list[threading.Event]]:
    """Run relays, each in a thread with a switch to stop it."""
    switches = [threading.Event() for _ in relays]
    threads = [
        threading.Thread(target=event_relay.run, args=(switch,))
        for event_relay, switch in zip(relays, switches, strict=True)
    ]
    for thread in threads:
        thread.start()
    try:
        yield switches
    finally:
        for switch in switches:
            switch.set()
        for thread in threads:
            thread.join()


def lease_holder(harness: StoreHarness) -> str | None:
    holders = [row.holder for row in harness.rows("leases")]
    return str(holders[0]) if holders else None


def test_of_two_relays_one_publishes_and_the_other_takes_over(
    story: StoreHarness, redis_client: redis.Redis
) -> None:
    relays = [Relay(story.engine, redis_client) for _ in range(2)]
    with running_relays(*relays) as switches:
        eventually(lambda: len(stream_events(redis_client)) == len(story.published()))
        first = [event_relay.name for event_relay in relays].index(lease_holder(story) or "")
        switches[first].set()
        eventually(lambda: lease_holder(story) == relays[1 - first].name)
        story.ask("register_mcn", "platform", mcn_id="m3", name="M3")
        notify_relay(redis_client)
        eventually(lambda: len(stream_events(redis_client)) == len(story.published()))
    assert [event["data"] for event in stream_events(redis_client)] == story.published()
    assert lease_holder(story) is None


def test_a_lease_has_one_holder_until_it_is_released(harness: StoreHarness) -> None:
    hour = 3_600_000_000
    assert hold_lease(harness.engine, "relay", "one", hour)
    assert hold_lease(harness.engine, "relay", "one", hour)
    assert not hold_lease(harness.engine, "relay", "other", hour)
    assert hold_lease(harness.engine, "something else", "other", hour)
    release_lease(harness.engine, "relay", "other")
    assert not hold_lease(harness.engine, "relay", "other", hour)
    release_lease(harness.engine, "relay", "one")
    assert hold_lease(harness.engine, "relay", "other", hour)


def test_a_lease_that_is_not_renewed_passes_to_another(harness: StoreHarness) -> None:
    assert hold_lease(harness.engine, "relay", "dead", 50_000)
    eventually(lambda: hold_lease(harness.engine, "relay", "other", 50_000))


def test_a_relay_that_slept_through_its_lease_counts_nothing_again(
    story: StoreHarness, redis_client: redis.Redis
) -> None:
    late_relay, prompt_relay = Relay(story.engine, redis_client), Relay(story.engine, redis_client)
    unpublished = late_relay._unpublished()  # noqa: SLF001 - it falls asleep between reading and noting
    timeline = read_timeline(story.engine)
    prompt_relay.run_once()
    tallies_before = story.rows("tallies")
    late_relay._mark_published(unpublished, timeline)  # noqa: SLF001 - and wakes up
    assert story.rows("tallies") == tallies_before
    assert tallies_before


@pytest.mark.parametrize("renewed_s", [relay.LEASE_RENEWAL_INTERVAL_S, 0.0])
def test_a_lease_is_renewed_now_and_then_and_not_with_every_round(
    harness: StoreHarness,
    redis_client: redis.Redis,
    monkeypatch: pytest.MonkeyPatch,
    renewed_s: float,
) -> None:
    monkeypatch.setattr(relay, "LEASE_RENEWAL_INTERVAL_S", renewed_s)
    ends = set()
    with running_relays(Relay(harness.engine, redis_client)):
        for number in range(1, 6):
            harness.settle(harness.receive("{", START))
            notify_relay(redis_client)
            eventually(lambda published=number: redis_client.xlen(EVENTS_STREAM) == published)  # type: ignore[misc]
            ends |= {row.until for row in harness.rows("leases")}
    assert len(ends) == (1 if renewed_s else 5)


def test_a_resting_relay_is_woken_by_the_notify_key(
    harness: StoreHarness, redis_client: redis.Redis
) -> None:
    with running_relays(Relay(harness.engine, redis_client)):
        eventually(lambda: lease_holder(harness) is not None)
        harness.settle(harness.receive("{", START))
        notify_relay(redis_client)
        eventually(lambda: len(stream_events(redis_client)) == 1)


def test_notifications_that_no_relay_reads_do_not_pile_up(redis_client: redis.Redis) -> None:
    for _ in range(20):
        notify_relay(redis_client)
    assert redis_client.llen(NOTIFY_KEY) == 4
    nowhere = connect("redis://127.0.0.1:1/0")
    notify_relay(nowhere)
    nowhere.close()


def test_a_name_in_any_script_is_published_unchanged(
    harness: StoreHarness, redis_client: redis.Redis
) -> None:
    name = '春\\"\u00a0é🙂'
    harness.settle_alone(
        sample_commands.command("register_mcn", "platform", mcn_id="m1", name=name), START
    )
    Relay(harness.engine, redis_client).run_once()
    assert stream_events(redis_client)[0]["data"]["name"] == name
