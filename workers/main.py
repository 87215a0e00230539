"""Main: one worker process, a Dramatiq worker over our broker."""

from __future__ import annotations

import gc
import os
import threading
from collections.abc import Callable
from functools import partial

import structlog
from dramatiq import Worker

from workers.database.engine import open_database
from workers.database.repository import Store
from workers.outbox.relay import notify_relay
from workers.outbox.timeline import find_setback
from workers.processing.failures import quarantine
from workers.processing.processor import BatchProcessor
from workers.processing.wakeups import has_orders
from workers.queue.broker import EarnestBroker, declare_actors
from workers.queue.redis import connect
from workers.queue.upgrade import carry_over
from workers.queue.watermark import ArrivalClock, begin_epoch
from workers.runtime import policy_in_force
from workers.server_checks import check_servers
from workers.settings import Settings

log = structlog.get_logger()


THREADS = 2
"""Threads that process batches: one for commands, one for wake-ups."""


STOP_TIMEOUT_MS = 10_000


def open_broker(settings: Settings, stopping: threading.Event) -> EarnestBroker:
    """Open the servers and return a broker whose actors settle commands and wake orders.

    Raise `SettingsError` for what a person must change, `Unavailable` for a server that is away.
    """
    engine, client = open_database(settings.database_url), connect(settings.redis_url)
    check_servers(engine, client)
    if (setback := find_setback(engine, client)) is not None:
        log.error("database.set_back", detail=str(setback))
    store = Store(engine, policy_in_force(settings))
    store.adopt_policy()
    carry_over(client)
    begin_epoch(client, engine, in_use=has_orders(engine))
    broker = EarnestBroker(client, partial(quarantine, engine), settings.keyring)
    clock = ArrivalClock(client, engine, settings.keyring)
    clock.watermark()
    processor = BatchProcessor(store, clock, partial(notify_relay, client))
    declare_actors(broker, processor.settle_batch, processor.wake, stopping)
    return broker


def tune_memory() -> None:
    """Look for cycles rarely: what a batch makes is gone with the batch.

    To look every 700 objects cost a fifth of everything. A batch at work has some 100 000: they are
    left alone, too.
    """
    gc.freeze()
    gc.set_threshold(300_000, 20, 50)


def run(settings: Settings, stopping: threading.Event, ready: Callable[[], None]) -> None:
    """Settle commands and wake-ups until told to stop, then give back what is left."""
    broker = open_broker(settings, stopping)
    worker = Worker(broker, worker_threads=THREADS, worker_timeout=200)
    tune_memory()
    worker.start()
    ready()
    while not stopping.wait(1.0):
        # A thread that has died takes nothing back with it: better to start anew, whole.
        if not all(thread.is_alive() for thread in (*worker.workers, *worker.consumers.values())):
            log.error("worker.thread_died")
            os._exit(70)
    worker.stop(timeout=STOP_TIMEOUT_MS)
    broker.release_all()
