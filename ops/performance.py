"""Performance: a campaign played into a pipeline at its own pace, and what came of it."""

from __future__ import annotations

import sys
import threading
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Protocol

from models import ledger
from models.ledger import Posting
from models.orders.order import Order
from models.policy import read_policy
from ops import verdict
from ops.play import Ending, Forecast, ending, foresee, play, read_steps, shifted
from ops.simulate import Step
from ops.whereabouts import flows
from workers.queries.audit import Report
from workers.settings import project_root

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

    def outcomes(self, command_ids: Collection[str]) -> Mapping[str, verdict.Answer]: ...

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
) -> tuple[Performance, verdict.Found]:
    """Play the campaign from now on, and read what came of it."""
    starts_at = clock.now() + LEAD
    steps = shifted(programme.steps, starts_at)
    forecast = programme.forecast.moved(starts_at - programme.steps[0].at)
    performance = Performance(steps, forecast, pipeline, clock)
    performance.run()
    return performance, _found(pipeline.books, forecast)


def _found(books: Books, forecast: Forecast) -> verdict.Found:
    """Read everything that decides whether all is right, and what is worth knowing beside it."""
    postings = books.moved()
    return verdict.Found(
        outcomes=books.outcomes(list(forecast.outcomes)),
        answers=books.answered(),
        orders={order.order_id: ending(order) for order in books.orders()},
        balances=ledger.balances(postings),
        flows=flows(postings),
        reminders=books.reminded(),
        lateness=books.lateness(),
        findings=books.audit().findings,
    )
