"""Rosters: the simplest commands there are, any number of them, each with an id of its own."""

from __future__ import annotations

import json
import time
from collections.abc import Callable


def registration(number: int, name: str = "R") -> str:
    """Write the registration of a creator."""
    return json.dumps(
        {
            "id": f"register_{number:06}",
            "kind": "register_creator",
            "by": {"role": "platform", "id": "p1"},
            "creator_id": f"r{number}",
            "name": name,
            "contract": "direct",
        }
    )


def wait_for(condition: Callable[[], bool], timeout_s: float = 30.0) -> float:
    """Return the instant at which another process was seen to have made something true."""
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline_s, "it never became true"
        time.sleep(0.01)
    return time.monotonic()
