"""Bulk: whoever gives thousands of orders more time may be killed, and nobody gets it twice."""

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

from ops.runs import DRAFT, PLAN
from ops.up import Formation, command
from tests.integration import letters
from tests.integration.terminal import EARNEST, environ, spoken
from tests.patience import eventually
from workers import tables
from workers.database import open_database, reading
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
    with Formation(settings, quiet=True, programs=[command(one) for one in names]):
        given = [*letters.admit(), *map(letters.place, ORDERS)]
        for first in range(0, len(ORDERS), TOGETHER):
            some = ORDERS[first : first + TOGETHER]
            given.append(letters.pay(f"pay_{first}", dict.fromkeys(some, 10_500)))
        file = tmp_path / "offers.jsonl"
        file.write_text("\n".join(map(json.dumps, given)))
        assert spoken("submit", file, "--wait", "--timeout", "200", *where(settings)).status == 0
        yield settings


def where(settings: Settings) -> tuple[str | Path, ...]:
    return ("--var", settings.var, "--database-url", settings.database_url)


@pytest.fixture
def engine(up: Settings) -> Iterator[Engine]:
    made = open_database(up.database_url)
    yield made
    made.dispose()


def extended(engine: Engine) -> list[Any]:
    """Return, of each time that more was given, the order and both deadlines."""
    table = tables.events.c
    query = select(table.subject, table.body).where(table.type == "deadline.extended")
    with reading(engine) as connection:
        found = [(one.subject, json.loads(one.body)) for one in connection.execute(query)]
    return [(name, body["old_due_at"], body["due_at"]) for name, body in found]


def count(engine: Engine) -> int:
    with reading(engine) as connection:
        query = select(func.count()).where(tables.events.c.type == "deadline.extended")
        return int(connection.execute(query).scalar_one())


def begun(settings: Settings) -> subprocess.Popen[bytes]:
    """Begin to give every order more time."""
    words = ("extend", "--client", "c1", "--by", "PT3H", "--yes", *WHY, *where(settings))
    argv = [*EARNEST, *map(str, words)]
    quiet = subprocess.DEVNULL
    return subprocess.Popen(argv, env=environ(), stdout=quiet, stderr=quiet)


def killed(process: subprocess.Popen[bytes]) -> None:
    assert process.poll() is None, "it was done before it could be killed"
    process.kill()
    process.wait()


def again(settings: Settings) -> str:
    words = ("extend", "--client", "c1", "--by", "PT3H", "--yes", *WHY, *where(settings))
    return spoken(*words).complaint()


def test_killed_while_it_plans_and_while_it_works_it_extends_each_order_once(
    up: Settings, engine: Engine
) -> None:
    root = up.var / "bulk"
    process = begun(up)
    eventually(lambda: any(root.glob(f"{DRAFT}*/{PLAN}")), within=PATIENCE_S)
    killed(process)
    assert spoken("operate", "runs", *where(up)).out == "No runs.\n"
    assert count(engine) == 0

    process = begun(up)
    eventually(lambda: count(engine) > 0, within=PATIENCE_S)
    killed(process)
    assert "is unfinished" in again(up)
    assert 0 < count(engine) < len(ORDERS)
    (run,) = (one.name for one in root.iterdir() if not one.name.startswith(DRAFT))
    said = spoken("operate", "continue", run, "--json", *where(up))
    assert said.lines()[0]["outcomes"]["applied"] == len(ORDERS)

    found = extended(engine)
    assert sorted(name for name, _, _ in found) == [f"order:{one}" for one in ORDERS]
    moved = {datetime.fromisoformat(new) - datetime.fromisoformat(old) for _, old, new in found}
    assert moved == {MORE}
    assert f"run {run} did the same" in again(up)
    assert spoken("audit", *where(up)).status == 0
