"""Messages: how commands travel in a Dramatiq message, written here and distrusted here."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property
from typing import Any
from uuid import uuid4

from models.commands import AnyCommand
from models.commands.parsing import MalformedCommand, parse_command
from models.errors import PermanentError
from models.service.subjects import subjects_of
from workers.queue.frontier import ABOUT_NOTHING, Blocker, SubjectKeys
from workers.queue.redis import COMMANDS, MAX_ITEMS, WAKEUPS, FetchedMessage
from workers.signing import Keyring
from workers.timestamps import from_us


@dataclass(frozen=True, slots=True)
class ParsedCommand:
    """What a text says, or what is wrong with it; a malformed command is about nothing."""

    command: AnyCommand | None
    fault: MalformedCommand | None
    keys: SubjectKeys = ABOUT_NOTHING


@dataclass(frozen=True)
class Received:
    """One command as it was received.

    `stamp` is the instant of receipt in microseconds, and unique: a redelivery bears the same one,
    a sender that asks again gets another. `at` is that instant, except for a dead letter that is
    replayed, which keeps the one it had. `message_id` names the message it travelled in. `trace` is
    the sender's W3C trace context, which its events are given, and means nothing to us.
    """

    text: str
    at: datetime
    stamp: int
    message_id: str
    trace: str | None = None

    @cached_property
    def parsed(self) -> ParsedCommand:
        """Read the text, once."""
        try:
            command = parse_command(self.text)
        except MalformedCommand as fault:
            return ParsedCommand(None, fault)
        return ParsedCommand(command, None, SubjectKeys.of(subjects_of(command)))


@dataclass(frozen=True, slots=True)
class HeldCommand:
    """A command that is not handled yet, and what it waits for.

    `blocker` is None where somebody else has locked a row.
    """

    received: Received
    blocker: Blocker | None


def announce(stamp: int, commands: Iterable[Received]) -> bytes:
    """Write down what commands of a message are about; `stamp` is its first command's."""
    return b"".join(command.parsed.keys.announcement(command.stamp - stamp) for command in commands)


ACTORS = {COMMANDS: "settle_commands", WAKEUPS: "wake_orders"}
"""The one actor of each queue; a message for any other is nobody's."""


ITEM_FIELDS = {COMMANDS: "commands", WAKEUPS: "orders"}
"""What the messages of each queue carry."""


MAX_MESSAGE_BYTES = 4 * 1024 * 1024
"""The longest message worth decoding: a batch of honest commands is a tenth of it."""


UNSIGNED = Keyring()


_TRACE = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")


_SUBJECT = re.compile(
    r"[A-Za-z0-9_-]{1,64}|(?:creator|refund|payout|parked|suspense):[A-Za-z0-9_~:-]{1,160}"
)


class MalformedMessage(PermanentError):
    """A message that no actor of ours can have been sent; says what is wrong with it."""


@dataclass(frozen=True, slots=True)
class RefusedItem:
    """What came through Redis and is for nobody: a message, or one item of it.

    `payload` may be only the beginning of its `size` bytes. `commands` are those to be kept
    whole, as dead letters: they may be honest.
    """

    queue: str
    name: str
    payload: bytes
    reason: str
    size: int
    commands: tuple[Received, ...] = ()


@dataclass(slots=True)
class Delivery:
    """One message as taken from a queue: commands to settle, or orders to wake.

    `attempts` counts takers that died with it; `stamp` is its first command's, in microseconds;
    `refused` is what of it must be quarantined before the rest is anybody's business. What is
    settled leaves `commands`.
    """

    message_id: str
    commands: list[Received] = field(default_factory=list)
    orders: list[str] = field(default_factory=list)
    refused: list[RefusedItem] = field(default_factory=list)
    payload: bytes = b""
    attempts: int = 0
    stamp: int = 0


@dataclass(slots=True)
class Bundle:
    """Messages taken together: one commit settles them, one call acknowledges them.

    `settled` is what the actor achieved: ids of messages that need not come again.
    """

    deliveries: list[Delivery]
    settled: set[str] = field(default_factory=set)


def wrap(
    queue: str,
    texts: Sequence[str],
    keys: Keyring = UNSIGNED,
    traces: Sequence[str | None] = (),
    message_id: str | None = None,
) -> tuple[str, int, str]:
    """Write a message of `texts`; return its id, how many items it carries, and its text.

    Commands travel as text: a malformed one cannot spoil the message around it. When they were
    received stands beside the message, where no sender writes.
    """
    # Ids in the order of writing: where receipts are equal, the older message goes first.
    message_id = message_id or f"{time.time_ns():x}-{uuid4().hex}"
    kwargs: dict[str, Any] = {ITEM_FIELDS[queue]: list(texts)}
    if keys:
        kwargs["signatures"] = [keys.sign(text) for text in texts]
    if any(traces):
        kwargs["traces"] = list(traces)
    return message_id, len(texts), _message(queue, message_id, kwargs)


def _message(queue: str, message_id: str, kwargs: dict[str, Any]) -> str:
    message = {
        "queue_name": queue,
        "actor_name": ACTORS[queue],
        "args": [],
        "kwargs": kwargs,
        "options": {"redis_message_id": message_id},
        "message_id": message_id,
        "message_timestamp": time.time_ns() // 1_000_000,
    }
    return json.dumps(message, ensure_ascii=True, separators=(",", ":"))


MAX_DEATHS = 3
"""Workers that may die while they have a message: whoever kills three, kills the fourth."""


POISON_MESSAGE = f"its worker died {MAX_DEATHS} times while it had this message"


def read_message(queue: str, message: FetchedMessage, keys: Keyring = UNSIGNED) -> Delivery:
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
    delivery = unwrap(queue, message.message_id, message.payload, message.stamp, keys)
    return _poison_message(queue, message, delivery) if message.attempts >= MAX_DEATHS else delivery


def _poison_message(queue: str, message: FetchedMessage, delivery: Delivery) -> Delivery:
    """Take a message that kills its workers out of circulation; its commands are kept whole."""
    refusal = _refused_item(queue, message, POISON_MESSAGE)
    refusal_with_commands = replace(refusal, commands=tuple(delivery.commands))
    return Delivery(
        message.message_id, refused=[*delivery.refused, refusal_with_commands], stamp=message.stamp
    )


def _refused_delivery(queue: str, message: FetchedMessage, reason: str) -> Delivery:
    refusal = _refused_item(queue, message, reason)
    return Delivery(message.message_id, refused=[refusal], stamp=message.stamp)


def _refused_item(queue: str, message: FetchedMessage, reason: str) -> RefusedItem:
    return RefusedItem(queue, message.message_id, message.payload, reason, message.size)


def unwrap(
    queue: str, message_id: str, payload: bytes, stamp: int, keys: Keyring = UNSIGNED
) -> Delivery:
    """Read a message taken from a queue; raise `MalformedMessage` where it is not one of ours.

    Only its items and their signatures are believed. Options are never looked at. `stamp` is its
    first command's, the others follow it without gaps.
    """
    kwargs = _kwargs(queue, payload)
    texts = _items(kwargs, ITEM_FIELDS[queue])
    delivery = Delivery(message_id, payload=payload, stamp=stamp)
    faults = _signature_faults(texts, kwargs.get("signatures"), keys)
    for number, fault in faults.items():
        raw = texts[number].encode("utf-8", "surrogatepass")
        delivery.refused.append(RefusedItem(queue, f"{message_id}#{number}", raw, fault, len(raw)))
    if queue == WAKEUPS:
        if not all(map(_SUBJECT.fullmatch, texts)):
            raise MalformedMessage("orders: ids are wanted")
        delivery.orders = [text for n, text in enumerate(texts) if n not in faults]
    else:
        items = enumerate(zip(texts, _traces(kwargs, len(texts)), strict=True))
        delivery.commands = [
            Received(text, from_us(stamp + n), stamp + n, message_id, trace)
            for n, (text, trace) in items
            if n not in faults
        ]
    return delivery


def split_delivery(queue: str, delivery: Delivery) -> list[tuple[str, str, int]]:
    """Write a delivery's items as messages of their own, as (id, text, stamp).

    A part is named by its stamp, so that the inbox can tell whose it is.
    """
    kwargs = _kwargs(queue, delivery.payload)
    texts, messages = _items(kwargs, ITEM_FIELDS[queue]), []
    signatures, traces = kwargs.get("signatures"), _traces(kwargs, len(texts))
    for number, text in enumerate(texts):
        part_kwargs: dict[str, Any] = {ITEM_FIELDS[queue]: [text]}
        if isinstance(signatures, list) and len(signatures) == len(texts):
            part_kwargs["signatures"] = [signatures[number]]
        if traces[number]:
            part_kwargs["traces"] = [traces[number]]
        stamp = delivery.stamp + number
        part_id = f"{delivery.message_id}.{stamp}"
        messages.append((part_id, _message(queue, part_id, part_kwargs), stamp))
    return messages


def _kwargs(queue: str, payload: bytes) -> dict[str, Any]:
    """Read what a message calls its actor with: by name, or the items alone by position."""
    if len(payload) > MAX_MESSAGE_BYTES:
        raise MalformedMessage(f"longer than {MAX_MESSAGE_BYTES} bytes")
    try:
        message = json.loads(payload)
    except (ValueError, RecursionError) as error:
        raise MalformedMessage(f"not JSON: {type(error).__name__}") from None
    if not isinstance(message, dict):
        raise MalformedMessage("not a message")
    if message.get("queue_name") != queue or message.get("actor_name") != ACTORS[queue]:
        raise MalformedMessage("addressed to another queue or actor")
    args, kwargs = message.get("args", []), message.get("kwargs", {})
    if not isinstance(args, list) or not isinstance(kwargs, dict) or len(args) > 1:
        raise MalformedMessage("not a message")
    return {ITEM_FIELDS[queue]: args[0]} | kwargs if args else kwargs


def _traces(kwargs: dict[str, Any], count: int) -> list[str | None]:
    """Read the items' trace contexts; what is none is dropped, and costs nobody anything."""
    traces = kwargs.get("traces")
    if not isinstance(traces, list) or len(traces) != count:
        return [None] * count
    return [traceparent(trace) for trace in traces]


def traceparent(candidate: object) -> str | None:
    """Return a trace context if it is one of W3C's version 00, else None."""
    honest = isinstance(candidate, str) and _TRACE.fullmatch(candidate)
    return str(candidate) if honest else None


def _items(kwargs: dict[str, Any], name: str) -> list[str]:
    items = kwargs.get(name)
    if not isinstance(items, list) or not 1 <= len(items) <= MAX_ITEMS:
        raise MalformedMessage(f"{name}: a list of 1 to {MAX_ITEMS} is wanted")
    if not all(isinstance(item, str | dict) for item in items):
        raise MalformedMessage(f"{name}: texts or objects are wanted")
    return [
        item if isinstance(item, str) else json.dumps(item, ensure_ascii=False) for item in items
    ]


def _signature_faults(texts: list[str], signatures: object, keys: Keyring) -> dict[int, str]:
    """Say which items are not signed as they must be, and why."""
    if not keys:
        return {}
    signature_list = signatures if isinstance(signatures, list) else []
    item_signatures = [*signature_list[: len(texts)], *[None] * (len(texts) - len(signature_list))]
    faults = ((n, keys.fault(text, item_signatures[n])) for n, text in enumerate(texts))
    return {n: fault for n, fault in faults if fault}
