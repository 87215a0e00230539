"""Redis: the connection, and the keys and scripts through which messages travel."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any, cast

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

NAMESPACE = "dramatiq"


COMMANDS = "commands"


WAKEUPS = "wakeups"


QUEUES = (COMMANDS, WAKEUPS)


HEARTBEATS_KEY = f"{NAMESPACE}:__heartbeats__"


EPOCH_KEY = f"{NAMESPACE}:__epoch__"


MAX_WAITING = 1_000_000
"""Messages that may wait in a queue: memory for a gigabyte of commands, then senders are told."""


MAX_MENDED = 200_000
"""Messages beyond which nobody looks for lost ones: that would keep the living waiting."""


SCRIPT_NAMES = (
    "enqueue",
    "hand_in",
    "fetch",
    "ack",
    "release",
    "rescue",
    "mend",
    "restore",
    "split",
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
    """The names of one queue's keys; the Lua scripts say what each holds."""

    queue: str

    @property
    def waiting(self) -> str:
        return f"{NAMESPACE}:{self.queue}"

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
    def notify(self) -> str:
        return f"{self.waiting}.bell"

    @property
    def stamp(self) -> str:
        return f"{self.waiting}.stamp"

    @property
    def floor(self) -> str:
        return f"{self.waiting}.floor"

    def taken(self, consumer: str) -> str:
        return f"{NAMESPACE}:__acks__.{consumer}.{self.queue}"


@dataclass(frozen=True, slots=True)
class FetchLimits:
    """How much a consumer may take: `limit` messages, beside those its process works on.

    `hands` of them are at work, and for the sake of those there may be `company` at most; a
    message whose taker has died may keep `few`.
    """

    limit: int
    hands: int = 0
    company: int = 1_000_000
    few: int = 1
    longest: int = 4 * 1024 * 1024
    most_bytes: int = 16 * 1024 * 1024
    epoch: str = ""


@dataclass(frozen=True, slots=True)
class FetchedMessage:
    """A message as Redis holds it: `size` bytes, of which `payload` may be the beginning.

    `at` is its receipt in microseconds, None where Redis has none on record; `attempts` counts
    takers that died with it; `fresh` ones are taken for the first time.
    """

    message_id: str
    payload: bytes
    size: int
    at: int | None
    attempts: int = 0
    fresh: bool = True


@dataclass(frozen=True, slots=True)
class FetchResult:
    """What a fetch brought; `more` tells that messages were left although there was room."""

    epoch: str
    more: bool
    found: list[FetchedMessage] = field(default_factory=list)


class Scripts:
    """The scripts, registered once per client."""

    def __init__(self, client: redis.Redis) -> None:
        """Register the scripts; nothing is sent yet."""
        folder = files("workers") / "queue" / "lua"
        self._client = client
        self._scripts = {
            name: client.register_script((folder / f"{name}.lua").read_text(encoding="utf-8"))
            for name in SCRIPT_NAMES
        }

    def load(self) -> None:
        """Let Redis learn the scripts, for senders who may run them but not teach them."""
        for script in self._scripts.values():
            self._client.script_load(cast("str", script.script))

    def enqueue(self, keys: Keys, messages: Sequence[tuple[str, int, str, str]]) -> int:
        """Enqueue (id, commands, text before, text after the stamp); 0 when the queue is full.

        Returns the first command's stamp; the others follow it without gaps.
        """
        flat = [part for message in messages for part in message]
        names = [keys.waiting, keys.messages, keys.pending, keys.notify, keys.stamp]
        return int(self._call("enqueue", names, [MAX_WAITING, *flat]))

    def hand_in(self, keys: Keys, messages: Sequence[tuple[str, int, str]], *, front: bool) -> int:
        """Enqueue (id, received_at, text) that bear their stamps; return how many were new."""
        flat = [part for message in messages for part in message]
        names = [keys.waiting, keys.messages, keys.pending, keys.attempts, keys.notify]
        return int(self._call("hand_in", names, [int(front), *flat]))

    def fetch(self, keys: Keys, consumer: str, limits: FetchLimits) -> FetchResult:
        """Take messages, and show that the consumer lives."""
        names = [keys.waiting, keys.messages, keys.pending, keys.attempts, keys.floor]
        names += [keys.taken(consumer), HEARTBEATS_KEY, EPOCH_KEY]
        numbers = [max(0, limits.limit), limits.hands, limits.company, limits.few]
        sizes = [limits.longest, limits.most_bytes]
        flat = self._call("fetch", names, [consumer, *numbers, *sizes, limits.epoch])
        messages = [_fetched_message(*flat[n : n + 6]) for n in range(2, len(flat), 6)]
        return FetchResult(flat[0].decode(), flat[1] == b"1", messages)

    def ack(self, keys: Keys, consumer: str, ids: Sequence[str]) -> None:
        """Forget settled messages."""
        if ids:
            names = [keys.messages, keys.pending, keys.attempts, keys.taken(consumer)]
            self._call("ack", names, map(_raw, ids))

    def release(self, keys: Keys, consumer: str, *, but: Collection[str] = ()) -> int:
        """Put back what the consumer has taken, except `but`; return how many."""
        return self._release(keys, consumer, ["front", "but", *map(_raw, but)])

    def give_back(
        self, keys: Keys, consumer: str, ids: Collection[str], *, behind: bool = False
    ) -> int:
        """Put back some of what the consumer has taken, in front or behind; return how many."""
        queue_end = "back" if behind else "front"
        return self._release(keys, consumer, [queue_end, "only", *map(_raw, ids)]) if ids else 0

    def _release(self, keys: Keys, consumer: str, arguments: list[str | bytes]) -> int:
        names = [keys.waiting, keys.pending, keys.attempts, keys.notify, keys.taken(consumer)]
        return int(self._call("release", names, arguments))

    def restore(
        self, keys: Keys, consumer: str, in_flight: Collection[tuple[str, bytes, int, int]]
    ) -> None:
        """Say again what the consumer has taken, where the server may have forgotten it.

        Messages are given as id, text, receipt in microseconds, and takers that died.
        """
        names = [keys.messages, keys.pending, keys.attempts, keys.taken(consumer)]
        flat = [part for message_id, *fields in in_flight for part in (_raw(message_id), *fields)]
        if flat:
            self._call("restore", names, flat)

    def split(
        self, keys: Keys, consumer: str, message_id: str, parts: Sequence[tuple[str, str]]
    ) -> None:
        """Replace a message by its parts, given as (id, text)."""
        names = [keys.waiting, keys.messages, keys.pending, keys.attempts, keys.taken(consumer)]
        flat = [_raw(value) for part in parts for value in part]
        self._call("split", names, [_raw(message_id), *flat])

    def rescue(self, keys: Keys, silent_ms: int, *, last: bool) -> list[str]:
        """Give back what dead consumers had taken; return the ids."""
        names = [HEARTBEATS_KEY, keys.waiting, keys.pending, keys.attempts, keys.notify]
        flat = self._call("rescue", names, [silent_ms, *_taken_key_affixes(keys), int(last)])
        return [_text(message_id) for message_id in flat]

    def mend(self, keys: Keys, *, thoroughly: bool) -> tuple[int, int, bool]:
        """Count messages and those who have them; `thoroughly`, put right what does not agree.

        Returns how many messages were put back, how many entries were dropped, and whether the
        numbers agreed.
        """
        names = [
            HEARTBEATS_KEY,
            keys.waiting,
            keys.messages,
            keys.pending,
            keys.attempts,
            keys.notify,
        ]
        mode = "mend" if thoroughly else "count"
        returned_count, dropped_count, odd = self._call(
            "mend", names, [*_taken_key_affixes(keys), mode, MAX_MENDED]
        )
        return int(returned_count), int(dropped_count), odd == b"0"

    def _call(self, name: str, keys: Sequence[str], args: Iterable[Any]) -> Any:  # noqa: ANN401
        return self._scripts[name](keys=list(keys), args=list(args))


def _taken_key_affixes(keys: Keys) -> list[str]:
    """Say what stands before and after a consumer's id in the name of its set."""
    return keys.taken("\0").split("\0")


def _fetched_message(
    message_id: bytes, payload: bytes, size: int, at: bytes, attempts: int, fresh: bytes
) -> FetchedMessage:
    instant = int(at) if at else None
    return FetchedMessage(_text(message_id), payload, size, instant, attempts, fresh == b"1")


def _text(message_id: bytes) -> str:
    # Whatever bytes somebody chose for an id, it must be possible to give them back.
    return message_id.decode("utf-8", "surrogateescape")


def _raw(message_id: str) -> bytes:
    return message_id.encode("utf-8", "surrogateescape")
