"""Bulk runs: what was decided for many orders, written down before the first of it is done.

A run is a folder `var/bulk/<run>/`: `plan.jsonl` has the command for each order, complete with its
id, and `head.json` what they are for. It gets its name when all of that is on the disk, so whoever
finds a run may carry it out, any number of times: each command takes effect once. `report.json`
says that it is over.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import secrets
import shutil
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import IO, Any

from models.commands.parsing import find_command_name
from models.errors import TransientError
from models.fields import format_instant
from models.ids import make_command_key
from models.service.outcome import Receipt
from ops.errors import UsageError
from ops.json_schema import JsonObject
from ops.operate.dry_run import (
    ActionRequest,
    DryRunResult,
    DryRunSummary,
    digest,
    dry_run_commands,
    validate_command,
)
from ops.terminal import Progress
from workers.client import CommandClient
from workers.database.repository import Store
from workers.queries.order_filters import Selection, select_orders
from workers.queries.reader import Reader
from workers.timestamps import from_us

MAX_ORDERS_NAMED = 20
"""So many orders are named in what describes a run; of more, only what tells them apart."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BulkRequest:
    """An action and the orders that it is for: those named, or those that fit, or both."""

    request: ActionRequest
    selection: Selection
    order_ids: Sequence[str] | None
    at: datetime

    def is_single(self) -> bool:
        """Tell whether it is about one order at most."""
        return not self.request.action.in_bulk or (
            self.order_ids is not None and len(self.order_ids) == 1
        )

    def document(self) -> dict[str, Any]:
        """Describe it."""
        order_ids = self.order_ids
        if order_ids is not None and len(order_ids) > MAX_ORDERS_NAMED:
            order_ids = [f"{len(order_ids)} orders", digest(*order_ids)]
        selection = {name: value for name, value in asdict(self.selection).items() if value}
        for name in ("due_from", "due_until"):
            if name in selection:
                selection[name] = format_instant(selection[name])
        return {**self.request.document(), "selection": selection, "named": order_ids}

    def fingerprint(self) -> str:
        """Return what two requests share exactly when they do the same, whoever asks and why."""
        document = self.document()
        return digest(
            {key: value for key, value in document.items() if key not in ("by", "reason")}
        )


def dry_run_each(
    store: Store, bulk_request: BulkRequest, run: str
) -> Iterator[tuple[DryRunResult, str]]:
    """Try each order's command, which is named after the run; return the result with its text."""
    with Progress("judged", quiet=bulk_request.is_single()) as progress:
        for page in _select_orders(store, bulk_request):
            checked_commands = [
                validate_command(_command_for(bulk_request, run, *order)) for order in page
            ]
            results = dry_run_commands(
                store, [command for _, command in checked_commands], bulk_request.at
            )
            yield from zip(results, (text for text, _ in checked_commands), strict=True)
            progress.add(len(checked_commands))


def _select_orders(
    store: Store, bulk_request: BulkRequest
) -> Iterator[Sequence[tuple[str | None, int | None]]]:
    if not bulk_request.request.action.needs_order:
        yield [(None, None)]
        return
    yield from select_orders(store.engine, bulk_request.selection, bulk_request.order_ids)


def _command_for(
    bulk_request: BulkRequest, run: str, order_id: str | None, due_at: int | None
) -> dict[str, Any]:
    since = bulk_request.at if due_at is None else from_us(due_at)
    return bulk_request.request.command(command_id(run, order_id), order_id, since)


def command_id(run: str, order_id: str | None) -> str:
    """Name the command for an order: the same run never asks it twice."""
    return f"{run}-{hashlib.blake2b((order_id or '').encode(), digest_size=16).hexdigest()}"


def dry_run_all(store: Store, bulk_request: BulkRequest) -> DryRunSummary:
    """Add up what a request would come to; nothing is written."""
    summary = DryRunSummary()
    for result, _ in dry_run_each(store, bulk_request, "dry-run"):
        summary.add(result)
    return summary


def plan_run(
    store: Store, bulk_request: BulkRequest, draft: BulkRunDraft, *, again: bool
) -> tuple[DryRunSummary, BulkRun | None]:
    """Write down what is to be done to which orders; return no run where that is nothing.

    What would be refused is not asked. Raise `UsageError` where the same is under way, or was
    done.
    """
    summary = DryRunSummary()
    with draft.open() as lines:
        refuse_repeat(bulk_request, list_runs(draft.root), again=again)
        for result, text in dry_run_each(store, bulk_request, draft.name):
            summary.add(result)
            if result.is_applied:
                draft.add(lines, text)
        if not draft.count:
            return summary, None
        head = {
            "task": bulk_request.fingerprint(),
            **bulk_request.document(),
            "planned_at": format_instant(bulk_request.at),
        }
        return summary, draft.publish(lines, head | {"refused": dict(summary.refused)})


def refuse_repeat(bulk_request: BulkRequest, runs: Sequence[BulkRun], *, again: bool) -> None:
    """Refuse what is not finished, and what, done once more, would add up: more time."""
    for run in runs:
        report = run.report()
        if run.head["task"] != bulk_request.fingerprint() or (report and report.get("abandoned")):
            continue
        if report is None:
            raise UsageError(
                f"run {run.name} wants the same and is unfinished: `earnest operate continue "
                f"{run.name}` goes on with it, `earnest operate abandon {run.name}` ends it"
            )
        if bulk_request.request.extension is not None and not again:
            raise UsageError(
                f"run {run.name} did the same at {report['finished_at']}: --again does it once more"
            )


PLAN_FILE, HEAD_FILE, REPORT_FILE = "plan.jsonl", "head.json", "report.json"

DRAFT_PREFIX = ".draft-"


@dataclass(frozen=True, slots=True)
class BulkRun:
    """One run; its folder and what it is for."""

    folder: Path
    head: JsonObject

    @property
    def name(self) -> str:
        """Return the name under which it is continued."""
        return self.folder.name

    def report(self) -> JsonObject | None:
        """Return what became of it, or None while it is unfinished."""
        path = self.folder / REPORT_FILE
        return json.loads(path.read_text("utf-8")) if path.exists() else None

    def commands(self) -> Iterator[tuple[str, str]]:
        """Return every command of the plan, as what names it to all senders and its text."""
        with (self.folder / PLAN_FILE).open(encoding="utf-8") as lines:
            for line in lines:
                sender, command_id = find_command_name(line)
                if sender is None or command_id is None:
                    raise UsageError(f"{self.folder / PLAN_FILE} has been changed by other hands")
                yield make_command_key(sender, command_id), line.rstrip("\n")

    def finish(self, report: JsonObject) -> None:
        """Write down what became of it: from now on it is over."""
        draft = self.folder / f"{REPORT_FILE}.new"
        with draft.open("w", encoding="utf-8") as file:
            json.dump(report, file, ensure_ascii=False)
            _sync_file(file)
        draft.rename(self.folder / REPORT_FILE)
        _sync_folder(self.folder)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Carry it out as the only one; raise `UsageError` while another process does."""
        with _locked(self.folder, f"another process is carrying out run {self.name}"):
            yield


class BulkRunDraft:
    """A run being planned. Of two that want the same at the same moment only one may plan it."""

    def __init__(self, root: Path, fingerprint: str) -> None:
        """Say where, and what for: the same requests have the same `fingerprint`."""
        self.root, self.folder = root, root / f"{DRAFT_PREFIX}{fingerprint}"
        self.name = f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(4)}"
        self.count, self.is_published = 0, False

    @contextmanager
    def open(self) -> Iterator[IO[str]]:
        """Open the plan for writing, as the only one; what somebody left undone is thrown away."""
        self.root.mkdir(parents=True, exist_ok=True)
        self.folder.mkdir(exist_ok=True)
        with _locked(self.folder, "another process is planning the same"):
            try:
                with (self.folder / PLAN_FILE).open("w", encoding="utf-8") as plan:
                    yield plan
            finally:
                if not self.is_published:
                    shutil.rmtree(self.folder, ignore_errors=True)

    def add(self, plan: IO[str], text: str) -> None:
        """Put one command into the plan."""
        plan.write(text + "\n")
        self.count += 1

    def publish(self, plan: IO[str], head: JsonObject) -> BulkRun:
        """Make it a run: all of it is on the disk before it can be found."""
        _sync_file(plan)
        with (self.folder / HEAD_FILE).open("w", encoding="utf-8") as file:
            json.dump(head | {"orders": self.count}, file, ensure_ascii=False)
            _sync_file(file)
        _sync_folder(self.folder)
        self.folder.rename(self.root / self.name)
        self.is_published = True
        _sync_folder(self.root)
        return BulkRun(self.root / self.name, head | {"orders": self.count})


@contextmanager
def _locked(folder: Path, message: str) -> Iterator[None]:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        if not _try_lock(descriptor, folder):
            raise UsageError(message)
        yield
    finally:
        os.close(descriptor)


def _try_lock(descriptor: int, folder: Path) -> bool:
    """Take a folder, and make sure that it was not renamed or removed the moment before."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return os.fstat(descriptor).st_ino == folder.stat().st_ino
    except (BlockingIOError, FileNotFoundError):
        return False


def _sync_file(file: IO[str]) -> None:
    file.flush()
    os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def runs_folder(var: Path) -> Path:
    """Return the folder of a state folder's runs."""
    return var / "bulk"


def list_runs(root: Path) -> list[BulkRun]:
    """Return the runs there are, oldest first."""
    if not root.exists():
        return []
    folders = sorted(folder for folder in root.iterdir() if (folder / HEAD_FILE).exists())
    return [_read_run(folder) for folder in folders if not folder.name.startswith(DRAFT_PREFIX)]


def find_run(root: Path, name: str) -> BulkRun:
    """Return a run; raise `UsageError` where there is none of that name."""
    runs_by_name = {run.name: run for run in list_runs(root)}
    if name not in runs_by_name:
        raise UsageError(f"no run {name}: `earnest operate runs` lists those there are")
    return runs_by_name[name]


def _read_run(folder: Path) -> BulkRun:
    return BulkRun(folder, json.loads((folder / HEAD_FILE).read_text("utf-8")))


BATCH_SIZE = 1_000
"""Commands handed in together."""

MAX_IN_FLIGHT = 3_000
"""Commands under way at once: the workers are never idle, and nobody else waits behind us long."""

POLL_INTERVAL_S = 0.05

RESEND_AFTER_S = 10.0
"""After so long without any outcome what is under way is sent again: Redis may have lost it."""

MAX_EXAMPLES = 5
"""Orders named for each reason why one was refused."""


@dataclass(slots=True)
class RunOutcomes:
    """What became of a run so far."""

    outcomes: Counter[tuple[str, str | None]] = field(default_factory=Counter)
    examples: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    missing: int = 0

    def add(self, receipt: Receipt) -> None:
        """Count one outcome, and remember of each refusal a few orders."""
        self.outcomes[receipt.outcome, receipt.reason] += 1
        if receipt.reason and receipt.about and len(self.examples[receipt.reason]) < MAX_EXAMPLES:
            self.examples[receipt.reason].append(receipt.about)

    def to_json(self) -> dict[str, Any]:
        """Describe it for a program."""
        rejections = {str(reason): count for (_, reason), count in self.outcomes.items() if reason}
        return {
            "applied": self.outcomes["applied", None],
            "rejected": dict(sorted(rejections.items())),
            "examples": {
                reason: sorted(order_ids) for reason, order_ids in sorted(self.examples.items())
            },
            "missing": self.missing,
        }


@dataclass(slots=True, kw_only=True)
class RunExecutor:
    """Carries one run out; what is done already, by whomever, is only counted.

    It never gives up an order: after `timeout_s` without any outcome it says what is missing,
    and whoever continues the run begins with that.
    """

    client: CommandClient
    reader: Reader
    progress: Progress
    timeout_s: float
    resend_after_s: float = RESEND_AFTER_S
    outcomes: RunOutcomes = field(default_factory=RunOutcomes)
    _in_flight: dict[str, str] = field(default_factory=dict)
    _unsent: dict[str, str] = field(default_factory=dict)
    _last_outcome_at: float = 0.0
    _sent_at: float = 0.0

    def execute(self, run: BulkRun) -> RunOutcomes:
        """Send every command of the plan that has no outcome, and wait until all have one."""
        plan = run.commands()
        self._last_outcome_at = time.monotonic()
        while self._refill(plan):
            if self._advance():
                continue
            if time.monotonic() - self._last_outcome_at > self.timeout_s:
                self.outcomes.missing = len(self._in_flight) + sum(1 for _ in plan)
                break
            time.sleep(POLL_INTERVAL_S)
        return self.outcomes

    def _refill(self, plan: Iterator[tuple[str, str]]) -> bool:
        """Take more of the plan where there is room; False when nothing is left to do."""
        if len(self._in_flight) <= MAX_IN_FLIGHT - BATCH_SIZE:
            next_commands = dict(islice(plan, BATCH_SIZE))
            self._in_flight |= next_commands
            self._unsent |= next_commands
        return bool(self._in_flight)

    def _advance(self) -> bool:
        """Hear what has an outcome and send what has none; False where nothing has changed."""
        try:
            return self._collect_outcomes() + self._send_unsent() > 0
        except TransientError:
            # A server is away, or so much is waiting that nothing is taken in: it is tried again.
            return False

    def _collect_outcomes(self) -> int:
        receipts = self.reader.outcomes(self._in_flight)
        for key, receipt in receipts.items():
            del self._in_flight[key]
            self._unsent.pop(key, None)
            self.outcomes.add(receipt)
        self.progress.add(len(receipts))
        if receipts:
            self._last_outcome_at = time.monotonic()
        return len(receipts)

    def _send_unsent(self) -> int:
        now = time.monotonic()
        if now - max(self._last_outcome_at, self._sent_at) > self.resend_after_s:
            self._unsent = dict(self._in_flight)
        count = len(self._unsent)
        if count:
            self._sent_at = now
            self.client.submit_many(self._unsent.values())
            self._unsent = {}
        return count
