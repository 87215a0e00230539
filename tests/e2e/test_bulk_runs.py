"""Bulk runs: a run over thousands of orders is killed twice, and none is extended twice."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, func, select

from ops.local.up import LocalStack, earnest_program
from ops.operate.bulk_runs import DRAFT_PREFIX, PLAN_FILE
from tests.support import sample_commands
from tests.support.command_line import EARNEST, clean_environ, run_in_process
from tests.support.concurrency import eventually
from workers.database import schema
from workers.database.engine import open_database, reading
from workers.settings import Settings

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

ORDER_IDS = [f"o{number:04}" for number in range(6_000)]
EXTENSION = timedelta(hours=3)
REASON_OPTIONS = ("--reason", "the payment provider was down", "--as", "ann")
BATCH_SIZE = 50
TIMEOUT_S = 200.0


@pytest.fixture
def settings(database_url: str, tmp_path: Path) -> Iterator[Settings]:
    """Run the pipeline over a database of either kind, with all orders on offer."""
    settings = replace(Settings.read({}, var=tmp_path), database_url=database_url)
    names = ("migrate", "worker.1", "worker.2", "relay", "scheduler")
    with LocalStack(settings, quiet=True, programs=[earnest_program(name) for name in names]):
        commands = sample_commands.admit()
        # Paid as they are placed: a client has not so many unpaid ones.
        for start in range(0, len(ORDER_IDS), BATCH_SIZE):
            order_ids = ORDER_IDS[start : start + BATCH_SIZE]
            commands += map(sample_commands.place, order_ids)
            commands.append(sample_commands.pay(f"pay_{start}", dict.fromkeys(order_ids, 10_500)))
        path = tmp_path / "offers.jsonl"
        path.write_text("\n".join(map(json.dumps, commands)))
        assert (
            run_in_process(
                "submit", path, "--wait", "--timeout", "200", *database_options(settings)
            ).status
            == 0
        )
        yield settings


def database_options(settings: Settings) -> tuple[str | Path, ...]:
    return ("--var", settings.var, "--database-url", settings.database_url)


@pytest.fixture
def engine(settings: Settings) -> Iterator[Engine]:
    engine = open_database(settings.database_url)
    yield engine
    engine.dispose()


def read_extensions(engine: Engine) -> list[Any]:
    """Return, of each extension, the order and both deadlines."""
    table = schema.events.c
    query = select(table.subject, table.body).where(table.type == "deadline.extended")
    with reading(engine) as connection:
        extensions = [(row.subject, json.loads(row.body)) for row in connection.execute(query)]
    return [(subject, body["old_due_at"], body["due_at"]) for subject, body in extensions]


def count_extensions(engine: Engine) -> int:
    with reading(engine) as connection:
        query = select(func.count()).where(schema.events.c.type == "deadline.extended")
        return int(connection.execute(query).scalar_one())


def extend_arguments(settings: Settings) -> tuple[str | Path, ...]:
    """Ask for more time for every order of the client."""
    query = ("--client", "c1", "--by", "PT3H")
    return ("extend", *query, "--yes", *REASON_OPTIONS, *database_options(settings))


def start_extension(settings: Settings) -> subprocess.Popen[bytes]:
    """Begin to give every order more time."""
    argv = [*EARNEST, *map(str, extend_arguments(settings))]
    devnull = subprocess.DEVNULL
    return subprocess.Popen(argv, env=clean_environ(), stdout=devnull, stderr=devnull)


def kill_and_wait(process: subprocess.Popen[bytes]) -> None:
    assert process.poll() is None, "it was done before it could be killed"
    process.kill()
    process.wait()


def run_again(settings: Settings) -> str:
    """Ask for the same once more; return what the command says of it."""
    return run_in_process(*extend_arguments(settings)).error_line()


def test_a_bulk_run_killed_while_planning_or_executing_extends_each_order_once(
    settings: Settings, engine: Engine
) -> None:
    root = settings.var / "bulk"
    process = start_extension(settings)
    eventually(lambda: any(root.glob(f"{DRAFT_PREFIX}*/{PLAN_FILE}")), timeout_s=TIMEOUT_S)
    kill_and_wait(process)
    assert run_in_process("operate", "runs", *database_options(settings)).out == "No runs.\n"
    assert count_extensions(engine) == 0

    process = start_extension(settings)
    eventually(lambda: count_extensions(engine) > 0, timeout_s=TIMEOUT_S)
    kill_and_wait(process)
    assert "is unfinished" in run_again(settings)
    assert 0 < count_extensions(engine) < len(ORDER_IDS)
    (run,) = (path.name for path in root.iterdir() if not path.name.startswith(DRAFT_PREFIX))
    output = run_in_process("operate", "continue", run, "--json", *database_options(settings))
    assert output.lines()[0]["outcomes"]["applied"] == len(ORDER_IDS)

    extensions = read_extensions(engine)
    assert sorted(subject for subject, _, _ in extensions) == [
        f"order:{order_id}" for order_id in ORDER_IDS
    ]
    added_times = {
        datetime.fromisoformat(new_due_at) - datetime.fromisoformat(old_due_at)
        for _, old_due_at, new_due_at in extensions
    }
    assert added_times == {EXTENSION}
    assert f"run {run} did the same" in run_again(settings)
    assert run_in_process("audit", *database_options(settings)).status == 0
