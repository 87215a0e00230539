"""Intake: one thread that commits whatever requests have gathered, one that hands it on.

A commit costs the same for one command as for a thousand, so requests that come together are kept
together. Whoever is answered is in the inbox; Redis only makes it quick.
"""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

import redis
import structlog
from sqlalchemy import Engine, func, select

from models.errors import TransientError
from workers.database.engine import reading
from workers.database.schema import inbox as inbox_table
from workers.inbox import Admission, Knock, Row, admit
from workers.queue import redelivery
from workers.queue.messages import UNSIGNED
from workers.queue.redis import COMMANDS, Keys
from workers.queue.watermark import DoorClock
from workers.signing import Keyring

log = structlog.get_logger()


TOGETHER = 5_000
"""Commands kept in one commit."""


LOOK_S = 0.25
"""How often the door's clock is compared with, and the load measured."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How much may wait before senders are told to come back: unsettled, queued, in hand."""

    unsettled: int = 100_000
    queued: int = 200_000
    in_hand: int = 20_000


@dataclass(frozen=True, slots=True)
class Request:
    """The commands of one request, and the promise of their fate."""

    knocks: Sequence[Knock]
    fate: Future[Admission] = field(default_factory=Future)


class Intake:
    """Takes commands in. `admit` may be called by any number of requests at once."""

    def __init__(
        self,
        engine: Engine,
        client: redis.Redis,
        limits: Limits | None = None,
        keys: Keyring = UNSIGNED,
    ) -> None:
        """Prepare; raise `Unavailable` while the door's clock cannot be read.

        What is carried is signed with `keys`: who asks was checked at the door.
        """
        self.keys = keys
        self.engine, self.client, self.limits = engine, client, limits or Limits()
        self.clock = DoorClock(client)
        self.unsettled = self.queued = self.in_hand = 0
        self.busy_since: float | None = None
        self._requests: queue.SimpleQueue[Request | None] = queue.SimpleQueue()
        self._kept: queue.SimpleQueue[list[Row] | None] = queue.SimpleQueue()
        self._threads = [
            threading.Thread(target=self._keep, name="keep", daemon=True),
            threading.Thread(target=self._carry, name="carry", daemon=True),
        ]

    def start(self) -> None:
        """Begin to keep and to carry."""
        self._look()
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Finish what is in hand; what was kept and not carried, the scheduler's sweep carries."""
        self._requests.put(None)
        for thread in self._threads:
            thread.join(timeout=10)

    def alive(self) -> bool:
        """Tell whether both threads live, and no commit has been under way for long."""
        busy_since = self.busy_since
        is_stuck = busy_since is not None and time.monotonic() - busy_since > STUCK_S
        return not is_stuck and all(thread.is_alive() for thread in self._threads)

    def is_full(self) -> bool:
        """Tell whether so much waits that more would only wait longer."""
        limits = self.limits
        return (
            self.unsettled > limits.unsettled
            or self.queued > limits.queued
            or self.in_hand > limits.in_hand
        )

    async def admit(self, knocks: Sequence[Knock]) -> Admission:
        """Keep commands, all or none; raise `Unavailable` when nothing was kept."""
        request = Request(knocks)
        self.in_hand += len(knocks)
        try:
            self._requests.put(request)
            # Shielded: a request that is given up would take its promise back from the thread
            # that is about to keep it, and that thread from everybody else.
            return await asyncio.shield(asyncio.wrap_future(request.fate))
        finally:
            self.in_hand -= len(knocks)

    def _keep(self) -> None:
        while (request := self._requests.get()) is not None:
            requests, command_count = [request], len(request.knocks)
            while command_count < TOGETHER and not self._requests.empty():
                next_request = self._requests.get()
                if next_request is None:
                    self._requests.put(None)
                    break
                requests.append(next_request)
                command_count += len(next_request.knocks)
            self.busy_since = time.monotonic()
            self._settle(requests)
            self.busy_since = None
        self._kept.put(None)

    def _settle(self, requests: list[Request]) -> None:
        try:
            admissions, rows = admit(
                self.engine, self.clock.take, [request.knocks for request in requests]
            )
        except TransientError as error:
            self._refuse(requests, error)
        except Exception as error:  # noqa: BLE001 - one request's fault is not its neighbours'
            if len(requests) == 1:
                self._refuse(requests, error)
            else:
                for request in requests:
                    self._settle([request])
        else:
            self._kept.put(rows)
            self.unsettled += len(rows)
            for request, admission in zip(requests, admissions, strict=True):
                request.fate.set_result(admission)

    def _refuse(self, requests: list[Request], error: Exception) -> None:
        log.warning("intake.failed", requests=len(requests), error=str(error)[:300])
        for request in requests:
            request.fate.set_exception(error)

    def _carry(self) -> None:
        measured_at = time.monotonic()
        while True:
            try:
                rows = self._kept.get(timeout=LOOK_S)
            except queue.Empty:
                rows = []
            if rows is None:
                return
            try:
                redelivery.hand_in(self.client, rows, self.keys)
            except TransientError as error:
                # They are safe where they are: the scheduler's sweep hands them in later.
                log.warning("intake.not_carried", commands=len(rows), error=str(error)[:300])
            if time.monotonic() - measured_at >= LOOK_S:
                self._look()
                measured_at = time.monotonic()

    def _look(self) -> None:
        try:
            if self.clock.look():
                self.queued = int(self.client.llen(Keys(COMMANDS).waiting))
            with reading(self.engine) as connection:
                query = select(func.count()).select_from(inbox_table)
                self.unsettled = int(connection.execute(query).scalar_one())
        except (redis.RedisError, TransientError) as error:
            log.warning("intake.blind", error=str(error)[:300])


STUCK_S = 30.0
"""A commit that takes longer than this is not coming back."""
