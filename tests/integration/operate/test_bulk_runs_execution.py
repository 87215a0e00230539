"""Bulk run execution: whatever happens to Redis or the workers, each order is asked once."""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import redis
from sqlalchemy import Engine

from models.fields import instant_text
from models.policy import Policy
from ops.operate import bulk_runs
from ops.operate.bulk_runs import AGAIN_S, Carrier, Draft, Run, Tally, command_id
from ops.terminal import Progress
from tests.support import sample_commands
from tests.support.command_line import Said, spoken, started
from tests.support.concurrency import eventually
from tests.support.worker import Workplace, working
from workers.client import Client, QueueFull
from workers.database.repository import Store
from workers.queries.reader import Reader
from workers.queue.redis import COMMANDS, Keys
from workers.timestamps import from_us, now_us

ORDERS = [f"o{number:03}" for number in range(40)]


def offer(workplace: Workplace) -> None:
    """Let every order be offered."""
    commands = [*sample_commands.admit(), *map(sample_commands.place, ORDERS)]
    payments = [sample_commands.pay(f"pay_{order_id}", {order_id: 10_500}) for order_id in ORDERS]
    workplace.client.submit_many(commands + payments)
    eventually(lambda: workplace.settled(*(payment["id"] for payment in payments)))


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Plan to give every order time until one instant, in two days."""
    until = instant_text(from_us(now_us()) + timedelta(days=2))
    draft = Draft(tmp_path / "bulk", "same")
    with draft.open() as plan:
        for order_id in ORDERS:
            body: dict[str, Any] = {
                "id": command_id(draft.name, order_id),
                "kind": "extend_deadline",
                "by": {"role": "operator", "id": "ann"},
                "order_id": order_id,
                "until": until,
                "reason": "outage",
            }
            draft.add(plan, json.dumps(body))
        return draft.settle(plan, {"task": "same"})


def carrier(
    engine: Engine, wire: redis.Redis, *, timeout_s: float = 20.0, again_s: float = AGAIN_S
) -> Carrier:
    return Carrier(
        client=Client(wire),
        reader=Reader(Store(engine, Policy())),
        progress=Progress("settled", quiet=True),
        patience_s=timeout_s,
        again_s=again_s,
    )


def extensions(workplace: Workplace) -> dict[str, int]:
    """Count how often each order was given more time."""
    extended_subjects = [
        event.subject for event in workplace.rows("events") if event.type == "deadline.extended"
    ]
    return {order_id: extended_subjects.count(f"order:{order_id}") for order_id in ORDERS}


ONCE = dict.fromkeys(ORDERS, 1)


def test_a_run_ends_when_every_order_has_its_outcome(
    engine: Engine, wire: redis.Redis, run: Run
) -> None:
    with working(engine, wire) as workplace:
        offer(workplace)
        workplace.client.submit(sample_commands.ask("cancel_order", "client", ORDERS[7]))
        eventually(lambda: workplace.reader.order(ORDERS[7]).state == "cancelled")  # type: ignore[union-attr]
        tally = carrier(engine, wire).carry(run)
        assert tally.outcomes == {("applied", None): 39, ("rejected", "wrong_state"): 1}
        assert tally.shown() == {
            "applied": 39,
            "rejected": {"wrong_state": 1},
            "examples": {"wrong_state": [ORDERS[7]]},
            "missing": 0,
        }
        assert extensions(workplace) == ONCE | {ORDERS[7]: 0}


def test_a_run_carried_out_again_only_counts(engine: Engine, wire: redis.Redis, run: Run) -> None:
    with working(engine, wire) as workplace:
        offer(workplace)
        first = carrier(engine, wire).carry(run)
        commands = len(workplace.rows("events"))
        assert carrier(engine, wire).carry(run).outcomes == first.outcomes
        assert len(workplace.rows("events")) == commands


def test_what_was_sent_before_somebody_died_is_not_done_twice(
    engine: Engine, wire: redis.Redis, run: Run
) -> None:
    with working(engine, wire) as workplace:
        offer(workplace)
    # Nobody works: what is sent lies there, and whoever sent it is gone.
    Client(wire).submit_many([text for _, text in run.commands()][:25])
    with working(engine, wire) as workplace:
        assert carrier(engine, wire).carry(run).outcomes == {("applied", None): 40}
        assert extensions(workplace) == ONCE


@pytest.fixture
def slowly(engine: Engine, wire: redis.Redis, run: Run) -> Iterator[list[Tally]]:
    """Carry a run out in a thread, while nobody works."""
    with working(engine, wire) as workplace:
        offer(workplace)
    tallies: list[Tally] = []
    carrier_thread = threading.Thread(
        target=lambda: tallies.append(carrier(engine, wire, again_s=0.2).carry(run)), daemon=True
    )
    carrier_thread.start()
    eventually(lambda: bool(wire.llen(Keys(COMMANDS).waiting)))
    yield tallies
    carrier_thread.join(timeout=20)
    assert tallies


def test_what_redis_has_lost_is_sent_again(
    engine: Engine, wire: redis.Redis, slowly: list[Tally]
) -> None:
    wire.flushall()
    with working(engine, wire) as workplace:
        eventually(lambda: bool(slowly))
        assert slowly[0].outcomes == {("applied", None): 40}
        assert extensions(workplace) == ONCE


def test_while_nobody_works_it_says_what_is_missing_and_nothing_is_lost(
    engine: Engine, wire: redis.Redis, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk_runs, "WINDOW", 20)
    monkeypatch.setattr(bulk_runs, "CHUNK", 10)
    with working(engine, wire) as workplace:
        offer(workplace)
    tally = carrier(engine, wire, timeout_s=0.3).carry(run)
    assert (tally.missing, tally.outcomes) == (40, {})
    # No more than a window was let in.
    assert len(sent(wire)) == 20
    with working(engine, wire) as workplace:
        assert carrier(engine, wire).carry(run).outcomes == {("applied", None): 40}
        assert extensions(workplace) == ONCE


def sent(wire: redis.Redis) -> list[str]:
    """Return the texts of all commands that wait in the queue."""
    payloads = wire.hvals(Keys(COMMANDS).messages)
    return [text for payload in payloads for text in json.loads(payload)["kwargs"]["commands"]]


def test_a_full_queue_is_tried_again_until_there_is_room(
    engine: Engine, wire: redis.Redis, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    with working(engine, wire) as workplace:
        offer(workplace)
    Client(wire).submit(sample_commands.ask("nudge_creator", "client", ORDERS[0]))
    monkeypatch.setattr("workers.queue.redis.MOST_WAITING", 1)
    with pytest.raises(QueueFull):
        Client(wire).submit(sample_commands.ask("nudge_creator", "client", ORDERS[1]))
    assert carrier(engine, wire, timeout_s=0.3).carry(run).missing == len(ORDERS)
    with working(engine, wire) as workplace:
        assert carrier(engine, wire).carry(run).outcomes == {("applied", None): 40}
        assert extensions(workplace) == ONCE


def asked(engine: Engine, wire: redis.Redis, tmp_path: Path, *words: str) -> Said:
    """Say something at a terminal, about a database of its own and this Redis."""
    return spoken("operate", *words, *where(engine, wire, tmp_path))


def where(engine: Engine, wire: redis.Redis, tmp_path: Path) -> tuple[str, ...]:
    database = engine.url.render_as_string(hide_password=False)
    socket = wire.connection_pool.connection_kwargs["path"]
    return ("--database-url", database, "--redis-url", f"unix://{socket}", "--var", str(tmp_path))


def test_whoever_breaks_a_run_off_is_told_how_it_goes_on(
    sqlite_engine: Engine, wire: redis.Redis, tmp_path: Path
) -> None:
    with working(sqlite_engine, wire) as workplace:
        offer(workplace)
    words = ("operate", "pause", *ORDERS, "--reason", "ill", "--as", "ann", "--yes")
    with started(*words, *where(sqlite_engine, wire, tmp_path)) as process:
        eventually(lambda: bool(wire.llen(Keys(COMMANDS).waiting)))
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=20)
    assert process.returncode == 130
    (name,) = (folder.name for folder in (tmp_path / "bulk").iterdir())
    assert err.splitlines()[-1].startswith(f"run {name} is unfinished: `earnest operate continue")
    with working(sqlite_engine, wire) as workplace:
        result = asked(sqlite_engine, wire, tmp_path, "continue", name, "--json")
        # What the worker logs meanwhile, in this process, comes first.
        assert result.lines()[-1]["outcomes"]["applied"] == len(ORDERS)


def test_a_run_that_is_abandoned_is_over_and_may_be_begun_anew(
    engine: Engine, wire: redis.Redis, tmp_path: Path
) -> None:
    with working(engine, wire) as workplace:
        offer(workplace)
    words = ("pause", *ORDERS, "--reason", "ill", "--as", "ann", "--yes", "--timeout", "0")
    result = asked(engine, wire, tmp_path, *words, "--json")
    (report,) = result.lines()
    assert (result.status, report["outcomes"]["missing"]) == (1, len(ORDERS))
    run = report["run"]
    assert f"`earnest operate continue {run}` goes on with it" in result.err
    assert "is unfinished" in asked(engine, wire, tmp_path, *words).complaint()
    abandon_result = asked(engine, wire, tmp_path, "abandon", run, "--json")
    assert abandon_result.lines()[0]["report"]["abandoned"] is True
    assert "is over" in asked(engine, wire, tmp_path, "continue", run).complaint()
    assert asked(engine, wire, tmp_path, *words, "--json").lines()[0]["run"] != run
    runs = asked(engine, wire, tmp_path, "runs", "--json").lines()[0]["runs"]
    assert [
        (listed_run["by"], listed_run["reason"], listed_run["orders"]) for listed_run in runs
    ] == [("ann", "ill", 40)] * 2
    table = asked(engine, wire, tmp_path, "runs").out
    assert ("abandoned" in table, run in table) == (True, True)
