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
from tests.fault.checks.collected import Delivery, Submission
from tests.fault.processes.order_lives import Answer, Ask, Author, Plot
from workers.outbox.streams import EVENTS
from workers.timestamps import SECOND_US, now_us, to_us

ROUND_S = 0.03


AGAIN_US = SECOND_US // 3
"""How soon a sender repeats what the door did not acknowledge."""


READ_MS = 300


READ_AT_ONCE = 500


Submit = Callable[[Sequence[str]], Sequence[int]]


class Kept(Protocol):
    """An outcome on record."""

    @property
    def outcome(self) -> str: ...

    @property
    def received_at(self) -> datetime: ...


Outcomes = Callable[[Collection[str]], Mapping[str, Kept]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Habits:
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
class Errand:
    """One order being lived, and what it waits for."""

    plot: Plot
    ask: Ask
    send_us: int
    sent: bool = False


class Sender(threading.Thread):
    """Lives orders, many at a time; writes down everything it sends."""

    def __init__(self, submit: Submit, outcomes: Outcomes, habits: Habits) -> None:
        super().__init__(name="sender", daemon=True)
        self.submit, self.outcomes, self.habits = submit, outcomes, habits
        self.author = Author(Random(habits.seed), f"o{habits.seed}", backwards=habits.backwards)  # noqa: S311
        self.log: list[Submission] = []
        self.errands: list[Errand] = []
        self.begun = 0
        self.admitted = False
        self.no_more = threading.Event()
        self.stopping = threading.Event()
        self.idle = threading.Event()

    def run(self) -> None:
        """Live orders until told to begin no more, and then until all are over."""
        with ThreadPoolExecutor(self.habits.copies) as self.hands:
            self._begin(self.author.admit())
            start_us = now_us()
            while not self.stopping.is_set() and not self.idle.is_set():
                if self.admitted and not self.no_more.is_set():
                    due_count = int((now_us() - start_us) / SECOND_US * self.habits.rate)
                    for _ in range(due_count - self.begun):
                        self._begin(self.author.next())
                    self.begun = max(due_count, self.begun)
                self._send_due()
                self._listen()
                if self.no_more.is_set() and not self.errands:
                    self.idle.set()
                self.stopping.wait(ROUND_S)

    def send(self, asks: Sequence[Ask]) -> bool:
        """Hand in commands, each in a message of its own; tell whether all were acknowledged."""
        sent_us = now_us()
        stamps: Sequence[int | None] = [None] * len(asks)
        with suppress(TransientError, redis.RedisError):
            stamps = self.submit([ask.text for ask in asks])
        for ask, stamp in zip(asks, stamps, strict=True):
            self.log.append(Submission(ask.command_id, ask.text, sent_us, stamp))
        return None not in stamps

    def _begin(self, plot: Plot) -> None:
        ask = next(plot)
        self.errands.append(Errand(plot, ask, ask.not_before_us))

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
            errand.send_us = now + (self.habits.resend_us if is_acknowledged else AGAIN_US)

    def _listen(self) -> None:
        errand_by_command = {errand.ask.command_id: errand for errand in self.errands}
        try:
            outcomes = self.outcomes(errand_by_command.keys())
        except TransientError:
            return
        for command_id, outcome in outcomes.items():
            self._go_on(
                errand_by_command[command_id], Answer(outcome.outcome, to_us(outcome.received_at))
            )
        now = now_us()
        for errand in self.errands:
            if self.habits.resend_us and errand.sent and errand.send_us <= now:
                errand.sent = False

    def _go_on(self, errand: Errand, answer: Answer) -> None:
        self.admitted = True
        try:
            ask = errand.plot.send(answer)
        except StopIteration:
            self.errands.remove(errand)
            return
        errand.ask, errand.send_us, errand.sent = ask, ask.not_before_us, False


class Consumer(threading.Thread):
    """Reads every event once it is on the stream, and again when it is there again."""

    def __init__(self, client: redis.Redis, stream: str = EVENTS) -> None:
        super().__init__(name="consumer", daemon=True)
        self.client, self.stream = client, stream
        self.log: list[Delivery] = []
        self.seen: set[str] = set()
        self.last = b"0"
        self.stopping = threading.Event()

    def run(self) -> None:
        """Read until told to stop; a server that is away is waited for."""
        while not self.stopping.is_set():
            try:
                streams: Any = self.client.xread({self.stream: self.last}, READ_AT_ONCE, READ_MS)
            except redis.RedisError:
                self.stopping.wait(ROUND_S)
                continue
            for _, entries in streams:
                for entry_id, entry in entries:
                    self._note(entry_id, entry)

    def _note(self, entry_id: bytes, entry: dict[bytes, bytes]) -> None:
        self.last = entry_id
        delivery = Delivery(int(entry_id.split(b"-")[0]), json.loads(entry[b"event"]))
        self.log.append(delivery)
        self.seen.add(delivery.event_id)
