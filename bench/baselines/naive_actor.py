"""Naive actor: the same rules and store, one message and one transaction at a time."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from functools import cache

import dramatiq
from dramatiq.brokers.redis import RedisBroker

from models.policy import Policy
from workers.database.engine import open_database
from workers.database.repository import Store
from workers.processing.processor import BatchProcessor
from workers.queue.frontier import Frontier
from workers.queue.messages import HeldCommand, Received
from workers.settings import Settings
from workers.timestamps import from_us, now_us

URL = os.environ.get("BENCH_REDIS_URL", "redis://127.0.0.1:6379")


dramatiq.set_broker(RedisBroker(url=URL))  # type: ignore[no-untyped-call]


RETRY_S = 0.001
"""How long a row that somebody else has locked is waited for."""


class HostArrivalClock:
    """An arrival clock that believes this host's clock and knows of no other worker."""

    def frontier(self, announcements: Mapping[str, bytes], before: int) -> Frontier:
        """Return nothing: what others have received does not matter."""
        del announcements, before
        return Frontier(now_us())

    def wakeup_frontier(self) -> Frontier:
        """Return the present."""
        return Frontier(now_us())

    def note_held(self, held: Sequence[HeldCommand]) -> None:
        """Do nothing."""


@cache
def processor() -> BatchProcessor:
    """Open the database once a process, after the fork."""
    engine = open_database(Settings.read(os.environ).database_url)
    return BatchProcessor(Store(engine, Policy()), HostArrivalClock(), lambda: None)


@dramatiq.actor(queue_name="naive", max_retries=0)
def settle_one(text: str) -> None:
    """Settle one command in one transaction."""
    stamp = now_us()
    received = Received(text, from_us(stamp), stamp, str(stamp))
    # Another thread may be busy with the same creator's or client's rows.
    while processor().settle([received]):
        time.sleep(RETRY_S)


def fill(url: str, texts: Sequence[str]) -> None:
    """Enqueue commands through a broker of this process."""
    broker = RedisBroker(url=url)  # type: ignore[no-untyped-call]
    for text in texts:
        broker.enqueue(settle_one.message(text))
