"""Doors: a door whose clock stands still until somebody moves it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime


@dataclass(slots=True)
class FixedDoor:
    """A door at one instant; `waiting` holds what was received and is not settled anywhere."""

    present: datetime
    waiting: dict[str, datetime] = field(default_factory=dict)

    def now(self) -> datetime:
        """Return the instant at which the clock stands."""
        return self.present

    def watermark(self, without: Collection[str]) -> datetime:
        """Return the receipt of the oldest waiting message but for `without`, or the present."""
        arrivals = (
            received_at
            for message_id, received_at in self.waiting.items()
            if message_id not in without
        )
        return min((self.present, *arrivals))

    def excuse(self, message_ids: Collection[str]) -> None:
        """Forget that these messages are waiting."""
        for message_id in message_ids:
            self.waiting.pop(message_id, None)
