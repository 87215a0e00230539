"""Gateway: the whole pipeline behind HTTP, under a fuzzer and under the loss of Redis."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import pytest
import redis
from sqlalchemy import func, select

from ops.local.up import LocalStack
from tests.support.concurrency import eventually
from workers.database import schema
from workers.database.engine import open_database, reading
from workers.database.schema import inbox
from workers.settings import Settings

pytestmark = [pytest.mark.slow]

COMMAND_COUNT = 10_000
BATCH_SIZE = 250

CHECKS = (
    "not_a_server_error,status_code_conformance,content_type_conformance,"
    "response_headers_conformance,response_schema_conformance,negative_data_rejection,"
    "unsupported_method,ignored_auth"
)
"""All but the acceptance of whatever fits the schema: to JSON Schema 1.0 is an integer."""

CONFIG = """
[checks]
# As the defaults, and 413: a list of more than 500 is too large.
negative_data_rejection.expected-statuses = ["4xx"]

[[operations]]
# Waiting for a command that never comes is right, and would take the whole night.
include-path = "/commands/{command_id}"
parameters = { "query.wait" = 0.05 }
"""


@pytest.fixture(scope="module")
def local_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    """Run everything, the web process on any free port."""
    environ = {"EARNEST_WEB_BIND": "127.0.0.1:0"}
    with LocalStack(
        Settings.read(environ, var=tmp_path_factory.mktemp("served")), quiet=True
    ) as local_stack:
        yield local_stack


def web_address(local_stack: LocalStack) -> str:
    web_info: dict[str, str] = json.loads((local_stack.settings.var / "web.json").read_text())
    return web_info["url"]


def test_a_fuzzer_finds_no_server_error_and_no_broken_promise(
    local_stack: LocalStack, tmp_path: Path
) -> None:
    (tmp_path / "schemathesis.toml").write_text(CONFIG)
    command = [
        *(
            sys.executable,
            "-m",
            "schemathesis.cli",
            "run",
            f"{web_address(local_stack)}/openapi.json",
        ),
        *("--checks", CHECKS, "--max-examples", "100", "--seed", "7", "--no-color"),
        "--suppress-health-check=all",
    ]
    process = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stdout[-8_000:] + process.stderr[-2_000:]


def ten_thousand_commands() -> list[dict[str, Any]]:
    """Write ten thousand commands: some creators, and many orders, half of them cancelled.

    Ten clients place them: one may have a thousand that are not paid.
    """
    platform = {"role": "platform", "id": "p"}
    clients = [{"role": "client", "id": f"c{n}"} for n in range(10)]
    creators = [
        {"kind": "register_creator", "by": platform, "creator_id": f"k{n}", "name": f"K{n}"}
        | {"contract": "direct"}
        for n in range(200)
    ]
    task = {"name": "N", "task_type": "xigua", "industry": "I", "brief": "B"}
    orders = [
        {"kind": "place_order", "by": clients[n % 10], "order_id": f"o{n}"}
        | {"creator_id": f"k{n % 200}"}
        | task
        | {"amount_fen": 1_000 + n, "prepay_deposit": True}
        for n in range(4_900)
    ]
    ends = [
        {"kind": "cancel_order", "by": clients[n % 10], "order_id": f"o{n}"} for n in range(4_900)
    ]
    bodies: list[dict[str, Any]] = [*creators, *orders, *ends]
    assert len(bodies) == COMMAND_COUNT
    return [body | {"id": f"command-{n:05}"} for n, body in enumerate(bodies)]


def test_ten_thousand_commands_are_settled_once_each_though_redis_is_wiped(
    local_stack: LocalStack,
) -> None:
    all_commands = ten_thousand_commands()
    batches = [all_commands[n : n + BATCH_SIZE] for n in range(0, len(all_commands), BATCH_SIZE)]
    accepted_batches = threading.Semaphore(0)

    def send(batch: list[dict[str, Any]]) -> None:
        response = httpx2.post(f"{web_address(local_stack)}/commands", json=batch, timeout=60)
        assert response.status_code == 202, response.text
        accepted_batches.release()

    def wipe() -> None:
        for _ in range(len(batches) // 2):
            assert accepted_batches.acquire(timeout=60)
        with redis.Redis.from_url(local_stack.settings.redis_url) as client:
            client.flushall()

    # The creators first: who is unknown when an order is placed is refused, as it must be.
    send(batches[0])
    last_url = f"{web_address(local_stack)}/commands/{batches[0][199]['id']}"
    assert httpx2.get(last_url, params={"wait": 20}, timeout=30).json()["outcome"] == "applied"
    wipe_thread = threading.Thread(target=wipe)
    wipe_thread.start()
    with ThreadPoolExecutor(4) as senders:
        list(senders.map(send, batches[1:]))
    wipe_thread.join(60)
    check_each_settled_once(local_stack)


def check_each_settled_once(local_stack: LocalStack) -> None:
    engine = open_database(local_stack.settings.database_url)

    def unsettled() -> int:
        with reading(engine) as connection:
            return int(connection.execute(select(func.count()).select_from(inbox)).scalar_one())

    eventually(lambda: unsettled() == 0, timeout_s=120)
    id_filter = schema.receipts.c.command_id.like("command-%")
    with reading(engine) as connection:
        query = select(schema.receipts.c.outcome, schema.receipts.c.reason).where(id_filter)
        outcomes = Counter(tuple(row) for row in connection.execute(query))
        bodies = select(schema.events.c.body).where(
            schema.events.c.subject.like("command:%:command-%")
        )
        answers = [json.loads(body) for body in connection.execute(bodies).scalars()]
    engine.dispose()
    assert outcomes == {("applied", None): COMMAND_COUNT}, outcomes
    first_answers = Counter(
        answer["command_id"] for answer in answers if answer["outcome"] != "duplicate"
    )
    assert set(first_answers.values()) == {1}
    assert len(first_answers) == COMMAND_COUNT
