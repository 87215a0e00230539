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
from ops.local.up import LocalStack, set_on_signal
from ops.simulation import comparison
from ops.simulation.replay import (
    Expectation,
    StateAndReason,
    expect,
    order_state_and_reason,
    read_steps,
    reminder_kind,
    replay,
    shift_steps,
    sum_flows,
)
from ops.simulation.simulate import SimulationStep
from workers.client import CommandClient
from workers.database import schema
from workers.database.engine import open_database, reading
from workers.database.repository import Store
from workers.queries.audit import AuditReport
from workers.queries.reader import Reader
from workers.queue.redis import connect
from workers.runtime import policy_in_force
from workers.settings import Settings, project_root, redis_socket

CAMPAIGN = project_root() / "examples" / "campaign.jsonl"
POLICY = project_root() / "examples" / "demo-policy.json"

START_DELAY = timedelta(seconds=1)
"""Between making ready to play and the first command."""

SETTLE_TIMEOUT = timedelta(seconds=10)
"""How long after the last deadline everything must have come to rest."""

POLL_INTERVAL_S = 0.25

PROGRESS_INTERVALS = {True: timedelta(seconds=0.5), False: timedelta(seconds=3)}
"""How often progress is told: on a terminal, where a line replaces the last, and elsewhere."""


def run_demo(*, keep: bool = False, within: Path | None = None) -> int:
    """Show the whole pipeline at work; return 0 only if everything came out as foreseen.

    `within` is where its own state folder is made. No other setting counts, not even one of the
    environment: a demo has no business with anybody's database.
    """
    with (
        temporary_settings(within or project_root() / "var", keep=keep) as demo_settings,
        stop_signal() as stop_event,
    ):
        started_at = time.monotonic()
        print("starting the pipeline …", file=sys.stderr, flush=True)
        pids: dict[str, int] = {}
        try:
            campaign_run, actual = run_campaign(demo_settings, HostClock(stop_event), pids)
        except StoppedError:
            print("\nstopped", file=sys.stderr)
            return 130
        actual.processes, actual.still_running = pids, find_still_running(pids)
        print(comparison.render_comparison(campaign_run.expectation, actual, campaign_run.steps))
        failed_checks = [
            check for check in comparison.compare(campaign_run.expectation, actual) if check.faults
        ]
        duration_s = time.monotonic() - started_at
        print(
            f"\n{'NOT all is right' if failed_checks else 'All is right'}, "
            f"after {duration_s:.0f} s."
        )
        if keep:
            print(f"The books, and what each process said, are kept in {demo_settings.var}")
    return 1 if failed_checks else 0


def run_campaign(
    settings: Settings, clock: HostClock, pids: dict[str, int]
) -> tuple[CampaignRun, comparison.ActualResult]:
    """Start everything, play, and read the results; note in `pids` the process ids there were."""
    with ThreadPoolExecutor(1) as executor:
        # Foreseeing takes about as long as starting.
        preparation = executor.submit(prepare_campaign)
        with start_pipeline(settings) as running_pipeline:
            pids.update(running_pipeline.pids())
            campaign_run, actual = play_campaign(preparation.result(), running_pipeline, clock)
            pids.update(running_pipeline.pids())
    return campaign_run, actual


@contextmanager
def temporary_settings(parent: Path, *, keep: bool) -> Iterator[Settings]:
    """Make a state folder of the demo's own, whatever else is up; remove it at the end."""
    parent.mkdir(mode=0o700, parents=True, exist_ok=True)
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
    with set_on_signal(stop_event):
        yield stop_event


@contextmanager
def start_pipeline(settings: Settings) -> Iterator[RunningPipeline]:
    """Start every process of Earnest, and connect to the two ends of it."""
    with LocalStack(settings, quiet=True) as stack:
        engine, client = open_database(settings.database_url), connect(settings.redis_url)
        reader = DetailedReader(Store(engine, policy_in_force(settings)))
        try:
            yield RunningPipeline(CommandClient(client).submit_many, reader, stack.pids)
        finally:
            engine.dispose()
            client.close()


class DetailedReader(Reader):
    """The books as readers see them, down to the single fen and the single answer."""

    def answer_counts(self) -> Counter[StateAndReason]:
        """Count what commands were answered, those too that left no receipt."""
        table = schema.events
        query = select(table.c.body).where(table.c.type == CommandSettled.type)
        with reading(self.store.engine) as connection:
            answers = [json.loads(body) for body in connection.execute(query).scalars()]
        return Counter((answer["outcome"], answer["reason"]) for answer in answers)

    def posting_totals(self) -> list[Posting]:
        """Add up all postings between the same two accounts."""
        table = schema.postings
        total = func.sum(table.c.amount_fen)
        query = select(table.c.source, table.c.target, total).group_by("source", "target")
        with reading(self.store.engine) as connection:
            return [
                Posting(source, target, int(amount_fen))
                for source, target, amount_fen in connection.execute(query)
            ]

    def reminder_counts(self) -> Counter[StateAndReason]:
        """Count reminders by who was reminded, and of what."""
        table, counts = schema.events, Counter[StateAndReason]()
        query = select(table.c.type, table.c.caused_by).where(table.c.type.like("%.reminded"))
        with reading(self.store.engine) as connection:
            counts.update(reminder_kind(*row) for row in connection.execute(query))
        return counts


def find_still_running(pids: Mapping[str, int]) -> list[str]:
    """Name the processes that still run, or whose own children do."""
    running_names = []
    for name, pid in pids.items():
        # Every process leads a group of its own, which exists as long as anybody in it.
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, 0)
            running_names.append(f"{name} ({pid})")
    return running_names


class PipelineReader(Protocol):
    """What the demo reads of the pipeline's books: how far they are, and in the end everything."""

    def count_outcomes(self) -> int: ...

    def endings(self) -> Counter[StateAndReason]: ...

    def outcomes(self, keys: Collection[str]) -> Mapping[str, comparison.OutcomeAndReason]: ...

    def orders(self) -> Iterator[Order]: ...

    def answer_counts(self) -> Counter[StateAndReason]: ...

    def posting_totals(self) -> Sequence[Posting]: ...

    def reminder_counts(self) -> Counter[StateAndReason]: ...

    def lateness(self) -> Sequence[float]: ...

    def audit(self) -> AuditReport: ...


@dataclass(frozen=True, slots=True)
class RunningPipeline:
    """A running pipeline: where commands go in, what can be read, and what it consists of."""

    submit: Callable[[Sequence[str]], object]
    reader: PipelineReader
    pids: Callable[[], Mapping[str, int]]


class StoppedError(Exception):
    """Somebody does not want to see the end."""


class HostClock:
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
class PreparedCampaign:
    """What is played, as it is written, and what the rules alone make of it."""

    steps: Sequence[SimulationStep]
    expectation: Expectation


def prepare_campaign() -> PreparedCampaign:
    """Read the campaign and foresee its end, which takes seconds: before anything is played."""
    steps = read_steps(CAMPAIGN.read_text(encoding="utf-8").splitlines())
    return PreparedCampaign(steps, expect(steps, read_policy(POLICY.read_bytes())))


@dataclass(slots=True)
class CampaignRun:
    """One run of the campaign: its steps, what must come of them, and how far it has got."""

    steps: Sequence[SimulationStep]
    expectation: Expectation
    pipeline: RunningPipeline
    clock: HostClock
    played: int = 0
    settled: int = 0
    endings: Counter[StateAndReason] = field(default_factory=Counter)
    _reported_at: datetime | None = None

    def run(self) -> None:
        """Play everything, then wait until the books stand still as foreseen, or time is up."""
        replay(self.steps, self._submit, self.clock.now, self._wait)
        over_at = (self.expectation.ends_at or self.clock.now()) + SETTLE_TIMEOUT
        while self.clock.now() < over_at:
            self._poll()
            if self._is_over():
                break
            self._wait(POLL_INTERVAL_S)
        self._report_progress(last=True)

    def _submit(self, texts: Sequence[str]) -> None:
        self.pipeline.submit(texts)
        self.played += len(texts)

    def _wait(self, seconds: float) -> None:
        if (
            self._reported_at is None
            or self.clock.now() - self._reported_at > PROGRESS_INTERVALS[sys.stderr.isatty()]
        ):
            self._poll()
            self._report_progress(last=False)
        else:
            self.clock.wait(seconds)

    def _poll(self) -> None:
        # Counts alone: whoever reads everything now lets commands wait that are due.
        self.settled = self.pipeline.reader.count_outcomes()
        self.endings = self.pipeline.reader.endings()

    def _is_over(self) -> bool:
        all_settled = self.settled >= len(self.expectation.outcomes)
        return all_settled and self.endings == self.expectation.endings

    def _report_progress(self, *, last: bool) -> None:
        self._reported_at = now = self.clock.now()
        passed_count = sum(1 for due_at in self.expectation.deadlines if due_at <= now)
        final_endings = self.expectation.endings.keys()
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


def play_campaign(
    campaign: PreparedCampaign, pipeline: RunningPipeline, clock: HostClock
) -> tuple[CampaignRun, comparison.ActualResult]:
    """Play the campaign from now on, and read what came of it."""
    starts_at = clock.now() + START_DELAY
    steps = shift_steps(campaign.steps, starts_at)
    expectation = campaign.expectation.shifted(starts_at - campaign.steps[0].at)
    campaign_run = CampaignRun(steps, expectation, pipeline, clock)
    campaign_run.run()
    return campaign_run, _read_results(pipeline.reader, expectation)


def _read_results(reader: PipelineReader, expectation: Expectation) -> comparison.ActualResult:
    """Read everything that decides whether all is right, and what is worth knowing beside it."""
    postings = reader.posting_totals()
    return comparison.ActualResult(
        outcomes=reader.outcomes(list(expectation.outcomes)),
        answers=reader.answer_counts(),
        orders={order.order_id: order_state_and_reason(order) for order in reader.orders()},
        balances=ledger.balances(postings),
        flows=sum_flows(postings),
        reminders=reader.reminder_counts(),
        lateness=reader.lateness(),
        findings=reader.audit().findings,
    )
