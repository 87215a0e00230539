"""Notifications: reminders, alerts and outcomes of commands."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from pydantic import TypeAdapter
from typing_extensions import TypedDict

from models.events.event import Fact, register_event
from models.fields import Duration
from models.reasons import Alert, UnappliedReason


@register_event("creator.reminded")
class CreatorReminded(Fact):
    """The creator is to be told that an answer is wanted until `due_at`.

    `awaited` are the commands that would answer.
    """

    recipient_id: str
    cause: Literal["deadline", "nudge"]
    due_at: datetime
    lead: Duration | None
    order_name: str = ""
    state: str = ""
    awaited: tuple[str, ...] = ()


@register_event("client.reminded")
class ClientReminded(Fact):
    """The client is to be told that the balance, or an answer, is wanted until `due_at`.

    `awaited` are the commands that would answer; the balance is answered by its payment.
    """

    recipient_id: str
    cause: Literal["deadline"]
    due_at: datetime
    lead: Duration
    balance_due_fen: int
    order_name: str = ""
    state: str = ""
    awaited: tuple[str, ...] = ()


@register_event("stream.timeline_began")
class TimelineBegan(Fact):
    """The streams go on from a database that was set back: forget what came after `last_event`.

    That is the id of the last event that is still true, None where none is. What of the rest did
    happen is told again, under ids that were never given before. `timeline` counts the beginnings.
    """

    timeline: int
    last_event: str | None
    by: str
    note: str


@register_event("operator.alerted")
class OperatorAlerted(Fact):
    """A person should look: `alert` says why, the rest says where; `due_at`: since when.

    `amount_fen` is the money at stake, and `payment_id` the payment that it came by: for what an
    order holds the last one, and empty for a payout, which is of no one payment, and for a calendar
    that ends at `due_at`.
    """

    alert: Alert
    payment_id: str
    amount_fen: int
    for_order_id: str | None = None
    refund_id: str | None = None
    payout_id: str | None = None
    due_at: datetime | None = None


OutcomeStatus = Literal["applied", "rejected", "duplicate"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ShareOutcome:
    """What became of one share of a payment when it was reported, and why it was of no use.

    `refund_id` and its first `reference` name what goes back; several shares go back as one where
    the payment does whole.
    """

    order_id: str
    outcome: Literal["applied", "refunded", "suspense"]
    reason: UnappliedReason | None = None
    refund_id: str | None = None
    reference: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstOutcome:
    """What a duplicate's first came to."""

    outcome: OutcomeStatus
    reason: str | None


class Limits(TypedDict, total=False):
    """What the sender of a refused command needs to do better; the reason decides which of it.

    `state` is where the order, a payment, a refund or a payout is, and `allowed` what this sender
    may ask of an order there; `ended_at` is when time ended what the command was meant for. All
    bounds are inclusive.
    """

    state: str
    allowed: list[str]
    ended_at: datetime
    min_fen: int
    max_fen: int
    not_before: datetime
    limit: int
    cost_fen: int
    min: datetime
    max: datetime
    total_fen: int
    amount_fen: int


LIMITS_ADAPTER: TypeAdapter[Limits] = TypeAdapter(Limits)
"""Writes limits as JSON and reads them again."""


def serialize_limits(limits: Limits | None) -> dict[str, Any] | None:
    """Write limits as a JSON object, as events have them."""
    return None if limits is None else LIMITS_ADAPTER.dump_python(limits, mode="json")


@register_event("command.settled")
class CommandSettled(Fact):
    """A command has its outcome; a sender that has not seen one sends again.

    The id belongs to its `sender`, like `client:c1`; a duplicate's `first` is what that came to.
    `limits` tell whoever was refused what would not be. A payment is `applied` whatever became of
    its money: `shares` tells. `judged_after` is when a command about the same was received which
    was judged before this one although it came later: this one had been a dead letter.
    """

    command_id: str | None
    kind: str | None
    outcome: OutcomeStatus
    reason: str | None
    detail: str | None
    about: str | None
    cost_fen: int | None = None
    sender: str | None = None
    first: FirstOutcome | None = None
    limits: Limits | None = None
    shares: tuple[ShareOutcome, ...] | None = None
    judged_after: datetime | None = None
