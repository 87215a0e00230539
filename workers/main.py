"""Main: one worker process, a Dramatiq worker over our broker."""

from __future__ import annotations

import gc
import os
import threading
from collections.abc import Callable
from functools import partial

import structlog
from dramatiq import Worker

from workers.actors import declare_actors
from workers.broker import EarnestBroker
from workers.database import open_database
from workers.door import RedisDoor, open_door
from workers.process import check_servers, policy_in_force
from workers.quarantine import quarantine
from workers.relay import ring
from workers.settings import Settings
from workers.settle import Settler
from workers.store import Store
from workers.wakeups import has_orders
from workers.wire import connect

THREADS = 2
"""Threads that settle: one for commands, one for wake-ups."""

STOP_MS = 10_000

log = structlog.get_logger()


def run(settings: Settings, stopping: threading.Event, ready: Callable[[], None]) -> None:
    """Settle commands and wake-ups until told to stop, then give back what is left."""
    engine, client = open_database(settings.database_url), connect(settings.redis_url)
    check_servers(engine, client)
    store = Store(engine, policy_in_force(settings))
    store.adopt_policy()
    open_door(client, in_use=has_orders(engine))
    broker = EarnestBroker(client, partial(quarantine, engine), settings.keyring)
    settler = Settler(store, RedisDoor(client, engine), partial(ring, client))
    declare_actors(broker, settler, stopping)
    worker = Worker(broker, worker_threads=THREADS, worker_timeout=200)
    # What a batch makes is gone with the batch: to look for cycles in it every 700 objects cost
    # a fifth of everything.
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
    worker.start()
    ready()
    while not stopping.wait(1.0):
        # A thread that has died takes nothing back with it: better to start anew, whole.
        if not all(thread.is_alive() for thread in (*worker.workers, *worker.consumers.values())):
            log.error("worker.thread_died")
            os._exit(70)
    worker.stop(timeout=STOP_MS)
    broker.release_all()
