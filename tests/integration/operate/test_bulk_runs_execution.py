"""Bulk run execution: whatever happens to Redis or the workers, each command is applied once."""

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

from models.fields import format_instant
from models.policy import Policy
from ops.operate import bulk_runs
from ops.operate.bulk_runs import (
    RESEND_AFTER_S,
    BulkRun,
    BulkRunDraft,
    RunExecutor,
    RunOutcomes,
    command_id,
)
from ops.terminal import Progress
from tests.support import sample_commands
from tests.support.command_line import CommandResult, run_in_process, start_earnest
from tests.support.concurrency import eventually
from tests.support.worker import RunningWorker, running_worker
from workers.client import CommandClient, QueueFull
from workers.database.repository import Store
from workers.queries.reader import Reader
from workers.queue.redis import COMMANDS, Keys
from workers.timestamps import from_us, now_us

ORDERS = [f"o{number:03}" for number in range(40)]


def offer_orders(worker: RunningWorker) -> None:
    """Let every order be offered."""
    commands = [*sample_commands.admit(), *map(sample_commands.place, ORDERS)]
    payments = [sample_commands.pay(f"pay_{order_id}", {order_id: 10_500}) for order_id in ORDERS]
    worker.client.submit_many(commands + payments)
    eventually(lambda: worker.settled(*(payment["id"] for payment in payments)))


@pytest.fixture
def run(tmp_path: Path) -> BulkRun:
    """Plan to give every order time until one instant, in two days."""
    until = format_instant(from_us(now_us()) + timedelta(days=2))
    draft = BulkRunDraft(tmp_path / "bulk", "same")
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
        return draft.publish(plan, {"task": "same"})


def executor(
    engine: Engine,
    redis_client: redis.Redis,
    *,
    timeout_s: float = 20.0,
    resend_after_s: float = RESEND_AFTER_S,
) -> RunExecutor:
    return RunExecutor(
        client=CommandClient(redis_client),
        reader=Reader(Store(engine, Policy())),
        progress=Progress("settled", quiet=True),
        timeout_s=timeout_s,
        resend_after_s=resend_after_s,
    )


def extensions(worker: RunningWorker) -> dict[str, int]:
    """Count how often each order was given more time."""
    extended_subjects = [
        event.subject for event in worker.rows("events") if event.type == "deadline.extended"
    ]
    return {order_id: extended_subjects.count(f"order:{order_id}") for order_id in ORDERS}


EXTENDED_ONCE = dict.fromkeys(ORDERS, 1)


def test_a_run_ends_when_every_order_has_its_outcome(
    engine: Engine, redis_client: redis.Redis, run: BulkRun
) -> None:
    with running_worker(engine, redis_client) as worker:
        offer_orders(worker)
        worker.client.submit(sample_commands.command("cancel_order", "client", ORDERS[7]))
        eventually(lambda: worker.reader.order(ORDERS[7]).state == "cancelled")  # type: ignore[union-attr]
        run_outcomes = executor(engine, redis_client).execute(run)
        assert run_outcomes.outcomes == {("applied", None): 39, ("rejected", "wrong_state"): 1}
        assert run_outcomes.to_json() == {
            "applied": 39,
            "rejected": {"wrong_state": 1},
            "examples": {"wrong_state": [ORDERS[7]]},
            "missing": 0,
        }
        assert extensions(worker) == EXTENDED_ONCE | {ORDERS[7]: 0}


def test_a_run_executed_again_sends_nothing_and_counts_the_same(
    engine: Engine, redis_client: redis.Redis, run: BulkRun
) -> None:
    with running_worker(engine, redis_client) as worker:
        offer_orders(worker)
        first = executor(engine, redis_client).execute(run)
        commands = len(worker.rows("events"))
        assert executor(engine, redis_client).execute(run).outcomes == first.outcomes
        assert len(worker.rows("events")) == commands


def test_a_bulk_run_does_not_repeat_what_was_sent_before_a_death(
    engine: Engine, redis_client: redis.Redis, run: BulkRun
) -> None:
    with running_worker(engine, redis_client) as worker:
        offer_orders(worker)
    # No worker runs: what is sent stays in the queue, and the process that sent it is gone.
    CommandClient(redis_client).submit_many([text for _, text in run.commands()][:25])
    with running_worker(engine, redis_client) as worker:
        assert executor(engine, redis_client).execute(run).outcomes == {("applied", None): 40}
        assert extensions(worker) == EXTENDED_ONCE


@pytest.fixture
def waiting_outcomes(
    engine: Engine, redis_client: redis.Redis, run: BulkRun
) -> Iterator[list[RunOutcomes]]:
    """Execute a run in a thread, while no worker runs; give the list its outcomes will be in."""
    with running_worker(engine, redis_client) as worker:
        offer_orders(worker)
    outcomes: list[RunOutcomes] = []
    executor_thread = threading.Thread(
        target=lambda: outcomes.append(
            executor(engine, redis_client, resend_after_s=0.2).execute(run)
        ),
        daemon=True,
    )
    executor_thread.start()
    eventually(lambda: bool(redis_client.llen(Keys(COMMANDS).waiting)))
    yield outcomes
    executor_thread.join(timeout=60)
    assert outcomes


def test_a_bulk_run_sends_again_what_redis_has_lost(
    engine: Engine, redis_client: redis.Redis, waiting_outcomes: list[RunOutcomes]
) -> None:
    redis_client.flushall()
    with running_worker(engine, redis_client) as worker:
        eventually(lambda: bool(waiting_outcomes))
        assert waiting_outcomes[0].outcomes == {("applied", None): 40}
        assert extensions(worker) == EXTENDED_ONCE


def test_without_workers_a_bulk_run_says_what_is_missing_and_loses_nothing(
    engine: Engine, redis_client: redis.Redis, run: BulkRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk_runs, "MAX_IN_FLIGHT", 20)
    monkeypatch.setattr(bulk_runs, "BATCH_SIZE", 10)
    with running_worker(engine, redis_client) as worker:
        offer_orders(worker)
    run_outcomes = executor(engine, redis_client, timeout_s=0.3).execute(run)
    assert (run_outcomes.missing, run_outcomes.outcomes) == (40, {})
    # No more than the window of commands in flight was sent.
    assert len(queued_texts(redis_client)) == 20
    with running_worker(engine, redis_client) as worker:
        assert executor(engine, redis_client).execute(run).outcomes == {("applied", None): 40}
        assert extensions(worker) == EXTENDED_ONCE


def queued_texts(redis_client: redis.Redis) -> list[str]:
    """Return the texts of all commands that wait in the queue."""
    payloads = redis_client.hvals(Keys(COMMANDS).messages)
    return [text for payload in payloads for text in json.loads(payload)["kwargs"]["commands"]]


def test_a_full_queue_is_tried_again_until_there_is_room(
    engine: Engine, redis_client: redis.Redis, run: BulkRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running_worker(engine, redis_client) as worker:
        offer_orders(worker)
    CommandClient(redis_client).submit(
        sample_commands.command("nudge_creator", "client", ORDERS[0])
    )
    monkeypatch.setattr("workers.queue.redis.MAX_WAITING", 1)
    with pytest.raises(QueueFull):
        CommandClient(redis_client).submit(
            sample_commands.command("nudge_creator", "client", ORDERS[1])
        )
    assert executor(engine, redis_client, timeout_s=0.3).execute(run).missing == len(ORDERS)
    with running_worker(engine, redis_client) as worker:
        assert executor(engine, redis_client).execute(run).outcomes == {("applied", None): 40}
        assert extensions(worker) == EXTENDED_ONCE


def run_operate(
    engine: Engine, redis_client: redis.Redis, tmp_path: Path, *arguments: str
) -> CommandResult:
    """Run `earnest operate` in this process, over this database and this Redis."""
    return run_in_process("operate", *arguments, *server_options(engine, redis_client, tmp_path))


def server_options(engine: Engine, redis_client: redis.Redis, tmp_path: Path) -> tuple[str, ...]:
    database = engine.url.render_as_string(hide_password=False)
    socket = redis_client.connection_pool.connection_kwargs["path"]
    return ("--database-url", database, "--redis-url", f"unix://{socket}", "--var", str(tmp_path))


def test_an_interrupted_run_says_how_to_continue_it(
    sqlite_engine: Engine, redis_client: redis.Redis, tmp_path: Path
) -> None:
    with running_worker(sqlite_engine, redis_client) as worker:
        offer_orders(worker)
    arguments = ("operate", "pause", *ORDERS, "--reason", "ill", "--as", "ann", "--yes")
    with start_earnest(
        *arguments, *server_options(sqlite_engine, redis_client, tmp_path)
    ) as process:
        eventually(lambda: bool(redis_client.llen(Keys(COMMANDS).waiting)))
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    (name,) = (folder.name for folder in (tmp_path / "bulk").iterdir())
    assert err.splitlines()[-1].startswith(f"run {name} is unfinished: `earnest operate continue")
    with running_worker(sqlite_engine, redis_client) as worker:
        result = run_operate(sqlite_engine, redis_client, tmp_path, "continue", name, "--json")
        # What the worker logs meanwhile, in this process, comes first.
        assert result.lines()[-1]["outcomes"]["applied"] == len(ORDERS)


def test_a_run_that_is_abandoned_is_over_and_may_be_begun_anew(
    engine: Engine, redis_client: redis.Redis, tmp_path: Path
) -> None:
    with running_worker(engine, redis_client) as worker:
        offer_orders(worker)
    arguments = ("pause", *ORDERS, "--reason", "ill", "--as", "ann", "--yes", "--timeout", "0")
    result = run_operate(engine, redis_client, tmp_path, *arguments, "--json")
    (report,) = result.lines()
    assert (result.status, report["outcomes"]["missing"]) == (1, len(ORDERS))
    run = report["run"]
    assert f"`earnest operate continue {run}` goes on with it" in result.err
    assert "is unfinished" in run_operate(engine, redis_client, tmp_path, *arguments).error_line()
    abandon_result = run_operate(engine, redis_client, tmp_path, "abandon", run, "--json")
    assert abandon_result.lines()[0]["report"]["abandoned"] is True
    assert "is over" in run_operate(engine, redis_client, tmp_path, "continue", run).error_line()
    assert (
        run_operate(engine, redis_client, tmp_path, *arguments, "--json").lines()[0]["run"] != run
    )
    runs = run_operate(engine, redis_client, tmp_path, "runs", "--json").lines()[0]["runs"]
    assert [
        (listed_run["by"], listed_run["reason"], listed_run["orders"]) for listed_run in runs
    ] == [("ann", "ill", 40)] * 2
    table = run_operate(engine, redis_client, tmp_path, "runs").out
    assert ("abandoned" in table, run in table) == (True, True)
