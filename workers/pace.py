"""Pace: rounds of work that are far enough apart to be worth what each of them costs."""

from __future__ import annotations

import time

APART_S = 0.008
"""From the beginning of one round with work to the next: a round costs some milliseconds, however
little it carries, so what comes in meanwhile goes together. Longer rounds are not held up."""


class Pace:
    """Keeps the rounds of one loop apart. The first after a silence waits for nothing."""

    def __init__(self, apart_s: float = APART_S) -> None:
        """Begin as if there had been a silence."""
        self.apart_s, self.began_at, self.next_at = apart_s, 0.0, 0.0

    def wait(self) -> None:
        """Wait until the next round may begin; it begins on return."""
        rest_s = self.next_at - time.monotonic()
        if rest_s > 0:
            time.sleep(rest_s)
        self.began_at = time.monotonic()

    def worked(self) -> None:
        """Note that there was something to do in this round."""
        self.next_at = self.began_at + self.apart_s
