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
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Protocol

from sqlalchemy import func, select

from models import ledger
from models.events.notifications import CommandSettled
from models.ledger import Posting
from models.orders.order import Order
from models.policy import read_policy
from ops.local.up import Formation, until_signalled
from ops.simulation import comparison
from ops.simulation.replay import (
    Ending,
    Forecast,
    ending,
    flows,
    foresee,
    play,
    read_steps,
    reminder,
    shifted,
)
from ops.simulation.simulate import Step
from workers.client import Client
from workers.database import schema
from workers.database.engine import open_database, reading
from workers.database.repository import Store
from workers.queries.audit import Report
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
        print(comparison.report(performance.forecast, observations, performance.steps))
        failed_comparisons = [
            comparison
            for comparison in comparison.check(performance.forecast, observations)
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
) -> tuple[Performance, comparison.Found]:
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


CAMPAIGN = project_root() / "examples" / "campaign.jsonl"
POLICY = project_root() / "examples" / "demo-policy.json"

LEAD = timedelta(seconds=1)
"""Between making ready to play and the first command."""

PATIENCE = timedelta(seconds=10)
"""How long after the last deadline everything must have come to rest."""

POLL_SECONDS = 0.25
TELL = {True: timedelta(seconds=0.5), False: timedelta(seconds=3)}
"""How often progress is told: on a terminal, where a line replaces the last, and elsewhere."""


class Books(Protocol):
    """What the demo reads of the pipeline's books: how far they are, and in the end everything."""

    def settled(self) -> int: ...

    def endings(self) -> Counter[Ending]: ...

    def outcomes(self, command_ids: Collection[str]) -> Mapping[str, comparison.Answer]: ...

    def orders(self) -> Iterator[Order]: ...

    def answered(self) -> Counter[Ending]: ...

    def moved(self) -> Sequence[Posting]: ...

    def reminded(self) -> Counter[Ending]: ...

    def lateness(self) -> Sequence[float]: ...

    def audit(self) -> Report: ...


@dataclass(frozen=True, slots=True)
class Pipeline:
    """A running pipeline: where commands go in, what can be read, and what it consists of."""

    submit: Callable[[Sequence[str]], object]
    books: Books
    pids: Callable[[], Mapping[str, int]]


class StoppedError(Exception):
    """Somebody does not want to see the end."""


class Clock:
    """This host's present, by which the file is played; waiting ends when it is stopped."""

    def __init__(self, stopping: threading.Event) -> None:
        self._stopping = stopping

    def now(self) -> datetime:
        return datetime.now(UTC)

    def wait(self, seconds: float) -> None:
        """Wait, or raise `StoppedError`."""
        if self._stopping.wait(seconds):
            raise StoppedError


@dataclass(frozen=True, slots=True)
class Programme:
    """What is played, as it is written, and what the rules alone make of it."""

    steps: Sequence[Step]
    forecast: Forecast


def prepare() -> Programme:
    """Read the campaign and foresee its end, which takes seconds: before anything is played."""
    steps = read_steps(CAMPAIGN.read_text(encoding="utf-8").splitlines())
    return Programme(steps, foresee(steps, read_policy(POLICY.read_bytes())))


@dataclass(slots=True)
class Performance:
    """One performance: the steps, what must come of them, and how far it has got."""

    steps: Sequence[Step]
    forecast: Forecast
    pipeline: Pipeline
    clock: Clock
    played: int = 0
    settled: int = 0
    endings: Counter[Ending] = field(default_factory=Counter)
    _told_at: datetime | None = None

    def run(self) -> None:
        """Play everything, then wait until the books stand still as foreseen, or time is up."""
        play(self.steps, self._submit, self.clock.now, self._wait)
        over_at = (self.forecast.over_at or self.clock.now()) + PATIENCE
        while self.clock.now() < over_at:
            self._look()
            if self._is_over():
                break
            self._wait(POLL_SECONDS)
        self._tell(last=True)

    def _submit(self, texts: Sequence[str]) -> None:
        self.pipeline.submit(texts)
        self.played += len(texts)

    def _wait(self, seconds: float) -> None:
        if self._told_at is None or self.clock.now() - self._told_at > TELL[sys.stderr.isatty()]:
            self._look()
            self._tell(last=False)
        else:
            self.clock.wait(seconds)

    def _look(self) -> None:
        # Counts alone: whoever reads everything now lets commands wait that are due.
        self.settled = self.pipeline.books.settled()
        self.endings = self.pipeline.books.endings()

    def _is_over(self) -> bool:
        all_settled = self.settled >= len(self.forecast.outcomes)
        return all_settled and self.endings == self.forecast.endings

    def _tell(self, *, last: bool) -> None:
        self._told_at = now = self.clock.now()
        passed_count = sum(1 for due_at in self.forecast.deadlines if due_at <= now)
        final_endings = self.forecast.endings.keys()
        open_count = sum(
            count
            for state_and_reason, count in self.endings.items()
            if state_and_reason not in final_endings
        )
        line = (
            f"played {self.played:>5,} · settled {self.settled:>5,} · "
            f"orders {self.endings.total():>3,}, open {open_count:>3,} · "
            f"deadlines passed {passed_count:>3,}"
        )
        if sys.stderr.isatty():
            print(f"\r\033[K{line}", end="\n" if last else "", file=sys.stderr, flush=True)
        else:
            print(line, file=sys.stderr, flush=True)


def perform(
    programme: Programme, pipeline: Pipeline, clock: Clock
) -> tuple[Performance, comparison.Found]:
    """Play the campaign from now on, and read what came of it."""
    starts_at = clock.now() + LEAD
    steps = shifted(programme.steps, starts_at)
    forecast = programme.forecast.moved(starts_at - programme.steps[0].at)
    performance = Performance(steps, forecast, pipeline, clock)
    performance.run()
    return performance, _read_results(pipeline.books, forecast)


def _read_results(books: Books, forecast: Forecast) -> comparison.Found:
    """Read everything that decides whether all is right, and what is worth knowing beside it."""
    postings = books.moved()
    return comparison.Found(
        outcomes=books.outcomes(list(forecast.outcomes)),
        answers=books.answered(),
        orders={order.order_id: ending(order) for order in books.orders()},
        balances=ledger.balances(postings),
        flows=flows(postings),
        reminders=books.reminded(),
        lateness=books.lateness(),
        findings=books.audit().findings,
    )
