"""Progress: how far long work is, for whoever watches a terminal."""

from __future__ import annotations

import sys
import time
from typing import Self

REDRAW_S = 0.1


class Progress:
    """One line on standard error that counts: redrawn on a terminal, once at the end elsewhere."""

    def __init__(self, verb: str, total: int | None = None, *, quiet: bool = False) -> None:
        """Start at nothing; `total` is how many there will be, where that is known."""
        self.verb, self.done, self.quiet = verb, 0, quiet
        self.of = "" if total is None else f" of {total}"
        self.began = self.drawn = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, failure: type[BaseException] | None, *_: object) -> None:
        if self.quiet or (failure and not self.done):
            return
        took = time.monotonic() - self.began
        end = "\r" if sys.stderr.isatty() else ""
        print(f"{end}{self.done}{self.of} {self.verb} in {took:.1f} s", file=sys.stderr)

    def add(self, count: int) -> None:
        """Count more."""
        self.done += count
        now = time.monotonic()
        if not self.quiet and sys.stderr.isatty() and now - self.drawn >= REDRAW_S:
            self.drawn = now
            print(f"\r{self.done}{self.of} {self.verb} …", end="", file=sys.stderr, flush=True)
