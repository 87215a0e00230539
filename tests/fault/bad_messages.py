"""Bad messages: messages that no honest sender writes, put raw into Redis among honest ones."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import redis

from workers.queue.redis import COMMANDS, WAKEUPS, Keys
from workers.timestamps import now_us

VICTIM = "o-victim"


FORGED = "cmd-forged"


@dataclass(frozen=True, slots=True)
class Bad:
    """One bad message: into which queue, and its bytes."""

    name: str
    payload: bytes
    queue: str = COMMANDS

    def send(self, client: redis.Redis, number: int, *, stamped: bool = True) -> None:
        """Put it where it will be found; with a stamp forged, or without asking the door at all."""
        keys, message_id = Keys(self.queue), f"bad-{number}"
        client.hset(keys.messages, message_id, self.payload)
        if stamped:
            client.zadd(keys.pending, {message_id: now_us()})
        client.rpush(keys.waiting, message_id)
        client.rpush(keys.bell, "1")


def corpus() -> list[Bad]:
    """List every bad message."""
    return [*_bytes(), *_shapes(), *_envelopes(), *_stamps(), *_commands(), *_wakeups()]


def message(*texts: object, **changes: object) -> bytes:
    """Write a message as the client does, but for what is changed; None leaves a field out."""
    stamp = now_us()
    envelope: dict[str, Any] = {
        "queue_name": COMMANDS,
        "actor_name": "settle_commands",
        "args": [],
        "options": {},
        "message_id": "bad",
        "message_timestamp": stamp // 1000,
        "kwargs": {"commands": list(texts), "received_at": stamp, "stamp": stamp},
    }
    envelope |= changes
    return json.dumps(
        {field: value for field, value in envelope.items() if value is not None}
    ).encode()


def forged(**changes: object) -> str:
    """Write a command that an outsider would like to see obeyed."""
    body = {
        "id": FORGED,
        "kind": "cancel_order",
        "by": {"role": "operator", "id": "op"},
        "order_id": VICTIM,
    }
    return json.dumps(body | changes)


def _bytes() -> Iterator[Bad]:
    yield Bad("nothing", b"")
    yield Bad("a zero byte", b"\0")
    yield Bad("zero bytes", b"\0" * 1000)
    yield Bad("not UTF-8", b"\xff\xfe\xfd")
    yield Bad("half a character", b'{"queue_name": "\xe6\x98"}')
    yield Bad("a byte order mark", b"\xef\xbb\xbf" + message("{}"))
    yield Bad("UTF-16", message("{}").decode().encode("utf-16"))
    yield Bad("half a message", message("{}")[:-20])
    yield Bad("a message and more", message("{}") + b"{}")
    yield Bad("two messages", message("{}") * 2)
    yield Bad("a pickle", b"\x80\x04\x95\x10\x00\x00\x00\x00\x00\x00\x00\x8c\x05posix\x94.")
    yield Bad("five megabytes", b"[" + b"1," * 2_500_000 + b"1]")
    yield Bad("five megabytes of message", message("x" * 5_000_000))
    yield Bad("a hundred thousand brackets", b"[" * 100_000)
    yield Bad("a hundred thousand objects", b'{"a":' * 100_000 + b"1" + b"}" * 100_000)
    yield Bad("deep arguments", message("{}").replace(b"[]", b"[" * 5000 + b"]" * 5000))


def _shapes() -> Iterator[Bad]:
    for name, text in (
        ("null", b"null"),
        ("a number", b"7"),
        ("a text", b'"settle_commands"'),
        ("a list", b"[]"),
        ("an empty object", b"{}"),
        ("NaN", b"NaN"),
        ("a number of 5000 digits", b"9" * 5000),
        ("infinity as arguments", message("{}").replace(b'"args": []', b'"args": [Infinity]')),
        ("an object of NaN", b'{"kwargs": NaN}'),
    ):
        yield Bad(name, text)


def _envelopes() -> Iterator[Bad]:
    yield Bad("another queue", message("{}", queue_name="elsewhere"))
    yield Bad("the clock's queue", message("{}", queue_name=WAKEUPS))
    yield Bad("no queue", message("{}", queue_name=None))
    yield Bad("a number for a queue", message("{}", queue_name=1))
    yield Bad("another actor", message("{}", actor_name="os.system"))
    yield Bad("the clock's actor", message("{}", actor_name="wake_orders"))
    yield Bad("no actor", message("{}", actor_name=None))
    yield Bad("no kwargs", message("{}", kwargs=None))
    yield Bad("kwargs that are a list", message("{}", kwargs=[]))
    yield Bad("kwargs that are a text", message("{}", kwargs="commands"))
    yield Bad("commands that are a text", message(kwargs=_kwargs(commands="{}")))
    yield Bad("commands that are an object", message(kwargs=_kwargs(commands={"0": "{}"})))
    yield Bad("no commands", message())
    yield Bad("ten thousand commands", message(*["{}"] * 10_000))
    yield Bad("a command that is an object", message({"id": "cmd-forged"}))
    yield Bad("a command that is null", message(None))
    yield Bad("good and bad commands mixed", message("{}", 7))
    yield Bad("a bundle", message(kwargs={"bundle": {"deliveries": []}}))


def _stamps() -> Iterator[Bad]:
    for name, at, stamp in (
        ("no stamp", None, None),
        ("a stamp of text", "now", "now"),
        ("a stamp of zero", 0, 0),
        ("a stamp below zero", -5, -5),
        ("a stamp of 2^53", 2**53, 2**53),
        ("a stamp of 2^80", 2**80, 2**80),
        ("a stamp that is true", True, True),
        ("a stamp with a fraction", 1.5, 1.5),
        ("a stamp before its receipt", now_us(), 1),
    ):
        kwargs = {"commands": ["{}"], "received_at": at, "stamp": stamp}
        fields = {key: value for key, value in kwargs.items() if value is not None}
        yield Bad(name, message(kwargs=fields))


def _kwargs(**changes: object) -> dict[str, object]:
    return {"commands": ["{}"], "received_at": now_us(), "stamp": now_us()} | changes


def _commands() -> Iterator[Bad]:
    """List commands that arrive in good order and are none."""
    for name, text in (
        ("an empty command", ""),
        ("a command that is no JSON", "cancel o-victim"),
        ("a command with a zero byte", forged(order_id="o\0victim")),
        ("a command with half a character", forged(reason="\ud800")),
        ("a command with a raw surrogate", forged().replace("op", "\ud83d")),
        ("a command too deep", '{"a":' * 50_000),
        ("a command too long", forged(reason="x" * 100_000)),
        ("a command of huge numbers", forged(amount_fen=10**400)),
        ("a command with NaN", forged().replace('"o-victim"', "NaN")),
        ("a command with a field twice", forged()[:-1] + ', "order_id": "o-other"}'),
        ("a timeout", forged(kind="enforce_deadline")),
        ("the clock itself", forged(by={"role": "clock", "id": "clock"})),
        ("a receipt of its own", forged(received_at="2020-01-01T00:00:00Z")),
        ("a number for an id", forged(id=12345678)),
        ("no id", forged(id=None)),
        ("an id of braces", forged(id="{a}{b}{c}")),
    ):
        yield Bad(name, message(text))


def _wakeups() -> Iterator[Bad]:
    """List wake-ups that the scheduler did not send: time does not pass for being told so."""
    address = {"queue_name": WAKEUPS, "actor_name": "wake_orders"}
    for name, orders in (
        ("a wake-up of nobody", []),
        ("a wake-up of a number", [7]),
        ("a wake-up of an object", [{"order_id": VICTIM}]),
        ("a wake-up of five thousand", [VICTIM] * 5_000),
    ):
        yield Bad(name, message(kwargs={"orders": orders}, **address), WAKEUPS)
    yield Bad("a command among the wake-ups", message(forged(), **address), WAKEUPS)
    yield Bad("a wake-up among the commands", message(kwargs={"orders": [VICTIM]}))
    options = {"pipe_target": {"actor_name": "settle_commands"}, "eta": 1, "max_retries": 9}
    yield Bad("a wrong actor with options", message("{}", actor_name="x", options=options))
