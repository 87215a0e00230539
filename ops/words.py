"""Words: parsers of the command line that say what they take only when they are spoken."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from typing import Any


class Word(argparse.ArgumentParser):
    """A word whose options need much that others do without: it is filled in at its first use."""

    fill: Callable[[Word], None] | None = None

    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[Any, list[str]]:
        """Fill the word in, then parse as ever."""
        if self.fill is not None:
            fill, self.fill = self.fill, None
            fill(self)
        return super().parse_known_args(args, namespace)
