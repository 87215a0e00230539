"""Reads: the words of the command line for those who look at many orders at once."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from datetime import datetime

from models.fields import parse_instant
from models.orders.order import PublicStatus
from workers.settings import Settings

Run = Callable[[Settings, argparse.Namespace], int]


Word = Callable[[str, Run, str], argparse.ArgumentParser]


def register(word: Word) -> None:
    """Declare the words."""
    parser = word("tasks", tasks, "list a creator's tasks, or those of all of an agency's creators")
    owner_options = parser.add_mutually_exclusive_group()
    owner_options.add_argument("--creator", metavar="ID", help="default: everybody's")
    owner_options.add_argument("--mcn", metavar="ID", help="whoever is signed with it now")
    parser.add_argument("--status", choices=[status.value for status in PublicStatus])
    parser.add_argument("--created-after", type=_instant, metavar="INSTANT", help=EXAMPLE)
    parser.add_argument("--created-before", type=_instant, metavar="INSTANT")
    parser.add_argument("--id", metavar="PREFIX", help="only ids that begin so")
    parser.add_argument("--limit", type=_count, default=50, metavar="N", help="default: 50")
    parser.add_argument("--cursor", metavar="CURSOR", help="where an earlier list said it goes on")
    parser.add_argument("--json", action="store_true", help="one JSON object")
    parser = word("reports", reports, "add up what became of all orders, and what falls due next")
    parser.add_argument("name", choices=("funnel", "endings", "money", "forecast"))
    breakdowns = ("client", "creator", "mcn", "task_type", "month", "state", "hour")
    parser.add_argument(
        "--by", choices=breakdowns, help="state and hour: forecast only, month: the others"
    )
    parser.add_argument("--hours", type=_count, default=24, metavar="N", help="forecast: how far")
    format_options = parser.add_mutually_exclusive_group()
    format_options.add_argument("--json", action="store_true", help="one JSON object")
    format_options.add_argument(
        "--csv", action="store_true", help="comma-separated values, with a head"
    )


EXAMPLE = "2026-03-02T10:00:00+08:00"


def _instant(text: str) -> datetime:
    try:
        return parse_instant(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _count(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= MOST:
        raise argparse.ArgumentTypeError(f"1 to {MOST} is wanted")
    return int(text)


MOST = 10_000


def reports(settings: Settings, options: argparse.Namespace) -> int:
    """Make a report."""
    from ops.reports import show

    return show(settings, options)


def tasks(settings: Settings, options: argparse.Namespace) -> int:
    """List tasks."""
    from ops import tasks
    from workers.queries.order_filters import Wanted

    order_filter = Wanted(
        creator=options.creator,
        mcn=options.mcn,
        status=None if options.status is None else PublicStatus(options.status),
        placed_after=options.created_after,
        placed_before=options.created_before,
        prefix=options.id,
    )
    return tasks.show(settings, order_filter, options)
