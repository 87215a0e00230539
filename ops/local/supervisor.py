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

from ops.local.process import Child, Program, StartupError, described, rotate

TICK_SECONDS = 0.05
STOP_SECONDS = 10.0

SHORTEST_BACKOFF_SECONDS = 0.2
LONGEST_BACKOFF_SECONDS = 5.0
HEALTHY_SECONDS = 30.0


class StoppedEarlyError(StartupError):
    """It was told to stop before everything was up."""


@dataclass
class Watched:
    """A child and, once it has died, when to start it again."""

    child: Child
    failures: int = 0
    restart_at: float | None = None

    def schedule(self, now: float) -> float:
        """Choose how long to wait: longer with each failure, not long after a healthy life."""
        if now - self.child.started_at > HEALTHY_SECONDS:
            self.failures = 0
        delay_s = min(LONGEST_BACKOFF_SECONDS, SHORTEST_BACKOFF_SECONDS * 2.0**self.failures)
        self.failures += 1
        self.restart_at = now + delay_s
        return delay_s


class Supervisor:
    """One life of a formation, all of it in the thread that calls `live`."""

    def __init__(
        self, plan: Sequence[Program], *, var: Path, environ: Mapping[str, str], echo: Echo
    ) -> None:
        self._plan = plan
        self._var = var
        self._environ = environ
        self._echo = echo
        self._watched: list[Watched] = []
        self._stopping = threading.Event()

    def pids(self) -> dict[str, int]:
        """Name the running children and their process ids."""
        alive = [watched.child for watched in self._watched if watched.restart_at is None]
        return {child.program.name: child.pid for child in alive}

    def live(
        self, *, ready_event: threading.Event, stop_event: threading.Event, timeout_s: float
    ) -> None:
        """Bring everything up, set `ready_event`, watch until `stop_event`, stop it all."""
        self._stopping = stop_event
        try:
            self._bring_up(timeout_s)
            self._echo.say(f"everything is ready; state is kept in {self._var}")
            ready_event.set()
            while not stop_event.wait(TICK_SECONDS):
                self._echo.catch_up()
                for watched in self._watched:
                    self._tend(watched)
        finally:
            self._bring_down()

    def _bring_up(self, timeout_s: float) -> None:
        """Start in order; what others depend on must be ready before they start.

        Those that depend on nothing but that start side by side.
        """
        for program in self._plan:
            child = self._adopt(program)
            child.spawn()
            self._record()
            if program.once or program.probe:
                self._await(child, timeout_s)
        for watched in self._watched:
            self._await(watched.child, timeout_s)
        self._record()

    def _adopt(self, program: Program) -> Child:
        child = Child(program, var=self._var, environ=self._environ)
        self._watched.append(Watched(child))
        if not program.silent:
            self._echo.follow(child.log)
        return child

    def _await(self, child: Child, timeout_s: float) -> None:
        if child.is_ready:
            return
        child.wait_ready(until=time.monotonic() + timeout_s, pause=self._pause)
        self._echo.say(f"{child.program.name} {'done' if child.program.once else 'ready'}")
        if child.program.once:
            self._watched = [watched for watched in self._watched if watched.child is not child]

    def _pause(self) -> None:
        self._echo.catch_up()
        if self._stopping.wait(TICK_SECONDS):
            raise StoppedEarlyError("stopped before everything was up")

    def _tend(self, watched: Watched) -> None:
        """Do for one child what is due; a full disk or process table is one more failure."""
        try:
            self._restart_if_dead(watched)
            rotate(watched.child.log)
        except OSError as error:
            delay_s = watched.schedule(time.monotonic())
            self._echo.say(f"{watched.child.program.name}: {error}; again in {delay_s:.1f} s")

    def _restart_if_dead(self, watched: Watched) -> None:
        """Notice a death, plan the restart, and carry it out when its time has come."""
        child, now = watched.child, time.monotonic()
        code = child.exit_code()
        if code is None:
            if not child.is_ready and child.check_ready():
                self._echo.say(f"{child.program.name} ready again")
        elif watched.restart_at is None:
            delay_s = watched.schedule(now)
            exit_description = described(code)
            self._echo.say(
                f"{child.program.name} ended with {exit_description}; again in {delay_s:.1f} s"
            )
            self._record()
        elif now >= watched.restart_at:
            child.spawn()
            watched.restart_at = None
            self._record()

    def _bring_down(self) -> None:
        """Stop in the opposite order, kind by kind: Redis last, when nobody needs it."""
        children = [watched.child for watched in reversed(self._watched)]
        for _, kind in groupby(children, key=lambda child: child.program.kind):
            self._stop_together(list(kind))
        self._echo.catch_up()
        (self._var / "up.json").unlink(missing_ok=True)

    def _stop_together(self, children: list[Child]) -> None:
        for child in children:
            child.terminate()
        until = time.monotonic() + STOP_SECONDS
        for child in children:
            if not child.finish(until=until):
                self._echo.say(f"{child.program.name} did not stop in time and was killed")
            child.close()

    def _record(self) -> None:
        """Publish the process ids; replaced in one step, so that readers see a whole file."""
        path = self._var / "up.json"
        draft = path.with_suffix(".new")
        draft.write_text(json.dumps({"up": os.getpid(), **self.pids()}, indent=2) + "\n")
        draft.replace(path)


class Echo:
    """Follow files from where they end now, line by line, with a name before each line."""

    def __init__(self, *, quiet: bool) -> None:
        self.quiet = quiet
        self._read_up_to: dict[Path, int] = {}

    def follow(self, log: Path) -> None:
        self._read_up_to[log] = log.stat().st_size if log.exists() else 0

    def say(self, line: str) -> None:
        """Add a line of the supervisor's own, after what the children said until now."""
        self.catch_up()
        self._print("up", line)

    def catch_up(self) -> None:
        """Repeat every complete line that was added since the last time."""
        for log in self._read_up_to:
            for line in self._new_lines(log):
                self._print(log.stem, line)

    def _print(self, name: str, line: str) -> None:
        # On stderr: stdout is for results.
        if not self.quiet:
            print(f"{name:<10}| {line}", file=sys.stderr, flush=True)

    def _new_lines(self, log: Path) -> Iterable[str]:
        if self.quiet or not log.exists():
            return []
        with log.open("rb") as file:
            if log.stat().st_size < self._read_up_to[log]:
                # It was put aside, and begins anew.
                self._read_up_to[log] = 0
            file.seek(self._read_up_to[log])
            complete = file.read().rpartition(b"\n")[0]
        if not complete:
            return []
        self._read_up_to[log] += len(complete) + 1
        return complete.decode(errors="replace").split("\n")
