"""Naive actor: the same rules and store, one message and one transaction at a time."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from functools import cache

import dramatiq
from dramatiq.brokers.redis import RedisBroker

from models.policy import Policy
from workers.database.engine import open_database
from workers.database.repository import Store
from workers.processing.processor import BatchProcessor
from workers.queue.messages import Received
from workers.settings import Settings
from workers.timestamps import now_us, to_us

URL = os.environ.get("BENCH_REDIS_URL", "redis://127.0.0.1:6379")


dramatiq.set_broker(RedisBroker(url=URL))  # type: ignore[no-untyped-call]


class HostArrivalClock:
    """An arrival clock that believes this host's clock and knows of no other worker."""

    def now(self) -> datetime:
        """Return the present."""
        return datetime.now(UTC)

    def watermark(self, without: Collection[str]) -> datetime:
        """Return the present: what is in the queue does not matter."""
        del without
        return datetime.now(UTC)

    def excuse(self, message_ids: Collection[str]) -> None:
        """Do nothing."""


@cache
def processor() -> BatchProcessor:
    """Open the database once a process, after the fork."""
    engine = open_database(Settings.read(os.environ).database_url)
    return BatchProcessor(Store(engine, Policy()), HostArrivalClock(), lambda: None)


@dramatiq.actor(queue_name="naive", max_retries=0)
def settle_one(text: str) -> None:
    """Settle one command in one transaction."""
    at = datetime.now(UTC)
    processor().settle([Received(text, at, to_us(at), str(now_us()))])


def fill(url: str, texts: Sequence[str]) -> None:
    """Enqueue commands through a broker of this process."""
    broker = RedisBroker(url=url)  # type: ignore[no-untyped-call]
    for text in texts:
        broker.enqueue(settle_one.message(text))
