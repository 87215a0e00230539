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


def sort(queue: str, message: Found, keys: Keyring) -> Delivery:
    """Make a delivery of a message, whatever it is. Nothing that came in can raise here."""
    try:
        delivery = _read(queue, message, keys)
    except MalformedMessage as fault:
        delivery = _nothing(queue, message, str(fault))
    except Exception as error:  # noqa: BLE001 - no message may hurt its reader, however it is made
        delivery = _nothing(queue, message, f"unreadable: {type(error).__name__}")
    delivery.payload, delivery.attempts = message.payload, message.attempts
    return delivery


def _read(queue: str, message: Found, keys: Keyring) -> Delivery:
    if message.size > MAX_MESSAGE_BYTES:
        raise MalformedMessage(f"longer than {MAX_MESSAGE_BYTES} bytes")
    if message.at is None and message.fresh:
        raise MalformedMessage("no stamp of our door")
    at = None if message.at is None else from_us(message.at)
    delivery = unwrap(queue, message.message_id, message.payload, keys, at)
    return _condemned(queue, message, delivery) if message.attempts >= MOST_DEATHS else delivery


def _condemned(queue: str, message: Found, delivery: Delivery) -> Delivery:
    """Take a message that kills its workers out of circulation; its commands are kept whole."""
    refusal = _refused(queue, message, KILLER)
    refusal_with_commands = replace(refusal, commands=tuple(delivery.commands))
    return Delivery(
        message.message_id, refused=[*delivery.refused, refusal_with_commands], score=delivery.score
    )


def _nothing(queue: str, message: Found, reason: str) -> Delivery:
    refusal = _refused(queue, message, reason)
    return Delivery(message.message_id, refused=[refusal], score=message.at or 0)


def _refused(queue: str, message: Found, reason: str) -> Refused:
    return Refused(queue, message.message_id, message.payload, reason, message.size)
