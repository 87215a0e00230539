"""Up: every process of Earnest on one machine, as one thing to start and stop.

What is sure to fail is found before anything is started, and said in one line: every process looks
for itself, too, and several would say the same, one after the other.
"""

from __future__ import annotations

import fcntl
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Self

from ops.local import process
from ops.local.address import listen_on
from ops.local.process import Program, StartupError
from ops.local.redis_server import redis_program
from ops.local.supervisor import LogFollower, StoppedEarlyError, Supervisor
from ops.private_files import make_state_folder, private_umask
from workers.settings import PREFIX, Settings

START_TIMEOUT_S = 60.0

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class AlreadyUpError(StartupError):
    """Another `up` serves this state folder."""


class LocalStack:
    """A supervisor in a thread, so that a test, the demo and `earnest up` can share it.

    All processes belong to that one thread: the kernel ties a child to the *thread*
    that started it, so a thread that came and went would take its children along.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        workers: int = 2,
        quiet: bool = False,
        programs: Sequence[Program] | None = None,
        start_timeout_s: float = START_TIMEOUT_S,
    ) -> None:
        self.settings = settings
        self._is_earnest = programs is None
        self._programs = earnest_programs(workers) if programs is None else list(programs)
        self._start_timeout_s = start_timeout_s
        self._log_follower = LogFollower(quiet=quiet)
        self._stopping = threading.Event()
        self._started = threading.Event()
        self._supervisor: Supervisor | None = None
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="up", daemon=True)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def pids(self) -> dict[str, int]:
        """Return the process ids of the running programs, by name."""
        return self._supervisor.pids() if self._supervisor else {}

    def start(self) -> None:
        """Bring everything up; return when all of it is ready. A stack starts once.

        Raise `StartupError`, with the last lines that the failed one wrote, after taking down again
        what had started; `AlreadyUpError` if the state folder is taken.
        """
        self._thread.start()
        try:
            self._started.wait()
        except BaseException:
            self.stop()
            raise
        if self._failure:
            self.stop()
            raise self._failure

    def stop(self) -> None:
        """Take everything down in order; return when nothing is left running."""
        self._stopping.set()
        if self._thread.ident:
            self._thread.join()

    def run_until_stopped(self) -> None:
        """Run in the foreground until SIGINT, SIGTERM or SIGHUP, then stop in order."""
        with set_on_signal(self._stopping):
            try:
                self.start()
            except StoppedEarlyError:
                return
            process.notify_ready()  # To systemd, if that is who started us.
            self._thread.join()
        if self._failure:
            raise self._failure

    def _run(self) -> None:
        try:
            with private_umask(), locked(self.settings.var):
                if self._is_earnest:
                    preflight(self.settings)
                self._supervisor = Supervisor(
                    self._plan(),
                    var=self.settings.var,
                    environ=self._environ(),
                    log_follower=self._log_follower,
                )
                self._supervisor.run(
                    ready_event=self._started,
                    stop_event=self._stopping,
                    timeout_s=self._start_timeout_s,
                )
        except BaseException as error:  # noqa: BLE001
            # Raised again in the thread that asked for all this.
            self._failure = error
        finally:
            self._started.set()

    def _plan(self) -> list[Program]:
        embedded = [redis_program(self.settings.var)] if self.settings.embedded_redis else []
        return embedded + self._programs

    def _environ(self) -> dict[str, str]:
        """Pass our settings on, whether they came from the environment or from arguments."""
        environ = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
        return environ | self.settings.environ()


def earnest_programs(workers: int) -> list[Program]:
    """List what Earnest consists of, besides Redis, in the order of starting."""
    worker_names = [f"worker.{n}" for n in range(1, workers + 1)]
    names = ["migrate", *worker_names, "relay", "scheduler", "web"]
    return [earnest_program(name) for name in names]


def earnest_program(name: str) -> Program:
    kind = name.partition(".")[0]
    # -P, because the folder the user stands in may hold a `models` of its own.
    argv = (sys.executable, "-P", "-m", "ops.cli", kind)
    return Program(name, argv, once=kind == "migrate")


@contextmanager
def locked(var: Path) -> Iterator[None]:
    """Claim a state folder for one supervisor; the claim ends with the process at latest."""
    make_state_folder(var)
    with (var / "up.lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise AlreadyUpError(f"Earnest is already up on {var}; stop that first.") from None
        yield


@contextmanager
def set_on_signal(event: threading.Event) -> Iterator[None]:
    """Let the signals that mean "stop" set an event instead of breaking in anywhere."""

    def set_event(_number: int, _frame: FrameType | None) -> None:
        event.set()

    # What somebody chose to ignore stays ignored: that is how `nohup` works.
    handled_signals = [
        signal_number
        for signal_number in STOP_SIGNALS
        if signal.getsignal(signal_number) is not signal.SIG_IGN
    ]
    previous_handlers = {
        signal_number: signal.signal(signal_number, set_event) for signal_number in handled_signals
    }
    try:
        yield
    finally:
        for signal_number, handler in previous_handlers.items():
            signal.signal(signal_number, handler)


def preflight(settings: Settings) -> None:
    """Look at the address, and at the servers that are not ours to start.

    Raise `SettingsError` for what a person must change, `Unavailable` for a server that is away.
    """
    listen_on(settings.web_bind).close()
    if not settings.embedded_redis:
        _check_redis(settings.redis_url)
    if not settings.embedded_database:
        _check_database(settings.database_url)


def _check_redis(url: str) -> None:
    # Here, because a supervisor whose servers are all its own needs neither driver, for months.
    from workers.queue.redis import connect  # noqa: PLC0415
    from workers.server_checks import refuse_evicting_redis  # noqa: PLC0415

    with connect(url) as client:
        refuse_evicting_redis(client)


def _check_database(url: str) -> None:
    from workers.database.engine import open_database  # noqa: PLC0415
    from workers.server_checks import refuse_unsafe_postgresql  # noqa: PLC0415

    engine = open_database(url, 1)
    try:
        refuse_unsafe_postgresql(engine)
    finally:
        engine.dispose()
