"""Planning: to which orders something is to be done, and what would become of each."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from models.fields import instant_text
from ops.foresight import Forecast, Foreseen, foresee
from ops.intents import Intent, checked, digest
from ops.progress import Progress
from ops.refused import Refused
from ops.runs import Draft, Run, listed
from workers.database.repository import Store
from workers.queries.order_filters import Selection, select_orders
from workers.timestamps import from_us

NAMED = 20
"""So many orders are named in what describes a run; of more, only what tells them apart."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """An intent and the orders that it is for: those named, or those that fit, or both."""

    intent: Intent
    wanted: Selection
    among: Sequence[str] | None
    at: datetime

    def is_single(self) -> bool:
        """Tell whether it is about one order at most."""
        return not self.intent.power.in_bulk or (self.among is not None and len(self.among) == 1)

    def document(self) -> dict[str, Any]:
        """Describe it."""
        order_ids = self.among
        if order_ids is not None and len(order_ids) > NAMED:
            order_ids = [f"{len(order_ids)} orders", digest(*order_ids)]
        selection = {name: value for name, value in asdict(self.wanted).items() if value}
        for name in ("due_from", "due_until"):
            if name in selection:
                selection[name] = instant_text(selection[name])
        return {**self.intent.document(), "selection": selection, "named": order_ids}

    def name(self) -> str:
        """Return what two tasks share exactly when they do the same, whoever asks and why."""
        document = self.document()
        return digest(
            {key: value for key, value in document.items() if key not in ("by", "reason")}
        )


def prospects(store: Store, task: Task, run: str) -> Iterator[tuple[Foreseen, str]]:
    """Judge each order's command, which is named after the run; return it with its text."""
    with Progress("judged", quiet=task.is_single()) as progress:
        for page in _found(store, task):
            checked_commands = [checked(_command(task, run, *order)) for order in page]
            foreseen = foresee(store, [command for _, command in checked_commands], task.at)
            yield from zip(foreseen, (text for text, _ in checked_commands), strict=True)
            progress.add(len(checked_commands))


def _found(store: Store, task: Task) -> Iterator[Sequence[tuple[str | None, int | None]]]:
    if not task.intent.power.of_an_order:
        yield [(None, None)]
        return
    yield from select_orders(store.engine, task.wanted, task.among)


def _command(task: Task, run: str, order_id: str | None, due_at: int | None) -> dict[str, Any]:
    since = task.at if due_at is None else from_us(due_at)
    return task.intent.command(command_id(run, order_id), order_id, since)


def command_id(run: str, order_id: str | None) -> str:
    """Name the command for an order: the same run never asks it twice."""
    return f"{run}-{hashlib.blake2b((order_id or '').encode(), digest_size=16).hexdigest()}"


def forecast(store: Store, task: Task) -> Forecast:
    """Add up what a task would come to; nothing is written."""
    forecast = Forecast()
    for foreseen, _ in prospects(store, task, "dry-run"):
        forecast.add(foreseen)
    return forecast


def plan(store: Store, task: Task, draft: Draft, *, again: bool) -> tuple[Forecast, Run | None]:
    """Write down what is to be done to which orders; return no run where that is nothing.

    What would be refused is not asked. Raise `Refused` where the same is under way, or was done.
    """
    forecast = Forecast()
    with draft.open() as lines:
        refuse_repeat(task, listed(draft.root), again=again)
        for foreseen, text in prospects(store, task, draft.name):
            forecast.add(foreseen)
            if foreseen.is_applied:
                draft.add(lines, text)
        if not draft.count:
            return forecast, None
        head = {"task": task.name(), **task.document(), "planned_at": instant_text(task.at)}
        return forecast, draft.settle(lines, head | {"refused": dict(forecast.refused)})


def refuse_repeat(task: Task, runs: Sequence[Run], *, again: bool) -> None:
    """Refuse what is not finished, and what, done once more, would add up: more time."""
    for run in runs:
        report = run.report()
        if run.head["task"] != task.name() or (report and report.get("abandoned")):
            continue
        if report is None:
            raise Refused(
                f"run {run.name} wants the same and is unfinished: `earnest operate continue "
                f"{run.name}` goes on with it, `earnest operate abandon {run.name}` ends it"
            )
        if task.intent.longer is not None and not again:
            raise Refused(
                f"run {run.name} did the same at {report['finished_at']}: --again does it once more"
            )
