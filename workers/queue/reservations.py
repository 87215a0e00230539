"""Reservations: stamps for commands that are on their way into the inbox."""

from __future__ import annotations

from collections.abc import Sequence

import redis
import structlog

from workers.inbox import ReservedMessage
from workers.queue.redis import COMMANDS, Keys, Scripts
from workers.queue.watermark import LocalArrivalClock

log = structlog.get_logger()


class StampReservations:
    """Reserves stamps in Redis; while it is away this process stamps by its clock."""

    def __init__(self, client: redis.Redis, clock: LocalArrivalClock) -> None:
        """Keep both."""
        self.scripts, self.clock = Scripts(client), clock

    def reserve(self, messages: Sequence[ReservedMessage]) -> list[int] | None:
        """Reserve the stamps of each message's commands, and return the first of each.

        None while Redis is away.
        """
        try:
            return self.scripts.reserve(messages)
        except redis.RedisError as error:
            log.warning("reserve.failed", messages=len(messages), error=str(error)[:300])
            return None

    def stamp_here(self, count: int) -> int:
        """Return the first of so many stamps of this process's own."""
        return self.clock.take(count)

    def cancel(self, message_ids: Sequence[str]) -> None:
        """Give up what was reserved for messages that do not come; in time it lapses by itself."""
        try:
            self.scripts.ack(Keys(COMMANDS), "", message_ids)
        except redis.RedisError as error:
            log.warning("reserve.not_cancelled", messages=len(message_ids), error=str(error)[:300])
