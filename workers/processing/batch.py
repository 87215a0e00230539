"""Batch: commands handled in one transaction, in the order of their stamps, and wake-ups."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Protocol

import structlog

from models.commands import AnyCommand
from models.commands.parsing import MalformedCommand
from models.events.event import Event
from models.events.notifications import CommandSettled
from models.ids import parse_wake_subject
from models.reasons import RejectionReason
from models.service.handlers import describe_outcome, expire_parked, handle
from models.service.outcome import JudgedCommand, recorded_events, rejected
from models.service.subjects import (
    subjects_concerned,
    subjects_counted,
    subjects_of,
    wakeup_subjects,
    wakeup_subjects_counted,
)
from workers.database.repository import LoadedState
from workers.inbox import PREFIX
from workers.queue.frontier import Blocker, Frontier, SubjectKeys
from workers.queue.messages import HeldCommand, Received
from workers.timestamps import from_us

log = structlog.get_logger()


class ArrivalOrder(Protocol):
    """The clock that commands are stamped by, and what was received and is not settled."""

    def frontier(self, announcements: Mapping[str, bytes], before: int) -> Frontier:
        """Say what messages are about, and return what is earlier and not settled."""

    def wakeup_frontier(self) -> Frontier:
        """Return what time may not pass by."""

    def note_held(self, held: Sequence[HeldCommand]) -> None:
        """Note which commands are held back now."""


def hold_back(frontier: Frontier, received: Received) -> None:
    """Let later commands about the same wait for one that is not handled yet."""
    own = Blocker(received.message_id, 0, received.stamp)
    frontier.add(own, received.parsed.keys)


@dataclass(slots=True)
class Batch:
    """One batch at work: `page` has what was handled, and what must wait is `held`."""

    page: LoadedState
    frontier: Frontier
    held: list[HeldCommand] = field(default_factory=list)
    locked_wakes: list[str] = field(default_factory=list)
    _outcomes: Counter[str] = field(default_factory=Counter)

    def judge(self, received: Received) -> None:
        """Handle one command, or hold it until what is earlier has been handled."""
        parsed, uow = received.parsed, self.page.uow
        command = parsed.command
        if parsed.fault is not None:
            self._refuse_malformed(received, parsed.fault)
        if command is None:
            return
        if self.page.stamps.get(command.key) == received.stamp:
            # A redelivery: it was settled, and not acknowledged.
            return
        must_wait, blocker = self._find_obstacle(received, command)
        if must_wait:
            self.hold(received, blocker)
            return
        if received.trace:
            self.page.traces.setdefault(f"command:{command.key}", received.trace)
        self._check_order(received, command)
        judged = handle(uow, command, received.at, received.stamp)
        if received.trace and str(received.stamp) in uow.parked:
            self.page.parked_traces[str(received.stamp)] = received.trace
        self._note(judged)
        self._leave_inbox(received, command.sender, command.id)

    def hold(self, received: Received, blocker: Blocker | None) -> None:
        """Hold a command: later ones about the same wait for it."""
        self.held.append(HeldCommand(received, blocker))
        hold_back(self.frontier, received)

    def _find_obstacle(
        self, received: Received, command: AnyCommand
    ) -> tuple[bool, Blocker | None]:
        """Tell whether a command must wait, now that it is known whom it concerns, and for what."""
        if self.frontier.is_clear() and not self.page.locked:
            return False, None
        concerned = subjects_concerned(self.page.uow, command)
        counted_subjects = subjects_counted(self.page.uow, command, self.frontier.count_readers)
        for keys in (
            received.parsed.keys,
            SubjectKeys.observing(concerned),
            SubjectKeys.changing(counted_subjects),
        ):
            blocker = self.frontier.find_blocker(received.stamp, keys)
            if blocker is not None:
                return True, blocker
        if not self.page.locked:
            return False, None
        subjects = subjects_of(command)
        names = subjects.changes | subjects.reads | subjects.observes | concerned
        return not self.page.locked.isdisjoint(names), None

    def wake(self, subjects: Collection[str]) -> None:
        """Tell orders, creators and debts that time has passed, as far as it has for everybody.

        Not past what we have heard: a command still on its way may have come in time. What has
        nothing to do is written all the same, so that its lease ends now.
        """
        for subject in subjects:
            kind, subject_id = parse_wake_subject(subject)
            names = {f"{kind}:{subject_id}", *wakeup_subjects(self.page.uow, subject)}
            if not self.page.locked.isdisjoint(names):
                self.locked_wakes.append(subject)
                continue
            if kind == "parked":
                self._note(expire_parked(self.page.uow, subject_id, self._horizon(subject)))
            else:
                self.page.events.extend(self.page.uow.wake(subject, self._horizon))
            self.page.woken.add(subject)

    def _check_order(self, received: Received, command: AnyCommand) -> None:
        """Note on a command that one about the same was judged before, and received later.

        A dead letter that is replayed comes late; nothing else is to.
        """
        needs, stamps, stamp = command.dependencies, self.page.judged_stamps, received.stamp
        subjects = [f"order:{order_id}" for order_id in needs.orders]
        subjects += [f"creator:{creator_id}" for creator_id in needs.creators_changing]
        latest = max([stamps.get(subject, 0) for subject in subjects], default=0)
        if latest > stamp:
            self.page.judged_after[command.key] = latest
            log.error(
                "command.judged_out_of_order",
                command_key=command.key,
                stamp=stamp,
                judged_after=latest,
            )
            return
        for subject in subjects:
            stamps[subject] = stamp

    def counts(self) -> dict[str, int]:
        """Count what was settled, for the log."""
        return dict(self._outcomes) | {"held": len(self.held), "events": len(self.page.events)}

    def _horizon(self, subject: str) -> datetime:
        uow = self.page.uow
        counted_subjects = wakeup_subjects_counted(uow, subject, self.frontier.count_readers)
        return from_us(self.frontier.horizon(wakeup_subjects(uow, subject), counted_subjects))

    def _note(self, judged: Sequence[JudgedCommand]) -> None:
        """Note what a command, and what its coming has released, came to."""
        page = self.page
        page.events.extend(recorded_events(judged))
        for item in judged:
            command, key = item.command, item.command.key
            if page.parked_traces and (trace := page.parked_traces.get(str(item.number))):
                page.traces.setdefault(f"command:{key}", trace)
            fact = describe_outcome(command.sender, command.id, command, item.outcome)
            if page.judged_after and (later := page.judged_after.get(key)):
                fact = replace(fact, judged_after=from_us(later))
            self._publish(f"command:{key}", item.number, item.at, fact)
            if key in page.uow.receipts and key not in page.stamps:
                page.stamps[key] = page.new_stamps[key] = item.number

    def _publish(self, subject: str, stamp: int, at: datetime, fact: CommandSettled) -> None:
        self.page.outcomes.append(Event(subject, stamp, at, subject, fact))
        self._outcomes[fact.outcome] += 1

    def _refuse_malformed(self, received: Received, fault: MalformedCommand) -> None:
        outcome = rejected(RejectionReason.MALFORMED, detail=fault.detail)
        fact = describe_outcome(fault.sender, fault.command_id, None, outcome)
        self._publish(f"command:{fault.key}", received.stamp, received.at, fact)
        if received.trace:
            self.page.traces.setdefault(f"command:{fault.key}", received.trace)
        self._leave_inbox(received, fault.sender, fault.command_id)

    def _leave_inbox(self, received: Received, sender: str | None, command_id: str | None) -> None:
        if sender and command_id and received.message_id.startswith(PREFIX):
            self.page.settled_inbox_keys.append((sender, command_id, received.stamp))
