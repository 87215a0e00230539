"""Consumer: takes messages from a queue for Dramatiq, and cannot be hurt by any of them."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import redis
import structlog
from dramatiq import Message
from dramatiq.broker import Consumer, MessageProxy
from dramatiq.errors import ConnectionClosed

from models.errors import TransientError
from workers.queue import messages as queue_messages
from workers.queue.in_flight import FEW, HELD_S, TAKEN, InFlightMessages, ProcessState, company
from workers.queue.messages import (
    ACTORS,
    MAX_MESSAGE_BYTES,
    Bundle,
    Delivery,
    MalformedMessage,
    RefusedItem,
    unwrap,
)
from workers.queue.redis import FetchedMessage, FetchLimits, Keys
from workers.runtime import RateLimiter
from workers.signing import Keyring
from workers.timestamps import from_us

log = structlog.get_logger()


MAX_DEATHS = 3
"""Workers that may die while they have a message: whoever kills three, kills the fourth."""


POISON_MESSAGE = f"its worker died {MAX_DEATHS} times while it had this message"


def read_delivery(queue: str, message: FetchedMessage, keys: Keyring) -> Delivery:
    """Make a delivery of a message, whatever it is. Nothing that came in can raise here."""
    try:
        delivery = _decode(queue, message, keys)
    except MalformedMessage as fault:
        delivery = _refused_delivery(queue, message, str(fault))
    except Exception as error:  # noqa: BLE001 - no message may hurt its reader, however it is made
        delivery = _refused_delivery(queue, message, f"unreadable: {type(error).__name__}")
    delivery.payload, delivery.attempts = message.payload, message.attempts
    return delivery


def _decode(queue: str, message: FetchedMessage, keys: Keyring) -> Delivery:
    if message.size > MAX_MESSAGE_BYTES:
        raise MalformedMessage(f"longer than {MAX_MESSAGE_BYTES} bytes")
    if message.at is None and message.fresh:
        raise MalformedMessage("no stamp of our door")
    at = None if message.at is None else from_us(message.at)
    delivery = unwrap(queue, message.message_id, message.payload, keys, at)
    return _poison_message(queue, message, delivery) if message.attempts >= MAX_DEATHS else delivery


def _poison_message(queue: str, message: FetchedMessage, delivery: Delivery) -> Delivery:
    """Take a message that kills its workers out of circulation; its commands are kept whole."""
    refusal = _refused_item(queue, message, POISON_MESSAGE)
    refusal_with_commands = replace(refusal, commands=tuple(delivery.commands))
    return Delivery(
        message.message_id, refused=[*delivery.refused, refusal_with_commands], score=delivery.score
    )


def _refused_delivery(queue: str, message: FetchedMessage, reason: str) -> Delivery:
    refusal = _refused_item(queue, message, reason)
    return Delivery(message.message_id, refused=[refusal], score=message.at or 0)


def _refused_item(queue: str, message: FetchedMessage, reason: str) -> RefusedItem:
    return RefusedItem(queue, message.message_id, message.payload, reason, message.size)


BUNDLE = 256
"""Messages settled in one commit: beyond it the cost per command no longer falls."""


MOST_BYTES = 512 * 1024
"""Bytes taken at once, of long messages: more would leave other workers with nothing to do."""


IDLE_S = 1.0
"""How long an idle consumer waits to be notified before it shows again that it lives."""


DOUBT_S = 10.0
"""How often a consumer compares what it has with what Redis believes that it has."""


class BundleConsumer(Consumer):
    """Takes messages many at a time, quarantines what is none, and never lets go by accident."""

    def __init__(self, process_state: ProcessState, queue: str) -> None:
        """Start with nothing in flight."""
        self.crew, self.queue, self.keys = process_state, queue, Keys(queue)
        self.scripts = process_state.scripts
        self.hands = InFlightMessages()
        self.unclean: list[Delivery] = []
        self.failed, self.more = False, False
        self.compared_at = self.clean_at = 0.0
        self.room, self.pace = threading.Event(), RateLimiter()
        process_state.join(self, queue)

    def __next__(self) -> MessageProxy | None:
        """Return the next bundle, or None after a while without one. Never raise."""
        try:
            self.room.clear()
            if self.hands.full():
                # Not for long: whoever asks for nothing would count as dead.
                self.room.wait(IDLE_S / 2)
            self.pace.wait()
            # Not in turn: a slow database must not keep the other queue from showing life.
            deliveries = self._cleaned()
            with self.crew.turn:
                self._settle_doubts()
                deliveries = self._taken(deliveries)
            if deliveries:
                self.pace.note_work()
                return self._bundle(deliveries)
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
        # Nothing is handed out now: what was taken for it is taken up again later.
        self.hands.rest(but=[delivery.message_id for delivery in self.unclean])
        self.failed = True
        self.room.clear()
        self.room.wait(IDLE_S)

    def ack(self, message: MessageProxy) -> None:
        """Forget what the bundle's commit has settled; the rest is handled again in a moment."""
        bundle: Bundle = message.kwargs["bundle"]
        settled_ids = [
            delivery.message_id
            for delivery in bundle.deliveries
            if delivery.message_id in bundle.settled
        ]
        try:
            self.scripts.ack(self.keys, self.crew.name, settled_ids)
        except redis.RedisError as error:
            # Dramatiq calls again until this works; nothing is handled twice by that.
            raise ConnectionClosed(str(error)) from None  # type: ignore[no-untyped-call]
        self.hands.put_down(bundle)
        self.crew.make_room()

    def nack(self, message: MessageProxy) -> None:
        """Treat a failure like an unsettled bundle: nothing is lost, it comes again."""
        self.ack(message)

    def requeue(self, messages: Iterable[MessageProxy]) -> None:
        """Do nothing: `release` gives back everything at once, in order."""

    def release(self) -> None:
        """Give back whatever was taken and not settled."""
        try:
            self.scripts.release(self.keys, self.crew.name)
        except redis.RedisError as error:
            log.warning("release.failed", queue=self.queue, error=str(error))

    def restore(self) -> None:
        """Tell Redis what we have: it may have been wiped, or have forgotten its last second."""
        in_flight = [
            (delivery.message_id, delivery.payload, delivery.score, delivery.attempts)
            for delivery in self.hands.all()
        ]
        self.scripts.restore(self.keys, self.crew.name, in_flight)

    def give_back(self, deliveries: Sequence[Delivery], *, behind: bool = False) -> None:
        """Put messages that nobody works on back into the queue."""
        message_ids = [delivery.message_id for delivery in deliveries]
        self.scripts.give_back(self.keys, self.crew.name, message_ids, behind=behind)
        self.hands.drop(message_ids)

    def _settle_doubts(self) -> None:
        if not self.failed and time.monotonic() - self.compared_at < DOUBT_S:
            return
        if self.failed:
            self.restore()
        # A reply that was lost may have taken messages that we do not know of: give them back.
        known_ids = [delivery.message_id for delivery in self.hands.all()]
        self.scripts.release(self.keys, self.crew.name, but=known_ids)
        self.failed, self.compared_at = False, time.monotonic()

    def _taken(self, deliveries: list[Delivery]) -> list[Delivery]:
        """Take up what has rested, then take what waits, as much as may be worked on at once."""
        at_work = [
            delivery for consumer in self.crew.everyone() for delivery in consumer.hands.at_work()
        ]
        at_work_count = len(at_work)
        max_at_work = min(
            (company(delivery.attempts) for delivery in [*at_work, *deliveries]), default=company(0)
        )
        capacity = 0 if self.hands.full() else BUNDLE - len(deliveries)
        deliveries += self.hands.pick_up(at_work_count + len(deliveries), max_at_work, capacity)
        max_at_work = min(
            (company(delivery.attempts) for delivery in deliveries), default=max_at_work
        )
        room = min(capacity, BUNDLE - len(deliveries), TAKEN - len(self.hands))
        deliveries += self._fetch(room, at_work_count + len(deliveries), max_at_work)
        self._make_way(deliveries)
        return deliveries

    def _fetch(self, room: int, at_work: int, max_at_work: int) -> list[Delivery]:
        limits = self.taking(room, at_work, max_at_work)
        fetched = self.scripts.fetch(self.keys, self.crew.name, limits)
        self.crew.remember(fetched.epoch)
        self.more = fetched.more
        deliveries = [
            read_delivery(self.queue, message, self.crew.signing) for message in fetched.found
        ]
        self.hands.take(deliveries)
        self.unclean += [delivery for delivery in deliveries if delivery.refused]
        return [
            delivery
            for delivery in deliveries
            if not delivery.refused and not self._split(delivery)
        ]

    def taking(self, room: int, at_work: int, max_at_work: int) -> FetchLimits:
        """Say how much may be taken where `at_work` are worked on and `max_at_work` may be."""
        longest, epoch = queue_messages.MAX_MESSAGE_BYTES, self.crew.epoch
        return FetchLimits(room, at_work, max_at_work, FEW, longest, MOST_BYTES, epoch)

    def _split(self, delivery: Delivery) -> bool:
        """Take a message apart whose taker has died twice, so that its neighbours live."""
        if delivery.attempts < MAX_DEATHS - 1:
            return False
        parts = queue_messages.split_delivery(self.queue, delivery)
        if len(parts) > 1:
            name = delivery.message_id
            self.scripts.split(self.keys, self.crew.name, name, parts)
            self.hands.drop([name])
        return len(parts) > 1

    def _make_way(self, deliveries: list[Delivery]) -> None:
        """Give back what rests where it could be blamed for a death, or is too much."""
        suspicious = any(delivery.attempts for delivery in deliveries)
        for consumer in self.crew.everyone():
            resting = consumer.hands.resting()
            blamed = [
                delivery for delivery in resting if deliveries and (suspicious or delivery.attempts)
            ]
            consumer.give_back(blamed)
        # All of them wait for somebody older, who must be able to get in.
        resting = self.hands.resting()
        if len(resting) > TAKEN // 2:
            self.give_back(resting, behind=True)

    def _cleaned(self) -> list[Delivery]:
        """Quarantine what is for nobody; return what is left of the messages it was in.

        What cannot be kept now stays taken, is in nobody's way, and is tried again.
        """
        if time.monotonic() < self.clean_at:
            return []
        waiting, self.unclean, clean = self.unclean, [], []
        for delivery in waiting:
            if not self._clean(delivery):
                self.unclean.append(delivery)
                self.clean_at = time.monotonic() + IDLE_S
            elif delivery.commands or delivery.orders:
                clean.append(delivery)
        return clean

    def _clean(self, delivery: Delivery) -> bool:
        try:
            while delivery.refused:
                self.crew.quarantine(delivery.refused[-1])
                delivery.refused.pop()
            if not (delivery.commands or delivery.orders):
                self.scripts.ack(self.keys, self.crew.name, [delivery.message_id])
                self.hands.drop([delivery.message_id])
        except Exception as error:  # noqa: BLE001 - whatever it is, the others are served
            kind = type(error).__name__
            log.warning("quarantine.waiting", queue=self.queue, error=kind)
            return False
        return True

    def _bundle(self, deliveries: list[Delivery]) -> MessageProxy:
        self.hands.hand_out(deliveries)
        kwargs = {"bundle": Bundle(deliveries)}
        actor = ACTORS[self.queue]
        message: Message[Any] = Message(
            queue_name=self.queue, actor_name=actor, args=(), kwargs=kwargs, options={}
        )
        return MessageProxy(message)

    def _wait(self) -> None:
        if self.more or self.hands.full() or len(self.hands) >= TAKEN:
            self.room.wait(IDLE_S / 2)
        elif self.hands.resting():
            self.room.wait(HELD_S)
        else:
            self.crew.client.blpop([self.keys.notify], timeout=IDLE_S)
