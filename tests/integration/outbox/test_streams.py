"""Streams: retention, consumer groups, and recovery of what Redis lost."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
import redis
import structlog
from sqlalchemy import Engine

from models.errors import Unavailable
from ops.cli.app import main
from tests.support.store_harness import StoreHarness
from tests.support.stories import START
from workers.outbox import streams as event_streams
from workers.outbox.recovery import recorded_events
from workers.outbox.relay import Relay
from workers.outbox.retention import MAX_DROPPED_PER_CALL, Retention
from workers.outbox.streams import EVENTS_STREAM, REMINDERS_STREAM, SERVER_ID_KEY
from workers.settings import RetentionLimits, Settings, SettingsError
from workers.timestamps import from_us, now_us

WEEK = timedelta(days=7)
MINUTE_MS = 60_000


@pytest.fixture
def log_entries() -> Iterator[list[Any]]:
    """Collect what is logged."""
    with structlog.testing.capture_logs() as lines:
        yield lines


def write_entries(redis_client: redis.Redis, count: int, *, age_ms: int = 0) -> list[str]:
    """Write so many entries of an age, one a millisecond; return their ids."""
    now_ms = now_us() // 1_000
    ids = [f"{now_ms - age_ms + n}-0" for n in range(count)]
    for entry_id in ids:
        redis_client.xadd(EVENTS_STREAM, {"event": "{}"}, id=entry_id)
    return ids


def trim(redis_client: redis.Redis, max_entries: int = 1_000, age: timedelta = WEEK) -> int:
    return Retention(redis_client, RetentionLimits(max_entries, age)).run_once()


def test_retention_trims_entries_beyond_the_limit_however_many(redis_client: redis.Redis) -> None:
    ids = write_entries(redis_client, 2 * MAX_DROPPED_PER_CALL + 10)
    assert trim(redis_client, max_entries=5) == 2 * MAX_DROPPED_PER_CALL + 5
    assert [entry[0].decode() for entry in redis_client.xrange(EVENTS_STREAM)] == ids[-5:]  # type: ignore[union-attr]


def test_retention_trims_old_entries_and_keeps_the_rest(redis_client: redis.Redis) -> None:
    write_entries(redis_client, 3, age_ms=2 * MINUTE_MS)
    write_entries(redis_client, 4)
    assert trim(redis_client, age=timedelta(minutes=1)) == 3
    assert redis_client.xlen(EVENTS_STREAM) == 4


def test_entries_that_a_group_has_not_read_are_kept_and_an_alert_is_logged(
    redis_client: redis.Redis, log_entries: list[Any]
) -> None:
    ids = write_entries(redis_client, 10)
    event_streams.create_group(redis_client, EVENTS_STREAM, "mail", start=ids[3])
    assert trim(redis_client, max_entries=6) == 4
    assert log_entries == []
    assert trim(redis_client, max_entries=5) == 0
    alert = {"event": "events.held_back", "stream": EVENTS_STREAM, "group": "mail"}
    assert log_entries == [alert | {"log_level": "error"}]


def test_entries_that_a_group_has_not_acknowledged_are_kept(redis_client: redis.Redis) -> None:
    ids = write_entries(redis_client, 10)
    event_streams.create_group(redis_client, EVENTS_STREAM, "mail", start="0")
    redis_client.xreadgroup("mail", "one", {EVENTS_STREAM: ">"}, count=10)
    redis_client.xack(EVENTS_STREAM, "mail", *ids[:4], *ids[5:])
    assert trim(redis_client, max_entries=6) == 4
    redis_client.xack(EVENTS_STREAM, "mail", ids[4])
    assert trim(redis_client, max_entries=6) == 0
    assert trim(redis_client, max_entries=1) == 5


def test_a_group_that_has_read_everything_holds_nothing_back(
    redis_client: redis.Redis, log_entries: list[Any]
) -> None:
    ids = write_entries(redis_client, 10, age_ms=2 * MINUTE_MS)
    event_streams.create_group(redis_client, EVENTS_STREAM, "mail", start=ids[-1])
    assert trim(redis_client, age=timedelta(minutes=1)) == 10
    assert log_entries == []


def test_the_slowest_consumer_group_decides_what_is_trimmed(redis_client: redis.Redis) -> None:
    ids = write_entries(redis_client, 10)
    event_streams.create_group(redis_client, EVENTS_STREAM, "fast", start="$")
    event_streams.create_group(redis_client, EVENTS_STREAM, "slow", start=ids[1])
    assert trim(redis_client, max_entries=6) == 2
    assert event_streams.delete_group(redis_client, EVENTS_STREAM, "slow")
    assert trim(redis_client, max_entries=6) == 2


def test_an_abandoned_group_does_not_stop_trimming_for_ever_and_the_loss_is_logged(
    redis_client: redis.Redis, log_entries: list[Any]
) -> None:
    write_entries(redis_client, 30)
    event_streams.create_group(redis_client, EVENTS_STREAM, "gone", start="0")
    assert trim(redis_client, max_entries=10) == 10
    assert redis_client.xlen(EVENTS_STREAM) == 20
    alert = {"event": "events.dropped_unread", "stream": EVENTS_STREAM, "entries": 10}
    assert alert | {"log_level": "error"} in log_entries


def test_a_retention_alert_is_not_repeated_every_round(
    redis_client: redis.Redis, log_entries: list[Any]
) -> None:
    write_entries(redis_client, 10)
    event_streams.create_group(redis_client, EVENTS_STREAM, "mail", start="0")
    retention = Retention(redis_client, RetentionLimits(5, WEEK))
    for _ in range(3):
        retention.run_once()
    assert len(log_entries) == 1


def test_a_group_knows_how_far_it_is_behind(redis_client: redis.Redis) -> None:
    write_entries(redis_client, 10, age_ms=2 * MINUTE_MS)
    event_streams.create_group(redis_client, EVENTS_STREAM, "mail", start="0")
    event_streams.create_group(redis_client, REMINDERS_STREAM, "sms", start="$")
    redis_client.xreadgroup("mail", "one", {EVENTS_STREAM: ">"}, count=4)
    mail, sms = event_streams.list_groups(
        redis_client, RetentionLimits(1_000, timedelta(minutes=1))
    )
    assert (mail.name, mail.consumers, mail.pending, mail.lag) == ("mail", 1, 4, 6)
    assert mail.oldest_s is not None
    assert 119 < mail.oldest_s < 130
    assert mail.behind
    assert not event_streams.list_groups(redis_client, RetentionLimits(1_000, WEEK))[0].behind
    assert event_streams.list_groups(redis_client, RetentionLimits(9, WEEK))[0].behind
    assert (sms.lag, sms.pending, sms.oldest_s, sms.behind) == (0, 0, None, False)


def test_a_group_is_created_once_and_deleted_once(redis_client: redis.Redis) -> None:
    assert event_streams.create_group(redis_client, EVENTS_STREAM, "mail", start="0")
    assert not event_streams.create_group(redis_client, EVENTS_STREAM, "mail", start="0")
    assert event_streams.delete_group(redis_client, EVENTS_STREAM, "mail")
    assert not event_streams.delete_group(redis_client, EVENTS_STREAM, "mail")
    assert not event_streams.delete_group(redis_client, REMINDERS_STREAM, "mail")


def stream_event_ids(redis_client: redis.Redis, stream: str = EVENTS_STREAM) -> list[str]:
    entries: Any = redis_client.xrange(stream)
    return [json.loads(fields[b"event"])["id"] for _, fields in entries]


@pytest.fixture
def relay_after_story(sqlite_engine: Engine, redis_client: redis.Redis) -> Relay:
    """Give a relay that has published the history of a nudged offer."""
    StoreHarness(engine=sqlite_engine).bring_to("offered_nudged")
    relay = Relay(sqlite_engine, redis_client)
    relay.run_once()
    return relay


def test_a_wiped_redis_gets_its_events_again_under_the_same_ids(relay_after_story: Relay) -> None:
    before = stream_event_ids(relay_after_story.client)
    relay_after_story.client.flushall()
    assert relay_after_story.run_once() == 0
    assert stream_event_ids(relay_after_story.client) == before
    assert len(stream_event_ids(relay_after_story.client, REMINDERS_STREAM)) == 1


def test_a_restarted_redis_gets_the_events_of_the_last_seconds_again(
    relay_after_story: Relay,
) -> None:
    before = stream_event_ids(relay_after_story.client)
    relay_after_story.client.set(SERVER_ID_KEY, "somebody else")
    for _ in range(2):
        assert relay_after_story.run_once() == 0
        assert stream_event_ids(relay_after_story.client) == before + before


def test_an_interrupted_recovery_starts_again_from_its_beginning(
    relay_after_story: Relay,
) -> None:
    before = stream_event_ids(relay_after_story.client)
    relay_after_story.client.flushall()
    relay_after_story.client.set(SERVER_ID_KEY, "since:1")
    assert relay_after_story.run_once() == 0
    assert stream_event_ids(relay_after_story.client) == before


def test_new_events_wait_for_those_that_redis_lost(relay_after_story: Relay) -> None:
    before = stream_event_ids(relay_after_story.client)
    relay_after_story.client.flushall()
    record_another_event(relay_after_story)
    assert relay_after_story.run_once() == 1
    assert stream_event_ids(relay_after_story.client)[:-1] == before


def test_a_redis_wiped_during_recovery_gets_nothing_new_before_the_old(
    relay_after_story: Relay, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, refresh = stream_event_ids(relay_after_story.client), relay_after_story.recovery.refresh

    def wiped_at_the_last_moment() -> None:
        refresh()
        relay_after_story.client.flushall()

    relay_after_story.client.flushall()
    record_another_event(relay_after_story)
    with monkeypatch.context() as patch:
        patch.setattr(relay_after_story.recovery, "refresh", wiped_at_the_last_moment)
        with pytest.raises(Unavailable, match="forgets"):
            relay_after_story.run_once()
    assert stream_event_ids(relay_after_story.client) == []
    assert relay_after_story.run_once() == 1
    assert stream_event_ids(relay_after_story.client)[:-1] == before


def record_another_event(relay: Relay) -> None:
    harness = StoreHarness(engine=relay.engine)
    harness.settle(harness.receive("{", START))


def test_a_redis_that_stayed_up_gets_nothing_twice(relay_after_story: Relay) -> None:
    before = stream_event_ids(relay_after_story.client)
    assert relay_after_story.run_once() == 0
    assert stream_event_ids(relay_after_story.client) == before


def test_events_recorded_in_an_interval_are_found(relay_after_story: Relay) -> None:
    begin, now = from_us(0), from_us(now_us())
    events = [
        row for page in recorded_events(relay_after_story.engine, begin, None) for row in page
    ]
    assert len(events) == len(stream_event_ids(relay_after_story.client))
    assert list(recorded_events(relay_after_story.engine, now + WEEK, None)) == []
    assert list(recorded_events(relay_after_story.engine, begin, now - WEEK)) == []


def test_the_events_command_replays_tails_and_manages_groups(
    relay_after_story: Relay,
    redis_url: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("EARNEST_REDIS_URL", redis_url)
    monkeypatch.setenv("EARNEST_DATABASE_URL", str(relay_after_story.engine.url))

    def run_command(*words: str, status: int = 0) -> str:
        assert main(words) == status
        return capsys.readouterr().out

    before = stream_event_ids(relay_after_story.client)
    assert json.loads(
        run_command("events", "replay", "--since", "2026-01-01T00:00Z", "--json")
    ) == {"events": len(before)}
    assert stream_event_ids(relay_after_story.client) == before + before
    tail_arguments = ("events", "tail", "--from", "0", "--type", "creator.*", "--json")
    events = [
        json.loads(line) for line in run_command(*tail_arguments, "--count", "3").splitlines()
    ]
    assert [event["type"] for event in events] == ["creator.registered"] * 2 + ["creator.reminded"]
    assert "creator.reminded" in run_command(*tail_arguments[:-1], "--order", "o1", "--count", "1")
    run_command("events", "groups", "create", "mail")
    run_command("events", "groups", "create", "mail", status=1)
    (group,) = json.loads(run_command("events", "groups", "--json"))["groups"]
    assert (group["name"], group["lag"]) == ("mail", 2 * len(before))
    assert "mail" in run_command("events", "groups")
    run_command("events", "groups", "delete", "mail")
    assert run_command("events", "groups") == "No consumer groups.\n"
    run_command("events", "groups", "create", status=2)
    run_command("events", "replay", "--since", "yesterday", status=2)
    run_command("events", "tail", "--from", "nowhere", status=2)


@pytest.mark.parametrize(
    "wrong", [{"EARNEST_EVENTS_KEPT": "many"}, {"EARNEST_EVENTS_AGE": "a week"}]
)
def test_an_invalid_retention_setting_is_refused(wrong: dict[str, str]) -> None:
    with pytest.raises(SettingsError, match=next(iter(wrong))):
        Settings.read(wrong)


def test_the_retention_setting_reaches_child_processes() -> None:
    settings = Settings.read({"EARNEST_EVENTS_KEPT": "10", "EARNEST_EVENTS_AGE": "PT1H"})
    assert settings.retention == RetentionLimits(10, timedelta(hours=1))
    assert Settings.read(settings.environ()) == settings
