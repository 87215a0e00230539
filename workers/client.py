"""Client: how upstream Python systems hand in commands."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import redis

from models.errors import TransientError, Unavailable
from workers.queue.messages import MAX_MESSAGE_BYTES, UNSIGNED, wrap
from workers.queue.redis import COMMANDS, Keys, Scripts
from workers.signing import Keyring

PER_MESSAGE = 100
"""Commands in one message of `submit_many`."""


PER_CALL = 100
"""Messages in one call to Redis."""


MAX_CHARACTERS = MAX_MESSAGE_BYTES // 13
"""Characters in one message: written as ASCII one may take twelve bytes, and signatures some."""


class QueueFull(TransientError):
    """So much is waiting that nothing more is taken in: try again when it has been settled."""


class CommandClient:
    """Hands in commands. Every one is stamped with its time of receipt by the server itself.

    An error says nothing about what arrived: send again under the same ids, each takes effect
    once.
    """

    def __init__(self, client: redis.Redis, keys: Keyring = UNSIGNED) -> None:
        """Keep the connection (`workers.queue.redis.connect`) and the keys to sign with, if any."""
        self._scripts = Scripts(client)
        self._keys = keys

    def submit(self, command: Mapping[str, Any] | str) -> int:
        """Hand in one command, as a JSON object or its text; return its stamp.

        Raise `Unavailable` when Redis is away, `QueueFull` when too much is waiting.
        """
        return self.submit_many([command], per_message=1)[0]

    def submit_many(
        self,
        commands: Iterable[Mapping[str, Any] | str],
        *,
        per_message: int = PER_MESSAGE,
        trace: str | None = None,
    ) -> list[int]:
        """Hand in many commands, in order; return their stamps. Errors as for `submit`.

        The outcome of a submission is the event `command:<id>` whose sequence is its stamp. Its
        events bear `trace`, a W3C `traceparent`, if one is given.
        """
        stamps: list[int] = []
        for group in _chunks(map(_text, commands), PER_CALL * per_message):
            packets = list(_packets(group, per_message))
            messages = [
                wrap(COMMANDS, packet, self._keys, [trace] * len(packet)) for packet in packets
            ]
            try:
                first_stamps = self._scripts.enqueue(Keys(COMMANDS), messages)
            except redis.RedisError as error:
                raise Unavailable(f"Redis did not answer: {error}") from error
            if not first_stamps:
                raise QueueFull("too many messages are waiting: try again in a moment")
            for packet, first in zip(packets, first_stamps, strict=True):
                stamps.extend(range(first, first + len(packet)))
        return stamps


def _text(command: Mapping[str, Any] | str) -> str:
    return command if isinstance(command, str) else json.dumps(command, ensure_ascii=False)


def _chunks(items: Iterable[str], size: int) -> Iterator[Sequence[str]]:
    source = iter(items)
    while group := list(islice(source, size)):
        yield group


def _packets(texts: Sequence[str], per_message: int) -> Iterator[Sequence[str]]:
    """Divide commands into messages that workers will not find too long."""
    packet: list[str] = []
    length = 0
    for text in texts:
        full = len(packet) == per_message or length + len(text) > MAX_CHARACTERS
        if packet and full:
            yield packet
            packet, length = [], 0
        packet.append(text)
        length += len(text)
    if packet:
        yield packet
