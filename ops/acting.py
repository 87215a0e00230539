"""Acting: the words of the command line with which operators use their powers, and see them used.

The words under `operate` are drawn from the commands themselves: a new one needs no word here.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

from ops.words import Word
from workers.settings import Settings

Run = Callable[[Settings, argparse.Namespace], int]
Declare = Callable[[str, Run, str], Word]

OPERATE = "use an operator's power on one order or many; shows what would happen, --yes does it"
EXTEND = "give orders more time: short for `operate extend`"
TRAIL = "who used an operator's power, when, why, and what it changed"


def register(word: Declare, settings: argparse.ArgumentParser) -> None:
    """Declare the words."""

    def fill_operate(parser: Word) -> None:
        from ops import power_words

        power_words.fill(parser, settings)

    def fill_extend(parser: Word) -> None:
        from ops import power_words

        power_words.describe(parser, "extend_deadline")

    word("operate", use, OPERATE).fill = fill_operate
    word("extend", use, EXTEND).fill = fill_extend
    parser = word("trail", trail, TRAIL)
    parser.add_argument("--by", metavar="WHO", help="only what this operator did")
    parser.add_argument("--since", metavar="INSTANT", help="2026-03-02T10:00:00+08:00")
    parser.add_argument("--until", metavar="INSTANT", help="default: now")
    parser.add_argument("--order", metavar="ID", help="only what was done to this order")
    parser.add_argument("--json", action="store_true", help="one JSON object a line, latest first")


def use(settings: Settings, options: argparse.Namespace) -> int:
    """Show what a power would do, or use it."""
    from ops.using import use as run

    return run(settings, options)


def trail(settings: Settings, options: argparse.Namespace) -> int:
    """List what operators did."""
    from ops.trail import trail as run

    return run(settings, options)
