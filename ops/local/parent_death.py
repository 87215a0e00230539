"""Parent death: a launcher that ties a process's life to its parent's, then becomes the process.

Run as a script, `parent_death.py PARENT LOCK PROGRAM ARGUMENT…`, by the path of this file, so only
the standard library may be imported. It is a process of its own because the tie can only be made
from inside the child, and code between fork and exec deadlocks when the parent has threads.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import signal
import sys
import time
from pathlib import Path

PR_SET_PDEATHSIG = 1

LOCK_TIMEOUT_S = 10.0

POLL_INTERVAL_S = 0.02


def main(parent: int, lock: str, argv: list[str]) -> None:
    """Become `argv`: holding `lock` if one is named, signalled when `parent` dies."""
    die_with(parent)
    if lock:
        take_lock(Path(lock))
    try:
        os.execvp(argv[0], argv)
    except OSError as error:
        sys.exit(f"cannot run {argv[0]}: {error.strerror}")


def die_with(parent: int) -> None:
    """Ask for SIGTERM when the parent dies, so kill -9 leaves nobody behind.

    SIGTERM and not SIGKILL, because a child may have children of its own to stop.
    Only Linux offers this; elsewhere an orphan lives on until somebody stops it.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:  # It died before we asked.
            sys.exit("the supervisor is gone")


def take_lock(path: Path) -> None:
    """Take a lock that ends with the program itself, however that ends.

    The open file passes through exec, and the kernel drops the lock with the last
    copy of it. So two servers never write one folder, not even for the moment in
    which the first is still on its way out.
    """
    lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    os.set_inheritable(lock, True)  # noqa: FBT003
    if try_lock(lock):
        return
    print(f"waiting for another process that serves {path.parent}", flush=True)
    give_up_at = time.monotonic() + LOCK_TIMEOUT_S
    while not try_lock(lock):
        if time.monotonic() > give_up_at:
            sys.exit("it is still there; stop it first")
        time.sleep(POLL_INTERVAL_S)


def try_lock(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], sys.argv[3:])
