"""Turns: who came first, as far as one batch must know it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

PATIENCE = timedelta(seconds=2)
"""How long a command waits for the order it names: its sender may be about to place it."""


@dataclass(frozen=True, slots=True)
class Received:
    """One command as it came through the door.

    `stamp` is unique to this submission: a redelivery bears the same one, a sender that asks
    again gets another. `message_id` names the message it travelled in. `trace` is the sender's
    W3C trace context, which its events are given, and means nothing to us.
    """

    text: str
    at: datetime
    stamp: int
    message_id: str
    trace: str | None = None


class Door(Protocol):
    """Where commands are stamped; its clock is the only one that decides anything."""

    def now(self) -> datetime:
        """Return the present."""

    def excuse(self, message_ids: Collection[str]) -> None:
        """Let these messages hold no deadline back: they concern no order that exists."""

    def watermark(self, without: Collection[str]) -> datetime:
        """Return an instant before which all is settled but what these messages carry."""


@dataclass(slots=True)
class Held:
    """Commands that were not judged: behind somebody, or for an order that does not exist yet.

    Only the former hold deadlines back, and only they are counted by `since`.
    """

    behind: list[Received] = field(default_factory=list)
    orphans: list[Received] = field(default_factory=list)
    since: datetime | None = None

    def hold(self, submission: Received) -> None:
        """Hold a command until its turn has come."""
        self.behind.append(submission)
        self.since = min(self.since or submission.at, submission.at)

    def add(self, deferred: Held) -> None:
        """Hold what another holds, too."""
        for submission in deferred.behind:
            self.hold(submission)
        self.orphans += deferred.orphans

    def everything(self) -> list[Received]:
        """Return every command held, in the order of their receipt."""
        return sorted(
            self.behind + self.orphans, key=lambda submission: (submission.at, submission.stamp)
        )

    def excused(self) -> set[str]:
        """Name the messages that hold nothing but orphans."""
        blocking_ids = {submission.message_id for submission in self.behind}
        return {submission.message_id for submission in self.orphans} - blocking_ids


@dataclass(slots=True)
class Turns:
    """What is still to be judged elsewhere, asked of the door once a bundle and only if it matters.

    The bundle's own messages do not count: their commands are judged in the order of receipt.
    What it holds back does.
    """

    door: Door
    messages: Collection[str]
    held: Held = field(default_factory=Held)
    _others: datetime | None = None
    _present: datetime | None = None

    def watermark(self, deferred: Held) -> datetime:
        """Return an instant before which everything received is settled."""
        if self._others is None:
            self._others = self.door.watermark(without=self.messages)
        return min(
            instant for instant in (self._others, self.held.since, deferred.since) if instant
        )

    def is_early(self, submission: Received) -> bool:
        """Tell whether a command came so lately that an order may yet be placed for it."""
        if self._present is None:
            self._present = self.door.now()
        return self._present - submission.at < PATIENCE
