"""Pipeline: everything that runs, broken on purpose while it works, comes out as if it had not."""

from __future__ import annotations

import json
import os
import signal
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import redis
from sqlalchemy import func, select

from models.errors import TransientError
from models.ids import make_command_key
from models.policy import Policy, read_policy
from ops.local.up import LocalStack, earnest_program
from ops.simulation.replay import MAX_LOOKAHEAD, expect
from ops.simulation.simulate import SimulationStep
from tests.e2e.order_journeys import JOURNEYS, OrderJourneys, key_of
from tests.support.concurrency import eventually
from workers.client import CommandClient
from workers.database import schema
from workers.database.engine import open_database, reading
from workers.database.repository import Store
from workers.outbox.streams import EVENTS_STREAM
from workers.queries import audit
from workers.queries.reader import Reader
from workers.queue.redis import connect
from workers.settings import Settings
from workers.timestamps import from_us, to_us

ORDERS = 6 * len(JOURNEYS)

WINDOWS = dict.fromkeys(
    (
        "first_work_window",
        "review_window",
        "revision_window",
        "production_window",
        "publication_window",
    ),
    "PT8S",
)

POLICY = {
    **WINDOWS,
    "production_grace": "PT1S",
    "acceptance_window": "PT4S",
    "settlement_delay": "PT2S",
    "work_reminders": ["PT4S", "PT1S"],
    "review_reminders": ["PT4S", "PT1S"],
    "deposit_window": "PT8S",
    "accept_window": "PT8S",
    "balance_window": "PT8S",
    "payment_notice_grace": "PT1S",
    "late_notice_window": "PT2S",
    "accept_reminders": ["PT4S", "PT1S"],
    "balance_reminders": ["PT4S", "PT1S"],
    "nudge_interval": "PT0S",
}

PROGRAMS = (
    "migrate",
    *(f"{kind}.{n}" for kind in ("worker", "relay", "scheduler") for n in (1, 2)),
)
"""Everything twice, as on two machines: the outcome must not show it."""

# A sender that has seen no outcome for so long sends again; a dead worker is noticed later.
RESEND_S = 3.0
POLL_INTERVAL_S = 0.05
TIMEOUT_S = 60.0
pytestmark = [pytest.mark.slow, pytest.mark.fault]


@dataclass
class PipelineRun:
    """A local stack at work, what is sent to it, and what it published."""

    local_stack: LocalStack
    redis_client: redis.Redis
    reader: Reader
    journeys: OrderJourneys = field(default_factory=lambda: OrderJourneys.of(ORDERS))
    sent_at: dict[str, float] = field(default_factory=dict)
    published_events: list[dict[str, Any]] = field(default_factory=list)
    pids: set[int] = field(default_factory=set)

    def play(self, faults: list[tuple[float, Callable[[], object]]]) -> None:
        """Send every journey to its end; let faults happen when so much of it is settled."""
        command_count = 2 + sum(len(steps.split()) for steps in JOURNEYS.values()) * ORDERS // len(
            JOURNEYS
        )
        self._send(self.journeys.begin())
        give_up_at = time.monotonic() + TIMEOUT_S
        while self.sent_at:
            assert time.monotonic() < give_up_at, f"no outcome for {sorted(self.sent_at)[:5]}"
            settled_keys = set(self.reader.outcomes(list(self.sent_at)))
            for key in settled_keys:
                del self.sent_at[key]
            self._send(self.journeys.next_commands(settled_keys))
            self._send_again()
            progress = (len(self.journeys.texts) - len(self.sent_at)) / command_count
            while faults and progress >= faults[0][0]:
                self.pids |= set(self.local_stack.pids().values())
                faults.pop(0)[1]()
            time.sleep(POLL_INTERVAL_S)
        assert faults == []

    def kill(self, name: str) -> None:
        os.kill(self.local_stack.pids()[name], signal.SIGKILL)

    def wipe(self) -> None:
        """Empty Redis, keeping what consumers could have read until that instant."""
        with self.redis_client.pipeline(transaction=True) as pipe:
            pipe.xrange(EVENTS_STREAM)
            pipe.flushall()
            self.published_events += parse_events(pipe.execute()[0])

    def _send(self, texts: list[str]) -> None:
        if not texts:
            return
        for text in texts:
            self.sent_at[key_of(text)] = time.monotonic()
        try:
            CommandClient(self.redis_client).submit_many(texts, per_message=5)
        except TransientError:
            return  # They are sent again.

    def _send_again(self) -> None:
        before = time.monotonic() - RESEND_S
        self._send([self.journeys.texts[name] for name, at in self.sent_at.items() if at < before])


def parse_events(entries: Any) -> list[dict[str, Any]]:  # noqa: ANN401 - what Redis returns
    return [json.loads(fields[b"event"]) for _, fields in entries]


def is_running(pid: int) -> bool:
    """Tell whether a process lives; one that only waits to be collected does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize("database_url", ["sqlite", "postgresql"], indirect=True)
def test_killed_processes_and_a_wiped_redis_change_nothing_in_the_end(
    database_url: str, tmp_path: Path
) -> None:
    policy_path = tmp_path / "policy.json"
    policy_path.write_text(json.dumps(POLICY))
    environment = {"EARNEST_WEB_BIND": "127.0.0.1:0"}
    settings = Settings.read(
        environment, var=tmp_path / "var", database_url=database_url, policy=policy_path
    )
    policy = read_policy(policy_path.read_bytes())
    engine = open_database(settings.database_url)
    with LocalStack(
        settings, programs=[*map(earnest_program, PROGRAMS)], quiet=True
    ) as local_stack:
        client = connect(settings.redis_url)
        run = PipelineRun(local_stack, client, Reader(Store(engine, policy)))
        run.play(
            [
                (0.2, lambda: run.kill("worker.1")),
                (0.4, lambda: run.kill("scheduler.1")),
                (0.4, lambda: run.kill("relay.1")),
                (0.6, run.wipe),
                (0.8, lambda: run.kill("worker.2")),
            ]
        )
        eventually(lambda: nothing_waits(run), timeout_s=TIMEOUT_S)
        eventually(lambda: everything_is_published(run), timeout_s=TIMEOUT_S)
        run.published_events += parse_events(client.xrange(EVENTS_STREAM))
        run.pids |= set(local_stack.pids().values())
        client.close()
    assert [pid for pid in run.pids if is_running(pid)] == []
    # Redis and everything that stays up, and whoever took the place of the four that were killed.
    assert len(run.pids) >= len(PROGRAMS) + 4
    check_outcomes(run)
    check_events(run)
    check_endings(run, policy)
    engine.dispose()


def nothing_waits(run: PipelineRun) -> bool:
    """Tell whether time will soon change no order; an arbitrator may still take a month."""
    column, until_us = schema.orders.c.wake_at, to_us(datetime.now(UTC) + MAX_LOOKAHEAD)
    with reading(run.reader.store.engine) as connection:
        return connection.execute(select(column).where(column < until_us)).first() is None


def everything_is_published(run: PipelineRun) -> bool:
    table = schema.events
    with reading(run.reader.store.engine) as connection:
        query = select(func.count()).where(table.c.published_at.is_(None))
        return connection.execute(query).scalar() == 0


def read_rows(run: PipelineRun, name: str) -> list[Any]:
    with reading(run.reader.store.engine) as connection:
        return list(connection.execute(select(schema.metadata.tables[name])))


def check_outcomes(run: PipelineRun) -> None:
    """Hold that every command was settled once, and every repeat was answered as a duplicate."""
    keys = [make_command_key(row.sender, row.command_id) for row in read_rows(run, "receipts")]
    assert set(keys) == run.journeys.texts.keys()
    answers = [
        json.loads(row.body) for row in read_rows(run, "events") if row.type == "command.settled"
    ]
    first_answers = Counter(
        make_command_key(answer["sender"], answer["command_id"])
        for answer in answers
        if answer["outcome"] != "duplicate"
    )
    assert first_answers == Counter(keys)
    assert read_rows(run, "dead_letters") == read_rows(run, "quarantine") == []


def check_events(run: PipelineRun) -> None:
    """Hold that everything recorded was published, and published as it was recorded."""
    recorded_bodies = {
        f"{row.subject}/{row.sequence}": row.body for row in read_rows(run, "events")
    }
    published_bodies = {event["id"]: event["data"] for event in run.published_events}
    assert published_bodies == {name: json.loads(body) for name, body in recorded_bodies.items()}


def check_endings(run: PipelineRun, policy: Policy) -> None:
    """Hold orders and money to what the rules alone make of the same commands and instants."""
    rows = sorted(read_rows(run, "receipts"), key=lambda row: (row.received_at, row.stamp))
    receipts = {make_command_key(row.sender, row.command_id): row for row in rows}
    steps = [
        SimulationStep(from_us(row.received_at), run.journeys.texts[key])
        for key, row in receipts.items()
    ]
    forecast = expect(steps, policy)
    assert {key: (row.outcome, row.reason) for key, row in receipts.items()} == forecast.outcomes
    orders = {order.order_id: (order.state.value, order.reason) for order in run.reader.orders()}
    assert orders == forecast.orders
    with reading(run.reader.store.engine) as connection:
        assert audit.balances(connection) == {
            account: amount_fen for account, amount_fen in forecast.balances.items() if amount_fen
        }
    assert run.reader.audit().findings == []
    assert len(forecast.endings) >= 6, "the stories were to end in many ways"
