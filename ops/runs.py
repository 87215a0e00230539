"""Runs: what was decided for many orders, written down before the first of it is done.

A run is a folder `var/bulk/<run>/`: `plan.jsonl` has the command for each order, complete with its
id, and `head.json` what they are for. It gets its name when all of that is on the disk, so whoever
finds a run may carry it out, any number of times: each command takes effect once. `report.json`
says that it is over.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from models.commands.parsing import read_loosely
from ops.refused import Refused

Document = dict[str, Any]


PLAN, HEAD, REPORT = "plan.jsonl", "head.json", "report.json"


DRAFT = ".draft-"


@dataclass(frozen=True, slots=True)
class Run:
    """One run; its folder and what it is for."""

    folder: Path
    head: Document

    @property
    def name(self) -> str:
        """Return the name under which it is continued."""
        return self.folder.name

    def report(self) -> Document | None:
        """Return what became of it, or None while it is unfinished."""
        path = self.folder / REPORT
        return json.loads(path.read_text("utf-8")) if path.exists() else None

    def commands(self) -> Iterator[tuple[str, str]]:
        """Return every command of the plan, as its id and its text."""
        with (self.folder / PLAN).open(encoding="utf-8") as lines:
            for line in lines:
                body = read_loosely(line)
                if not isinstance(body, dict):
                    raise Refused(f"{self.folder / PLAN} has been changed by other hands")
                yield str(body["id"]), line.rstrip("\n")

    def finish(self, report: Document) -> None:
        """Write down what became of it: from now on it is over."""
        draft = self.folder / f"{REPORT}.new"
        with draft.open("w", encoding="utf-8") as file:
            json.dump(report, file, ensure_ascii=False)
            _to_disk(file)
        draft.rename(self.folder / REPORT)
        _folder_to_disk(self.folder)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Carry it out as the only one; raise `Refused` while another process does."""
        with _locked(self.folder, f"another process is carrying out run {self.name}"):
            yield


class Draft:
    """A run being planned. Of two that want the same at the same moment only one may plan it."""

    def __init__(self, root: Path, intent: str) -> None:
        """Say where, and what for: `intent` is the same for what is the same."""
        self.root, self.folder = root, root / f"{DRAFT}{intent}"
        self.name = f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(4)}"
        self.count, self.is_settled = 0, False

    @contextmanager
    def open(self) -> Iterator[IO[str]]:
        """Open the plan for writing, as the only one; what somebody left undone is thrown away."""
        self.root.mkdir(parents=True, exist_ok=True)
        self.folder.mkdir(exist_ok=True)
        with _locked(self.folder, "another process is planning the same"):
            try:
                with (self.folder / PLAN).open("w", encoding="utf-8") as plan:
                    yield plan
            finally:
                if not self.is_settled:
                    shutil.rmtree(self.folder, ignore_errors=True)

    def add(self, plan: IO[str], text: str) -> None:
        """Put one command into the plan."""
        plan.write(text + "\n")
        self.count += 1

    def settle(self, plan: IO[str], head: Document) -> Run:
        """Make it a run: all of it is on the disk before it can be found."""
        _to_disk(plan)
        with (self.folder / HEAD).open("w", encoding="utf-8") as file:
            json.dump(head | {"orders": self.count}, file, ensure_ascii=False)
            _to_disk(file)
        _folder_to_disk(self.folder)
        self.folder.rename(self.root / self.name)
        self.is_settled = True
        _folder_to_disk(self.root)
        return Run(self.root / self.name, head | {"orders": self.count})


@contextmanager
def _locked(folder: Path, message: str) -> Iterator[None]:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        if not _is_taken(descriptor, folder):
            raise Refused(message)
        yield
    finally:
        os.close(descriptor)


def _is_taken(descriptor: int, folder: Path) -> bool:
    """Take a folder, and make sure that it was not renamed or removed the moment before."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return os.fstat(descriptor).st_ino == folder.stat().st_ino
    except (BlockingIOError, FileNotFoundError):
        return False


def _to_disk(file: IO[str]) -> None:
    file.flush()
    os.fsync(file.fileno())


def _folder_to_disk(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def root_of(var: Path) -> Path:
    """Return the folder of a state folder's runs."""
    return var / "bulk"


def listed(root: Path) -> list[Run]:
    """Return the runs there are, oldest first."""
    if not root.exists():
        return []
    folders = sorted(folder for folder in root.iterdir() if (folder / HEAD).exists())
    return [_read(folder) for folder in folders if not folder.name.startswith(DRAFT)]


def found(root: Path, name: str) -> Run:
    """Return a run; raise `Refused` where there is none of that name."""
    runs_by_name = {run.name: run for run in listed(root)}
    if name not in runs_by_name:
        raise Refused(f"no run {name}: `earnest operate runs` lists those there are")
    return runs_by_name[name]


def _read(folder: Path) -> Run:
    return Run(folder, json.loads((folder / HEAD).read_text("utf-8")))
