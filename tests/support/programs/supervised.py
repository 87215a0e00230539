"""Supervised programs: small real processes, each good or bad at one thing."""

from __future__ import annotations

import sys
from pathlib import Path

from ops.local.process import Program

# Ready until stopped; writes its name then, so that the order in which several end is visible.
READY_UNTIL_STOPPED = """
import signal, sys, time
from ops.local.process import notify_ready
def stop(*_):
    with open(sys.argv[1], "a") as ends: ends.write(sys.argv[2] + "\\n")
    sys.exit(0)
signal.signal(signal.SIGTERM, stop)
print('{"event": "steady.started"}', file=sys.stderr, flush=True)
notify_ready()
while True: signal.pause()
"""

# Ready, but deaf to SIGTERM.
IGNORES_SIGTERM = """
import signal
from ops.local.process import notify_ready
signal.signal(signal.SIGTERM, signal.SIG_IGN)
notify_ready()
while True: signal.pause()
"""

# Has a child of its own, whose number it writes down, and dies when that is done.
HAS_A_CHILD = """
import subprocess, sys
from ops.local.process import notify_ready
child = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])
open(sys.argv[1], "a").write(f"{child.pid}\\n")
notify_ready()
import signal; signal.pause()
"""

# Counts aloud for as long as it is let.
LOGS_WITHOUT_END = """
import itertools, sys, time
from ops.local.process import notify_ready
notify_ready()
for number in itertools.count():
    print(number, file=sys.stderr, flush=True)
    time.sleep(0.0001)
"""

EXITS_WITH_AN_ERROR = "import sys; print('no such table', file=sys.stderr); sys.exit(3)"
NEVER_READY = "import signal; print('thinking', flush=True); signal.pause()"
EXITS_AT_ONCE = "pass"


def program(name: str, body: str, *arguments: Path | str, once: bool = False) -> Program:
    argv = (sys.executable, "-c", body, *(str(argument) for argument in arguments))
    return Program(name, argv, once=once)


def ready_until_stopped(name: str, ends: Path) -> Program:
    """Run until asked to stop, and then write the name into a file."""
    return program(name, READY_UNTIL_STOPPED, ends, name)
