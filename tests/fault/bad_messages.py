"""Bad messages: messages that no honest sender writes, put raw into Redis among honest ones."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import redis

from workers.queue.redis import COMMANDS, WAKEUPS, Keys
from workers.timestamps import now_us

TARGET_ORDER_ID = "o-victim"
FORGED_COMMAND_ID = "cmd-forged"


@dataclass(frozen=True, slots=True)
class BadMessage:
    """One bad message: into which queue, and its bytes."""

    name: str
    payload: bytes
    queue: str = COMMANDS

    def send(self, client: redis.Redis, number: int, *, stamped: bool = True) -> None:
        """Put it where a worker will find it; with a forged arrival stamp, or with none."""
        keys, message_id = Keys(self.queue), f"bad-{number}"
        client.hset(keys.messages, message_id, self.payload)
        if stamped:
            client.zadd(keys.pending, {message_id: now_us()})
        client.rpush(keys.waiting, message_id)
        client.rpush(keys.notify, "1")


def all_bad_messages() -> list[BadMessage]:
    """List every bad message."""
    return [
        *_broken_bytes(),
        *_wrong_json(),
        *_envelopes(),
        *_forged_stamps(),
        *_commands(),
        *_wakeups(),
    ]


def message_bytes(*texts: object, **changes: object) -> bytes:
    """Write a message as the client does, but for what is changed; None leaves a field out."""
    stamp = now_us()
    envelope: dict[str, Any] = {
        "queue_name": COMMANDS,
        "actor_name": "settle_commands",
        "args": [],
        "options": {},
        "message_id": "bad",
        "message_timestamp": stamp // 1000,
        "kwargs": {"commands": list(texts)},
    }
    envelope |= changes
    return json.dumps(
        {field: value for field, value in envelope.items() if value is not None}
    ).encode()


def forged_command(**changes: object) -> str:
    """Write a command that an outsider would like to have applied."""
    body = {
        "id": FORGED_COMMAND_ID,
        "kind": "cancel_order",
        "by": {"role": "operator", "id": "op"},
        "order_id": TARGET_ORDER_ID,
    }
    return json.dumps(body | changes)


def _broken_bytes() -> Iterator[BadMessage]:
    yield BadMessage("nothing", b"")
    yield BadMessage("a zero byte", b"\0")
    yield BadMessage("zero bytes", b"\0" * 1000)
    yield BadMessage("not UTF-8", b"\xff\xfe\xfd")
    yield BadMessage("half a character", b'{"queue_name": "\xe6\x98"}')
    yield BadMessage("a byte order mark", b"\xef\xbb\xbf" + message_bytes("{}"))
    yield BadMessage("UTF-16", message_bytes("{}").decode().encode("utf-16"))
    yield BadMessage("half a message", message_bytes("{}")[:-20])
    yield BadMessage("a message and more", message_bytes("{}") + b"{}")
    yield BadMessage("two messages", message_bytes("{}") * 2)
    yield BadMessage("a pickle", b"\x80\x04\x95\x10\x00\x00\x00\x00\x00\x00\x00\x8c\x05posix\x94.")
    yield BadMessage("five megabytes", b"[" + b"1," * 2_500_000 + b"1]")
    yield BadMessage("five megabytes of message", message_bytes("x" * 5_000_000))
    yield BadMessage("a hundred thousand brackets", b"[" * 100_000)
    yield BadMessage("a hundred thousand objects", b'{"a":' * 100_000 + b"1" + b"}" * 100_000)
    yield BadMessage(
        "deep arguments", message_bytes("{}").replace(b"[]", b"[" * 5000 + b"]" * 5000)
    )


def _wrong_json() -> Iterator[BadMessage]:
    for name, text in (
        ("null", b"null"),
        ("a number", b"7"),
        ("a text", b'"settle_commands"'),
        ("a list", b"[]"),
        ("an empty object", b"{}"),
        ("NaN", b"NaN"),
        ("a number of 5000 digits", b"9" * 5000),
        (
            "infinity as arguments",
            message_bytes("{}").replace(b'"args": []', b'"args": [Infinity]'),
        ),
        ("an object of NaN", b'{"kwargs": NaN}'),
    ):
        yield BadMessage(name, text)


def _envelopes() -> Iterator[BadMessage]:
    yield BadMessage("another queue", message_bytes("{}", queue_name="elsewhere"))
    yield BadMessage("the clock's queue", message_bytes("{}", queue_name=WAKEUPS))
    yield BadMessage("no queue", message_bytes("{}", queue_name=None))
    yield BadMessage("a number for a queue", message_bytes("{}", queue_name=1))
    yield BadMessage("another actor", message_bytes("{}", actor_name="os.system"))
    yield BadMessage("the clock's actor", message_bytes("{}", actor_name="wake_orders"))
    yield BadMessage("no actor", message_bytes("{}", actor_name=None))
    yield BadMessage("no kwargs", message_bytes("{}", kwargs=None))
    yield BadMessage("kwargs that are a list", message_bytes("{}", kwargs=[]))
    yield BadMessage("kwargs that are a text", message_bytes("{}", kwargs="commands"))
    yield BadMessage("commands that are a text", message_bytes(kwargs=_kwargs(commands="{}")))
    yield BadMessage(
        "commands that are an object", message_bytes(kwargs=_kwargs(commands={"0": "{}"}))
    )
    yield BadMessage("no commands", message_bytes())
    yield BadMessage("ten thousand commands", message_bytes(*["{}"] * 10_000))
    yield BadMessage("a command that is an object", message_bytes({"id": "cmd-forged"}))
    yield BadMessage("a command that is null", message_bytes(None))
    yield BadMessage("good and bad commands mixed", message_bytes("{}", 7))
    yield BadMessage("a batch", message_bytes(kwargs={"batch": {"deliveries": []}}))
    for name, arguments in (
        ("arguments that are an object", {"0": ["{}"]}),
        ("a text by position", ["{}"]),
        ("a command by position, without its list", [{"id": FORGED_COMMAND_ID}]),
        ("two lists by position", [["{}"], ["{}"]]),
        ("an empty list by position", [[]]),
        ("a list of lists by position", [[["{}"]]]),
    ):
        yield BadMessage(name, message_bytes(args=arguments, kwargs={}))


def _forged_stamps() -> Iterator[BadMessage]:
    """List messages that say when they were received: nobody reads it there."""
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
        yield BadMessage(name, message_bytes(kwargs=fields))


def _kwargs(**changes: object) -> dict[str, object]:
    return {"commands": ["{}"]} | changes


def _commands() -> Iterator[BadMessage]:
    """List commands that arrive in good order and are none."""
    for name, text in (
        ("an empty command", ""),
        ("a command that is no JSON", "cancel o-victim"),
        ("a command with a zero byte", forged_command(order_id="o\0victim")),
        ("a command with half a character", forged_command(reason="\ud800")),
        ("a command with a raw surrogate", forged_command().replace("op", "\ud83d")),
        ("a command too deep", '{"a":' * 50_000),
        ("a command too long", forged_command(reason="x" * 100_000)),
        ("a command of huge numbers", forged_command(amount_fen=10**400)),
        ("a command with NaN", forged_command().replace('"o-victim"', "NaN")),
        ("a command with a field twice", forged_command()[:-1] + ', "order_id": "o-other"}'),
        ("a timeout", forged_command(kind="enforce_deadline")),
        ("the clock itself", forged_command(by={"role": "clock", "id": "clock"})),
        ("a receipt of its own", forged_command(received_at="2020-01-01T00:00:00Z")),
        ("a number for an id", forged_command(id=12345678)),
        ("no id", forged_command(id=None)),
        ("an id of braces", forged_command(id="{a}{b}{c}")),
    ):
        yield BadMessage(name, message_bytes(text))


def _wakeups() -> Iterator[BadMessage]:
    """List wake-ups that the scheduler did not send: time does not pass for being told so."""
    address = {"queue_name": WAKEUPS, "actor_name": "wake_orders"}
    for name, orders in (
        ("a wake-up of nobody", []),
        ("a wake-up of a number", [7]),
        ("a wake-up of an object", [{"order_id": TARGET_ORDER_ID}]),
        ("a wake-up of five thousand", [TARGET_ORDER_ID] * 5_000),
    ):
        yield BadMessage(name, message_bytes(kwargs={"orders": orders}, **address), WAKEUPS)
    yield BadMessage(
        "a command among the wake-ups", message_bytes(forged_command(), **address), WAKEUPS
    )
    yield BadMessage(
        "a wake-up among the commands", message_bytes(kwargs={"orders": [TARGET_ORDER_ID]})
    )
    options = {"pipe_target": {"actor_name": "settle_commands"}, "eta": 1, "max_retries": 9}
    yield BadMessage(
        "a wrong actor with options", message_bytes("{}", actor_name="x", options=options)
    )
