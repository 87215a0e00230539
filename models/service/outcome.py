"""Outcome: what a command came to, and the receipt that is kept of it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from models.commands.command import Command
from models.events.event import Event
from models.reasons import RejectionReason

OutcomeStatus = Literal["applied", "rejected", "duplicate"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """The first outcome of a command id, kept as long as the order."""

    command_id: str
    fingerprint: bytes
    outcome: OutcomeStatus
    reason: str | None
    received_at: datetime
    about: str | None
    cost_fen: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What one command came to; `detail` is a sentence for people, where there is one.

    `cost_fen` is what the command would cost, where it was refused for not saying so.
    """

    outcome: OutcomeStatus
    reason: str | None
    events: tuple[Event, ...] = ()
    detail: str | None = None
    cost_fen: int | None = None


def rejected(
    reason: RejectionReason,
    events: tuple[Event, ...] = (),
    detail: str | None = None,
    cost_fen: int | None = None,
) -> Outcome:
    """Refuse a command, keeping what time alone has done."""
    return Outcome(
        outcome="rejected", reason=reason, events=events, detail=detail, cost_fen=cost_fen
    )


def applied(events: tuple[Event, ...], outcome: OutcomeStatus = "applied") -> Outcome:
    """Say that a command took effect, or, as a `duplicate`, had done so before."""
    return Outcome(outcome=outcome, reason=None, events=events)


def cause_of(command: Command) -> str:
    """Name a command as the cause of an event."""
    return f"command:{command.id}"
