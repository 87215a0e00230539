"""Demo: a campaign in under a minute, through the real pipeline, held against the rules alone."""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

from sqlalchemy import func, select

from models.events.notifications import CommandSettled
from models.ledger import Posting
from ops import verdict
from ops.performance import POLICY, Clock, Performance, Pipeline, StoppedError, perform, prepare
from ops.play import Ending, reminder
from ops.up import Formation, until_signalled
from workers.client import Client
from workers.database import schema
from workers.database.engine import open_database, reading
from workers.database.repository import Store
from workers.queries.reader import Reader
from workers.queue.redis import connect
from workers.runtime import policy_in_force
from workers.settings import Settings, project_root, redis_socket


def demo(*, keep: bool = False, within: Path | None = None) -> int:
    """Show the whole pipeline at work; return 0 only if everything came out as foreseen.

    `within` is where its own state folder is made. No other setting counts, not even one of the
    environment: a demo has no business with anybody's database.
    """
    with (
        stage(within or project_root() / "var", keep=keep) as demo_settings,
        stop_signal() as stop_event,
    ):
        started_at = time.monotonic()
        print("starting the pipeline …", file=sys.stderr, flush=True)
        pids: dict[str, int] = {}
        try:
            performance, observations = show_all(demo_settings, Clock(stop_event), pids)
        except StoppedError:
            print("\nstopped", file=sys.stderr)
            return 130
        observations.processes, observations.left = pids, left_running(pids)
        print(verdict.report(performance.forecast, observations, performance.steps))
        failed_comparisons = [
            comparison
            for comparison in verdict.check(performance.forecast, observations)
            if comparison.faults
        ]
        duration_s = time.monotonic() - started_at
        print(
            f"\n{'NOT all is right' if failed_comparisons else 'All is right'}, "
            f"after {duration_s:.0f} s."
        )
        if keep:
            print(f"The books, and what each process said, are kept in {demo_settings.var}")
    return 1 if failed_comparisons else 0


def show_all(
    settings: Settings, clock: Clock, pids: dict[str, int]
) -> tuple[Performance, verdict.Found]:
    """Start everything, play, and look; note in `pids` the process ids that there were."""
    with ThreadPoolExecutor(1) as executor:
        # Foreseeing takes about as long as starting.
        preparation = executor.submit(prepare)
        with pipeline(settings) as running_pipeline:
            pids.update(running_pipeline.pids())
            performance, observations = perform(preparation.result(), running_pipeline, clock)
            pids.update(running_pipeline.pids())
    return performance, observations


@contextmanager
def stage(parent: Path, *, keep: bool) -> Iterator[Settings]:
    """Make a state folder of the demo's own, whatever else is up; remove it at the end."""
    parent.mkdir(parents=True, exist_ok=True)
    var = Path(tempfile.mkdtemp(prefix="demo-", dir=parent))
    try:
        # Its web process takes any free port: another Earnest may have the usual one.
        yield Settings.read({"EARNEST_WEB_BIND": "127.0.0.1:0"}, var=var, policy=POLICY)
    finally:
        if not keep:
            # The socket's folder may be another one, where names must be short.
            for folder in (redis_socket(var).parent, var):
                shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def stop_signal() -> Iterator[threading.Event]:
    """Let Ctrl-C and its like end the demo in order."""
    stop_event = threading.Event()
    with until_signalled(stop_event):
        yield stop_event


@contextmanager
def pipeline(settings: Settings) -> Iterator[Pipeline]:
    """Start every process of Earnest, and connect to the two ends of it."""
    with Formation(settings, quiet=True) as formation:
        engine, client = open_database(settings.database_url), connect(settings.redis_url)
        reader = CloseReader(Store(engine, policy_in_force(settings)))
        try:
            yield Pipeline(Client(client).submit_many, reader, formation.pids)
        finally:
            engine.dispose()
            client.close()


class CloseReader(Reader):
    """The books as readers see them, down to the single fen and the single answer."""

    def answered(self) -> Counter[Ending]:
        """Count what commands were answered, those too that left no receipt."""
        table = schema.events
        query = select(table.c.body).where(table.c.type == CommandSettled.type)
        with reading(self.store.engine) as connection:
            answers = [json.loads(body) for body in connection.execute(query).scalars()]
        return Counter((answer["outcome"], answer["reason"]) for answer in answers)

    def moved(self) -> list[Posting]:
        """Add up all postings between the same two accounts."""
        table = schema.postings
        total = func.sum(table.c.amount_fen)
        query = select(table.c.source, table.c.target, total).group_by("source", "target")
        with reading(self.store.engine) as connection:
            return [
                Posting(source, target, int(amount_fen))
                for source, target, amount_fen in connection.execute(query)
            ]

    def reminded(self) -> Counter[Ending]:
        """Count reminders by who was reminded, and of what."""
        table, counts = schema.events, Counter[Ending]()
        query = select(table.c.type, table.c.caused_by).where(table.c.type.like("%.reminded"))
        with reading(self.store.engine) as connection:
            counts.update(reminder(*row) for row in connection.execute(query))
        return counts


def left_running(pids: Mapping[str, int]) -> list[str]:
    """Name the processes that still run, or whose own children do."""
    running_names = []
    for name, pid in pids.items():
        # Every child leads a group of its own, which exists as long as anybody in it.
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, 0)
            running_names.append(f"{name} ({pid})")
    return running_names
