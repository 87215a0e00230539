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
    step = sum(violation.stands for violation in creator.violations) + 1
    ids = {"violation_id": command.violation_id, "creator_id": creator.creator_id}
    reported = ViolationReported(
        step=step, url=command.url, seen_at=command.seen_at, evidence=command.evidence, **ids
    )
    if step == WARNED:
        return (reported, PostRemovalRequested(url=command.url, **ids))
    since = creator.bans[-1].until if creator.bans else at
    if since is None:
        # Banned for good already: there is no later.
        return (reported,)
    return (reported, CreatorBanned(step=step, since=since, until=ends(step, since, policy), **ids))


def ends(step: int, since: datetime, policy: Policy) -> datetime | None:
    """Return when a ban of some step ends, None for never."""
    if step == WEEK:
        return since + timedelta(days=policy.second_ban_days)
    if step == MONTHS:
        return civil.months_after(since, policy.third_ban_months)
    return None


def ladder(violations: Iterable[Violation], policy: Policy) -> tuple[Ban, ...]:
    """Climb the ladder from the ground with the violations that stand."""
    bans: list[Ban] = []
    upheld = [violation for violation in violations if violation.stands]
    for step, violation in enumerate(upheld, start=1):
        previous_until = bans[-1].until if bans else violation.reported_at
        if step > WARNED and previous_until is not None:
            since = max(previous_until, violation.reported_at)
            bans.append(Ban(violation.violation_id, step, since, ends(step, since, policy)))
    return tuple(bans)


def overturn(
    creator: Creator, command: OverturnViolation, policy: Policy, at: datetime
) -> tuple[Fact, ...]:
    """Replay the ladder without one violation, and lift a ban that no longer stands."""
    remaining = (
        violation
        for violation in creator.violations
        if violation.violation_id != command.violation_id
    )
    bans = tuple(ban for ban in ladder(remaining, policy) if ban.until is None or ban.until >= at)
    ids = {"violation_id": command.violation_id, "creator_id": creator.creator_id}
    by = f"{command.by.role}:{command.by.id}"
    overturned = ViolationOverturned(by=by, note=command.reason, bans=bans, **ids)
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
