"""Timeline: a database that was set back is noticed, publishes nothing, and begins anew."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import redis
from sqlalchemy import select

from ops.cli.app import main
from ops.recovery import find_lost_events, write_lost_events
from scheduler.deadlines import DeadlineScheduler
from tests.support import sample_commands
from tests.support.sample_commands import LONG_AGO
from tests.support.snapshots import DatabaseSnapshot
from tests.support.store_harness import StoreHarness
from tests.support.stories import START, span
from workers.database import schema
from workers.database.engine import open_database, reading
from workers.database.migrations import migrate
from workers.outbox.recovery import recorded_events
from workers.outbox.relay import Relay
from workers.outbox.streams import EVENTS_STREAM, publish
from workers.outbox.timeline import (
    DatabaseSetBack,
    begin_timeline,
    find_setback,
    read_timeline,
)
from workers.queue.redis import EPOCH_KEY, STAMP_KEY

BY, NOTE = "operator:chen", "restored from last night's backup"


def stream_events(redis_client: redis.Redis) -> list[dict[str, Any]]:
    entries: list[Any] = redis_client.xrange(EVENTS_STREAM) or []
    return [json.loads(fields[b"event"]) for _, fields in entries]


@pytest.fixture
def set_back(harness: StoreHarness, redis_client: redis.Redis) -> StoreHarness:
    """Give a database from before an order was accepted, when all of that was published."""
    harness.admit().offer("o1")
    Relay(harness.engine, redis_client).run_once()
    snapshot = DatabaseSnapshot(harness.engine)
    harness.ask("accept_order", "creator", order_id="o1")
    harness.offer("o2")
    Relay(harness.engine, redis_client).run_once()
    snapshot.restore()
    return harness


def test_what_was_published_is_there_until_the_database_is_set_back(
    harness: StoreHarness, redis_client: redis.Redis
) -> None:
    assert find_setback(harness.engine, redis_client) is None
    harness.admit().offer("o1")
    assert find_setback(harness.engine, redis_client) is None
    snapshot = DatabaseSnapshot(harness.engine)
    Relay(harness.engine, redis_client).run_once()
    # What was recorded, and published after the copy was made, is no loss.
    snapshot.restore()
    assert find_setback(harness.engine, redis_client) is None
    assert Relay(harness.engine, redis_client).run_once() > 0


def test_a_database_that_was_set_back_publishes_nothing(
    set_back: StoreHarness, redis_client: redis.Redis
) -> None:
    setback = find_setback(set_back.engine, redis_client)
    assert setback is not None
    assert "was published and is not in the database" in str(setback)
    published_before = stream_events(redis_client)
    # As many as were lost: their positions are taken again.
    for number in range(3, 9):
        set_back.settle_alone(sample_commands.place(f"o{number}"), START + span("2h"))
    with pytest.raises(DatabaseSetBack):
        Relay(set_back.engine, redis_client).run_once()
    assert stream_events(redis_client) == published_before


def test_no_deadline_ends_while_the_database_is_behind(
    set_back: StoreHarness, redis_client: redis.Redis
) -> None:
    redis_client.set(EPOCH_KEY, -1)
    ticking = DeadlineScheduler(set_back.engine, redis_client)
    with pytest.raises(DatabaseSetBack):
        ticking.run_once()
    begin(set_back, redis_client)
    assert ticking.run_once() > 0


@pytest.mark.usefixtures("set_back")
def test_another_database_is_known_for_one(redis_client: redis.Redis, tmp_path: Path) -> None:
    other_engine = open_database(f"sqlite:///{tmp_path / 'other.db'}")
    migrate(other_engine)
    setback = find_setback(other_engine, redis_client)
    other_engine.dispose()
    assert setback is not None
    assert setback.is_foreign
    assert "another database" in str(setback)


def begin(harness: StoreHarness, redis_client: redis.Redis) -> None:
    lost = find_lost_events(harness.engine, redis_client)
    begin_timeline(harness.engine, redis_client, BY, NOTE, lost.last_stamp)
    assert find_setback(harness.engine, redis_client) is None
    while Relay(harness.engine, redis_client).run_once():
        pass


def test_a_new_timeline_never_gives_an_id_or_a_position_again(
    set_back: StoreHarness, redis_client: redis.Redis
) -> None:
    published_before = stream_events(redis_client)
    with reading(set_back.engine) as connection:
        kept = connection.execute(select(schema.events.c.position)).scalars().all()
    set_back.settle_alone(sample_commands.accept(), START + span("2h"))
    begin(set_back, redis_client)
    published_after = stream_events(redis_client)[len(published_before) :]
    assert published_after[0]["type"] == "stream.timeline_began"
    assert published_after[0]["id"] == "timeline:2/1~2"
    ids_before = {event["id"] for event in published_before}
    assert ids_before.isdisjoint(event["id"] for event in published_after)
    # What it says to forget is what the database does not know.
    ids = [event["id"] for event in published_before]
    assert ids.index(published_after[0]["data"]["last_event"]) == len(kept) - 1
    assert [event["type"] for event in published_after[2:]] == ["order.accepted", "command.settled"]
    with reading(set_back.engine) as connection:
        query = select(schema.events.c.position).order_by(schema.events.c.position)
        positions = connection.execute(query).scalars().all()
    assert min(set(positions) - set(kept)) > len(published_before)


def test_an_event_that_is_published_again_keeps_the_id_of_its_timeline(
    set_back: StoreHarness, redis_client: redis.Redis
) -> None:
    begin(set_back, redis_client)
    set_back.settle_alone(sample_commands.accept(), START + span("2h"))
    Relay(set_back.engine, redis_client).run_once()
    published = stream_events(redis_client)
    redis_client.delete(EVENTS_STREAM)
    timeline = read_timeline(set_back.engine)
    for page in recorded_events(set_back.engine, LONG_AGO, None):
        publish(redis_client, page, timeline)
    published_again = {event["id"]: event["data"] for event in stream_events(redis_client)}
    assert published_again.items() <= {event["id"]: event["data"] for event in published}.items()
    assert any(name.endswith("~2") for name in published_again)
    assert "order:o1/1" in published_again


def test_set_back_to_before_a_timeline_the_next_has_another_number(
    set_back: StoreHarness, redis_client: redis.Redis
) -> None:
    snapshot = DatabaseSnapshot(set_back.engine)
    begin(set_back, redis_client)
    snapshot.restore()
    setback = find_setback(set_back.engine, redis_client)
    assert setback is not None
    assert setback.is_foreign
    begin(set_back, redis_client)
    assert read_timeline(set_back.engine).number == 3


def test_stamps_go_on_above_all_that_were_told(
    set_back: StoreHarness, redis_client: redis.Redis
) -> None:
    redis_client.set(STAMP_KEY, 5)
    last_stamp = max(set_back.stamps)
    begin(set_back, redis_client)
    assert int(redis_client.get(STAMP_KEY) or 0) == last_stamp


def test_what_was_lost_is_written_for_whoever_sent_it(
    set_back: StoreHarness, redis_client: redis.Redis, tmp_path: Path
) -> None:
    lost = find_lost_events(set_back.engine, redis_client)
    assert lost.count_senders() == {"client:c1": 1, "creator:k1": 1, "payments:psp": 1}
    assert lost.count_types()["payment.applied"] == 1
    paths = write_lost_events(lost, tmp_path / "lost")
    assert {path.stat().st_mode & 0o777 for path in paths} == {0o600}
    (accepted,) = (
        json.loads(line)
        for line in (tmp_path / "lost" / "commands-creator-k1.jsonl")
        .read_text("utf-8")
        .splitlines()
    )
    assert (accepted["kind"], accepted["outcome"], accepted["about"]) == (
        *("accept_order", "applied"),
        "o1",
    )
    with pytest.raises(FileExistsError):
        write_lost_events(lost, tmp_path / "lost")
    begin(set_back, redis_client)
    assert find_lost_events(set_back.engine, redis_client).events == []


def test_the_command_line_shows_what_was_lost_and_begins_anew(
    set_back: StoreHarness,
    redis_client: redis.Redis,
    redis_url: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    servers = [
        *("--database-url", set_back.engine.url.render_as_string(hide_password=False)),
        *("--redis-url", redis_url),
    ]
    shown = ["recover", *servers, "--output", str(tmp_path / "shown"), "--json"]
    assert main(shown) == 1
    summary = json.loads(capsys.readouterr().out)
    assert summary["commands"] == {"client:c1": 1, "creator:k1": 1, "payments:psp": 1}
    assert "is not in the database" in summary["behind"]
    assert summary["timeline"] is None
    assert main(["recover", *servers, "--yes"]) == 2
    assert "--reason" in capsys.readouterr().err
    begun = ["recover", *servers, "--output", str(tmp_path / "begun"), "--as", "chen"]
    assert main([*begun, "--yes", "--reason", NOTE]) == 0
    assert "Timeline 2 has begun" in capsys.readouterr().out
    assert main(["trail", *servers, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["note"] == NOTE
    Relay(set_back.engine, redis_client).run_once()
    assert main(["recover", *servers]) == 0
    assert "nothing to recover" in capsys.readouterr().out
