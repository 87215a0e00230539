"""Locks: which program keeps SQLite's only writer from writing, as far as the system tells."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Engine

LOCKS_FILE = Path("/proc/locks")
"""Where Linux lists who has locked which file; elsewhere nobody is named."""


WAL_WRITE_BYTE = 120
"""The byte of the file `-shm` that whoever writes has locked: `WAL_WRITE_LOCK` of SQLite."""


MAX_COMMAND_LENGTH = 200
"""Characters of a command line worth telling."""


@dataclass(frozen=True, slots=True)
class LockHolder:
    """A process that may write, and so keeps all others from it.

    `is_ours` tells that it waited for its turn beside the others of this Earnest.
    """

    pid: int
    command: str
    is_ours: bool

    def __str__(self) -> str:
        """Name it so that a person can look for it."""
        return f"pid {self.pid} ({self.command})" if self.command else f"pid {self.pid}"


@dataclass(frozen=True, slots=True)
class _FileLock:
    """One line of the system's list; `first` to `last` are the bytes, `last` None for all."""

    is_exclusive: bool
    pid: int
    inode: int
    first: int
    last: int | None

    def covers(self, byte: int) -> bool:
        return self.first <= byte and (self.last is None or byte <= self.last)


def turn_path(database: str | Path) -> Path:
    """Return the file that our own processes lock while they write, beside the database's."""
    return Path(f"{database}.turn")


def find_lock_holder(engine: Engine) -> LockHolder | None:
    """Find the process that writes to SQLite's file, or has locked it from all others, right now.

    None too where it cannot be seen: on another system, or from within another container.
    """
    file = engine.url.database
    if engine.dialect.name != "sqlite" or file is None:
        return None
    database, shared_memory = Path(file), Path(f"{file}-shm")
    database_inode, shared_inode = _inode(database), _inode(shared_memory)
    locks = [lock for lock in _file_locks() if lock.is_exclusive]
    turns = {lock.pid for lock in locks if lock.inode == _inode(turn_path(file))}
    for lock in locks:
        if lock.inode == shared_inode and lock.covers(WAL_WRITE_BYTE):
            path = shared_memory
        elif lock.inode == database_inode:
            path = database
        else:
            continue
        if _has_open(lock.pid, path):
            return LockHolder(lock.pid, _command_line(lock.pid), lock.pid in turns)
    return None


def find_turn_holder(engine: Engine) -> LockHolder | None:
    """Find that of our own processes which has the turn to write, as far as it can be seen."""
    path = turn_path(str(engine.url.database))
    for lock in _file_locks():
        if lock.inode == _inode(path) and _has_open(lock.pid, path):
            return LockHolder(lock.pid, _command_line(lock.pid), is_ours=True)
    return None


def _file_locks() -> Iterator[_FileLock]:
    try:
        lines = LOCKS_FILE.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        fields = line.split()
        # Whoever only waits for a lock stands behind an arrow.
        if "->" in fields:
            continue
        mode, pid, file, first, last = fields[3:]
        inode = int(file.rpartition(":")[2])
        end = None if last == "EOF" else int(last)
        yield _FileLock(mode == "WRITE", int(pid), inode, int(first), end)


def _inode(path: Path) -> int | None:
    try:
        return path.stat().st_ino
    except OSError:
        return None


def _has_open(pid: int, path: Path) -> bool:
    """Tell whether a process has a file open: another device may have the same inode's number."""
    try:
        descriptors = list(Path(f"/proc/{pid}/fd").iterdir())
    except PermissionError:
        # Somebody else's: its number must do.
        return True
    except OSError:
        return False
    return any(_is_same(descriptor, path) for descriptor in descriptors)


def _is_same(descriptor: Path, path: Path) -> bool:
    try:
        return descriptor.samefile(path)
    except OSError:
        return False


def _command_line(pid: int) -> str:
    try:
        arguments = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return ""
    words = (argument.decode(errors="replace") for argument in arguments if argument)
    command = "".join(char if char.isprintable() else "?" for char in " ".join(words))
    return command[:MAX_COMMAND_LENGTH]
