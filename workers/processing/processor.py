"""Processor: handles batches of commands and writes down, at once, everything that follows."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import TypeVar

import structlog
from sqlalchemy import Connection

from models.errors import Conflict, Unavailable
from workers.database.archive import ArchivedOrdersNeeded
from workers.database.engine import has_one_writer, reading, writing
from workers.database.repository import FlushStep, LoadedState, Store, flush_steps
from workers.processing.batch import ArrivalOrder, Batch, Deferred, Door, ParsedCommand, read
from workers.processing.failures import add_dead_letter
from workers.queue.messages import Received
from workers.runtime import span

T = TypeVar("T")


log = structlog.get_logger()


ATTEMPTS = 5
"""How often a batch is handled anew when another writer came first."""


MOST = 500
"""Commands, or orders to wake, in one transaction: locks are held for tens of milliseconds."""


PAUSE_S = 0.02


class BatchProcessor:
    """Handles batches against the store. A command ends settled, dead-lettered or deferred."""

    def __init__(self, store: Store, clock: Door, notify: Callable[[], None]) -> None:
        """Keep where orders are written, where time is read, and whom to tell of new events."""
        self.store = store
        self.clock = clock
        self.notify = notify

    def settle(
        self, submissions: Sequence[Received], wakes: Collection[str] = ()
    ) -> list[Received]:
        """Settle commands and wake orders; return the commands that must wait a moment.

        A message may come twice and a worker may die between any two lines. Both are harmless:
        one transaction holds every write, and the receipts in it turn a second delivery into a
        read. Raise `Unavailable` while the database is away: nothing was written then.
        """
        requests = sorted(
            map(read, submissions),
            key=lambda request: (request.received.at, request.received.stamp),
        )
        arrival_order = ArrivalOrder(
            self.clock, {submission.message_id for submission in submissions}
        )
        for batch in _batches(requests):
            arrival_order.held.add(self._settle_safely(batch, (), arrival_order))
        for orders in _batches(sorted(wakes)):
            self._settle_safely([], orders, arrival_order)
        # At the end, when nothing of these messages is still to be handled.
        self.clock.excuse(arrival_order.held.excused())
        return arrival_order.held.everything()

    def _settle_safely(
        self, requests: Sequence[ParsedCommand], wakes: Sequence[str], arrival_order: ArrivalOrder
    ) -> Deferred:
        try:
            return self._settle_together(requests, wakes, arrival_order)
        except Unavailable:
            raise
        except Exception as error:  # noqa: BLE001 - one command's fault is not its neighbours'
            log.warning(
                "batch.divided", commands=len(requests), orders=len(wakes), error=str(error)
            )
        deferred = Deferred()
        for request in requests:
            behind = ArrivalOrder(self.clock, arrival_order.messages)
            behind.held.add(arrival_order.held)
            behind.held.add(deferred)
            deferred.add(self._settle_alone([request], (), behind))
        for order_id in wakes:
            self._settle_alone([], [order_id], arrival_order)
        return deferred

    def _settle_together(
        self, requests: Sequence[ParsedCommand], wakes: Sequence[str], arrival_order: ArrivalOrder
    ) -> Deferred:
        for attempt in range(1, ATTEMPTS):
            try:
                return self._attempt(requests, wakes, arrival_order)
            except Conflict as conflict:
                log.info("batch.retried", commands=len(requests), because=str(conflict)[:200])
                if isinstance(conflict, ArchivedOrdersNeeded):
                    self.store.restore(conflict.order_ids)
                # Whoever came first is about to commit; a little later there is no conflict.
                time.sleep(attempt * PAUSE_S)
        return self._attempt(requests, wakes, arrival_order)

    def _settle_alone(
        self, requests: Sequence[ParsedCommand], wakes: Sequence[str], arrival_order: ArrivalOrder
    ) -> Deferred:
        try:
            return self._settle_together(requests, wakes, arrival_order)
        except Unavailable:
            raise
        except Exception as error:
            for request in requests:
                log.exception("command.dead_lettered", stamp=request.received.stamp)
                add_dead_letter(self.store.engine, request.received, error)
            for order_id in wakes:
                log.exception("wake.failed", order_id=order_id)
            return Deferred()

    def _attempt(
        self, requests: Sequence[ParsedCommand], wakes: Sequence[str], arrival_order: ArrivalOrder
    ) -> Deferred:
        began = time.monotonic()
        traces = [request.received.trace for request in requests if request.received.trace]
        attributes = {"commands": len(requests), "orders": len(wakes)}
        with span("settle", links=traces, attributes=attributes):
            batch, steps = self._foresee(requests, wakes, arrival_order)
            with writing(self.store.engine) as connection:
                loaded_state = self._load(connection, requests, wakes)
                if batch is None or not batch.page.still_holds_in(loaded_state):
                    batch, steps = self._judge(loaded_state, requests, wakes, arrival_order)
                for step in steps:
                    step(connection)
        self.notify()
        took_ms = round(1000 * (time.monotonic() - began), 1)
        log.info("batch.settled", **batch.counts(), woken=len(wakes), took_ms=took_ms)
        return batch.held

    def _foresee(
        self, requests: Sequence[ParsedCommand], wakes: Sequence[str], arrival_order: ArrivalOrder
    ) -> tuple[Batch | None, list[FlushStep]]:
        """Handle a batch before our turn to write, where everybody else would wait meanwhile.

        What was decided holds only if, when our turn has come, all that was read still stands.
        """
        if not has_one_writer(self.store.engine):
            return None, []
        with reading(self.store.engine) as connection:
            loaded_state = self._load(connection, requests, wakes)
        return self._judge(loaded_state, requests, wakes, arrival_order)

    def _load(
        self, connection: Connection, requests: Sequence[ParsedCommand], wakes: Sequence[str]
    ) -> LoadedState:
        commands = [request.command for request in requests if request.command is not None]
        return self.store.load(connection, commands, wakes)

    def _judge(
        self,
        loaded_state: LoadedState,
        requests: Sequence[ParsedCommand],
        wakes: Sequence[str],
        arrival_order: ArrivalOrder,
    ) -> tuple[Batch, list[FlushStep]]:
        batch = Batch(loaded_state, arrival_order)
        for request in requests:
            batch.judge(request)
        batch.wake(wakes)
        return batch, flush_steps(loaded_state)


def _batches(items: Sequence[T]) -> Iterator[Sequence[T]]:
    return (items[first : first + MOST] for first in range(0, len(items), MOST))
