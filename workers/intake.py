"""Intake: what Redis handed out, told apart into deliveries and what is for nobody."""

from __future__ import annotations

from dataclasses import replace

from workers.clock import from_us
from workers.envelope import (
    MAX_MESSAGE_BYTES,
    Delivery,
    MalformedMessage,
    Refused,
    unwrap,
)
from workers.signing import Keyring
from workers.wire import Found

MOST_DEATHS = 3
"""Workers that may die while they have a message: whoever kills three, kills the fourth."""

KILLER = f"its worker died {MOST_DEATHS} times while it had this message"


def sort(queue: str, found: Found, keys: Keyring) -> Delivery:
    """Make a delivery of what was found, whatever it is. Nothing that came in can raise here."""
    try:
        delivery = _read(queue, found, keys)
    except MalformedMessage as fault:
        delivery = _nothing(queue, found, str(fault))
    except Exception as error:  # noqa: BLE001 - no message may hurt its reader, however it is made
        delivery = _nothing(queue, found, f"unreadable: {type(error).__name__}")
    delivery.payload, delivery.attempts = found.payload, found.attempts
    return delivery


def _read(queue: str, found: Found, keys: Keyring) -> Delivery:
    if found.size > MAX_MESSAGE_BYTES:
        raise MalformedMessage(f"longer than {MAX_MESSAGE_BYTES} bytes")
    if found.at is None and found.fresh:
        raise MalformedMessage("no stamp of our door")
    at = None if found.at is None else from_us(found.at)
    delivery = unwrap(queue, found.message_id, found.payload, keys, at)
    return _condemned(queue, found, delivery) if found.attempts >= MOST_DEATHS else delivery


def _condemned(queue: str, found: Found, delivery: Delivery) -> Delivery:
    """Take a message that kills its workers out of circulation; its commands are kept whole."""
    refused = _refused(queue, found, KILLER)
    kept = replace(refused, commands=tuple(delivery.commands))
    return Delivery(found.message_id, refused=[*delivery.refused, kept], score=delivery.score)


def _nothing(queue: str, found: Found, reason: str) -> Delivery:
    refused = _refused(queue, found, reason)
    return Delivery(found.message_id, refused=[refused], score=found.at or 0)


def _refused(queue: str, found: Found, reason: str) -> Refused:
    return Refused(queue, found.message_id, found.payload, reason, found.size)
