"""Supervisor: starts programs in order, restarts what dies, and stops them in reverse.

Their log files are followed, and repeated on the terminal as they grow.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from ops import terminal
from ops.local.process import ManagedProcess, Program, StartupError, exit_code_text, rotate_log

TICK_INTERVAL_S = 0.05

STOP_TIMEOUT_S = 10.0

MIN_BACKOFF_S = 0.2

MAX_BACKOFF_S = 5.0

HEALTHY_AFTER_S = 30.0


class StoppedEarlyError(StartupError):
    """It was told to stop before everything was up."""


@dataclass
class SupervisedProcess:
    """A process and, once it has died, when to start it again."""

    process: ManagedProcess
    failures: int = 0
    restart_at: float | None = None

    def schedule(self, now: float) -> float:
        """Choose how long to wait: longer with each failure, not long after a healthy life."""
        if now - self.process.started_at > HEALTHY_AFTER_S:
            self.failures = 0
        delay_s = min(MAX_BACKOFF_S, MIN_BACKOFF_S * 2.0**self.failures)
        self.failures += 1
        self.restart_at = now + delay_s
        return delay_s


class Supervisor:
    """One run of a local stack, all of it in the thread that calls `run`."""

    def __init__(
        self,
        plan: Sequence[Program],
        *,
        var: Path,
        environ: Mapping[str, str],
        log_follower: LogFollower,
    ) -> None:
        self._plan = plan
        self._var = var
        self._environ = environ
        self._log_follower = log_follower
        self._processes: list[SupervisedProcess] = []
        self._stopping = threading.Event()

    def pids(self) -> dict[str, int]:
        """Return the process ids of the running programs, by name."""
        alive = [
            supervised.process for supervised in self._processes if supervised.restart_at is None
        ]
        return {process.program.name: process.pid for process in alive}

    def run(
        self, *, ready_event: threading.Event, stop_event: threading.Event, timeout_s: float
    ) -> None:
        """Bring everything up, set `ready_event`, watch until `stop_event`, stop it all."""
        self._stopping = stop_event
        try:
            self._bring_up(timeout_s)
            self._log_follower.write(f"everything is ready; state is kept in {self._var}")
            ready_event.set()
            while not stop_event.wait(TICK_INTERVAL_S):
                self._log_follower.copy_new_lines()
                for supervised in self._processes:
                    self._check(supervised)
        finally:
            self._bring_down()

    def _bring_up(self, timeout_s: float) -> None:
        """Start in order; what others depend on must be ready before they start.

        Those that depend on nothing but that start side by side.
        """
        for program in self._plan:
            process = self._add(program)
            process.spawn()
            self._write_pids()
            if program.once or program.probe:
                self._wait_ready(process, timeout_s)
        for supervised in self._processes:
            self._wait_ready(supervised.process, timeout_s)
        self._write_pids()

    def _add(self, program: Program) -> ManagedProcess:
        process = ManagedProcess(program, var=self._var, environ=self._environ)
        self._processes.append(SupervisedProcess(process))
        if not program.silent:
            self._log_follower.follow(process.log)
        return process

    def _wait_ready(self, process: ManagedProcess, timeout_s: float) -> None:
        if process.is_ready:
            return
        process.wait_ready(until=time.monotonic() + timeout_s, pause=self._pause)
        self._log_follower.write(
            f"{process.program.name} {'done' if process.program.once else 'ready'}"
        )
        if process.program.once:
            self._processes = [
                supervised for supervised in self._processes if supervised.process is not process
            ]

    def _pause(self) -> None:
        self._log_follower.copy_new_lines()
        if self._stopping.wait(TICK_INTERVAL_S):
            raise StoppedEarlyError("stopped before everything was up")

    def _check(self, supervised: SupervisedProcess) -> None:
        """Do for one process what is due; a full disk or process table is one more failure."""
        try:
            self._restart_if_dead(supervised)
            rotate_log(supervised.process.log)
        except OSError as error:
            delay_s = supervised.schedule(time.monotonic())
            self._log_follower.write(
                f"{supervised.process.program.name}: {error}; again in {delay_s:.1f} s"
            )

    def _restart_if_dead(self, supervised: SupervisedProcess) -> None:
        """Notice a death, plan the restart, and carry it out when its time has come."""
        process, now = supervised.process, time.monotonic()
        code = process.exit_code()
        if code is None:
            if not process.is_ready and process.check_ready():
                self._log_follower.write(f"{process.program.name} ready again")
        elif supervised.restart_at is None:
            delay_s = supervised.schedule(now)
            exit_description = exit_code_text(code)
            self._log_follower.write(
                f"{process.program.name} ended with {exit_description}; again in {delay_s:.1f} s"
            )
            self._write_pids()
        elif now >= supervised.restart_at:
            process.spawn()
            supervised.restart_at = None
            self._write_pids()

    def _bring_down(self) -> None:
        """Stop in the opposite order, kind by kind: Redis last, when nobody needs it."""
        processes = [supervised.process for supervised in reversed(self._processes)]
        for _, group in groupby(processes, key=lambda process: process.program.kind):
            self._stop_together(list(group))
        self._log_follower.copy_new_lines()
        (self._var / "up.json").unlink(missing_ok=True)

    def _stop_together(self, processes: list[ManagedProcess]) -> None:
        for process in processes:
            process.terminate()
        until = time.monotonic() + STOP_TIMEOUT_S
        for process in processes:
            if not process.wait_or_kill(until=until):
                self._log_follower.write(
                    f"{process.program.name} did not stop in time and was killed"
                )
            process.close()

    def _write_pids(self) -> None:
        """Publish the process ids; replaced in one step, so that readers see a whole file."""
        path = self._var / "up.json"
        draft = path.with_suffix(".new")
        draft.write_text(json.dumps({"up": os.getpid(), **self.pids()}, indent=2) + "\n")
        draft.replace(path)


class LogFollower:
    """Follow files from where they end now, line by line, with a name before each line."""

    def __init__(self, *, quiet: bool) -> None:
        self.quiet = quiet
        self._offsets: dict[Path, int] = {}

    def follow(self, log: Path) -> None:
        self._offsets[log] = log.stat().st_size if log.exists() else 0

    def write(self, line: str) -> None:
        """Add a line of the supervisor's own, after what the processes have written until now."""
        self.copy_new_lines()
        self._print("up", line)

    def copy_new_lines(self) -> None:
        """Repeat every complete line that was added since the last time."""
        for log in self._offsets:
            for line in self._new_lines(log):
                self._print(log.stem, line)

    def _print(self, name: str, line: str) -> None:
        # On stderr: stdout is for results.
        if not self.quiet:
            print(f"{name:<10}| {terminal.without_controls(line)}", file=sys.stderr, flush=True)

    def _new_lines(self, log: Path) -> Iterable[str]:
        if self.quiet or not log.exists():
            return []
        with log.open("rb") as file:
            if log.stat().st_size < self._offsets[log]:
                # It was put aside, and begins anew.
                self._offsets[log] = 0
            file.seek(self._offsets[log])
            complete = file.read().rpartition(b"\n")[0]
        if not complete:
            return []
        self._offsets[log] += len(complete) + 1
        return complete.decode(errors="replace").split("\n")
