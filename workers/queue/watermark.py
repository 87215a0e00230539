"""Watermark: the one clock that decides rights, and up to when everything received is settled."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

import redis
import structlog
from sqlalchemy import Engine

from models.errors import Unavailable
from models.service.subjects import subjects_of
from workers import inbox
from workers.queue import redelivery
from workers.queue.frontier import Blocker, Frontier
from workers.queue.messages import UNSIGNED, HeldCommand, announce, read_message
from workers.queue.redis import (
    COMMANDS,
    EPOCH_KEY,
    HELD_KEY,
    STAMP_KEY,
    EarlierMessage,
    FetchedMessage,
    FrontierReply,
    Keys,
    Scripts,
)
from workers.queue.stalled import STALLED_US, StalledCommand, StallNotes
from workers.signing import Keyring
from workers.timestamps import EPOCH, SECOND_US, from_us, to_us

log = structlog.get_logger()


GRACE = timedelta(seconds=15)
"""How long no deadline takes effect after Redis was wiped: by then every worker that lives has
said again what it has, for one silent as long counts as dead."""


BEGINNING = EPOCH
"""The watermark while nobody can know what is still to be settled."""


class ArrivalClock:
    """Redis says what time it is, and what was received before and is not settled.

    What came by HTTP is there, too, from the moment at which it is received; only what was accepted
    while Redis was away stands in the inbox alone.
    """

    def __init__(
        self, client: redis.Redis, engine: Engine | None, keys: Keyring = UNSIGNED
    ) -> None:
        """Keep the client whose server's clock counts, and the database with the inbox, if any.

        `keys` are those that commands are signed with.
        """
        self.client, self.engine, self.keys = client, engine, keys
        self.scripts = Scripts(client)
        self.must_sweep = False
        self.stall_notes = StallNotes(client)
        self._held_stamps: set[int] = set()
        self._epoch: bytes | None = None
        self._calm_at = 0.0

    def now(self) -> datetime:
        """Return the present by Redis's clock; raise `Unavailable` while Redis is away."""
        try:
            seconds, micros = self.client.time()
        except redis.RedisError as error:
            raise Unavailable(str(error)) from error
        return from_us(seconds * SECOND_US + micros)

    def frontier(self, announcements: Mapping[str, bytes], before: int) -> Frontier:
        """Say what messages are about, and return what was received earlier and is not settled.

        `announcements` are of the messages at hand, by their ids; only what begins `before` a
        stamp matters. Raise `Unavailable` while that cannot be known: when Redis is away, and for
        a while after it was wiped.
        """
        reply = self._ask(announcements, before=before)
        if reply is None:
            raise Unavailable("Redis was wiped: whoever has something in flight is waited for")
        frontier = self._known_frontier(reply)
        for message in reply.earlier:
            if message.subjects is None:
                blob = self._read(message)
                frontier.add_message(message.message_id, message.stamp, blob, is_announced=False)
        return frontier

    def note_held(self, held: Sequence[HeldCommand]) -> None:
        """Count commands that are held back for the first time, and name those held for long."""
        stamps = {item.received.stamp for item in held}
        new, self._held_stamps = stamps - self._held_stamps, stamps
        now = to_us(self.now()) if held else 0
        if new:
            try:
                self.client.incrby(HELD_KEY, len(new))
            except redis.RedisError as error:
                log.warning("held.not_counted", error=str(error)[:300])
        stalled = [
            _describe(item)
            for item in sorted(held, key=lambda item: item.received.stamp)
            if now - item.received.stamp > STALLED_US
        ]
        self.stall_notes.note(stalled, now)

    def wakeup_frontier(self) -> Frontier:
        """Return what time may not pass by: it ends at the oldest message that nobody has read.

        After Redis has been wiped it ends at the beginning of time, until workers have had the
        chance to say again what they have in flight.
        """
        reply = self._ask({}, with_texts=False)
        return Frontier(0) if reply is None else self._known_frontier(reply)

    def watermark(self) -> datetime:
        """Return up to when time may pass where nothing is in flight; see `wakeup_frontier`."""
        return from_us(self.wakeup_frontier().horizon(()))

    def _ask(
        self,
        announcements: Mapping[str, bytes],
        *,
        before: int | None = None,
        with_texts: bool = True,
    ) -> FrontierReply | None:
        """Ask Redis; None where it has forgotten what others may still have."""
        try:
            if self.must_sweep and self.engine is not None:
                # Redis may have lost what it was told last: the inbox has it.
                redelivery.sweep(self.engine, self.client, to_us(self.now()), self.keys)
            self.must_sweep = False
            reply = self.scripts.frontier(
                Keys(COMMANDS), announcements, before=before, with_texts=with_texts
            )
        except redis.RedisError as error:
            self.must_sweep = True
            raise Unavailable(str(error)) from error
        if self._wiped(reply.epoch.encode() or None, reply.now):
            self.must_sweep = True
            return None
        return reply

    def _known_frontier(self, reply: FrontierReply) -> Frontier:
        """Return what is known of what is earlier: what somebody has read."""
        unknown = None
        if reply.unknown_from is not None:
            message = reply.earlier[-1]
            unknown = Blocker(message.message_id, 0, reply.unknown_from)
        oldest = inbox.oldest_unreserved(self.engine) if self.engine else None
        if oldest is not None and (unknown is None or oldest < unknown.stamp):
            unknown = Blocker("", 0, oldest)
        frontier = Frontier(reply.now, unknown)
        for message in reply.earlier:
            if message.subjects is not None:
                frontier.add_message(message.message_id, message.stamp, message.subjects)
        return frontier

    def _read(self, message: EarlierMessage) -> bytes:
        """Read what nobody has read yet, as whoever takes it will."""
        fetched = FetchedMessage(
            message.message_id, message.payload, len(message.payload), message.stamp
        )
        delivery = read_message(COMMANDS, fetched, self.keys)
        return announce(delivery.stamp, delivery.commands)

    def _wiped(self, epoch: bytes | None, present: int) -> bool:
        """Tell whether somebody who lives may have something that Redis has forgotten."""
        if epoch is None:
            # Never used, or wiped a moment ago: whoever knew an epoch knows which.
            return self._epoch is not None
        if self._epoch is not None and epoch != self._epoch:
            self._calm_at = time.monotonic() + GRACE.total_seconds()
        self._epoch = epoch
        recent = present - int(epoch) < GRACE.total_seconds() * SECOND_US and int(epoch) > 0
        return recent or time.monotonic() < self._calm_at


def _describe(item: HeldCommand) -> StalledCommand:
    command = item.received.parsed.command
    about = sorted(subjects_of(command).changes) if command is not None else []
    behind = item.blocker.message_id if item.blocker is not None else ""
    key = command.key if command is not None else "-"
    return StalledCommand(key, item.received.stamp, tuple(about), behind)


def begin_epoch(client: redis.Redis, engine: Engine, *, in_use: bool) -> None:
    """Begin an epoch where Redis remembers none, with stamps above all that were judged.

    `in_use` says that orders exist: then others may have in flight what was wiped, and they must be
    given time. Raise `Unavailable` while Redis is away.
    """
    try:
        if client.exists(STAMP_KEY) and client.exists(EPOCH_KEY):
            return
        seconds, micros = client.time()
        now = seconds * SECOND_US + micros
        client.set(STAMP_KEY, inbox.last_stamp(engine), nx=True)
        client.set(EPOCH_KEY, now if in_use else -now, nx=True)
    except redis.RedisError as error:
        raise Unavailable(str(error)) from error


MARGIN_US = 100
"""How far `LocalArrivalClock` may run ahead of Redis: what clocks drift between looks."""


class LocalArrivalClock:
    """Redis's clock, told without asking each time, and while Redis is away.

    It never runs behind Redis: a stamp is never earlier than a watermark already given out.
    """

    def __init__(self, client: redis.Redis) -> None:
        """Look once; raise `Unavailable` where that fails: without a clock nobody may stamp."""
        self.client = client
        self._lock, self._last, self._ahead = threading.Lock(), 0, 0
        if not self.look():
            raise Unavailable("Redis does not tell the time")

    def look(self) -> bool:
        """Compare with Redis's own clock, if it can be reached."""
        asked_at_us = time.monotonic_ns() // 1_000
        try:
            seconds, micros = self.client.time()
        except redis.RedisError:
            return False
        # As if Redis had looked the moment we asked: never behind, at most a trip ahead.
        self._ahead = seconds * SECOND_US + micros - asked_at_us + MARGIN_US
        return True

    def now(self) -> int:
        """Return the present in microseconds."""
        return time.monotonic_ns() // 1_000 + self._ahead

    def take(self, count: int) -> int:
        """Return the first of `count` stamps that nobody else gets here."""
        with self._lock:
            first = max(self.now(), self._last)
            self._last = first + count
        return first
