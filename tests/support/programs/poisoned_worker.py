"""Poisoned worker: a real worker process that dies, at once and silently, of one command."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from pathlib import Path

from ops.local import process
from workers import main
from workers.processing import processor
from workers.queue import messages
from workers.queue.messages import Received
from workers.runtime import configure_logs, stop_on_signals
from workers.settings import Settings

POISON = "deadly"
"""What the deadly command's text contains."""

EXIT_STATUS = 9


def run(deaths: Path, max_deaths: int) -> None:
    """Run a worker that each deadly command kills; count the deaths in a file.

    After `max_deaths` of them nothing kills it any more.
    """

    def announce(stamp: int, commands: Iterable[Received]) -> bytes:
        announced = list(commands)
        is_deadly = any(POISON in command.text for command in announced)
        if is_deadly and len(deaths.read_text()) < max_deaths:
            with deaths.open("a") as file:
                file.write("x")
            os._exit(EXIT_STATUS)
        return messages.announce(stamp, announced)

    vars(processor)["announce"] = announce
    stopping = stop_on_signals()
    configure_logs("deadly")
    main.run(Settings.read(os.environ), stopping, process.notify_ready)


if __name__ == "__main__":
    run(Path(sys.argv[1]), int(sys.argv[2]))
