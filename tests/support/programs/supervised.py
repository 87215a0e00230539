"""Supervised programs: small real processes, each good or bad at one thing."""

from __future__ import annotations

import sys
from pathlib import Path

from ops.local.process import Program

# Ready, then patient; says when it was asked to stop, with everybody else's order visible.
STEADY = """
import signal, sys, time
from ops.local.process import ready
def stop(*_):
    with open(sys.argv[1], "a") as ends: ends.write(sys.argv[2] + "\\n")
    sys.exit(0)
signal.signal(signal.SIGTERM, stop)
print('{"event": "steady.started"}', file=sys.stderr, flush=True)
ready()
while True: signal.pause()
"""


# Ready, but deaf to SIGTERM.
STUBBORN = """
import signal
from ops.local.process import ready
signal.signal(signal.SIGTERM, signal.SIG_IGN)
ready()
while True: signal.pause()
"""


# Has a child of its own, whose number it writes down, and dies when that is done.
PARENT = """
import subprocess, sys
from ops.local.process import ready
child = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])
open(sys.argv[1], "a").write(f"{child.pid}\\n")
ready()
import signal; signal.pause()
"""


# Counts aloud for as long as it is let.
CHATTY = """
import itertools, sys, time
from ops.local.process import ready
ready()
for number in itertools.count():
    print(number, file=sys.stderr, flush=True)
    time.sleep(0.0001)
"""


BROKEN = "import sys; print('no such table', file=sys.stderr); sys.exit(3)"


MUTE = "import signal; print('thinking', flush=True); signal.pause()"


NOTHING = "pass"


def program(name: str, body: str, *arguments: Path | str, once: bool = False) -> Program:
    argv = (sys.executable, "-c", body, *(str(argument) for argument in arguments))
    return Program(name, argv, once=once)


def steady(name: str, ends: Path) -> Program:
    """Run until asked to stop, and then write the name into a file."""
    return program(name, STEADY, ends, name)
