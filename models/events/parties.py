"""Party events: who was registered, who left, who broke the rules, and what operators did."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from models.events.event import Fact, register_event


@register_event("mcn.registered")
class McnRegistered(Fact):
    """An agency was admitted or renamed."""

    mcn_id: str
    name: str


@register_event("creator.registered")
class CreatorRegistered(Fact):
    """A creator was admitted, or the contract changed."""

    creator_id: str
    name: str
    contract: Literal["direct", "mcn"]
    mcn_id: str | None
    mcn_share_bps: int = 0


@register_event("client.registered")
class ClientRegistered(Fact):
    """A client was admitted or renamed."""

    client_id: str
    name: str


@register_event("provider.registered")
class ProviderRegistered(Fact):
    """A service provider was admitted or renamed."""

    provider_id: str
    name: str


@register_event("contract.ended")
class ContractEnded(Fact):
    """A creator's contract ended: no more orders; what was accepted runs on."""

    creator_id: str
    by: str
    note: str | None


@register_event("violation.reported")
class ViolationReported(Fact):
    """A creator advertised outside the platform, for the `step`-th time that counts."""

    violation_id: str
    creator_id: str
    step: int
    url: str
    seen_at: datetime
    evidence: str


@register_event("post.removal_requested")
class PostRemovalRequested(Fact):
    """The first time, the creator is asked to take the advertisement down, and no more."""

    violation_id: str
    creator_id: str
    url: str


@register_event("creator.banned")
class CreatorBanned(Fact):
    """A creator takes no orders from `since` until `until`, or for good."""

    violation_id: str
    creator_id: str
    step: int
    since: datetime
    until: datetime | None


@register_event("creator.ban_lifted")
class CreatorBanLifted(Fact):
    """A ban is over; `still_banned` tells whether the next one begins."""

    violation_id: str
    creator_id: str
    step: int
    since: datetime
    until: datetime | None
    still_banned: bool


@dataclass(frozen=True, slots=True)
class Ban:
    """One rung of the ladder: from `since` until `until`, or for good."""

    violation_id: str
    step: int
    since: datetime
    until: datetime | None


@register_event("violation.overturned")
class ViolationOverturned(Fact):
    """A violation was declared void; `bans` are those that stand now and are not yet over."""

    violation_id: str
    creator_id: str
    by: str
    note: str
    bans: tuple[Ban, ...]


@dataclass(frozen=True, slots=True)
class OrderSnapshot:
    """What an operator's act may change, at one moment."""

    status: str
    reason: str | None
    due_at: datetime | None
    amount_fen: int
    held_fen: int
    expected_publish_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class PayoutSnapshot:
    """What an operator's act may change of a payout, at one moment."""

    status: str
    held: bool
    amount_fen: int


@register_event("operator.acted")
class OperatorActed(Fact):
    """An operator used a power: who, why, for what, and how things stood before and after."""

    by: str
    note: str
    act: str
    before: OrderSnapshot | PayoutSnapshot | None
    after: OrderSnapshot | PayoutSnapshot | None
