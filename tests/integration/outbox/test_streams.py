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
from tests.support.store_harness import Desk
from tests.support.stories import START
from workers.outbox import streams as event_streams
from workers.outbox.recovery import recorded
from workers.outbox.relay import Relay
from workers.outbox.retention import STEP, Retention
from workers.outbox.streams import EVENTS, MEMORY, REMINDERS
from workers.settings import Limits, Settings, SettingsError
from workers.timestamps import from_us, now_us

WEEK = timedelta(days=7)


MINUTE_MS = 60_000


@pytest.fixture
def said() -> Iterator[list[Any]]:
    """Collect what is logged."""
    with structlog.testing.capture_logs() as lines:
        yield lines


def fill(wire: redis.Redis, count: int, *, age_ms: int = 0) -> list[str]:
    """Write so many entries of an age, one a millisecond; return their ids."""
    now_ms = now_us() // 1_000
    ids = [f"{now_ms - age_ms + n}-0" for n in range(count)]
    for entry_id in ids:
        wire.xadd(EVENTS, {"event": "{}"}, id=entry_id)
    return ids


def trim(wire: redis.Redis, max_entries: int = 1_000, age: timedelta = WEEK) -> int:
    return Retention(wire, Limits(max_entries, age)).run_once()


def test_what_is_too_many_goes_however_many_that_is(wire: redis.Redis) -> None:
    ids = fill(wire, 2 * STEP + 10)
    assert trim(wire, max_entries=5) == 2 * STEP + 5
    assert [entry[0].decode() for entry in wire.xrange(EVENTS)] == ids[-5:]  # type: ignore[union-attr]


def test_what_is_too_old_goes_and_the_rest_stays(wire: redis.Redis) -> None:
    fill(wire, 3, age_ms=2 * MINUTE_MS)
    fill(wire, 4)
    assert trim(wire, age=timedelta(minutes=1)) == 3
    assert wire.xlen(EVENTS) == 4


def test_what_a_group_has_not_read_stays_and_an_alarm_says_so(
    wire: redis.Redis, said: list[Any]
) -> None:
    ids = fill(wire, 10)
    event_streams.create(wire, EVENTS, "mail", start=ids[3])
    assert trim(wire, max_entries=6) == 4
    assert said == []
    assert trim(wire, max_entries=5) == 0
    alarm = {"event": "events.held_back", "stream": EVENTS, "group": "mail"}
    assert said == [alarm | {"log_level": "error"}]


def test_what_a_group_has_taken_and_not_settled_stays(wire: redis.Redis) -> None:
    ids = fill(wire, 10)
    event_streams.create(wire, EVENTS, "mail", start="0")
    wire.xreadgroup("mail", "one", {EVENTS: ">"}, count=10)
    wire.xack(EVENTS, "mail", *ids[:4], *ids[5:])
    assert trim(wire, max_entries=6) == 4
    wire.xack(EVENTS, "mail", ids[4])
    assert trim(wire, max_entries=6) == 0
    assert trim(wire, max_entries=1) == 5


def test_a_group_that_has_read_everything_holds_nothing_back(
    wire: redis.Redis, said: list[Any]
) -> None:
    ids = fill(wire, 10, age_ms=2 * MINUTE_MS)
    event_streams.create(wire, EVENTS, "mail", start=ids[-1])
    assert trim(wire, age=timedelta(minutes=1)) == 10
    assert said == []


def test_the_slowest_group_decides(wire: redis.Redis) -> None:
    ids = fill(wire, 10)
    event_streams.create(wire, EVENTS, "fast", start="$")
    event_streams.create(wire, EVENTS, "slow", start=ids[1])
    assert trim(wire, max_entries=6) == 2
    assert event_streams.delete(wire, EVENTS, "slow")
    assert trim(wire, max_entries=6) == 2


def test_memory_comes_before_a_group_that_is_gone_and_the_loss_is_said(
    wire: redis.Redis, said: list[Any]
) -> None:
    fill(wire, 30)
    event_streams.create(wire, EVENTS, "gone", start="0")
    assert trim(wire, max_entries=10) == 10
    assert wire.xlen(EVENTS) == 20
    alarm = {"event": "events.dropped_unread", "stream": EVENTS, "entries": 10}
    assert alarm | {"log_level": "error"} in said


def test_the_same_alarm_is_not_raised_all_the_time(wire: redis.Redis, said: list[Any]) -> None:
    fill(wire, 10)
    event_streams.create(wire, EVENTS, "mail", start="0")
    retention = Retention(wire, Limits(5, WEEK))
    for _ in range(3):
        retention.run_once()
    assert len(said) == 1


def test_a_group_knows_how_far_it_is_behind(wire: redis.Redis) -> None:
    fill(wire, 10, age_ms=2 * MINUTE_MS)
    event_streams.create(wire, EVENTS, "mail", start="0")
    event_streams.create(wire, REMINDERS, "sms", start="$")
    wire.xreadgroup("mail", "one", {EVENTS: ">"}, count=4)
    mail, sms = event_streams.groups(wire, Limits(1_000, timedelta(minutes=1)))
    assert (mail.name, mail.consumers, mail.pending, mail.lag) == ("mail", 1, 4, 6)
    assert mail.oldest_s is not None
    assert 119 < mail.oldest_s < 130
    assert mail.behind
    assert not event_streams.groups(wire, Limits(1_000, WEEK))[0].behind
    assert event_streams.groups(wire, Limits(9, WEEK))[0].behind
    assert (sms.lag, sms.pending, sms.oldest_s, sms.behind) == (0, 0, None, False)


def test_a_group_is_created_once_and_deleted_once(wire: redis.Redis) -> None:
    assert event_streams.create(wire, EVENTS, "mail", start="0")
    assert not event_streams.create(wire, EVENTS, "mail", start="0")
    assert event_streams.delete(wire, EVENTS, "mail")
    assert not event_streams.delete(wire, EVENTS, "mail")
    assert not event_streams.delete(wire, REMINDERS, "mail")


def carried(wire: redis.Redis, stream: str = EVENTS) -> list[str]:
    entries: Any = wire.xrange(stream)
    return [json.loads(fields[b"event"])["id"] for _, fields in entries]


@pytest.fixture
def relayed(sqlite_engine: Engine, wire: redis.Redis) -> Relay:
    """Give a relay that has carried the story of a nudged offer."""
    Desk(engine=sqlite_engine).bring("offered_nudged")
    relay = Relay(sqlite_engine, wire)
    relay.run_once()
    return relay


def test_a_wiped_server_is_told_again_and_the_ids_are_the_same(relayed: Relay) -> None:
    before = carried(relayed.client)
    relayed.client.flushall()
    assert relayed.run_once() == 0
    assert carried(relayed.client) == before
    assert len(carried(relayed.client, REMINDERS)) == 1


def test_a_restarted_server_is_told_the_last_seconds_again(relayed: Relay) -> None:
    before = carried(relayed.client)
    relayed.client.set(MEMORY, "somebody else")
    for _ in range(2):
        assert relayed.run_once() == 0
        assert carried(relayed.client) == before + before


def test_whoever_follows_a_relay_that_died_while_telling_again_begins_where_it_did(
    relayed: Relay,
) -> None:
    before = carried(relayed.client)
    relayed.client.flushall()
    relayed.client.set(MEMORY, "since:1")
    assert relayed.run_once() == 0
    assert carried(relayed.client) == before


def test_what_is_new_waits_for_what_was_forgotten(relayed: Relay) -> None:
    before = carried(relayed.client)
    relayed.client.flushall()
    settle_one_more(relayed)
    assert relayed.run_once() == 1
    assert carried(relayed.client)[:-1] == before


def test_a_server_that_forgets_again_and_again_is_told_nothing_new_before_the_old(
    relayed: Relay, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, refresh = carried(relayed.client), relayed.memory.refresh

    def wiped_at_the_last_moment() -> None:
        refresh()
        relayed.client.flushall()

    relayed.client.flushall()
    settle_one_more(relayed)
    with monkeypatch.context() as patch:
        patch.setattr(relayed.memory, "refresh", wiped_at_the_last_moment)
        with pytest.raises(Unavailable, match="forgets"):
            relayed.run_once()
    assert carried(relayed.client) == []
    assert relayed.run_once() == 1
    assert carried(relayed.client)[:-1] == before


def settle_one_more(relayed: Relay) -> None:
    desk = Desk(engine=relayed.engine)
    desk.settle(desk.receive("{", START))


def test_a_server_that_stayed_up_is_told_nothing_twice(relayed: Relay) -> None:
    before = carried(relayed.client)
    assert relayed.run_once() == 0
    assert carried(relayed.client) == before


def test_what_was_recorded_in_an_interval_is_found_again(relayed: Relay) -> None:
    begin, now = from_us(0), from_us(now_us())
    events = [row for page in recorded(relayed.engine, begin, None) for row in page]
    assert len(events) == len(carried(relayed.client))
    assert list(recorded(relayed.engine, now + WEEK, None)) == []
    assert list(recorded(relayed.engine, begin, now - WEEK)) == []


def test_the_command_line_follows_replays_and_administers(
    relayed: Relay,
    redis_url: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("EARNEST_REDIS_URL", redis_url)
    monkeypatch.setenv("EARNEST_DATABASE_URL", str(relayed.engine.url))

    def say(*words: str, status: int = 0) -> str:
        assert main(words) == status
        return capsys.readouterr().out

    before = carried(relayed.client)
    assert json.loads(say("events", "replay", "--since", "2026-01-01T00:00Z", "--json")) == {
        "events": len(before)
    }
    assert carried(relayed.client) == before + before
    follow = ("events", "tail", "--from", "0", "--type", "creator.*", "--json")
    events = [json.loads(line) for line in say(*follow, "--count", "3").splitlines()]
    assert [event["type"] for event in events] == ["creator.registered"] * 2 + ["creator.reminded"]
    assert "creator.reminded" in say(*follow[:-1], "--order", "o1", "--count", "1")
    say("events", "groups", "create", "mail")
    say("events", "groups", "create", "mail", status=1)
    (group,) = json.loads(say("events", "groups", "--json"))["groups"]
    assert (group["name"], group["lag"]) == ("mail", 2 * len(before))
    assert "mail" in say("events", "groups")
    say("events", "groups", "delete", "mail")
    assert say("events", "groups") == "No consumer groups.\n"
    say("events", "groups", "create", status=2)
    say("events", "replay", "--since", "yesterday", status=2)
    say("events", "tail", "--from", "nowhere", status=2)


@pytest.mark.parametrize(
    "wrong", [{"EARNEST_EVENTS_KEPT": "many"}, {"EARNEST_EVENTS_AGE": "a week"}]
)
def test_retention_that_makes_no_sense_is_refused(wrong: dict[str, str]) -> None:
    with pytest.raises(SettingsError, match=next(iter(wrong))):
        Settings.read(wrong)


def test_retention_is_a_setting_and_reaches_child_processes() -> None:
    settings = Settings.read({"EARNEST_EVENTS_KEPT": "10", "EARNEST_EVENTS_AGE": "PT1H"})
    assert settings.retention == Limits(10, timedelta(hours=1))
    assert Settings.read(settings.environ()) == settings
