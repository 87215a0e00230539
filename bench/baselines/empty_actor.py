"""Empty actor: stock Dramatiq on Redis doing nothing, the yardstick for everything else."""

from __future__ import annotations

import os

import dramatiq
from dramatiq.brokers.redis import RedisBroker

from bench import workload

URL = os.environ.get("BENCH_REDIS_URL", "redis://127.0.0.1:6379")


dramatiq.set_broker(RedisBroker(url=URL))  # type: ignore[no-untyped-call]


@dramatiq.actor(queue_name="empty")
def nothing(command: str) -> None:
    """Take a message of the same size as ours, and do nothing."""
    del command


def fill(url: str, messages: int) -> None:
    """Enqueue messages through a broker of this process."""
    broker = RedisBroker(url=url)  # type: ignore[no-untyped-call]
    for number in range(messages):
        broker.enqueue(nothing.message(workload.place(number)))
