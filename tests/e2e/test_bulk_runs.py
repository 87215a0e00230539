"""Bulk runs: whoever extends thousands of orders may be killed, and none is extended twice."""

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

from ops.local.up import Formation, command
from ops.operate.bulk_runs import DRAFT, PLAN
from tests.support import sample_commands
from tests.support.command_line import EARNEST, environ, spoken
from tests.support.concurrency import eventually
from workers.database import schema
from workers.database.engine import open_database, reading
from workers.settings import Settings

pytestmark = [pytest.mark.slow, pytest.mark.timeout(500)]


ORDERS = [f"o{number:04}" for number in range(6_000)]


MORE = timedelta(hours=3)


WHY = ("--reason", "the payment provider was down", "--as", "ann")


TOGETHER = 50


PATIENCE_S = 200.0


@pytest.fixture
def up(database_url: str, tmp_path: Path) -> Iterator[Settings]:
    """Run the pipeline over a database of either kind, with all orders on offer."""
    settings = replace(Settings.read({}, var=tmp_path), database_url=database_url)
    names = ("migrate", "worker.1", "worker.2", "relay", "scheduler")
    with Formation(settings, quiet=True, programs=[command(name) for name in names]):
        commands = [*sample_commands.admit(), *map(sample_commands.place, ORDERS)]
        for start in range(0, len(ORDERS), TOGETHER):
            order_ids = ORDERS[start : start + TOGETHER]
            commands.append(sample_commands.pay(f"pay_{start}", dict.fromkeys(order_ids, 10_500)))
        path = tmp_path / "offers.jsonl"
        path.write_text("\n".join(map(json.dumps, commands)))
        assert spoken("submit", path, "--wait", "--timeout", "200", *where(settings)).status == 0
        yield settings


def where(settings: Settings) -> tuple[str | Path, ...]:
    return ("--var", settings.var, "--database-url", settings.database_url)


@pytest.fixture
def engine(up: Settings) -> Iterator[Engine]:
    engine = open_database(up.database_url)
    yield engine
    engine.dispose()


def extended(engine: Engine) -> list[Any]:
    """Return, of each time that more was given, the order and both deadlines."""
    table = schema.events.c
    query = select(table.subject, table.body).where(table.type == "deadline.extended")
    with reading(engine) as connection:
        extensions = [(row.subject, json.loads(row.body)) for row in connection.execute(query)]
    return [(subject, body["old_due_at"], body["due_at"]) for subject, body in extensions]


def count(engine: Engine) -> int:
    with reading(engine) as connection:
        query = select(func.count()).where(schema.events.c.type == "deadline.extended")
        return int(connection.execute(query).scalar_one())


def begun(settings: Settings) -> subprocess.Popen[bytes]:
    """Begin to give every order more time."""
    arguments = ("extend", "--client", "c1", "--by", "PT3H", "--yes", *WHY, *where(settings))
    argv = [*EARNEST, *map(str, arguments)]
    devnull = subprocess.DEVNULL
    return subprocess.Popen(argv, env=environ(), stdout=devnull, stderr=devnull)


def killed(process: subprocess.Popen[bytes]) -> None:
    assert process.poll() is None, "it was done before it could be killed"
    process.kill()
    process.wait()


def again(settings: Settings) -> str:
    arguments = ("extend", "--client", "c1", "--by", "PT3H", "--yes", *WHY, *where(settings))
    return spoken(*arguments).complaint()


def test_killed_while_it_plans_and_while_it_works_it_extends_each_order_once(
    up: Settings, engine: Engine
) -> None:
    root = up.var / "bulk"
    process = begun(up)
    eventually(lambda: any(root.glob(f"{DRAFT}*/{PLAN}")), timeout_s=PATIENCE_S)
    killed(process)
    assert spoken("operate", "runs", *where(up)).out == "No runs.\n"
    assert count(engine) == 0

    process = begun(up)
    eventually(lambda: count(engine) > 0, timeout_s=PATIENCE_S)
    killed(process)
    assert "is unfinished" in again(up)
    assert 0 < count(engine) < len(ORDERS)
    (run,) = (path.name for path in root.iterdir() if not path.name.startswith(DRAFT))
    output = spoken("operate", "continue", run, "--json", *where(up))
    assert output.lines()[0]["outcomes"]["applied"] == len(ORDERS)

    extensions = extended(engine)
    assert sorted(subject for subject, _, _ in extensions) == [
        f"order:{order_id}" for order_id in ORDERS
    ]
    added_times = {
        datetime.fromisoformat(new_due_at) - datetime.fromisoformat(old_due_at)
        for _, old_due_at, new_due_at in extensions
    }
    assert added_times == {MORE}
    assert f"run {run} did the same" in again(up)
    assert spoken("audit", *where(up)).status == 0
