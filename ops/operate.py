"""Operate: what an operator asks for one order or for many, shown first, then done."""

from __future__ import annotations

import json
import sys
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import redis

from models.fields import instant_text
from ops import outlook, runs
from ops.carrying import Carrier, Tally
from ops.foresight import Forecast
from ops.opened import books, wire
from ops.planning import Task, forecast, plan
from ops.progress import Progress
from ops.runs import Draft, Run
from workers.client import Client
from workers.queries.reader import Reader
from workers.queue.watermark import DoorClock
from workers.settings import Settings
from workers.timestamps import from_us


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where an operator works: the books, the wire, and how to answer."""

    settings: Settings
    reader: Reader
    wire: redis.Redis
    as_json: bool
    patience_s: float

    def now(self) -> datetime:
        """Return the present by the one clock that decides anything."""
        return from_us(DoorClock(self.wire).now())


@contextmanager
def opened(settings: Settings, options: Namespace) -> Iterator[Place]:
    """Open everything, for as long as it is needed."""
    with books(settings) as reader, wire(settings) as client:
        yield Place(
            settings=settings,
            reader=reader,
            wire=client,
            as_json=options.json,
            patience_s=options.timeout,
        )


def preview(place: Place, task: Task) -> int:
    """Show what would happen; 1 if nothing would."""
    dry_run = forecast(place.reader.store, task)
    if place.as_json:
        _print({"run": None, "forecast": dry_run.shown(), "outcomes": None})
    else:
        print(outlook.drawn(dry_run))
        print("\nNothing was done: --yes does it." if dry_run.applied else "\nNothing to do.")
    return 0 if dry_run.applied else 1


def perform(place: Place, task: Task, *, again: bool) -> int:
    """Write the plan down, carry it out, and say what became of it."""
    draft = Draft(runs.root_of(place.settings.var), task.name())
    dry_run, run = plan(place.reader.store, task, draft, again=again)
    if run is None:
        return preview_of_nothing(place, dry_run)
    if not place.as_json:
        print(outlook.drawn(dry_run) + "\n")
    return carry(place, run, dry_run)


def preview_of_nothing(place: Place, dry_run: Forecast) -> int:
    """Say that everything would be refused, and was not asked."""
    if place.as_json:
        _print({"run": None, "forecast": dry_run.shown(), "outcomes": None})
    else:
        print(f"{outlook.drawn(dry_run)}\n\nNothing to do.")
    return 1


def carry(place: Place, run: Run, dry_run: Forecast | None = None) -> int:
    """Carry a run out, or what is left of it; 1 if anything was refused or has no outcome."""
    with run.alone(), _progress(run) as progress, _said_how(run):
        carrier = Carrier(
            client=Client(place.wire, place.settings.keyring),
            reader=place.reader,
            progress=progress,
            patience_s=place.patience_s,
        )
        tally = carrier.carry(run)
        if not tally.missing:
            run.finish({"finished_at": instant_text(datetime.now(UTC)), **tally.shown()})
    return _told(place, run, tally, dry_run)


def _progress(run: Run) -> Progress:
    orders = int(run.head["orders"])
    return Progress("settled", orders, quiet=orders == 1)


@contextmanager
def _said_how(run: Run) -> Iterator[None]:
    try:
        yield
    except BaseException:
        print(_go_on(run), file=sys.stderr)
        raise


def _go_on(run: Run) -> str:
    return f"run {run.name} is unfinished: `earnest operate continue {run.name}` goes on with it"


def _told(place: Place, run: Run, tally: Tally, dry_run: Forecast | None) -> int:
    if place.as_json:
        forecast_document = None if dry_run is None else dry_run.shown()
        _print({"run": run.name, "forecast": forecast_document, "outcomes": tally.shown()})
    else:
        print(outlook.outcomes(run, tally))
        if run.head["orders"] == 1:
            print("\n" + outlook.order_now(place.reader, run))
    if tally.missing:
        print(f"{_go_on(run)}. Are workers running?", file=sys.stderr)
    return 1 if tally.missing or tally.outcomes.keys() - {("applied", None)} else 0


def list_runs(settings: Settings, *, as_json: bool) -> int:
    """List what was done to many orders, and what is unfinished."""
    bulk_runs = runs.listed(runs.root_of(settings.var))
    if as_json:
        _print(
            {"runs": [{"run": run.name, **run.head, "report": run.report()} for run in bulk_runs]}
        )
    else:
        print(outlook.runs(bulk_runs))
    return 0


def abandon(settings: Settings, name: str, *, as_json: bool) -> int:
    """End a run where it is: what was done stays done, the rest is not."""
    run = runs.found(runs.root_of(settings.var), name)
    with run.alone():
        if run.report() is None:
            run.finish({"finished_at": instant_text(datetime.now(UTC)), "abandoned": True})
    if as_json:
        _print({"run": run.name, "report": run.report()})
    else:
        print(f"Run {run.name} is over.")
    return 0


def _print(document: dict[str, Any]) -> None:
    print(json.dumps(document, ensure_ascii=False))
