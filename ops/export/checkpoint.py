"""Checkpoint: how far an export has come, kept beside what it writes: it can be gone on with."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from ops.errors import UsageError


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """What stands on disk for good: so many rows, up to a cursor, since `after`.

    `size` is the bytes of a file, or the parts in a folder. What else is there was being written
    when the export was interrupted, and is written again.
    """

    export: str
    format: str
    after: str | None = None
    cursor: str | None = None
    rows: int = 0
    size: int = 0
    complete: bool = False


def read_checkpoint(path: Path, new: Checkpoint) -> Checkpoint | None:
    """Read the checkpoint of an export to go on with, or None; refuse that of another export."""
    try:
        saved = Checkpoint(**json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError):
        raise UsageError(f"{path} is no cursor of an export") from None
    if (saved.export, saved.format) != (new.export, new.format):
        raise UsageError(f"{path} belongs to an export of {saved.export} as {saved.format}")
    if new.after not in (None, saved.after):
        raise UsageError(f"--after: {path} says where this export goes on; begin another elsewhere")
    return saved


def write_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Replace a checkpoint, whole and durably."""
    partial_path = path.with_name(f"_{path.name}.partial")
    with partial_path.open("w", encoding="utf-8") as file:
        json.dump(asdict(checkpoint), file)
        file.write("\n")
        sync(file.fileno())
    publish_file(partial_path, path)


def sync(descriptor: int) -> None:
    """Wait until what was written is on disk."""
    os.fsync(descriptor)


def publish_file(partial_path: Path, path: Path) -> None:
    """Give a finished file its name, durably: whoever sees it sees all of it."""
    partial_path.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Make sure that nobody else writes to a file or folder meanwhile; a death lets go."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise UsageError(f"{path}: another export is writing there") from None
    finally:
        os.close(descriptor)
