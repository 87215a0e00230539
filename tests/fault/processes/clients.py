"""Clients: a sender that keeps to the contract, and a reader of every event."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from random import Random
from typing import Any, Protocol

import redis

from models.errors import TransientError
from tests.fault.checks.collected import ReadEvent, SentCommand
from tests.fault.processes.order_lives import (
    LifeSteps,
    OrderLifeFactory,
    PlannedCommand,
    StepOutcome,
)
from workers.outbox.streams import EVENTS_STREAM
from workers.timestamps import SECOND_US, now_us, to_us

POLL_INTERVAL_S = 0.03

RETRY_AFTER_US = SECOND_US // 3
"""How soon a sender repeats what was not acknowledged."""

READ_TIMEOUT_MS = 300
READ_BATCH_SIZE = 500
Submit = Callable[[Sequence[str]], Sequence[int]]


class OutcomeRecord(Protocol):
    """An outcome on record."""

    @property
    def outcome(self) -> str: ...

    @property
    def received_at(self) -> datetime: ...


ReadOutcomes = Callable[[Collection[str]], Mapping[str, OutcomeRecord]]


@dataclass(frozen=True, slots=True, kw_only=True)
class SenderBehaviour:
    """How a sender behaves: orders a second, copies of each command, patience with outcomes.

    With `resend_us` it sends again what has had no outcome for so long: that is what a sender
    does who knows that Redis may lose things. `backwards` orders are sent last step first.
    """

    seed: int
    rate: float = 15.0
    resend_us: int = 0
    copies: int = 1
    backwards: bool = False


@dataclass(slots=True)
class OrderInProgress:
    """One order in progress, and the command whose outcome it waits for."""

    steps: LifeSteps
    command: PlannedCommand
    send_us: int
    is_sent: bool = False


class CommandSender(threading.Thread):
    """Takes orders through their lives, many at a time, and logs everything it sends."""

    def __init__(self, submit: Submit, outcomes: ReadOutcomes, behaviour: SenderBehaviour) -> None:
        super().__init__(name="sender", daemon=True)
        self.submit, self.outcomes, self.behaviour = submit, outcomes, behaviour
        random = Random(behaviour.seed)  # noqa: S311
        self.factory = OrderLifeFactory(random, f"o{behaviour.seed}", backwards=behaviour.backwards)
        self.log: list[SentCommand] = []
        self.orders: list[OrderInProgress] = []
        self.begun_count = 0
        self.is_creator_registered = False
        self.no_new_orders = threading.Event()
        self.stopping = threading.Event()
        self.idle = threading.Event()

    def run(self) -> None:
        """Begin orders until told to begin no more, and then go on until all are over."""
        with ThreadPoolExecutor(self.behaviour.copies) as self.pool:
            self._begin_order(self.factory.register_creator())
            start_us = now_us()
            while not self.stopping.is_set() and not self.idle.is_set():
                if self.is_creator_registered and not self.no_new_orders.is_set():
                    due_count = int((now_us() - start_us) / SECOND_US * self.behaviour.rate)
                    for _ in range(due_count - self.begun_count):
                        self._begin_order(self.factory.next_life())
                    self.begun_count = max(due_count, self.begun_count)
                self._send_due()
                self._read_outcomes()
                if self.no_new_orders.is_set() and not self.orders:
                    self.idle.set()
                self.stopping.wait(POLL_INTERVAL_S)

    def send(self, commands: Sequence[PlannedCommand]) -> bool:
        """Hand in commands, each in a message of its own; tell whether all were acknowledged."""
        sent_us = now_us()
        stamps: Sequence[int | None] = [None] * len(commands)
        with suppress(TransientError, redis.RedisError):
            stamps = self.submit([command.text for command in commands])
        for command, stamp in zip(commands, stamps, strict=True):
            self.log.append(SentCommand(command.key, command.text, sent_us, stamp))
        return None not in stamps

    def _begin_order(self, steps: LifeSteps) -> None:
        command = next(steps)
        self.orders.append(OrderInProgress(steps, command, command.not_before_us))

    def _send_due(self) -> None:
        now = now_us()
        due_orders = [order for order in self.orders if not order.is_sent and order.send_us <= now]
        if not due_orders:
            return
        commands = [
            command for order in due_orders for command in (*order.command.before, order.command)
        ]
        is_acknowledged = all(
            self.pool.map(lambda _: self.send(commands), range(self.behaviour.copies))
        )
        for order in due_orders:
            order.is_sent = is_acknowledged
            order.send_us = now + (self.behaviour.resend_us if is_acknowledged else RETRY_AFTER_US)

    def _read_outcomes(self) -> None:
        order_by_key = {order.command.key: order for order in self.orders}
        try:
            outcomes = self.outcomes(order_by_key.keys())
        except TransientError:
            return
        for key, outcome in outcomes.items():
            self._take_next_step(
                order_by_key[key],
                StepOutcome(outcome.outcome, to_us(outcome.received_at)),
            )
        now = now_us()
        for order in self.orders:
            if self.behaviour.resend_us and order.is_sent and order.send_us <= now:
                order.is_sent = False

    def _take_next_step(self, order: OrderInProgress, outcome: StepOutcome) -> None:
        self.is_creator_registered = True
        try:
            command = order.steps.send(outcome)
        except StopIteration:
            self.orders.remove(order)
            return
        order.command, order.send_us, order.is_sent = command, command.not_before_us, False


class EventReader(threading.Thread):
    """Reads every event once it is on the stream, and again when it is there again."""

    def __init__(self, client: redis.Redis, stream: str = EVENTS_STREAM) -> None:
        super().__init__(name="consumer", daemon=True)
        self.client, self.stream = client, stream
        self.log: list[ReadEvent] = []
        self.seen_event_ids: set[str] = set()
        self.last_entry_id = b"0"
        self.stopping = threading.Event()

    def run(self) -> None:
        """Read until told to stop; a server that is away is waited for."""
        while not self.stopping.is_set():
            try:
                streams: Any = self.client.xread(
                    {self.stream: self.last_entry_id}, READ_BATCH_SIZE, READ_TIMEOUT_MS
                )
            except redis.RedisError:
                self.stopping.wait(POLL_INTERVAL_S)
                continue
            for _, entries in streams:
                for entry_id, entry in entries:
                    self._record(entry_id, entry)

    def _record(self, entry_id: bytes, entry: dict[bytes, bytes]) -> None:
        self.last_entry_id = entry_id
        delivery = ReadEvent(int(entry_id.split(b"-")[0]), json.loads(entry[b"event"]))
        self.log.append(delivery)
        self.seen_event_ids.add(delivery.event_id)
