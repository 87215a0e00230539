"""Rescuer: brings back the messages of workers that have died, and those that nobody has."""

from __future__ import annotations

import redis
import structlog

from models.errors import Unavailable
from workers.queue.redis import QUEUES, Keys, Scripts

log = structlog.get_logger()


DEAD_AFTER_MS = 15_000
"""After this a worker counts as dead and its messages go to others."""


THOROUGH_EVERY = 150
"""Looks after which every message is looked at even if the numbers agree: five minutes' worth."""


def rescue_stranded(client: redis.Redis) -> int:
    """Give back the messages of workers that have died; return how many."""
    scripts, rescued = Scripts(client), 0
    try:
        for queue in QUEUES:
            message_ids = scripts.rescue(Keys(queue), DEAD_AFTER_MS, last=queue == QUEUES[-1])
            rescued += len(message_ids)
    except redis.RedisError as error:
        raise Unavailable(str(error)) from error
    if rescued:
        log.warning("messages.rescued", messages=rescued)
    return rescued


class MessageRescuer:
    """Brings back what dead workers had, and what nobody has and does not wait either."""

    def __init__(self, client: redis.Redis) -> None:
        """Begin with a thorough look: who knows what was before."""
        self.client, self.scripts = client, Scripts(client)
        self.run_count = 0
        self.was_inconsistent = dict.fromkeys(QUEUES, False)

    def run_once(self) -> int:
        """Rescue, mend what does not agree twice in a row; return how many came back."""
        rescued = rescue_stranded(self.client)
        try:
            # Senders may be allowed to run the scripts, and not to teach them to Redis.
            self.scripts.load()
            for queue in QUEUES:
                rescued += self._mend(queue)
        except redis.RedisError as error:
            raise Unavailable(str(error)) from error
        self.run_count += 1
        return rescued

    def _mend(self, queue: str) -> int:
        thoroughly = self.was_inconsistent[queue] or self.run_count % THOROUGH_EVERY == 0
        restored, dropped_count, consistent = self.scripts.mend(Keys(queue), thoroughly=thoroughly)
        self.was_inconsistent[queue] = not consistent
        if restored or dropped_count:
            log.error("queue.mended", queue=queue, put_back=restored, dropped=dropped_count)
        return restored
