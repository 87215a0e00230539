"""Patience: the one way in which tests wait for what another process or thread does."""

from __future__ import annotations

import time
from collections.abc import Callable

# As long as a slow machine may take; a healthy one is done in a fraction of it.
PATIENCE_SECONDS = 20.0
LOOK_SECONDS = 0.01


def eventually(condition: Callable[[], object], timeout_s: float = PATIENCE_SECONDS) -> None:
    """Look until something is so; fail if it is not in time."""
    give_up_at_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < give_up_at_s, "it never happened"
        time.sleep(LOOK_SECONDS)
