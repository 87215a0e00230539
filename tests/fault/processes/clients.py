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
"""How soon a sender repeats what the door did not acknowledge."""


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
    does who knows that the wire may lose things. `backwards` orders are told last step first.
    """

    seed: int
    rate: float = 15.0
    resend_us: int = 0
    copies: int = 1
    backwards: bool = False


@dataclass(slots=True)
class OrderInProgress:
    """One order being lived, and what it waits for."""

    plot: LifeSteps
    ask: PlannedCommand
    send_us: int
    sent: bool = False


class CommandSender(threading.Thread):
    """Lives orders, many at a time; writes down everything it sends."""

    def __init__(self, submit: Submit, outcomes: ReadOutcomes, habits: SenderBehaviour) -> None:
        super().__init__(name="sender", daemon=True)
        self.submit, self.outcomes, self.habits = submit, outcomes, habits
        random = Random(habits.seed)  # noqa: S311
        self.author = OrderLifeFactory(random, f"o{habits.seed}", backwards=habits.backwards)
        self.log: list[SentCommand] = []
        self.errands: list[OrderInProgress] = []
        self.begun = 0
        self.admitted = False
        self.no_more = threading.Event()
        self.stopping = threading.Event()
        self.idle = threading.Event()

    def run(self) -> None:
        """Live orders until told to begin no more, and then until all are over."""
        with ThreadPoolExecutor(self.habits.copies) as self.hands:
            self._begin_order(self.author.register_creator())
            start_us = now_us()
            while not self.stopping.is_set() and not self.idle.is_set():
                if self.admitted and not self.no_more.is_set():
                    due_count = int((now_us() - start_us) / SECOND_US * self.habits.rate)
                    for _ in range(due_count - self.begun):
                        self._begin_order(self.author.next_life())
                    self.begun = max(due_count, self.begun)
                self._send_due()
                self._read_outcomes()
                if self.no_more.is_set() and not self.errands:
                    self.idle.set()
                self.stopping.wait(POLL_INTERVAL_S)

    def send(self, asks: Sequence[PlannedCommand]) -> bool:
        """Hand in commands, each in a message of its own; tell whether all were acknowledged."""
        sent_us = now_us()
        stamps: Sequence[int | None] = [None] * len(asks)
        with suppress(TransientError, redis.RedisError):
            stamps = self.submit([ask.text for ask in asks])
        for ask, stamp in zip(asks, stamps, strict=True):
            self.log.append(SentCommand(ask.command_id, ask.text, sent_us, stamp))
        return None not in stamps

    def _begin_order(self, plot: LifeSteps) -> None:
        ask = next(plot)
        self.errands.append(OrderInProgress(plot, ask, ask.not_before_us))

    def _send_due(self) -> None:
        now = now_us()
        due_errands = [
            errand for errand in self.errands if not errand.sent and errand.send_us <= now
        ]
        if not due_errands:
            return
        asks = [ask for errand in due_errands for ask in (*errand.ask.before, errand.ask)]
        is_acknowledged = all(self.hands.map(lambda _: self.send(asks), range(self.habits.copies)))
        for errand in due_errands:
            errand.sent = is_acknowledged
            errand.send_us = now + (self.habits.resend_us if is_acknowledged else RETRY_AFTER_US)

    def _read_outcomes(self) -> None:
        errand_by_command = {errand.ask.command_id: errand for errand in self.errands}
        try:
            outcomes = self.outcomes(errand_by_command.keys())
        except TransientError:
            return
        for command_id, outcome in outcomes.items():
            self._take_next_step(
                errand_by_command[command_id],
                StepOutcome(outcome.outcome, to_us(outcome.received_at)),
            )
        now = now_us()
        for errand in self.errands:
            if self.habits.resend_us and errand.sent and errand.send_us <= now:
                errand.sent = False

    def _take_next_step(self, errand: OrderInProgress, answer: StepOutcome) -> None:
        self.admitted = True
        try:
            ask = errand.plot.send(answer)
        except StopIteration:
            self.errands.remove(errand)
            return
        errand.ask, errand.send_us, errand.sent = ask, ask.not_before_us, False


class EventReader(threading.Thread):
    """Reads every event once it is on the stream, and again when it is there again."""

    def __init__(self, client: redis.Redis, stream: str = EVENTS_STREAM) -> None:
        super().__init__(name="consumer", daemon=True)
        self.client, self.stream = client, stream
        self.log: list[ReadEvent] = []
        self.seen: set[str] = set()
        self.last = b"0"
        self.stopping = threading.Event()

    def run(self) -> None:
        """Read until told to stop; a server that is away is waited for."""
        while not self.stopping.is_set():
            try:
                streams: Any = self.client.xread(
                    {self.stream: self.last}, READ_BATCH_SIZE, READ_TIMEOUT_MS
                )
            except redis.RedisError:
                self.stopping.wait(POLL_INTERVAL_S)
                continue
            for _, entries in streams:
                for entry_id, entry in entries:
                    self._record(entry_id, entry)

    def _record(self, entry_id: bytes, entry: dict[bytes, bytes]) -> None:
        self.last = entry_id
        delivery = ReadEvent(int(entry_id.split(b"-")[0]), json.loads(entry[b"event"]))
        self.log.append(delivery)
        self.seen.add(delivery.event_id)
