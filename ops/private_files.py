"""Private files: the state folder and files of secrets, which are for their owner's eyes alone."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ops.errors import UsageError

PRIVATE_UMASK = 0o077

STATE_NAMES = (
    "earnest.db*",
    "up.lock",
    "up.json*",
    "web.json*",
    "operator-token",
    "log",
    "redis",
    "bulk",
    "recover",
)
"""What Earnest keeps in a state folder. Anything else that lies there is not ours to change."""


@contextmanager
def private_umask() -> Iterator[None]:
    """Let files made meanwhile, by children too, be their owner's alone, whatever the umask was."""
    previous_umask = os.umask(PRIVATE_UMASK)
    try:
        yield
    finally:
        os.umask(previous_umask)


def make_private_folder(folder: Path) -> None:
    """Make a folder that nobody else can enter; raise `UsageError` for one that cannot be that."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder_stat = folder.lstat()
    if folder_stat.st_uid != os.geteuid() or folder.is_symlink():
        raise UsageError(f"{folder} belongs to somebody else; remove it or move EARNEST_VAR.")
    if folder_stat.st_mode & stat.S_ISVTX:
        raise UsageError(f"{folder} is everybody's; let EARNEST_VAR name a folder of its own.")
    folder.chmod(0o700)


def make_state_folder(var: Path) -> None:
    """Make the state folder, or take from others what an earlier version let them do in it."""
    # A state folder may be a link to where there is room; not so the folders in it.
    make_private_folder(var.resolve())
    for path in state_paths(var):
        if mode_for_others(path):
            path.chmod(stat.S_IMODE(path.stat().st_mode) & ~PRIVATE_UMASK)


def state_paths(var: Path) -> Iterator[Path]:
    """Find what Earnest keeps in a state folder, at any depth; links and sockets are left out."""
    for pattern in STATE_NAMES:
        for path in var.glob(pattern):
            for inner_path in (path, *path.rglob("*")):
                if not inner_path.is_symlink() and (inner_path.is_file() or inner_path.is_dir()):
                    yield inner_path


def mode_for_others(path: Path) -> int:
    """Return what anybody but the owner may do with a file; nothing with one that is gone."""
    try:
        return stat.S_IMODE(path.stat().st_mode) & PRIVATE_UMASK
    except FileNotFoundError:
        return 0
