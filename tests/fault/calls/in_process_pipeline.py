"""In-process pipeline: a worked example carried by the real parts, in one thread."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import redis
from sqlalchemy import Engine, select

from models.errors import TransientError
from models.fields import MICROSECOND, parse_instant
from models.policy import Policy, read_policy
from models.service.unit_of_work import UnitOfWork
from ops.simulation.replay import read_steps
from ops.simulation.simulate import Simulation
from tests.fault.calls.call_counter import CallCounter, ProcessDied
from workers.client import CommandClient
from workers.database import schema
from workers.database.engine import open_database, reading, writing
from workers.database.repository import Store
from workers.outbox.relay import Relay, notify_relay
from workers.outbox.streams import EVENTS_STREAM
from workers.processing import wakeups
from workers.processing.failures import quarantine
from workers.processing.processor import BatchProcessor
from workers.queue.broker import EarnestBroker
from workers.queue.consumer import MessageBatch
from workers.queue.frontier import Frontier
from workers.queue.redis import COMMANDS, QUEUES, Keys, Scripts, connect
from workers.queue.watermark import ArrivalClock
from workers.timestamps import to_us

SCENARIOS = Path(__file__).parents[2] / "scenarios"

SCENARIO_NAMES = sorted(
    path.name.removesuffix(".steps.jsonl") for path in SCENARIOS.glob("*.steps.jsonl")
)

MAX_ATTEMPTS = 12
"""How often a moment is gone through again, at most: one failure needs two or three."""

CLAIM_LIMIT = 100

MAX_ROUNDS = 500
"""How often a queue is looked at until it is empty, at most."""

TableRows = dict[str, list[tuple[Any, ...]]]


@dataclass(frozen=True, slots=True)
class Moment:
    """An instant of a scenario: a command is received, or time has passed for somebody.

    `signature` is what comes of it by the rules: moments alike in it exercise the same calls.
    """

    at: datetime
    command: str | None
    signature: tuple[object, ...]


def moments(name: str) -> tuple[Policy, list[Moment]]:
    """Read a worked example: its policy, and every instant at which something happens."""
    path = SCENARIOS / f"{name}.policy.json"
    policy = read_policy(path.read_bytes()) if path.exists() else Policy()
    simulation, timeline = Simulation(UnitOfWork(policy=policy)), list[Moment]()
    for step in read_steps((SCENARIOS / f"{name}.steps.jsonl").read_text("utf-8").splitlines()):
        timeline += map(_passed_moment, simulation.advance(step.at))
        if step.command is not None:
            lines = list(simulation.handle(step.command, step.at))
            kind = json.loads(step.command).get("kind")
            signature = (kind, *map(_signature, lines))
            timeline.append(Moment(step.at, step.command, signature))
    timeline += map(_passed_moment, simulation.finish())
    return policy, timeline


def _passed_moment(line: dict[str, Any]) -> Moment:
    # Time ends a wait only after its deadline, a reminder of an order is sent at its instant.
    is_reminder = not line.get("reminder", "suspense:").startswith("suspense:")
    at = parse_instant(line["at"]) + (0 if is_reminder else 1) * MICROSECOND
    return Moment(at, None, _signature(line))


def _signature(line: dict[str, Any]) -> tuple[object, ...]:
    event_types = tuple(event["type"] for event in line["events"])
    return line.get("outcome"), line.get("reason"), event_types


class ScenarioArrivalClock(ArrivalClock):
    """The real arrival clock, asked as always, with the scenario's time in place of its own."""

    present: datetime

    def now(self) -> datetime:
        """Return the scenario's instant."""
        super().now()
        return self.present

    def frontier(self, announcements: Mapping[str, bytes], before: int) -> Frontier:
        """Return what is earlier and unsettled, at the scenario's instant."""
        return self._at_present(super().frontier(announcements, before))

    def wakeup_frontier(self) -> Frontier:
        """Return up to when time may pass, at the scenario's instant."""
        return self._at_present(super().wakeup_frontier())

    def _at_present(self, frontier: Frontier) -> Frontier:
        frontier.now = to_us(self.present)
        return frontier


@dataclass
class InProcessPipeline:
    """Client, worker, scheduler and relay over real servers; each call is counted and can fail."""

    database_url: str
    redis_url: str
    policy: Policy
    call_counter: CallCounter = field(default_factory=CallCounter)
    engine: Engine = field(init=False)

    def __post_init__(self) -> None:
        self.plain_engine = open_database(self.database_url)
        self.plain_redis = connect(self.redis_url)
        self.start_process()

    def close(self) -> None:
        self.plain_engine.dispose()
        self.plain_redis.close()
        self.end_process()

    def start_process(self) -> None:
        """Begin as a process does: with new connections and nothing in hand."""
        self.engine = self.call_counter.watch_engine(open_database(self.database_url))
        self.redis_client = self.call_counter.watch_redis(connect(self.redis_url))
        self.clock = ScenarioArrivalClock(self.redis_client, self.engine)
        store = Store(self.engine, self.policy)
        self.broker = EarnestBroker(self.redis_client, partial(quarantine, self.engine))
        self.processor = BatchProcessor(store, self.clock, partial(notify_relay, self.redis_client))
        self.relay = Relay(self.engine, self.redis_client)

    def end_process(self) -> None:
        self.engine.dispose()
        self.redis_client.close()

    def kill_process(self) -> None:
        """End as a killed process does, be noticed, and begin anew."""
        self.end_process()
        for queue in QUEUES:
            Scripts(self.plain_redis).rescue(Keys(queue), 0, last=queue == QUEUES[-1])
        self.start_process()

    def play(self, moment: Moment, attempts: int = MAX_ATTEMPTS) -> None:
        """Go through one moment, again where something failed, until nothing is left to do."""
        is_sent, last_error = False, ""
        for attempt in range(attempts):
            self.clock.present = moment.at
            try:
                while True:
                    if not is_sent:
                        self.send(moment, attempt)
                    is_sent = True
                    self.drain()
                    if not self.is_overdue(moment):
                        break
                    # What spreads does so bit by bit: the scheduler wakes it again.
                    is_sent = False
                while self.relay.run_once():
                    pass
            except ProcessDied:
                self.kill_process()
            except (TransientError, redis.RedisError) as error:
                last_error = f"{type(error).__name__}: {error}"
            else:
                return
        raise AssertionError(f"no end of it after {self.call_counter.failed_call!r}: {last_error}")

    def send(self, moment: Moment, attempt: int) -> None:
        """Hand in a command as its sender does, or wake orders as the scheduler does."""
        if moment.command is not None:
            CommandClient(self.redis_client).submit(moment.command)
            return
        # After a failure a claim's lease must end before anybody may claim again.
        until_at = moment.at + attempt * (wakeups.LEASE_US + 1) * MICROSECOND
        if not wakeups.nothing_due(self.engine, until_at):
            wakeups.send(self.redis_client, wakeups.claim(self.engine, until_at, CLAIM_LIMIT))

    def is_overdue(self, moment: Moment) -> bool:
        """Tell whether time has left something: what is due just now may not have lapsed yet."""
        return moment.command is None and not wakeups.nothing_due(
            self.engine, moment.at - MICROSECOND
        )

    def drain(self) -> None:
        """Settle and acknowledge, until no message waits and none is in flight."""
        for queue in QUEUES:
            consumer = self.broker.consume(queue)
            for _ in range(MAX_ROUNDS):
                if not self.plain_redis.hlen(Keys(queue).messages):
                    break
                message = next(consumer)
                if message is None:
                    continue
                batch: MessageBatch = message.kwargs["batch"]
                # As a worker does: a batch in hand is settled, again while a server is away.
                settle = self.settle_commands if queue == COMMANDS else self.wake_orders
                retry_while_unavailable(partial(settle, batch))
                consumer.ack(message)
            else:
                raise AssertionError(f"{queue}: a message is stranded")

    def settle_commands(self, batch: MessageBatch) -> None:
        for delivery in batch.deliveries:
            delivery.commands = [
                replace(command, at=self.clock.present) for command in delivery.commands
            ]
        self.processor.settle_batch(batch)

    def wake_orders(self, batch: MessageBatch) -> None:
        orders = {order_id for delivery in batch.deliveries for order_id in delivery.orders}
        self.processor.wake(sorted(orders))
        with suppress(redis.RedisError):
            batch.acknowledge_all()

    def save(self) -> TableRows:
        """Copy every table."""
        with reading(self.plain_engine) as connection:
            return {
                table.name: [tuple(row) for row in connection.execute(select(table))]
                for table in schema.metadata.sorted_tables
            }

    def restore(self, state: TableRows) -> None:
        """Make the database what it was, Redis empty, and begin anew: nobody remembers a wipe."""
        with writing(self.plain_engine) as connection:
            for table in schema.metadata.sorted_tables:
                connection.execute(table.delete())
                column_names = table.c.keys()
                if state[table.name]:
                    rows = [dict(zip(column_names, row, strict=True)) for row in state[table.name]]
                    connection.execute(table.insert(), rows)
        self.plain_redis.flushall()
        self.end_process()
        self.start_process()

    def streamed_event_ids(self) -> set[str]:
        """Name the events on the stream."""
        entries: Any = self.plain_redis.xrange(EVENTS_STREAM)
        return {json.loads(entry[b"event"])["id"] for _, entry in entries}


def retry_while_unavailable(call: Callable[[], object]) -> None:
    """Call again where a server was away."""
    for _ in range(MAX_ATTEMPTS):
        with suppress(TransientError):
            call()
            return
    raise AssertionError("it never worked")


# What depends on this host's clock, or on how often something was sent, and on nothing else.
VOLATILE_COLUMNS = {
    "events": {"position", "recorded_at", "published_at"},
    "receipts": {"stamp"},
    "orders": {"judged_stamp"},
    "creators": {"judged_stamp"},
    "policies": {"adopted_at"},
    "leases": {"holder", "until"},
}

FACT_COUNTERS = ("events", "reminders", "deadlines")
"""Totals that count facts: each once, whatever happened on the way."""


def without_volatile(state: TableRows) -> TableRows:
    """Leave out of a copy what two runs need not have in common."""
    lasting_state: TableRows = {}
    for table in schema.metadata.sorted_tables:
        column_names = table.c.keys()
        column_indexes = [
            index
            for index, name in enumerate(column_names)
            if name not in VOLATILE_COLUMNS.get(table.name, ())
        ]
        rows = [
            row
            for row in state[table.name]
            if not _depends_on_delivery(table.name, column_names, row)
        ]
        lasting_state[table.name] = sorted(
            (tuple(row[index] for index in column_indexes) for row in rows), key=repr
        )
    return lasting_state


def _depends_on_delivery(
    table_name: str, column_names: Sequence[str], row: tuple[Any, ...]
) -> bool:
    if table_name == "tallies":
        counter, labels = row[column_names.index("name")], row[column_names.index("labels")]
        return counter not in FACT_COUNTERS or labels == "command.settled"
    return table_name == "events" and row[column_names.index("type")] == "command.settled"


def unpublished_events(state: TableRows) -> list[Any]:
    column_names = schema.events.c.keys()
    index = column_names.index("published_at")
    return [row for row in state["events"] if row[index] is None]


def event_ids(state: TableRows) -> set[str]:
    column_names = schema.events.c.keys()
    subject, sequence = column_names.index("subject"), column_names.index("sequence")
    return {f"{row[subject]}/{row[sequence]}" for row in state["events"]}


def differences(expected: TableRows, actual: TableRows) -> Iterator[str]:
    """Say where two copies differ, table by table."""
    for name, expected_rows in without_volatile(expected).items():
        actual_rows = without_volatile(actual)[name]
        if expected_rows != actual_rows:
            missing_rows = [row for row in expected_rows if row not in actual_rows]
            extra_rows = [row for row in actual_rows if row not in expected_rows]
            yield f"{name}: {missing_rows} missing, {extra_rows} added"
