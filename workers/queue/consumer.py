"""Consumer: takes messages from a queue for Dramatiq, and cannot be hurt by any of them."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import redis
import structlog
from dramatiq import Message
from dramatiq.broker import Consumer, MessageProxy

from models.errors import TransientError
from workers.queue import messages as queue_messages
from workers.queue.frontier import Blocker
from workers.queue.in_flight import (
    MAX_BESIDE_SUSPECT,
    MAX_TAKEN,
    InFlightMessages,
    ProcessState,
    max_at_once,
)
from workers.queue.messages import (
    ACTORS,
    MAX_DEATHS,
    Delivery,
    Received,
    RefusedItem,
    announce,
    read_message,
)
from workers.queue.redis import FetchLimits, Keys, worker_bell
from workers.runtime import RateLimiter

log = structlog.get_logger()


MAX_BATCH = 500
"""Messages taken at once: as many commands as one commit settles, where each has one."""


MAX_BATCH_BYTES = 512 * 1024
"""Bytes taken at once, of long messages: more would leave other workers with nothing to do."""


IDLE_S = 1.0
"""How long an idle consumer waits to be notified before it shows again that it lives."""


RETRY_S = 0.05
"""How long a command is held whose row somebody else has locked: nobody tells when it is free."""


MAX_QUARANTINED_AT_ONCE = 1_000
"""Items quarantined between two batches: tens of milliseconds."""


COMPARE_INTERVAL_S = 10.0
"""How often a consumer compares what it has with what Redis believes that it has."""


@dataclass(slots=True)
class MessageBatch:
    """Messages taken together, and the consumer that hears what became of them."""

    consumer: BatchConsumer
    deliveries: list[Delivery]
    blockers: list[Blocker | None] = field(default_factory=list)

    def acknowledge(self, commands: Iterable[Received]) -> None:
        """Forget commands that a commit has settled."""
        self.consumer.acknowledge(commands)

    def acknowledge_all(self) -> None:
        """Forget the messages: what they asked for is done."""
        self.consumer.forget([delivery.message_id for delivery in self.deliveries])


class BatchConsumer(Consumer):
    """Takes messages many at a time, quarantines what is none, and never lets go by accident.

    What could not be settled, because something earlier is not yet, is held, and is part of every
    batch to come. Where there is nothing else to do it is waited for on a signal.
    """

    def __init__(self, process_state: ProcessState, queue: str) -> None:
        """Start with nothing in flight."""
        self.process, self.queue, self.keys = process_state, queue, Keys(queue)
        self.scripts = process_state.scripts
        self.in_flight = InFlightMessages()
        self.refused: list[Delivery] = []
        self.is_busy, self.failed, self.more = False, False, False
        self.blockers: list[Blocker | None] = []
        self.compared_at = self.clean_at = 0.0
        self.room, self.pace = threading.Event(), RateLimiter()
        process_state.join(self, queue)

    def __next__(self) -> MessageProxy | None:
        """Return the next batch, or None after a while without one. Never raise."""
        try:
            self.room.clear()
            if self.is_busy:
                # Not for long: whoever asks for nothing would count as dead.
                self.room.wait(IDLE_S / 2)
            self.pace.wait()
            # Not in turn: a slow database must not keep the other queue from showing life.
            cleaned = self._quarantine_refused()
            with self.process.turn:
                self._compare()
                deliveries, is_news = self._take(cleaned)
            if deliveries and (is_news or self._may_continue()):
                self.pace.note_work()
                return self._batch(deliveries)
            if not deliveries:
                self._wait()
        except (redis.RedisError, TransientError) as error:
            # Timeout, read-only, out of memory, loading: whatever it is, we wait and ask again.
            log.warning("consumer.waiting", queue=self.queue, error=str(error)[:300])
            self._fail()
        except Exception:
            log.exception("consumer.failed", queue=self.queue)
            self._fail()
        return None

    def _fail(self) -> None:
        self.failed = True
        self.room.clear()
        self.room.wait(IDLE_S)

    def ack(self, message: MessageProxy) -> None:
        """End a batch: what is not settled of it is handled again."""
        batch: MessageBatch = message.kwargs["batch"]
        self.blockers = batch.blockers
        self.in_flight.hold(delivery.message_id for delivery in batch.deliveries)
        self.is_busy = False
        self.process.make_room()

    def nack(self, message: MessageProxy) -> None:
        """Treat a failure like an unsettled batch: nothing is lost, it comes again."""
        self.ack(message)

    def requeue(self, messages: Iterable[MessageProxy]) -> None:
        """Do nothing: `release` gives back everything at once, in order."""

    def acknowledge(self, commands: Iterable[Received]) -> None:
        """Forget settled commands, and say what is left of their messages."""
        stamps: dict[str, set[int]] = defaultdict(set)
        for command in commands:
            stamps[command.message_id].add(command.stamp)
        settled, shrunk = self.in_flight.settle(stamps)
        left = {
            delivery.message_id: announce(delivery.stamp, delivery.commands) for delivery in shrunk
        }
        try:
            self.scripts.ack(self.keys, self.process.name, settled, left)
        except redis.RedisError as error:
            # They are settled. Redis gives them out again, and then they are only acknowledged.
            log.warning("ack.failed", queue=self.queue, error=str(error)[:300])
            self.failed = True

    def forget(self, message_ids: Collection[str]) -> None:
        """Forget settled messages."""
        self.scripts.ack(self.keys, self.process.name, message_ids)
        self.in_flight.drop(message_ids)

    def release(self) -> None:
        """Give back whatever was taken and not settled."""
        try:
            self.scripts.release(self.keys, self.process.name)
        except redis.RedisError as error:
            log.warning("release.failed", queue=self.queue, error=str(error))

    def restore(self) -> None:
        """Tell Redis what we have: it may have been wiped, or have forgotten its last second."""
        in_flight = [
            (delivery.message_id, delivery.payload, delivery.stamp, delivery.attempts)
            for delivery in self.in_flight.all()
        ]
        self.scripts.restore(self.keys, self.process.name, in_flight)

    def give_back(self, deliveries: Collection[Delivery]) -> None:
        """Put messages that nobody works on back into the queue."""
        message_ids = [delivery.message_id for delivery in deliveries]
        self.scripts.give_back(self.keys, self.process.name, message_ids)
        self.in_flight.drop(message_ids)

    def _compare(self) -> None:
        if not self.failed and time.monotonic() - self.compared_at < COMPARE_INTERVAL_S:
            return
        if self.failed:
            self.restore()
        # A reply that was lost may have taken messages that we do not know of: give them back.
        known_ids = [delivery.message_id for delivery in self.in_flight.all()]
        self.scripts.release(self.keys, self.process.name, but=known_ids)
        self.failed, self.compared_at = False, time.monotonic()

    def _take(self, cleaned: list[Delivery]) -> tuple[list[Delivery], bool]:
        """Take what waits, beside what is held; tell whether anything of it is new."""
        if self.is_busy:
            # Showing that we live, and no more.
            self._fetch(FetchLimits(0, epoch=self.process.epoch))
            return [], False
        refused_ids = {delivery.message_id for delivery in self.refused}
        held = self.in_flight.held(but=refused_ids)
        at_work = [
            delivery
            for consumer in self.process.everyone()
            for delivery in consumer.in_flight.at_work()
        ]
        deliveries = held[: max(0, max_at_once([*at_work, *held]) - len(at_work))]
        # Where there is no room, only for whom all of those may be waiting.
        is_full = MAX_TAKEN - len(self.in_flight) < MAX_BATCH
        before = held[0].stamp if held and is_full else None
        fetched = self._fetch(self._limits([*at_work, *deliveries], before))
        if held and not fetched and self.more:
            # Those held may be waiting for what may not be taken beside them.
            fetched = self._fetch(self._limits(at_work, held[0].stamp))
            deliveries = [] if fetched else deliveries
        self._make_way([*deliveries, *fetched])
        taken = {delivery.message_id for delivery in self.in_flight.all()}
        batch = [d for d in (*deliveries, *fetched) if d.message_id in taken]
        return batch, bool(fetched or cleaned)

    def _limits(self, at_work: Sequence[Delivery], before: int | None) -> FetchLimits:
        """Say how much may be taken beside what is worked on, if given only `before` a stamp."""
        return FetchLimits(
            limit=MAX_BATCH,
            at_work=len(at_work),
            max_at_work=max_at_once(at_work),
            max_beside_suspect=MAX_BESIDE_SUSPECT,
            longest=queue_messages.MAX_MESSAGE_BYTES,
            most_bytes=MAX_BATCH_BYTES,
            epoch=self.process.epoch,
            before=before,
        )

    def _fetch(self, limits: FetchLimits) -> list[Delivery]:
        reply = self.scripts.fetch(self.keys, self.process.name, limits)
        self.process.remember(reply.epoch)
        self.more = reply.more
        deliveries = [
            read_message(self.queue, message, self.process.keys) for message in reply.messages
        ]
        self.in_flight.take(deliveries)
        self.refused += [delivery for delivery in deliveries if delivery.refused]
        return [
            delivery
            for delivery in deliveries
            if not delivery.refused and not self._split(delivery)
        ]

    def _split(self, delivery: Delivery) -> bool:
        """Take a message apart whose taker has died twice, so that its neighbours live."""
        if delivery.attempts < MAX_DEATHS - 1:
            return False
        parts = queue_messages.split_delivery(self.queue, delivery)
        if len(parts) > 1:
            name = delivery.message_id
            self.scripts.split(self.keys, self.process.name, name, parts)
            self.in_flight.drop([name])
        return len(parts) > 1

    def _make_way(self, deliveries: Sequence[Delivery]) -> None:
        """Give back what could be blamed for a death, and the youngest of too many."""
        suspicious = any(delivery.attempts for delivery in deliveries)
        in_batch = {delivery.message_id for delivery in deliveries}
        for consumer in self.process.everyone():
            bystanders = consumer.in_flight.held(but=in_batch)
            consumer.give_back([d for d in bystanders if deliveries and (suspicious or d.attempts)])
        excess = len(self.in_flight) - MAX_TAKEN
        if excess > 0:
            self.give_back(self.in_flight.held()[-excess:])

    def _may_continue(self) -> bool:
        """Tell whether what is held may be looked at again; wait until something changes."""
        blockers, self.blockers = self.blockers, []
        if not blockers:
            return True
        # What is to be quarantined is settled like somebody else's.
        own = {delivery.message_id for delivery in self.in_flight.all()}
        own -= {delivery.message_id for delivery in self.refused}
        sizes = {
            b.message_id: b.size for b in blockers if b is not None and b.message_id not in own
        }
        if sizes.pop("", None) is not None or None in blockers:
            self.room.wait(RETRY_S)
            return True
        if not sizes or self.scripts.wait(self.keys, self.process.name, sizes):
            return True
        bells = [worker_bell(self.process.name), self.keys.notify]
        self.process.client.blpop(bells, timeout=IDLE_S)
        return True

    def _quarantine_refused(self) -> list[Delivery]:
        """Quarantine what is for nobody; return what remains of the messages it was in.

        So many at a time that the others need not wait for long. What cannot be kept now stays
        taken, is in nobody's way, and is tried again.
        """
        if not self.refused or time.monotonic() < self.clean_at:
            return []
        refused_items = (item for delivery in self.refused for item in delivery.refused)
        items = list(islice(refused_items, MAX_QUARANTINED_AT_ONCE))
        kept_ids = self._keep_together(items)
        for delivery in self.refused:
            delivery.refused = [item for item in delivery.refused if id(item) not in kept_ids]
        clean = [delivery for delivery in self.refused if not delivery.refused]
        self.refused = [delivery for delivery in self.refused if delivery.refused]
        if len(kept_ids) < len(items):
            self.clean_at = time.monotonic() + IDLE_S
        remaining = [delivery for delivery in clean if delivery.commands or delivery.orders]
        remaining_ids = {delivery.message_id for delivery in remaining}
        if settled_ids := {delivery.message_id for delivery in clean} - remaining_ids:
            self.forget(settled_ids)
        return remaining

    def _keep_together(self, items: Sequence[RefusedItem]) -> set[int]:
        """Quarantine items, by themselves if not together; name by `id` those that are kept."""
        try:
            self.process.quarantine(items)
        except TransientError as error:
            log.warning("quarantine.waiting", queue=self.queue, error=str(error)[:300])
            return set()
        except Exception as error:  # noqa: BLE001 - whatever it is, the others are served
            log.warning("quarantine.divided", queue=self.queue, error=type(error).__name__)
            if len(items) == 1:
                return set()
            return {name for item in items for name in self._keep_together([item])}
        return set(map(id, items))

    def _batch(self, deliveries: list[Delivery]) -> MessageProxy:
        self.in_flight.hand_out(deliveries)
        self.is_busy = True
        kwargs = {"batch": MessageBatch(self, deliveries)}
        actor = ACTORS[self.queue]
        message: Message[Any] = Message(
            queue_name=self.queue, actor_name=actor, args=(), kwargs=kwargs, options={}
        )
        return MessageProxy(message)

    def _wait(self) -> None:
        if self.more or self.is_busy:
            self.room.wait(IDLE_S / 2)
        else:
            self.process.client.blpop([self.keys.notify], timeout=IDLE_S)
