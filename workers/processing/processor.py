"""Processor: handles batches of commands and writes down, at once, everything that follows."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TypeVar

import structlog
from sqlalchemy import Connection

from models.errors import Conflict, Unavailable
from workers.database.archive import ArchivedOrdersNeeded
from workers.database.engine import has_one_writer, reading, writing
from workers.database.repository import FlushStep, LoadedState, Store, flush_steps
from workers.processing.batch import ArrivalOrder, Batch, hold_back
from workers.processing.failures import add_dead_letter
from workers.queue.consumer import MessageBatch
from workers.queue.frontier import Frontier
from workers.queue.messages import HeldCommand, Received, announce
from workers.runtime import span

T = TypeVar("T")


log = structlog.get_logger()


ATTEMPTS = 5
"""How often a batch is handled anew when another writer came first."""


CONTENDED_ATTEMPTS = 2
"""The same for a command that has failed so before: the next batch comes back to it."""


MAX_COMMIT = 500
"""Commands, or orders to wake, in one transaction: locks are held for tens of milliseconds."""


PAUSE_S = 0.02


class BatchProcessor:
    """Handles batches against the store. A command ends settled, dead-lettered or held."""

    def __init__(self, store: Store, clock: ArrivalOrder, notify: Callable[[], None]) -> None:
        """Keep where orders are written, what is received, and whom to tell of new events."""
        self.store = store
        self.clock = clock
        self.notify = notify
        self._contended = set[int]()

    def settle_batch(self, batch: MessageBatch) -> None:
        """Settle the commands of some messages, and leave word what the rest of them waits for."""
        commands = [command for delivery in batch.deliveries for command in delivery.commands]
        announcements = {
            delivery.message_id: announce(delivery.stamp, delivery.commands)
            for delivery in (*batch.deliveries, *batch.consumer.refused)
        }
        held = self.settle(commands, announcements, batch.acknowledge)
        batch.blockers = [item.blocker for item in held]
        self.clock.note_held(held)

    def settle(
        self,
        commands: Sequence[Received],
        announcements: Mapping[str, bytes] | None = None,
        acknowledge: Callable[[Iterable[Received]], None] = lambda _: None,
    ) -> list[HeldCommand]:
        """Settle commands in the order of their stamps; return those that must wait, and for what.

        `announcements` says what the messages that they came in are about. What is settled is
        acknowledged commit by commit. A message may come twice and a worker may die between any two
        lines. Both are harmless: one transaction holds every write, and the receipts in it turn a
        second delivery into a read. Raise `Unavailable` while the database or Redis is away: what
        is not acknowledged was not written then.
        """
        if not commands:
            return []
        requests = sorted(commands, key=lambda received: received.stamp)
        self._contended &= {received.stamp for received in requests}
        frontier = self.clock.frontier(announcements or {}, before=requests[-1].stamp)
        held: list[HeldCommand] = []
        for chunk in _chunks(requests):
            still_held = [
                item
                for part in self._set_apart(chunk)
                for item in self._settle_chunk(part, frontier)
            ]
            waiting = {item.received.stamp for item in still_held}
            acknowledge([received for received in chunk if received.stamp not in waiting])
            held += still_held
        return held

    def wake(self, subjects: Sequence[str]) -> None:
        """Tell orders, creators and debts that time has passed; raise as `settle` does.

        Whoever is busy with one holds it for a moment; after a few looks it waits for its next
        wake-up.
        """
        waiting = sorted(subjects)
        for attempt in range(1, ATTEMPTS):
            locked = [name for chunk in _chunks(waiting) for name in self._wake_chunk(chunk)]
            if not locked:
                return
            waiting = locked
            time.sleep(attempt * PAUSE_S)

    def _wake_chunk(self, subjects: Sequence[str]) -> list[str]:
        """Wake some subjects; return those whose rows somebody else has locked."""
        frontier = self.clock.wakeup_frontier()
        try:
            return self._settle_together([], subjects, frontier).locked_wakes
        except Unavailable:
            raise
        except Exception as error:  # noqa: BLE001 - one order's fault is not its neighbours'
            log.warning("batch.divided", orders=len(subjects), error=str(error))
        return [name for subject in subjects for name in self._wake_alone(subject, frontier)]

    def _set_apart(self, requests: Sequence[Received]) -> Iterator[list[Received]]:
        """Divide commands so that one which somebody else always comes before is by itself."""
        part: list[Received] = []
        for received in requests:
            if received.stamp in self._contended:
                yield from (part, [received])
                part = []
            else:
                part.append(received)
        yield part

    def _settle_chunk(self, requests: Sequence[Received], frontier: Frontier) -> list[HeldCommand]:
        """Settle what may be settled now; what is about the same as something earlier is held."""
        held, ready = list[HeldCommand](), list[Received]()
        for received in requests:
            blocker = frontier.find_blocker(received.stamp, received.parsed.keys)
            if blocker is None:
                ready.append(received)
            else:
                held.append(HeldCommand(received, blocker))
                hold_back(frontier, received)
        for item in self._settle_safely(ready, frontier) if ready else ():
            held.append(item)
            hold_back(frontier, item.received)
        return held

    def _settle_safely(self, requests: Sequence[Received], frontier: Frontier) -> list[HeldCommand]:
        try:
            return self._settle_together(requests, (), frontier).held
        except Unavailable:
            raise
        except Exception as error:  # noqa: BLE001 - one command's fault is not its neighbours'
            log.warning("batch.divided", commands=len(requests), error=str(error))
        held: list[HeldCommand] = []
        behind = frontier.branch()
        for received in requests:
            for item in self._settle_alone(received, behind):
                held.append(item)
                hold_back(behind, item.received)
        return held

    def _settle_together(
        self, requests: Sequence[Received], wakes: Sequence[str], frontier: Frontier
    ) -> Batch:
        is_contended = any(received.stamp in self._contended for received in requests)
        for attempt in range(1, CONTENDED_ATTEMPTS if is_contended else ATTEMPTS):
            try:
                return self._attempt(requests, wakes, frontier)
            except Conflict as conflict:
                log.info("batch.retried", commands=len(requests), because=str(conflict)[:200])
                if isinstance(conflict, ArchivedOrdersNeeded):
                    self.store.restore(conflict.order_ids)
                # Whoever came first is about to commit; a little later there is no conflict.
                time.sleep(attempt * PAUSE_S)
        return self._attempt(requests, wakes, frontier)

    def _settle_alone(self, received: Received, frontier: Frontier) -> list[HeldCommand]:
        try:
            return self._settle_together([received], (), frontier).held
        except Unavailable:
            raise
        except Conflict as conflict:
            # Somebody else comes first each time: it waits as if a row that it needs were locked.
            log.warning("command.waiting", stamp=received.stamp, because=str(conflict)[:200])
            self._contended.add(received.stamp)
            return [HeldCommand(received, None)]
        except Exception as error:
            log.exception("command.dead_lettered", stamp=received.stamp)
            add_dead_letter(self.store.engine, received, error)
            return []

    def _wake_alone(self, subject: str, frontier: Frontier) -> list[str]:
        try:
            return self._settle_together([], [subject], frontier).locked_wakes
        except Unavailable:
            raise
        except Conflict:
            return [subject]
        except Exception:
            log.exception("wake.failed", order_id=subject)
            return []

    def _attempt(
        self, requests: Sequence[Received], wakes: Sequence[str], frontier: Frontier
    ) -> Batch:
        began = time.monotonic()
        traces = [received.trace for received in requests if received.trace]
        attributes = {"commands": len(requests), "orders": len(wakes)}
        with span("settle", links=traces, attributes=attributes):
            batch, steps = self._foresee(requests, wakes, frontier)
            with writing(self.store.engine) as connection:
                loaded_state = self._load(connection, requests, wakes)
                if batch is None or not batch.page.still_holds_in(loaded_state):
                    batch, steps = self._judge(loaded_state, requests, wakes, frontier)
                for step in steps:
                    step(connection)
        self.notify()
        took_ms = round(1000 * (time.monotonic() - began), 1)
        log.info("batch.settled", **batch.counts(), woken=len(wakes), took_ms=took_ms)
        return batch

    def _foresee(
        self, requests: Sequence[Received], wakes: Sequence[str], frontier: Frontier
    ) -> tuple[Batch | None, list[FlushStep]]:
        """Handle a batch before our turn to write, where everybody else would wait meanwhile.

        What was decided holds only if, when our turn has come, all that was read still stands.
        """
        if not has_one_writer(self.store.engine):
            return None, []
        with reading(self.store.engine) as connection:
            loaded_state = self._load(connection, requests, wakes)
        return self._judge(loaded_state, requests, wakes, frontier)

    def _load(
        self, connection: Connection, requests: Sequence[Received], wakes: Sequence[str]
    ) -> LoadedState:
        commands = [
            received.parsed.command for received in requests if received.parsed.command is not None
        ]
        return self.store.load(connection, commands, wakes)

    def _judge(
        self,
        loaded_state: LoadedState,
        requests: Sequence[Received],
        wakes: Sequence[str],
        frontier: Frontier,
    ) -> tuple[Batch, list[FlushStep]]:
        batch = Batch(loaded_state, frontier.branch())
        for received in requests:
            batch.judge(received)
        batch.wake(wakes)
        return batch, flush_steps(loaded_state)


def _chunks(items: Sequence[T]) -> Iterator[Sequence[T]]:
    return (items[first : first + MAX_COMMIT] for first in range(0, len(items), MAX_COMMIT))
