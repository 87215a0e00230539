"""Process: one process that is started, watched, restarted and stopped on our behalf.

It says that it is ready to serve by the sd_notify protocol.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ops.local import parent_death
from ops.private_files import make_private_folder, private_umask
from workers.settings import absolute, project_root, redis_socket

LOG_LIMIT_BYTES = 10_000_000

LOG_TAIL_BYTES = 16_384

LOG_TAIL_LINES = 12

POLL_INTERVAL_S = 0.02


class StartupError(Exception):
    """Something did not come up; the message says what, and shows the end of its log."""


def sleep_briefly() -> None:
    time.sleep(POLL_INTERVAL_S)


@dataclass(frozen=True)
class Program:
    """What to run and under which name.

    A program is ready when `probe` says so of its process id; without a probe, when it
    says so itself (`ready`); and one that runs `once`, when it has ended well.
    `lock` names a file that the running program keeps locked. `silent` keeps it off the
    terminal.
    """

    name: str
    argv: tuple[str, ...]
    probe: Callable[[int], bool] | None = None
    once: bool = False
    lock: Path | None = None
    silent: bool = False

    @property
    def kind(self) -> str:
        """Name what several may be of: `worker.1` and `worker.2` are of the kind `worker`."""
        return self.name.partition(".")[0]


class ManagedProcess:
    """A program in its own session, with its output in a file of its own.

    A session of its own keeps the terminal's Ctrl-C away, so that the order of
    stopping is ours. The output goes straight into the file and not through us: a
    child must neither stall nor die because its supervisor did.

    The thread that spawns it must outlive it: when that thread ends, the kernel
    counts the parent as dead, and ends the child (see `parent_death`).
    """

    def __init__(self, program: Program, *, var: Path, environ: Mapping[str, str]) -> None:
        self.program = program
        self.log = absolute(var) / "log" / f"{program.name}.log"
        self.started_at = 0.0
        self.is_ready = False
        self._log_start = 0
        self._session_killed = False
        self._process: subprocess.Popen[bytes] | None = None
        self._readiness_socket = (
            None if program.probe or program.once else open_readiness_socket(var, program.name)
        )
        self._environ = child_environ(environ, self._readiness_socket)
        self.log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        rotate_log(self.log)

    @property
    def pid(self) -> int:
        return self._process.pid if self._process else 0

    @private_umask()
    def spawn(self) -> None:
        """Start the program, for the first time or again."""
        if self._readiness_socket:
            self._readiness_socket.received_ready()  # Forget what the one before may have said.
        self.is_ready = self._session_killed = False
        self.started_at = time.monotonic()
        lock = str(self.program.lock or "")
        launcher = (sys.executable, "-IS", parent_death.__file__, str(os.getpid()), lock)
        with self.log.open("ab") as out:
            self._log_start = out.tell()
            self._process = subprocess.Popen(
                launcher + self.program.argv,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                env=self._environ,
                start_new_session=True,
            )

    def exit_code(self) -> int | None:
        """Say how it ended, or None while it runs; never wait."""
        code = self._process.poll() if self._process else None
        if code is not None and not self._session_killed:
            # At once and only once: later, its number may be somebody else's.
            self._session_killed = True
            self._kill_session()
        return code

    def check_ready(self) -> bool:
        """Find out whether it has become ready; once it is, stop asking."""
        if not self.is_ready:
            self.is_ready = self._looks_ready()
        return self.is_ready

    def _looks_ready(self) -> bool:
        if self.program.once:
            return self.exit_code() == 0
        # Somebody else may answer the probe, or have spoken just before dying.
        if self.exit_code() is not None:
            return False
        if self.program.probe:
            return self.program.probe(self.pid)
        return self._readiness_socket is not None and self._readiness_socket.received_ready()

    def wait_ready(self, *, until: float, pause: Callable[[], object] = sleep_briefly) -> None:
        """Return when it is ready; raise `StartupError` if it ends, or is not by then."""
        while not self.check_ready():
            code = self.exit_code()
            if code is not None and not self.check_ready():
                raise StartupError(self.describe_failure(f"ended with {exit_code_text(code)}"))
            if time.monotonic() > until:
                raise StartupError(self.describe_failure("was not ready in time"))
            pause()

    def describe_failure(self, problem: str) -> str:
        """Add to what happened the last that this run said."""
        last_output = "".join(
            f"\n    {line}" for line in last_lines(self.log, after=self._log_start)
        )
        return f"{self.program.name} {problem}; the end of {self.log}:{last_output or ' nothing'}"

    def terminate(self) -> None:
        """Ask it to finish, if it still runs."""
        if self._process and self.exit_code() is None:
            self._process.send_signal(signal.SIGTERM)

    def wait_or_kill(self, *, until: float) -> bool:
        """Wait for the end, then make sure of it; tell whether it came by itself."""
        if self._process is None:
            return True
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(max(0.0, until - time.monotonic()))
        by_itself = self.exit_code() is not None
        if not by_itself:
            self._kill_session()
            self._process.wait()
        return by_itself

    def _kill_session(self) -> None:
        """Kill the child, if it lives, and any children of its own that outlived it."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)

    def stop(self, *, timeout_s: float = 10.0) -> None:
        """Terminate, wait, and kill what does not listen; then forget about it."""
        self.terminate()
        self.wait_or_kill(until=time.monotonic() + timeout_s)
        self.close()

    def close(self) -> None:
        if self._readiness_socket:
            self._readiness_socket.close()


def open_readiness_socket(var: Path, name: str) -> ReadinessSocket:
    """Open a child's notify socket beside the one of Redis, where names are short enough."""
    folder = redis_socket(var).parent
    make_private_folder(folder)
    return ReadinessSocket(folder / f"{name}.up")


def child_environ(
    environ: Mapping[str, str], notify_socket: ReadinessSocket | None
) -> dict[str, str]:
    """Let the child import this project, and speak to us but not to our own supervisor."""
    paths = [str(project_root()), environ.get("PYTHONPATH", "")]
    overrides = {"PYTHONPATH": os.pathsep.join(filter(None, paths))}
    if notify_socket:
        overrides["NOTIFY_SOCKET"] = str(notify_socket.path)
    return {name: value for name, value in environ.items() if name != "NOTIFY_SOCKET"} | overrides


def rotate_log(log: Path) -> None:
    """Put a large log aside, one generation, also while somebody writes to it.

    Copied and emptied, not renamed: whoever has it open appends to the same file, and would
    append to the one put aside. What is said between the two steps is lost, a line or two.
    """
    if log.exists() and log.stat().st_size > LOG_LIMIT_BYTES:
        # Where there is no room for the copy, there is none for the log either.
        with contextlib.suppress(OSError):
            shutil.copyfile(log, log.with_suffix(".log.1"))
        with contextlib.suppress(OSError):
            os.truncate(log, 0)


def last_lines(log: Path, *, after: int) -> list[str]:
    with log.open("rb") as file:
        size = log.stat().st_size
        # It may have been emptied meanwhile.
        file.seek(max(after if after <= size else 0, size - LOG_TAIL_BYTES))
        return file.read().decode(errors="replace").splitlines()[-LOG_TAIL_LINES:]


def exit_code_text(code: int) -> str:
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"


def notify_ready() -> None:
    """Tell whoever started this process, `up` or systemd, that it now does its work.

    Nobody may be listening, or no longer: that must never stop a healthy process.
    """
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    if address.startswith("@"):  # Linux's abstract names, which have no file.
        address = "\0" + address[1:]
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as out:
            out.settimeout(0)
            out.sendto(b"READY=1", address)
    except OSError:
        return


class ReadinessSocket:
    """The listening end: one socket for one child, so a message needs no sender's name."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.settimeout(0)
        path.unlink(missing_ok=True)  # Left by a supervisor that was killed.
        self._socket.bind(str(path))

    def received_ready(self) -> bool:
        """Tell whether READY=1 has come in since the last time of asking."""
        lines = []
        try:
            while True:
                lines += self._socket.recv(4096).splitlines()
        except BlockingIOError:
            return b"READY=1" in lines

    def close(self) -> None:
        self._socket.close()
        self.path.unlink(missing_ok=True)
