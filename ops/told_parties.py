"""Told of parties: what befalls a creator, as clauses to read."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from models.events import parties as party_events
from models.events.event import Fact
from models.fields import instant_text
from ops.wording import said


def told_party(fact: Fact) -> str:
    """Say what happened to a creator, without saying when."""
    return PARTIES[type(fact)](fact)


def _registered(fact: party_events.CreatorRegistered) -> str:
    contract = "directly" if fact.mcn_id is None else f"with agency {fact.mcn_id}"
    return f"creator {fact.creator_id} is signed {contract}"


def _left(fact: party_events.ContractEnded) -> str:
    return f"the contract of creator {fact.creator_id} is ended by {fact.by}{said(fact.note)}"


def _reported(fact: party_events.ViolationReported) -> str:
    return (
        f"violation {fact.violation_id} is reported, number {fact.step} that counts: "
        f"{fact.url}, seen {instant_text(fact.seen_at)}{said(fact.evidence)}"
    )


def _banned(fact: party_events.CreatorBanned) -> str:
    duration = _until(fact.until)
    return (
        f"creator {fact.creator_id} is banned from {instant_text(fact.since)} {duration}, "
        f"for violation {fact.violation_id}, number {fact.step}"
    )


def _until(until: datetime | None) -> str:
    return "for good" if until is None else f"until {instant_text(until)}"


def _lifted(fact: party_events.CreatorBanLifted) -> str:
    next_ban = ", and the next one begins" if fact.still_banned else ""
    return (
        f"the ban of creator {fact.creator_id} for violation {fact.violation_id} is over{next_ban}"
    )


def _overturned(fact: party_events.ViolationOverturned) -> str:
    remaining_bans = f"{len(fact.bans)} bans stand" if fact.bans else "no ban stands"
    return f"violation {fact.violation_id} is void, by {fact.by}{said(fact.note)}: {remaining_bans}"


PARTIES: dict[type[Fact], Callable[[Any], str]] = {
    party_events.CreatorRegistered: _registered,
    party_events.ContractEnded: _left,
    party_events.ViolationReported: _reported,
    party_events.CreatorBanned: _banned,
    party_events.CreatorBanLifted: _lifted,
    party_events.ViolationOverturned: _overturned,
}
"""How each event of a creator's standing is told."""
