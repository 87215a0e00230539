"""History: how many commands were settled, second by second, so that a chart begins full."""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress

from anyio import to_thread
from sqlalchemy import Engine

from models.errors import TransientError
from workers.database.engine import reading
from workers.outbox import counters as event_counters

KEPT = 300


PACE_S = 1.0


class History:
    """Running totals of the last five minutes, one a second, the latest last."""

    def __init__(self, engine: Engine) -> None:
        """Begin with nothing."""
        self.engine = engine
        self.totals: deque[int] = deque(maxlen=KEPT)
        self.closing = asyncio.Event()

    async def keep(self) -> None:
        """Take a total every second, until told to stop: never in the middle of one."""
        clock = asyncio.get_running_loop().time
        next_at = clock()
        while not self.closing.is_set():
            with suppress(TransientError):
                self.totals.append(await to_thread.run_sync(self._settled))
            next_at = max(next_at + PACE_S, clock())
            with suppress(TimeoutError):
                await asyncio.wait_for(self.closing.wait(), next_at - clock())

    def _settled(self) -> int:
        with reading(self.engine) as connection:
            return sum(event_counters.read(connection).get("settled", {}).values())
