"""Worker: a real Dramatiq worker over our broker, in threads of the test's own process."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import redis
from dramatiq import Worker
from sqlalchemy import Engine, select

from models.policy import Policy
from workers.client import CommandClient
from workers.database import schema
from workers.database.engine import reading
from workers.database.repository import Store
from workers.outbox.relay import notify_relay
from workers.processing.failures import quarantine
from workers.processing.processor import BatchProcessor
from workers.queries.reader import Reader
from workers.queue.broker import EarnestBroker, declare_actors
from workers.queue.redis import QUEUES, WORKERS_KEY, Keys
from workers.queue.watermark import ArrivalClock

STOP_TIMEOUT_MS = 10_000


@dataclass
class RunningWorker:
    """A worker, what it works on, and what can be seen of it from outside."""

    worker: Worker
    engine: Engine
    redis_client: redis.Redis
    reader: Reader

    @property
    def client(self) -> CommandClient:
        return CommandClient(self.redis_client)

    def settled(self, *command_ids: str) -> bool:
        """Tell whether all of these commands have an outcome."""
        return {row.command_id for row in self.rows("receipts")} >= set(command_ids)

    def rows(self, name: str) -> list[Any]:
        with reading(self.engine) as connection:
            return list(connection.execute(select(schema.metadata.tables[name])))

    def alive(self) -> bool:
        """Tell whether no thread has died."""
        threads = (*self.worker.workers, *self.worker.consumers.values())
        return len(threads) >= 2 + len(QUEUES) and all(thread.is_alive() for thread in threads)

    def idle(self) -> bool:
        """Tell whether nothing waits, nothing is in flight, nothing is left over."""
        return all(not count for count in queue_contents(self.redis_client).values())


def queue_contents(redis_client: redis.Redis) -> dict[str, int]:
    """Count what the queues hold: waiting, stored, pending, and taken by somebody."""
    counts = {}
    for queue in QUEUES:
        keys = Keys(queue)
        counts[f"{queue} waiting"] = redis_client.llen(keys.waiting)
        counts[f"{queue} stored"] = redis_client.hlen(keys.messages)
        counts[f"{queue} pending"] = redis_client.zcard(keys.pending)
        counts[f"{queue} attempts"] = redis_client.hlen(keys.attempts)
        counts[f"{queue} subjects"] = redis_client.hlen(keys.subjects)
        counts[f"{queue} waiters"] = redis_client.hlen(keys.waiters)
        consumers: list[Any] = redis_client.zrange(WORKERS_KEY, 0, -1)
        counts[f"{queue} taken"] = sum(
            redis_client.scard(keys.taken(name.decode())) for name in consumers
        )
    return counts


@contextmanager
def running_worker(
    engine: Engine, redis_client: redis.Redis, policy: Policy | None = None
) -> Iterator[RunningWorker]:
    """Let a worker work until the end of the block, then stop it in good order."""
    store, stopping = Store(engine, policy or Policy()), threading.Event()
    store.adopt_policy()
    broker = EarnestBroker(redis_client, partial(quarantine, engine))
    processor = BatchProcessor(
        store, ArrivalClock(redis_client, engine), partial(notify_relay, redis_client)
    )
    declare_actors(broker, processor.settle_batch, processor.wake, stopping)
    worker = Worker(broker, worker_threads=2, worker_timeout=100)
    worker.start()
    try:
        yield RunningWorker(worker, engine, redis_client, Reader(store))
    finally:
        stopping.set()
        worker.stop(timeout=STOP_TIMEOUT_MS)
        broker.release_all()
