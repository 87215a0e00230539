"""Redis: the connection, and the keys and scripts through which messages travel."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Any, cast

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from workers import settings

NAMESPACE = os.environ.get("EARNEST_NAMESPACE") or settings.NAMESPACE
"""What the names of all keys begin with: fixed for as long as a process lives, as they are in every
module. Two installations on one Redis have two. `Settings.read` refuses what is no name."""


COMMANDS = "commands"


WAKEUPS = "wakeups"


QUEUES = (COMMANDS, WAKEUPS)


WORKERS_KEY = f"{NAMESPACE}:workers"


EPOCH_KEY = f"{NAMESPACE}:epoch"


STAMP_KEY = f"{NAMESPACE}:stamp"


STALLED_KEY = f"{NAMESPACE}:stalled"


HELD_KEY = f"{NAMESPACE}:held"


MAX_WAITING = 1_000_000
"""Messages that may wait in a queue: memory for a gigabyte of commands, then senders are told."""


MAX_MENDED = 200_000
"""Messages beyond which nobody looks for lost ones: that would keep the living waiting."""


MAX_ITEMS = 1_000
"""Commands, or orders to wake, that one message may carry."""


RESERVATION_US = 15_000_000
"""How long stamps stay reserved for a message that does not come."""


MAX_TEXT_BYTES = 1024 * 1024
"""Bytes of other workers' messages worth reading; whatever came in after those waits for them."""


SCRIPT_NAMES = (
    *("enqueue", "reserve", "hand_in", "fetch", "frontier", "wait", "ack"),
    *("release", "rescue", "mend", "restore", "split"),
)


def connect(url: str) -> redis.Redis:
    """Return a client that never repeats a write by itself: repeats are ours to decide."""
    client: redis.Redis = redis.Redis.from_url(
        url,
        retry=Retry(NoBackoff(), 0),
        socket_timeout=5,
        socket_connect_timeout=2,
        health_check_interval=30,
        max_connections=64,
    )
    return client


@dataclass(frozen=True, slots=True)
class Keys:
    """The names of one queue's keys; `lua/common.lua` says what each holds."""

    queue: str
    namespace: str = NAMESPACE

    @property
    def waiting(self) -> str:
        return f"{self.namespace}:{self.queue}"

    @property
    def messages(self) -> str:
        return f"{self.waiting}.msgs"

    @property
    def pending(self) -> str:
        return f"{self.waiting}.pending"

    @property
    def attempts(self) -> str:
        return f"{self.waiting}.attempts"

    @property
    def subjects(self) -> str:
        return f"{self.waiting}.subjects"

    @property
    def waiters(self) -> str:
        return f"{self.waiting}.waiters"

    @property
    def notify(self) -> str:
        return f"{self.waiting}.bell"

    @property
    def floor(self) -> str:
        return f"{self.waiting}.floor"

    def taken(self, worker: str) -> str:
        return f"{self.waiting}.taken.{worker}"


def worker_bell(worker: str) -> str:
    """Name the list on which a worker is told that what it waits for has changed."""
    return f"{NAMESPACE}:bell.{worker}"


@dataclass(frozen=True, slots=True)
class FetchLimits:
    """How much a worker may take: `limit` messages, beside those it works on.

    `at_work` is how many those are, and for their sake there may be `max_at_work`; a message whose
    taker has died once bears `max_beside_suspect`. With `before`, only earlier stamps are taken.
    """

    limit: int
    at_work: int = 0
    max_at_work: int = 1_000_000
    max_beside_suspect: int = 1
    longest: int = 4 * 1024 * 1024
    most_bytes: int = 16 * 1024 * 1024
    epoch: str = ""
    before: int | None = None


@dataclass(frozen=True, slots=True)
class FetchedMessage:
    """A message as Redis holds it: `size` bytes, of which `payload` may be the beginning.

    `stamp` is its first command's, in microseconds; `attempts` counts takers that died with it.
    """

    message_id: str
    payload: bytes
    size: int
    stamp: int
    attempts: int = 0


@dataclass(frozen=True, slots=True)
class FetchResult:
    """What a fetch brought; `more` tells that messages were left although there was room."""

    epoch: str
    more: bool
    messages: list[FetchedMessage] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class EarlierMessage:
    """An unsettled message of somebody else, and the stamp of its first command.

    `subjects` is what its commands are about, as its reader wrote it down; None where nobody has
    read it yet, and then there is its `payload`.
    """

    message_id: str
    stamp: int
    subjects: bytes | None
    payload: bytes = b""


@dataclass(frozen=True, slots=True)
class FrontierReply:
    """Earlier messages as of `now`; from the stamp `unknown_from` on nothing is known."""

    epoch: str
    now: int
    unknown_from: int | None
    earlier: list[EarlierMessage]


@cache
def script_text(name: str) -> str:
    """Return a script as Redis is given it: what all share, and then its own part."""
    folder = files("workers") / "queue" / "lua"
    parts = (folder / f"{part}.lua" for part in ("common", name))
    return "".join(part.read_text(encoding="utf-8") for part in parts)


class Scripts:
    """The scripts, registered once per client."""

    def __init__(self, client: redis.Redis) -> None:
        """Register the scripts; nothing is sent yet."""
        self._client = client
        self._scripts = {name: client.register_script(script_text(name)) for name in SCRIPT_NAMES}

    def load(self) -> None:
        """Let Redis learn the scripts, for senders who may run them but not teach them."""
        for script in self._scripts.values():
            self._client.script_load(cast("str", script.script))

    def enqueue(self, keys: Keys, messages: Sequence[tuple[str, int, str]]) -> list[int]:
        """Enqueue messages, given as (id, commands in it, text); nothing when the queue is full.

        Returns the stamp of each message's first command; the others follow it without gaps.
        """
        flat = [part for message in messages for part in message]
        return [int(stamp) for stamp in self._call("enqueue", keys, [MAX_WAITING, *flat])]

    def reserve(self, messages: Sequence[tuple[str, int, bytes]]) -> list[int]:
        """Reserve stamps for commands that come later, as (message id, commands, subjects).

        Returns the stamp of each message's first command.
        """
        flat = [part for message in messages for part in message]
        return [int(stamp) for stamp in self._call("reserve", Keys(COMMANDS), flat)]

    def hand_in(
        self, keys: Keys, messages: Sequence[tuple[str, int, str | bytes]], *, front: bool
    ) -> int:
        """Enqueue messages whose stamps are given, as (id, stamp, text); return how many are new.

        `front` says that most are older than what waits.
        """
        flat = [part for message in messages for part in message]
        return int(self._call("hand_in", keys, [int(front), *flat]))

    def fetch(self, keys: Keys, worker: str, limits: FetchLimits) -> FetchResult:
        """Take messages, and show that the worker lives."""
        numbers = [max(0, limits.limit), limits.at_work, limits.max_at_work]
        numbers += [limits.max_beside_suspect]
        before = "" if limits.before is None else limits.before
        sizes = [limits.longest, limits.most_bytes]
        arguments = [worker, *numbers, *sizes, limits.epoch, before, MAX_ITEMS]
        flat = self._call("fetch", keys, arguments)
        messages = [
            FetchedMessage(
                _text(flat[n]), flat[n + 1], flat[n + 2], _stamp(flat[n + 3]), flat[n + 4]
            )
            for n in range(2, len(flat), 5)
        ]
        return FetchResult(flat[0].decode(), flat[1] == b"1", messages)

    def frontier(
        self,
        keys: Keys,
        own: Mapping[str, bytes],
        *,
        before: int | None = None,
        with_texts: bool = True,
    ) -> FrontierReply:
        """Say what messages are about, and return the unsettled ones of others.

        Only those that begin `before` a stamp. Without texts, it ends at the first that nobody has
        read.
        """
        bound = "+inf" if before is None else f"({before}"
        mode = "texts" if with_texts else "stop"
        flat_own = [part for message_id, blob in own.items() for part in (_raw(message_id), blob)]
        arguments = [bound, mode, MAX_TEXT_BYTES, *flat_own]
        flat = self._call("frontier", keys, arguments)
        earlier = [
            EarlierMessage(_text(flat[n]), _stamp(flat[n + 1]), flat[n + 2][1:])
            if flat[n + 2].startswith(b"1")
            else EarlierMessage(_text(flat[n]), _stamp(flat[n + 1]), None, flat[n + 2][1:])
            for n in range(3, len(flat), 3)
        ]
        unknown_from = _stamp(flat[2]) if flat[2] else None
        return FrontierReply(flat[0].decode(), int(flat[1]), unknown_from, earlier)

    def wait(self, keys: Keys, worker: str, blockers: Mapping[str, int]) -> bool:
        """Ask to be woken when messages change; tell whether one has already.

        For each message: how many bytes of subjects it had when the worker looked.
        """
        flat = [part for name, length in blockers.items() for part in (_raw(name), length)]
        return bool(self._call("wait", keys, [worker, *flat]))

    def ack(
        self,
        keys: Keys,
        worker: str,
        ids: Collection[str],
        shrunk: Mapping[str, bytes] | None = None,
    ) -> None:
        """Forget settled messages; `shrunk` says what is left of those settled in part."""
        rest = [part for name, blob in (shrunk or {}).items() for part in (_raw(name), blob)]
        if ids or rest:
            self._call("ack", keys, [worker, len(ids), *map(_raw, ids), *rest])

    def release(self, keys: Keys, worker: str, *, but: Collection[str] = ()) -> int:
        """Put back what the worker has taken, except `but`; return how many."""
        return int(self._call("release", keys, [worker, "but", *map(_raw, but)]))

    def give_back(self, keys: Keys, worker: str, ids: Collection[str]) -> int:
        """Put back some of what the worker has taken; return how many."""
        if not ids:
            return 0
        return int(self._call("release", keys, [worker, "only", *map(_raw, ids)]))

    def restore(
        self, keys: Keys, worker: str, in_flight: Collection[tuple[str, bytes, int, int]]
    ) -> None:
        """Say again what the worker has taken, where the server may have forgotten it.

        Messages are given as id, text, stamp, and takers that died.
        """
        flat = [part for message_id, *fields in in_flight for part in (_raw(message_id), *fields)]
        if flat:
            self._call("restore", keys, [worker, *flat])

    def split(
        self, keys: Keys, worker: str, message_id: str, parts: Sequence[tuple[str, str, int]]
    ) -> None:
        """Replace a message by its parts, given as (id, text, stamp)."""
        flat = [part for name, text, stamp in parts for part in (_raw(name), text, stamp)]
        self._call("split", keys, [worker, _raw(message_id), *flat])

    def rescue(self, keys: Keys, silent_ms: int, *, last: bool) -> list[str]:
        """Give back what dead workers had taken; return the ids."""
        return [_text(name) for name in self._call("rescue", keys, [silent_ms, int(last)])]

    def mend(self, keys: Keys, *, thoroughly: bool) -> tuple[int, int, bool]:
        """Count messages and those who have them; `thoroughly`, put right what does not agree.

        Returns how many messages were put back, how many entries were dropped, and whether the
        numbers agreed.
        """
        mode = "mend" if thoroughly else "count"
        arguments = [mode, MAX_MENDED, RESERVATION_US]
        returned_count, dropped_count, odd = self._call("mend", keys, arguments)
        return int(returned_count), int(dropped_count), odd == b"0"

    def _call(self, name: str, keys: Keys, args: Iterable[Any]) -> Any:  # noqa: ANN401
        return self._scripts[name](keys=[keys.waiting, keys.namespace], args=list(args))


def _stamp(score: bytes) -> int:
    # What no script of ours has given counts as earlier than all, until it is taken and stamped.
    return int(score) if score.isdigit() else 0


def _text(message_id: bytes) -> str:
    # Whatever bytes somebody chose for an id, it must be possible to give them back.
    return message_id.decode("utf-8", "surrogateescape")


def _raw(message_id: str) -> bytes:
    return message_id.encode("utf-8", "surrogateescape")
