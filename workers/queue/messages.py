"""Messages: how commands travel in a Dramatiq message, written here and distrusted here."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import uuid4

from models.errors import PermanentError
from workers.queue.redis import COMMANDS, WAKEUPS
from workers.signing import Keyring
from workers.timestamps import from_us, to_us


@dataclass(frozen=True, slots=True)
class Received:
    """One command as it was received.

    `stamp` is unique to this submission: a redelivery bears the same one, a sender that asks
    again gets another. `message_id` names the message it travelled in. `trace` is the sender's
    W3C trace context, which its events are given, and means nothing to us.
    """

    text: str
    at: datetime
    stamp: int
    message_id: str
    trace: str | None = None


ACTORS = {COMMANDS: "settle_commands", WAKEUPS: "wake_orders"}
"""The one actor of each queue; a message for any other is nobody's."""


ITEM_FIELDS = {COMMANDS: "commands", WAKEUPS: "orders"}
"""What the messages of each queue carry."""


MAX_MESSAGE_BYTES = 4 * 1024 * 1024
"""The longest message worth decoding: a batch of honest commands is a tenth of it."""


MAX_ITEMS = 1_000
"""Commands, or orders to wake, that one message may carry."""


UNSIGNED = Keyring()


_TRACE = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")


_SUBJECT = re.compile(r"[A-Za-z0-9_-]{1,64}|(?:creator|refund|payout):[A-Za-z0-9_~-]{1,160}")


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

    `attempts` counts takers that died with it; `score` is its receipt in microseconds;
    `refused` is what of it must be quarantined before the rest is anybody's business.
    """

    message_id: str
    commands: list[Received] = field(default_factory=list)
    orders: list[str] = field(default_factory=list)
    refused: list[RefusedItem] = field(default_factory=list)
    payload: bytes = b""
    attempts: int = 0
    score: int = 0


@dataclass(slots=True)
class Bundle:
    """Messages taken together: one commit settles them, one call acknowledges them.

    `settled` is what the actor achieved: ids of messages that need not come again.
    """

    deliveries: list[Delivery]
    settled: set[str] = field(default_factory=set)


def wrap(
    queue: str,
    items: str,
    texts: Sequence[str],
    keys: Keyring = UNSIGNED,
    trace: str | None = None,
) -> tuple[str, int, str, str]:
    """Write a message around `texts`, leaving room for Redis's stamp.

    Returns its id, how many items it carries, and its text before and after the stamp. Commands
    travel as text: a malformed one cannot spoil the message around it.
    """
    # Ids in the order of writing: where receipts are equal, the older message goes first.
    message_id = f"{time.time_ns():x}-{uuid4().hex}"
    signatures = {"signatures": [keys.sign(text) for text in texts]} if keys else {}
    traces = {"traces": [trace] * len(texts)} if trace else {}
    text = _message(queue, message_id, {items: list(texts)} | signatures | traces)
    return message_id, len(texts), text[:-2] + ',"received_at":', "}}"


def wrap_stamped(
    message_id: str,
    received_at: int,
    commands: Sequence[tuple[str, int, str | None]],
    keys: Keyring = UNSIGNED,
) -> str:
    """Write a message of commands that were stamped elsewhere, given as (text, stamp, trace)."""
    texts, stamps, traces = map(list, zip(*commands, strict=True))
    kwargs: dict[str, Any] = {ITEM_FIELDS[COMMANDS]: texts}
    if keys:
        kwargs["signatures"] = [keys.sign(text) for text in texts]
    if any(traces):
        kwargs["traces"] = traces
    kwargs |= {"received_at": received_at, "stamp": stamps[0], "stamps": stamps}
    return _message(COMMANDS, message_id, kwargs)


def _message(queue: str, message_id: str, kwargs: dict[str, Any]) -> str:
    message = {
        "queue_name": queue,
        "actor_name": ACTORS[queue],
        "args": [],
        "options": {"redis_message_id": message_id},
        "message_id": message_id,
        "message_timestamp": time.time_ns() // 1_000_000,
        "kwargs": kwargs,
    }
    return json.dumps(message, ensure_ascii=True, separators=(",", ":"))


def unwrap(
    queue: str,
    message_id: str,
    payload: bytes,
    keys: Keyring = UNSIGNED,
    at: datetime | None = None,
) -> Delivery:
    """Read a message taken from a queue; raise `MalformedMessage` where it is not one of ours.

    Only its items, their signatures and its stamp are believed. Options are never looked at.
    `at` is when it was received, where Redis knows better than the message.
    """
    kwargs = _kwargs(queue, payload)
    texts, delivery = _items(kwargs, ITEM_FIELDS[queue]), Delivery(message_id, payload=payload)
    instant = from_us(kwargs["received_at"]) if at is None else at
    delivery.score = to_us(instant)
    faults = _signature_faults(texts, kwargs.get("signatures"), keys)
    for number, fault in faults.items():
        raw = texts[number].encode("utf-8", "surrogatepass")
        delivery.refused.append(RefusedItem(queue, f"{message_id}#{number}", raw, fault, len(raw)))
    if queue == WAKEUPS:
        if not all(map(_SUBJECT.fullmatch, texts)):
            raise MalformedMessage("orders: ids are wanted")
        delivery.orders = [text for n, text in enumerate(texts) if n not in faults]
    else:
        count = len(texts)
        items = zip(texts, _stamps(kwargs, count), _traces(kwargs, count), strict=True)
        commands = [
            Received(text, instant, stamp, message_id, trace) for text, stamp, trace in items
        ]
        delivery.commands = [command for n, command in enumerate(commands) if n not in faults]
    return delivery


def split_delivery(queue: str, delivery: Delivery) -> list[tuple[str, str]]:
    """Write a delivery's items as messages of their own, as (id, text); stamps are kept.

    A part of what came by HTTP is named by its stamp, so that the inbox can tell whose it is.
    """
    kwargs = _kwargs(queue, delivery.payload)
    texts, messages = _items(kwargs, ITEM_FIELDS[queue]), []
    signatures, stamps = kwargs.get("signatures"), _stamps(kwargs, len(texts))
    traces = _traces(kwargs, len(texts))
    for number, text in enumerate(texts):
        part_kwargs: dict[str, Any] = {ITEM_FIELDS[queue]: [text]}
        if isinstance(signatures, list) and len(signatures) == len(texts):
            part_kwargs["signatures"] = [signatures[number]]
        if traces[number]:
            part_kwargs["traces"] = [traces[number]]
        part_kwargs |= {"received_at": kwargs["received_at"], "stamp": stamps[number]}
        part_id = f"{delivery.message_id}.{stamps[number] if 'stamps' in kwargs else number}"
        messages.append((part_id, _message(queue, part_id, part_kwargs)))
    return messages


def _kwargs(queue: str, payload: bytes) -> dict[str, Any]:
    if len(payload) > MAX_MESSAGE_BYTES:
        raise MalformedMessage(f"longer than {MAX_MESSAGE_BYTES} bytes")
    try:
        message = json.loads(payload)
    except (ValueError, RecursionError) as error:
        raise MalformedMessage(f"not JSON: {type(error).__name__}") from None
    if not isinstance(message, dict) or not isinstance(message.get("kwargs"), dict):
        raise MalformedMessage("not a message")
    if message.get("queue_name") != queue or message.get("actor_name") != ACTORS[queue]:
        raise MalformedMessage("addressed to another queue or actor")
    kwargs: dict[str, Any] = message["kwargs"]
    at, stamp = kwargs.get("received_at"), kwargs.get("stamp")
    if type(at) is not int or type(stamp) is not int or not 0 < at <= stamp < 2**53:
        raise MalformedMessage("no stamp of our door")
    return kwargs


def _stamps(kwargs: dict[str, Any], count: int) -> list[int]:
    """Read the items' own stamps, or number them from the message's."""
    at, stamp = kwargs["received_at"], kwargs["stamp"]
    stamps = kwargs.get("stamps", [stamp + n for n in range(count)])
    honest = isinstance(stamps, list) and len(stamps) == count
    if not honest or not all(
        type(item_stamp) is int and at <= item_stamp < 2**53 for item_stamp in stamps
    ):
        raise MalformedMessage("no stamps of our door")
    item_stamps: list[int] = stamps
    return item_stamps


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
    if not all(isinstance(item, str) for item in items):
        raise MalformedMessage(f"{name}: texts are wanted")
    return items


def _signature_faults(texts: list[str], signatures: object, keys: Keyring) -> dict[int, str]:
    """Say which items are not signed as they must be, and why."""
    if not keys:
        return {}
    signature_list = signatures if isinstance(signatures, list) else []
    item_signatures = [*signature_list[: len(texts)], *[None] * (len(texts) - len(signature_list))]
    faults = ((n, keys.fault(text, item_signatures[n])) for n, text in enumerate(texts))
    return {n: fault for n, fault in faults if fault}
