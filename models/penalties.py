"""Penalties: the ladder for advertising outside the platform."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from models import civil
from models.creator import Creator, Violation
from models.events import Fact
from models.party_commands import OverturnViolation, ReportViolation
from models.party_events import (
    Ban,
    CreatorBanLifted,
    CreatorBanned,
    PostRemovalRequested,
    ViolationOverturned,
    ViolationReported,
)
from models.policy import Policy

WARNED, WEEK, MONTHS = 1, 2, 3
"""The steps of the ladder; every further one is for good."""


def report(
    creator: Creator, command: ReportViolation, policy: Policy, at: datetime
) -> tuple[Fact, ...]:
    """Take the next step of the ladder; a new ban begins when the one before is over."""
    step = sum(one.stands for one in creator.violations) + 1
    who = {"violation_id": command.violation_id, "creator_id": creator.creator_id}
    told = ViolationReported(
        step=step, url=command.url, seen_at=command.seen_at, evidence=command.evidence, **who
    )
    if step == WARNED:
        return (told, PostRemovalRequested(url=command.url, **who))
    since = creator.bans[-1].until if creator.bans else at
    if since is None:
        # Banned for good already: there is no later.
        return (told,)
    return (told, CreatorBanned(step=step, since=since, until=ends(step, since, policy), **who))


def ends(step: int, since: datetime, policy: Policy) -> datetime | None:
    """Return when a ban of some step ends, None for never."""
    if step == WEEK:
        return since + timedelta(days=policy.second_ban_days)
    if step == MONTHS:
        return civil.months_after(since, policy.third_ban_months)
    return None


def ladder(violations: Iterable[Violation], policy: Policy) -> tuple[Ban, ...]:
    """Climb the ladder from the ground with the violations that stand."""
    found: list[Ban] = []
    standing = [one for one in violations if one.stands]
    for step, one in enumerate(standing, start=1):
        before = found[-1].until if found else one.reported_at
        if step > WARNED and before is not None:
            since = max(before, one.reported_at)
            found.append(Ban(one.violation_id, step, since, ends(step, since, policy)))
    return tuple(found)


def overturn(
    creator: Creator, command: OverturnViolation, policy: Policy, at: datetime
) -> tuple[Fact, ...]:
    """Replay the ladder without one violation, and lift a ban that no longer stands."""
    left = (one for one in creator.violations if one.violation_id != command.violation_id)
    bans = tuple(one for one in ladder(left, policy) if one.until is None or one.until >= at)
    who = {"violation_id": command.violation_id, "creator_id": creator.creator_id}
    by = f"{command.by.role}:{command.by.id}"
    overturned = ViolationOverturned(by=by, note=command.reason, bans=bans, **who)
    if bans or not creator.bans:
        return (overturned,)
    return (overturned, lifted(creator, creator.bans[0], still_banned=False))


def lifted(creator: Creator, ban: Ban, *, still_banned: bool) -> CreatorBanLifted:
    """Tell that a ban is over."""
    return CreatorBanLifted(
        violation_id=ban.violation_id,
        creator_id=creator.creator_id,
        step=ban.step,
        since=ban.since,
        until=ban.until,
        still_banned=still_banned,
    )
