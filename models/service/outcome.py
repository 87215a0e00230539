"""Outcome: what a command came to, and the receipt that is kept of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from models.commands import AnyCommand
from models.commands.command import Command
from models.events.event import Event
from models.events.notifications import FirstOutcome, Limits, OutcomeStatus, ShareOutcome
from models.ids import make_command_key
from models.reasons import RejectionReason


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """The first outcome of a command id of one sender, kept as long as the order.

    `sender` is empty where it was not written down yet; then the fingerprint tells whose it is.
    """

    sender: str
    command_id: str
    fingerprint: bytes
    outcome: OutcomeStatus
    reason: str | None
    received_at: datetime
    about: str | None
    limits: Limits | None = None

    @property
    def key(self) -> str:
        """Name its command for all senders."""
        return make_command_key(self.sender, self.command_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What one command came to; `detail` is a sentence for people, where there is one.

    `limits` tell whoever was refused what would not be; `first` is what the first came to, of a
    duplicate; `shares` is what became of a payment's.
    """

    outcome: OutcomeStatus
    reason: str | None
    events: tuple[Event, ...] = ()
    detail: str | None = None
    limits: Limits | None = None
    first: FirstOutcome | None = None
    shares: tuple[ShareOutcome, ...] | None = None

    @property
    def cost_fen(self) -> int | None:
        """Return what the command would cost, where it was refused for not saying so."""
        return (self.limits or {}).get("cost_fen")


@dataclass(frozen=True, slots=True)
class JudgedCommand:
    """A command and what it came to; judged as of `at`, which is later where it had to wait.

    `number` is its number of receipt.
    """

    command: AnyCommand
    number: int
    received_at: datetime
    at: datetime
    outcome: Outcome


def recorded_events(judged: Sequence[JudgedCommand]) -> list[Event]:
    """Return what happened, each subject's events in their order.

    What a placement releases may happen between two events that stand in the placement's line.
    """
    if len(judged) == 1:
        return list(judged[0].outcome.events)
    events = [event for judged_command in judged for event in judged_command.outcome.events]
    by_subject: dict[str, list[Event]] = {}
    for event in sorted(events, key=lambda event: event.sequence, reverse=True):
        by_subject.setdefault(event.subject, []).append(event)
    return [by_subject[event.subject].pop() for event in events]


def rejected(
    reason: RejectionReason,
    events: tuple[Event, ...] = (),
    detail: str | None = None,
    limits: Limits | None = None,
) -> Outcome:
    """Refuse a command, keeping what time alone has done."""
    return Outcome(outcome="rejected", reason=reason, events=events, detail=detail, limits=limits)


def applied(
    events: tuple[Event, ...],
    outcome: OutcomeStatus = "applied",
    shares: tuple[ShareOutcome, ...] | None = None,
) -> Outcome:
    """Say that a command took effect, or, as a `duplicate`, had done so before."""
    first = FirstOutcome(outcome="applied", reason=None) if outcome == "duplicate" else None
    return Outcome(outcome=outcome, reason=None, events=events, first=first, shares=shares)


def repeated(receipt: Receipt) -> Outcome:
    """Give a repeat the first outcome again, and say what it was."""
    first = FirstOutcome(outcome=receipt.outcome, reason=receipt.reason)
    return Outcome(outcome="duplicate", reason=receipt.reason, limits=receipt.limits, first=first)


def cause_of(command: Command) -> str:
    """Name a command as the cause of an event, and of its outcome's as the subject too."""
    return f"command:{command.key}"
