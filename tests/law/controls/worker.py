"""Worker: our worker process, with the part that a control replaces, and mortal by poison.

As `python -m tests.law.controls.worker [CONTROL]`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

from models.errors import BrokenInvariant
from models.orders.decide import decide
from models.service import handlers

BROKEN, DEADLY = "broken-", "deadly-"
EXIT_STATUS = 9


def control_names() -> Iterator[str]:
    """Name the controls: every other module of this folder."""
    for path in sorted(Path(__file__).parent.glob("*.py")):
        if path.stem not in ("__init__", Path(__file__).stem):
            yield path.stem


def poison() -> None:
    """Let judging fail of some commands, and this process die of others, at once and silently."""

    def decide_if_possible(order: Any, command: Any, *arguments: Any) -> Any:  # noqa: ANN401
        if command.id.startswith(BROKEN):
            message = "planted: this command cannot be judged"
            raise BrokenInvariant(message)
        if command.id.startswith(DEADLY):
            os._exit(EXIT_STATUS)
        return decide(order, command, *arguments)

    vars(handlers)["decide"] = decide_if_possible


if __name__ == "__main__":
    poison()
    control_name = sys.argv.pop(1)
    if control_name:
        import_module(f"tests.law.controls.{control_name}").replace_part()
    from ops.cli.app import main

    sys.exit(main(["worker"]))
