"""Stalled commands: which wait for long, for what, and where operators read of it."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import redis
import structlog

from workers.queue.redis import STALLED_KEY
from workers.timestamps import SECOND_US

log = structlog.get_logger()


STALLED_US = 10 * SECOND_US
"""How long a command may wait for an earlier one before somebody should look."""


NOTE_INTERVAL_S = 1.0


LOG_INTERVAL_S = 10.0


MAX_NOTED = 100
"""Stalled commands worth naming: whoever reads of so many knows enough."""


EXPIRY_S = 30
"""How long a note is believed whose worker says nothing more."""


@dataclass(frozen=True, slots=True)
class StalledCommand:
    """A command that waits, since it was received, and what it waits for.

    `behind` is a message, or empty where somebody else has locked a row of `about`.
    """

    command: str
    received_us: int
    about: tuple[str, ...]
    behind: str


class StallNotes:
    """What one worker says of the commands that it holds for long."""

    def __init__(self, client: redis.Redis) -> None:
        """Keep where it is read; nothing is noted yet."""
        self.client = client
        self.noted: set[str] = set()
        self.next_note_at = self.next_log_at = 0.0

    def note(self, stalled: Sequence[StalledCommand], now_us: int) -> None:
        """Note what waits for long now, and that what no longer does is over."""
        now = time.monotonic()
        if (not stalled and not self.noted) or now < self.next_note_at:
            return
        self.next_note_at = now + NOTE_INTERVAL_S
        notes: dict[Any, Any] = {
            str(item.received_us): json.dumps(asdict(item) | {"noted_us": now_us})
            for item in stalled[:MAX_NOTED]
        }
        try:
            with self.client.pipeline(transaction=True) as pipe:
                if over := sorted(self.noted - notes.keys()):
                    pipe.hdel(STALLED_KEY, *over)
                if notes:
                    pipe.hset(STALLED_KEY, mapping=notes)
                    pipe.expire(STALLED_KEY, 2 * EXPIRY_S)
                pipe.execute()
        except redis.RedisError as error:
            log.warning("stalled.not_noted", error=str(error)[:300])
        self.noted = set(notes)
        if stalled and now >= self.next_log_at:
            self.next_log_at = now + LOG_INTERVAL_S
            oldest = stalled[0]
            log.error(
                "commands.stalled",
                commands=len(stalled),
                oldest=oldest.command,
                about=oldest.about,
                behind=oldest.behind or "a row that somebody else has locked",
                for_s=round((now_us - oldest.received_us) / SECOND_US, 1),
            )


def read_stalled(client: redis.Redis, now_us: int) -> list[StalledCommand]:
    """Return the commands that wait for long now, by what their workers say, oldest first."""
    notes = (json.loads(text) for text in client.hvals(STALLED_KEY))
    return sorted(
        (
            StalledCommand(
                note["command"], note["received_us"], tuple(note["about"]), note["behind"]
            )
            for note in notes
            if now_us - note["noted_us"] < EXPIRY_S * SECOND_US
        ),
        key=lambda item: item.received_us,
    )
