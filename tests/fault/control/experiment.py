"""Control experiment: the same faults and checker, against the naive build, which must fail."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import sys
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from random import Random
from typing import Any

import dramatiq
import redis
from dramatiq.brokers.redis import RedisBroker

from ops.local.process import Program
from ops.local.redis_server import redis_program
from ops.local.up import LocalStack
from tests.fault.checks.checker import GRACE_US, CheckerFinding, check
from tests.fault.checks.collected import (
    CollectedRun,
    DatabaseOutcome,
    FinalOrder,
    PostingSide,
    RecordedEvent,
)
from tests.fault.control import naive_pipeline
from tests.fault.processes.clients import CommandSender, EventReader, SenderBehaviour
from workers.settings import Settings, embedded_redis_url
from workers.timestamps import from_us, now_us

WARM_UP_S = 2.0

SETTLE_TIMEOUT_S = 8.0
"""Longer than any order waits: whoever waits still has been forgotten."""

DEADLINE_SLACK_US = 2_000_000

RESEND_US = 3_000_000
"""Its senders are as patient as ours: after so long they send again what had no outcome."""


@dataclass(frozen=True, slots=True)
class NaiveOutcome:
    """An outcome of the naive build."""

    outcome: str
    received_at: datetime


class NaiveStack:
    """The naive build in real processes, with the same traffic."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.url = folder, embedded_redis_url(folder)
        self.database_path = str(folder / "naive.db")
        variables = {"NAIVE_REDIS": self.url, "NAIVE_DATABASE": self.database_path}
        assignments = [f"{name}={value}" for name, value in variables.items()]
        actors = "tests.fault.control.naive_pipeline"
        cli = (sys.executable, "-P", "-m", "dramatiq", actors, "-p", "1", "-t", "4")
        program = Program("naive.1", ("/usr/bin/env", *assignments, *cli), probe=lambda _: True)
        settings = Settings(
            f"sqlite:///{self.database_path}", "redis://127.0.0.1:1", folder, web_bind="127.0.0.1:0"
        )
        programs = [redis_program(folder), program]
        self.local_stack = LocalStack(settings, quiet=True, programs=programs)
        self.broker = RedisBroker(url=self.url)  # type: ignore[no-untyped-call]
        self.redis_client = redis.Redis.from_url(self.url)
        self.sender = CommandSender(
            self.submit, self.outcomes, SenderBehaviour(seed=1, resend_us=RESEND_US)
        )
        self.consumer = EventReader(redis.Redis.from_url(self.url), naive_pipeline.STREAM)

    def submit(self, texts: Sequence[str]) -> list[int]:
        """Send as `handle.send` does."""
        stamps = []
        for text in texts:
            stamps.append(now_us())
            message: dramatiq.Message[Any] = dramatiq.Message(
                queue_name="default",
                actor_name="handle",
                args=(text, stamps[-1]),
                kwargs={},
                options={},
            )
            self.broker.enqueue(message)
        return stamps

    def outcomes(self, keys: Collection[str]) -> Mapping[str, NaiveOutcome]:
        rows = self.rows("SELECT key, outcome, received_us FROM outcomes")
        return {
            key: NaiveOutcome(outcome, from_us(received_us))
            for key, outcome, received_us in rows
            if key in keys
        }

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(self.database_path, timeout=15)) as connection:
            connection.executescript(naive_pipeline.SCHEMA)
            return connection.execute(query).fetchall()

    def kill(self) -> None:
        """Kill the workers, the whole session: a machine that loses its power."""
        pid = self.local_stack.pids().get("naive.1")
        if pid is not None:
            os.killpg(pid, signal.SIGKILL)

    def collect(self) -> CollectedRun:
        """Collect what its database, the sender and the consumer say."""
        events = self.rows("SELECT * FROM events")
        orders = self.rows("SELECT order_id, state, held_fen, due_us, sequence FROM orders")
        return CollectedRun(
            outcomes=[DatabaseOutcome(*row) for row in self.rows("SELECT * FROM outcomes")],
            events=[_recorded_event(row) for row in events],
            posting_sides=[PostingSide(*row) for row in self.rows("SELECT * FROM postings")],
            final_orders=[
                FinalOrder(order_id, state, None, held_fen, sequence, due_us, due_us)
                for order_id, state, held_fen, due_us, sequence in orders
            ],
            sent=self.sender.log,
            delivered=self.consumer.log,
            # Whoever waits has been forgotten: the promised grace would only make this slower.
            until_us=now_us() + GRACE_US - DEADLINE_SLACK_US,
            answers_every_submission=False,
        )


def _recorded_event(row: tuple[Any, ...]) -> RecordedEvent:
    subject, sequence, event_type, at_us, recorded_us, caused_by, body = row
    event = {"id": f"{subject}/{sequence}"} | json.loads(body)
    return RecordedEvent(
        subject,
        sequence,
        event_type,
        at_us,
        recorded_us,
        caused_by,
        {},
        naive_pipeline.published_fields(event),
    )


NaiveFaultAction = Callable[[NaiveStack, Random], None]


def kill(stack: NaiveStack, rng: Random) -> None:
    stack.kill()
    stack.sender.stopping.wait(rng.uniform(0.5, 1.5))


def flush_redis(stack: NaiveStack, rng: Random) -> None:
    stack.redis_client.flushall()
    stack.sender.stopping.wait(rng.uniform(0.05, 0.3))


def scheduler_outage(stack: NaiveStack, _: Random) -> None:
    """Keep down, for longer than a deadline, whatever it is that knows of deadlines."""
    until_at = time.monotonic() + 1.5 * naive_pipeline.WINDOW_MS / 1000
    while time.monotonic() < until_at:
        stack.kill()
        stack.sender.stopping.wait(0.1)


def repeat_payments(stack: NaiveStack, _: Random) -> None:
    """Send every payment of the past once more."""
    texts = [
        submission.text for submission in stack.sender.log if "confirm_payment" in submission.text
    ]
    stack.submit(texts)


def no_action(stack: NaiveStack, _: Random) -> None:
    """Do nothing: on a good day the naive build is right, so what it breaks, faults break."""
    stack.sender.stopping.wait(1.0)


NO_FAULT = "no fault at all"

CONTROL_FAULTS: dict[str, tuple[NaiveFaultAction, int]] = {
    "kill -9": (kill, 6),
    "FLUSHALL": (flush_redis, 25),
    "duplicates": (repeat_payments, 2),
    "scheduler outage": (scheduler_outage, 1),
    NO_FAULT: (no_action, 1),
}


def run_control(name: str, folder: Path, seed: int = 1) -> list[CheckerFinding]:
    """Let one fault loose on the naive build; return what the checker says of it."""
    inject, trials = CONTROL_FAULTS[name]
    rng, stack = Random(seed), NaiveStack(folder)  # noqa: S311
    with stack.local_stack:
        for thread in (stack.sender, stack.consumer):
            thread.start()
        stack.sender.stopping.wait(WARM_UP_S)
        for _ in range(trials):
            inject(stack, rng)
        stack.sender.no_new_orders.set()
        stack.sender.idle.wait(SETTLE_TIMEOUT_S)
        stack.sender.stopping.wait(SETTLE_TIMEOUT_S)
        for thread in (stack.sender, stack.consumer):
            thread.stopping.set()
            thread.join()
        return check(stack.collect())
