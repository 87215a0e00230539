"""Creators: the creator aggregate, the penalty ladder, and the other registered parties."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
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
    """A creator's new standing, as its orders learn of it.

    It holds from an instant on; where a ban has ended `by_time`, from just after. `begins`: a ban
    does. `sequence` is the creator's event, 0 while the end of a ban is not on record.
    """

    at: datetime
    standing: Standing
    sequence: int = 0
    begins: bool = True
    by_time: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class CreatorVersion:
    """A creator's contract and bans since one of its events, the `sequence`-th.

    `standing` is what its orders learn of, if it has changed (`concerns_orders`); the other flags
    are those of a `StandingChange`.
    """

    at: datetime
    sequence: int
    name: str
    mcn_id: str | None
    mcn_share_bps: int
    admitted: bool
    bans: tuple[Ban, ...]
    standing: Standing
    begins: bool = False
    by_time: bool = False
    concerns_orders: bool = False

    def counts_at(self, at: datetime) -> bool:
        """Tell whether the creator was so at an instant; time ends a ban just after its own."""
        return self.at < at if self.by_time else self.at <= at

    @property
    def change(self) -> StandingChange:
        """Return what the creator's orders learn of."""
        return StandingChange(self.at, self.standing, self.sequence, self.begins, self.by_time)


HISTORY_KEPT = timedelta(days=1)
"""How long before its latest change a creator is still known as it was.

A command is judged minutes after its receipt, after an outage hours. What some order may not have
learned of yet is kept for longer.
"""

BEFORE_HISTORY = datetime.min.replace(tzinfo=UTC)
"""Since when a creator was as a document without a history says: longer than anybody asks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Creator:
    """A creator between two events; `mcn_id` is None for a direct contract.

    `bans` are the present one and those that follow it, each beginning where the one before ends.
    `history` has its versions, the latest last. `spread_from` is the first of its events that some
    order may not have learned of: a change is written down order by order, as time permits.
    """

    creator_id: str
    name: str
    mcn_id: str | None
    sequence: int
    mcn_share_bps: int = 0
    admitted: bool = True
    violations: tuple[Violation, ...] = ()
    bans: tuple[Ban, ...] = ()
    history: tuple[CreatorVersion, ...] = ()
    spread_from: int | None = None

    @property
    def agency(self) -> str | None:
        """Return the agency that may act for the creator now."""
        return self.mcn_id if self.admitted else None

    @property
    def standing(self) -> Standing:
        """Return what the creator may do, as far as the ends of bans are recorded."""
        return self._standing_under(self.bans)

    @property
    def versions(self) -> tuple[CreatorVersion, ...]:
        """Return what is known of how the creator was, oldest first, and never nothing.

        A document from before there was a history tells of one version, which every order knows.
        """
        return self.history or (_version_of(self, BEFORE_HISTORY, sequence=0),)

    @property
    def last_change(self) -> int:
        """Return the number of the latest event that orders learn of, 0 for none."""
        return max((v.sequence for v in self.versions if v.concerns_orders), default=0)

    @property
    def wakeup(self) -> tuple[datetime, bool] | None:
        """Return when the creator wants attention, and whether it does so just after that instant.

        At once, if there is a change that its orders have to learn of; when the present ban ends.
        """
        if self.spread_from is not None:
            change = self.first_change_after(self.spread_from - 1)
            return None if change is None else (change.at, change.by_time)
        ends_at = self.bans[0].until if self.bans else None
        return None if ends_at is None else (ends_at, True)

    @property
    def wake_at(self) -> datetime | None:
        """Return when the creator wants attention."""
        return self.wakeup[0] if self.wakeup else None

    def as_told(self) -> Creator:
        """Return the creator as its events tell, without what is kept for its orders' sake."""
        return replace(self, history=(), spread_from=None)

    def as_of(self, at: datetime) -> Creator | None:
        """Return the creator as it was at an instant, None before it was registered.

        Events of that very instant count, but for the end of a ban. Violations are those of now:
        only the ladder reads them, and nobody climbs it as of the past.
        """
        if not self.history or self.history[-1].counts_at(at):
            return self
        counting = tuple(version for version in self.history if version.counts_at(at))
        if not counting and self.history[0].sequence == 1:
            return None
        # What has been forgotten is at least a day older than a later change: nobody is to know.
        past = counting or self.history[:1]
        return replace(
            self,
            sequence=past[-1].sequence,
            name=past[-1].name,
            mcn_id=past[-1].mcn_id,
            mcn_share_bps=past[-1].mcn_share_bps,
            admitted=past[-1].admitted,
            bans=past[-1].bans,
            history=past,
            spread_from=None,
        )

    def has_changed_since(self, sequence: int) -> bool:
        """Tell whether there was any event after one that orders know of: nearly always not."""
        return not self.history or self.history[-1].sequence > sequence

    def first_change_after(self, sequence: int) -> StandingChange | None:
        """Return the first change after an event that orders learn of, whenever it takes effect."""
        if not self.has_changed_since(sequence):
            return None
        changes = (version.change for version in self.versions if version.concerns_orders)
        return next((change for change in changes if change.sequence > sequence), None)

    def known_up_to(self, sequence: int) -> Creator:
        """Return the creator with what an order still has to learn marked as to be spread.

        One that was placed as of an instant before a change may have come when that was done with.
        """
        change = self.first_change_after(sequence)
        marked = self.spread_from is not None and change and self.spread_from <= change.sequence
        return self if change is None or marked else replace(self, spread_from=change.sequence)

    def standing_changes(self, after: int, until: datetime) -> tuple[StandingChange, ...]:
        """Return every change after some event that holds at an instant, in turn.

        Ends of bans before `until` are among them also where they are not on record yet.
        """
        if not self.bans and not self.has_changed_since(after):
            return ()
        past = self.as_of(until)
        if past is None:
            return ()
        changes = (
            version.change
            for version in past.versions
            if version.concerns_orders and version.sequence > after
        )
        return (*changes, *past.ban_ends(until))

    def ban_ends(self, until: datetime) -> tuple[StandingChange, ...]:
        """Return what ends of bans before `until` bring that are not on record, in turn."""
        changes, bans = [], self.bans
        while bans and (ends_at := bans[0].until) is not None and ends_at < until:
            ended_ban, bans = bans[0], bans[1:]
            new_standing = self._standing_under(bans)
            if not bans:
                new_standing = replace(new_standing, violation_id=ended_ban.violation_id)
            changes.append(StandingChange(ends_at, new_standing))
        return tuple(changes)

    def standing_at(self, at: datetime) -> Standing:
        """Return what the creator may do at an instant, as far as it is known now."""
        changes = self.ban_ends(at)
        return changes[-1].standing if changes else self.standing

    def _standing_under(self, bans: tuple[Ban, ...]) -> Standing:
        if not bans:
            return UNRESTRICTED if self.admitted else Standing(admitted=False)
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
    changes = _EFFECTS[type(fact)](current, event, fact)
    return _remember(creator, replace(current, sequence=event.sequence, **changes), event)


def _remember(before: Creator | None, after: Creator, event: Event) -> Creator:
    """Add to a creator's history what an event has changed, and forget what is long past."""
    if before is None:
        return replace(after, history=(_version_of(after, event.at, event.sequence),))
    version = _version_after(before, after, event)
    if _terms_of(version) == _terms_of(before.versions[-1]):
        return after
    spread_from = after.spread_from
    if version.concerns_orders and spread_from is None:
        spread_from = version.sequence
    history = _recent((*before.versions, version), spread_from)
    return replace(after, history=history, spread_from=spread_from)


def _version_after(before: Creator, after: Creator, event: Event) -> CreatorVersion:
    fact, standing = event.fact, after.standing
    if before.bans and not after.bans:
        standing = replace(standing, violation_id=before.bans[0].violation_id)
    # What is judged again after what came later, such as a dead letter, holds from there on.
    at = max(event.at, before.versions[-1].at)
    return replace(
        _version_of(after, at, event.sequence),
        standing=standing,
        begins=isinstance(fact, CreatorBanned) and fact.since <= event.at,
        by_time=isinstance(fact, CreatorBanLifted),
        concerns_orders=after.standing != before.standing,
    )


def _version_of(creator: Creator, at: datetime, sequence: int) -> CreatorVersion:
    return CreatorVersion(
        at=at,
        sequence=sequence,
        name=creator.name,
        mcn_id=creator.mcn_id,
        mcn_share_bps=creator.mcn_share_bps,
        admitted=creator.admitted,
        bans=creator.bans,
        standing=creator.standing,
    )


def _terms_of(version: CreatorVersion) -> tuple[object, ...]:
    contract = (version.name, version.mcn_id, version.mcn_share_bps, version.admitted)
    return (*contract, version.bans)


def _recent(
    versions: tuple[CreatorVersion, ...], spread_from: int | None
) -> tuple[CreatorVersion, ...]:
    """Keep what somebody may still ask for, and what the creator was just before that."""
    kept_since = versions[-1].at - HISTORY_KEPT
    needed = (
        number
        for number, version in enumerate(versions)
        if version.at > kept_since or (spread_from is not None and version.sequence >= spread_from)
    )
    return versions[max(next(needed) - 1, 0) :]


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
    return {"bans": follow_with(creator.bans, ban)}


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
    """Take the next step of the ladder: a ban begins when the one before is over.

    A ban for good begins at once, and there is nothing after it.
    """
    step = sum(violation.stands for violation in creator.violations) + 1
    ids = {"violation_id": command.violation_id, "creator_id": creator.creator_id}
    reported = ViolationReported(
        step=step, url=command.url, seen_at=command.seen_at, evidence=command.evidence, **ids
    )
    if step == WARNING_STEP:
        return (reported, PostRemovalRequested(url=command.url, **ids))
    if any(ban.until is None and ban.since <= at for ban in creator.bans):
        return (reported,)
    ban = next_ban(creator.bans, Violation(command.violation_id, at), step, policy)
    return (reported, CreatorBanned(step=step, since=ban.since, until=ban.until, **ids))


def next_ban(bans: tuple[Ban, ...], violation: Violation, step: int, policy: Policy) -> Ban:
    """Return the ban for a violation, after those that there are already."""
    since, previous_until = violation.reported_at, bans[-1].until if bans else None
    if step <= MONTHS_BAN_STEP and previous_until is not None:
        since = max(since, previous_until)
    until = compute_ban_end(step, since, policy)
    return Ban(violation.violation_id, step, since, until)


def follow_with(bans: tuple[Ban, ...], ban: Ban) -> tuple[Ban, ...]:
    """Add a ban to those that are over when it begins; it takes the place of the others."""
    earlier = (b for b in bans if b.until is not None and b.until <= ban.since)
    return (*earlier, ban)


def compute_ban_end(step: int, since: datetime, policy: Policy) -> datetime | None:
    """Return when a ban of some step ends, None for never."""
    if step == WEEK_BAN_STEP:
        return since + timedelta(days=policy.second_ban_days)
    if step == MONTHS_BAN_STEP:
        return calendar.months_after(since, policy.third_ban_months)
    return None


def recompute_bans(violations: Iterable[Violation], policy: Policy) -> tuple[Ban, ...]:
    """Climb the ladder from the ground with the violations that stand."""
    bans: tuple[Ban, ...] = ()
    upheld = [violation for violation in violations if violation.stands]
    for step, violation in enumerate(upheld, start=1):
        for_good_already = bool(bans) and bans[-1].until is None
        if step > WARNING_STEP and not for_good_already:
            bans = follow_with(bans, next_ban(bans, violation, step, policy))
    return bans


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
