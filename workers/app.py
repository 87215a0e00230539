"""App: what `dramatiq workers.app` imports, once a process: the workers of `./earnest worker`."""

from __future__ import annotations

import os
import sys
import threading

import dramatiq
from dramatiq import Broker, Middleware, Worker

from workers.main import open_broker, tune_memory
from workers.queue.broker import EarnestBroker
from workers.runtime import configure_logs
from workers.settings import Settings


class Lifecycle(Middleware):
    """Stops work that waits for a server, and gives back what is left, when the worker ends."""

    def __init__(self, stopping: threading.Event) -> None:
        """Keep what the actors look at."""
        self.stopping = stopping

    def before_worker_shutdown(self, broker: Broker, worker: Worker) -> None:
        """Let nobody wait any longer."""
        del broker, worker
        self.stopping.set()

    def after_worker_shutdown(self, broker: Broker, worker: Worker) -> None:
        """Give back everything taken and not settled."""
        del worker
        if isinstance(broker, EarnestBroker):
            broker.release_all()


def make_broker() -> EarnestBroker:
    """Return the broker that the environment describes."""
    # Dramatiq has put a pipe of messages in the place of standard error: lines would break it.
    configure_logs("worker", sys.__stderr__)
    stopping = threading.Event()
    broker = open_broker(Settings.read(os.environ), stopping)
    broker.add_middleware(Lifecycle(stopping))
    tune_memory()
    return broker


broker = make_broker()

dramatiq.set_broker(broker)
