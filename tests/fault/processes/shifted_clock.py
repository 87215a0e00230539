"""Shifted clock: one of our processes, run with a wrong wall clock.

As `python -m tests.fault.processes.shifted_clock SECONDS COMMAND`.
"""

from __future__ import annotations

import datetime  # noqa: ICN001 - the module itself is what is changed here
import sys
import time
from typing import Any

REAL = datetime.datetime


class _RealDatetimeMeta(type):
    """Lets every real instant count as one of the wrong clock's."""

    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, REAL)


def shift_clock(seconds: int) -> None:
    """Move this process's wall clock, before anything else has looked at it."""
    offset, real_time, real_ns = datetime.timedelta(seconds=seconds), time.time, time.time_ns
    time_module: Any = time
    time_module.time = lambda: real_time() + seconds
    time_module.time_ns = lambda: real_ns() + seconds * 1_000_000_000

    class Shifted(REAL, metaclass=_RealDatetimeMeta):
        """The calendar as this process sees it."""

        @classmethod
        def now(cls, tz: datetime.tzinfo | None = None) -> Any:  # noqa: ANN401 - real, not shifted
            return REAL.now(tz) + offset

        @classmethod
        def utcnow(cls) -> Any:  # noqa: ANN401 - real, not shifted
            return REAL.now(datetime.UTC).replace(tzinfo=None) + offset

    datetime_module: Any = datetime
    datetime_module.datetime = Shifted


if __name__ == "__main__":
    shift_clock(int(sys.argv.pop(1)))
    # Not before the clock is moved: many modules keep the `datetime` they find at import.
    from ops.cli.app import main

    sys.exit(main())
