"""Echo: the children's log files, repeated on the terminal as they grow."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path


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
