"""Creators: the creator aggregate, the penalty ladder, and the other registered parties."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from pydantic import TypeAdapter

from models import calendar
from models.commands.parties import OverturnViolation, ReportViolation
from models.errors import BrokenInvariant
from models.events import parties as party_events
from models.events.event import Event, Fact
from models.events.parties import (
    Ban,
    CreatorBanLifted,
    CreatorBanned,
    PostRemovalRequested,
    ViolationOverturned,
    ViolationReported,
)
from models.policy import Policy


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisteredMcn:
    """An agency as last registered."""

    mcn_id: str
    name: str
    sequence: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisteredClient:
    """A client as last registered."""

    client_id: str
    name: str
    sequence: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisteredProvider:
    """A service provider as last registered."""

    provider_id: str
    name: str
    sequence: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ViolationReport:
    """A violation as first reported: of whom, with what content, and when it was overturned."""

    violation_id: str
    creator_id: str
    content: bytes
    reported_at: datetime
    overturned_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Violation:
    """One advertisement outside the platform; `stands` until it is overturned."""

    violation_id: str
    reported_at: datetime
    stands: bool = True


@dataclass(frozen=True, slots=True)
class Standing:
    """What a creator may do: banned, and for good; admitted, that is, under contract.

    `violation_id` names the violation that the present ban, or the last one, is for.
    """

    banned: bool = False
    for_good: bool = False
    admitted: bool = True
    violation_id: str | None = None

    @property
    def name(self) -> str:
        """Name the standing, for people and for queries."""
        if self.banned:
            return "banned_for_good" if self.for_good else "banned"
        return "free" if self.admitted else "left"

    @property
    def caused_by(self) -> str:
        """Name the ban as the cause of what follows from it, or from its end."""
        return f"ban:{self.violation_id}"


UNRESTRICTED = Standing()
"""The standing of a creator under contract and without a ban."""


@dataclass(frozen=True, slots=True)
class StandingChange:
    """A creator's standing from just after an instant."""

    at: datetime
    standing: Standing


@dataclass(frozen=True, slots=True, kw_only=True)
class Creator:
    """A creator between two events; `mcn_id` is None for a direct contract.

    `bans` are the present one and those that follow it, each beginning where the one before ends.
    """

    creator_id: str
    name: str
    mcn_id: str | None
    sequence: int
    mcn_share_bps: int = 0
    admitted: bool = True
    violations: tuple[Violation, ...] = ()
    bans: tuple[Ban, ...] = ()

    @property
    def agency(self) -> str | None:
        """Return the agency that may act for the creator now."""
        return self.mcn_id if self.admitted else None

    @property
    def standing(self) -> Standing:
        """Return what the creator may do, as far as the ends of bans are recorded."""
        return self._standing_under(self.bans)

    @property
    def wake_at(self) -> datetime | None:
        """Return when the present ban ends; like every deadline, it is over just after that."""
        return self.bans[0].until if self.bans else None

    def standing_changes(self, until: datetime) -> tuple[StandingChange, ...]:
        """Return every change that bans' ends before `until` bring, in turn."""
        changes, bans = [], self.bans
        while bans and (ends_at := bans[0].until) is not None and ends_at < until:
            ended_ban, bans = bans[0], bans[1:]
            new_standing = self._standing_under(bans)
            if not bans:
                new_standing = replace(new_standing, violation_id=ended_ban.violation_id)
            changes.append(StandingChange(ends_at, new_standing))
        return tuple(changes)

    def standing_at(self, until: datetime) -> Standing:
        """Return what the creator may do at an instant to come."""
        changes = self.standing_changes(until)
        return changes[-1].standing if changes else self.standing

    def _standing_under(self, bans: tuple[Ban, ...]) -> Standing:
        if not bans:
            return Standing(admitted=self.admitted)
        return Standing(
            banned=True,
            for_good=bans[0].until is None,
            admitted=self.admitted,
            violation_id=bans[0].violation_id,
        )


CREATOR_ADAPTER: TypeAdapter[Creator] = TypeAdapter(Creator)
"""Writes a creator as JSON and reads it again."""


def evolve_creator(creator: Creator | None, event: Event) -> Creator:
    """Return the creator after one more event; raise `BrokenInvariant` on a gap."""
    fact = event.fact
    if isinstance(fact, party_events.CreatorRegistered) and creator is None:
        current = Creator(creator_id=fact.creator_id, name=fact.name, mcn_id=None, sequence=0)
    elif creator is None:
        raise BrokenInvariant(f"{event.id}: a creator begins with creator.registered")
    else:
        current = creator
    if event.subject != f"creator:{current.creator_id}" or event.sequence != current.sequence + 1:
        raise BrokenInvariant(f"{event.id} does not follow creator:{current.creator_id}")
    return replace(current, sequence=event.sequence, **_EFFECTS[type(fact)](current, event, fact))


CreatorChanges = dict[str, Any]


def _creator_registered(
    _: Creator, __: Event, fact: party_events.CreatorRegistered
) -> CreatorChanges:
    terms = {"mcn_id": fact.mcn_id, "mcn_share_bps": fact.mcn_share_bps}
    return {"name": fact.name, "admitted": True} | terms


def _contract_ended(*_: object) -> CreatorChanges:
    return {"admitted": False}


def _violation_reported(
    creator: Creator, event: Event, fact: party_events.ViolationReported
) -> CreatorChanges:
    return {"violations": (*creator.violations, Violation(fact.violation_id, event.at))}


def _creator_banned(creator: Creator, _: Event, fact: party_events.CreatorBanned) -> CreatorChanges:
    ban = Ban(fact.violation_id, fact.step, fact.since, fact.until)
    return {"bans": (*creator.bans, ban)}


def _ban_lifted(creator: Creator, *_: object) -> CreatorChanges:
    return {"bans": creator.bans[1:]}


def _violation_overturned(
    creator: Creator, _: Event, fact: party_events.ViolationOverturned
) -> CreatorChanges:
    violations = tuple(
        replace(violation, stands=False)
        if violation.violation_id == fact.violation_id
        else violation
        for violation in creator.violations
    )
    return {"violations": violations, "bans": fact.bans}


def _unchanged(*_: object) -> CreatorChanges:
    return {}


_EFFECTS: dict[type, Callable[[Creator, Event, Any], CreatorChanges]] = {
    party_events.CreatorRegistered: _creator_registered,
    party_events.ContractEnded: _contract_ended,
    party_events.ViolationReported: _violation_reported,
    party_events.PostRemovalRequested: _unchanged,
    party_events.CreatorBanned: _creator_banned,
    party_events.CreatorBanLifted: _ban_lifted,
    party_events.ViolationOverturned: _violation_overturned,
    party_events.OperatorActed: _unchanged,
}

WARNING_STEP, WEEK_BAN_STEP, MONTHS_BAN_STEP = 1, 2, 3
"""The steps of the ladder; every further one is for good."""


def penalize(
    creator: Creator, command: ReportViolation, policy: Policy, at: datetime
) -> tuple[Fact, ...]:
    """Take the next step of the ladder; a new ban begins when the one before is over."""
    step = sum(violation.stands for violation in creator.violations) + 1
    ids = {"violation_id": command.violation_id, "creator_id": creator.creator_id}
    reported = ViolationReported(
        step=step, url=command.url, seen_at=command.seen_at, evidence=command.evidence, **ids
    )
    if step == WARNING_STEP:
        return (reported, PostRemovalRequested(url=command.url, **ids))
    since = creator.bans[-1].until if creator.bans else at
    if since is None:
        # Banned for good already: there is no later.
        return (reported,)
    return (
        reported,
        CreatorBanned(step=step, since=since, until=compute_ban_end(step, since, policy), **ids),
    )


def compute_ban_end(step: int, since: datetime, policy: Policy) -> datetime | None:
    """Return when a ban of some step ends, None for never."""
    if step == WEEK_BAN_STEP:
        return since + timedelta(days=policy.second_ban_days)
    if step == MONTHS_BAN_STEP:
        return calendar.months_after(since, policy.third_ban_months)
    return None


def recompute_bans(violations: Iterable[Violation], policy: Policy) -> tuple[Ban, ...]:
    """Climb the ladder from the ground with the violations that stand."""
    bans: list[Ban] = []
    upheld = [violation for violation in violations if violation.stands]
    for step, violation in enumerate(upheld, start=1):
        previous_until = bans[-1].until if bans else violation.reported_at
        if step > WARNING_STEP and previous_until is not None:
            since = max(previous_until, violation.reported_at)
            bans.append(
                Ban(violation.violation_id, step, since, compute_ban_end(step, since, policy))
            )
    return tuple(bans)


def revoke_penalty(
    creator: Creator, command: OverturnViolation, policy: Policy, at: datetime
) -> tuple[Fact, ...]:
    """Replay the ladder without one violation, and lift a ban that no longer stands."""
    remaining = (
        violation
        for violation in creator.violations
        if violation.violation_id != command.violation_id
    )
    bans = tuple(
        ban for ban in recompute_bans(remaining, policy) if ban.until is None or ban.until >= at
    )
    ids = {"violation_id": command.violation_id, "creator_id": creator.creator_id}
    by = command.sender
    overturned = ViolationOverturned(by=by, note=command.reason, bans=bans, **ids)
    if bans or not creator.bans:
        return (overturned,)
    return (overturned, lift_ban(creator, creator.bans[0], still_banned=False))


def lift_ban(creator: Creator, ban: Ban, *, still_banned: bool) -> CreatorBanLifted:
    """Tell that a ban is over."""
    return CreatorBanLifted(
        violation_id=ban.violation_id,
        creator_id=creator.creator_id,
        step=ban.step,
        since=ban.since,
        until=ban.until,
        still_banned=still_banned,
    )
