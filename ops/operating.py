"""Operating: the words of the command line for those who operate the pipeline or connect to it."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from workers.settings import Settings

Run = Callable[[Settings, argparse.Namespace], int]
Word = Callable[[str, Run, str], argparse.ArgumentParser]


def register(word: Word) -> None:
    """Declare the words."""
    made = word("contract", contract, "write, check or release the message contract")
    made.add_argument("action", choices=("write", "check", "release"))
    _with_json(made)
    _register_events(word)
    _with_json(word("queues", queues, "what waits where, and who is there to work"))
    _with_json(word("deadlines", deadlines, "what falls due within the hour, and what is overdue"))
    made = word("explain", explain, "why an order is where it is, and what happens next")
    made.add_argument("order_id", metavar="ORDER")
    _with_json(made)
    _with_json(word("doctor", doctor, "check settings, servers, clocks, durability and disk"))


def _register_events(word: Word) -> None:
    made = word("events", events, "follow, replay or administer the streams of events")
    actions = made.add_subparsers(title="actions", dest="action", required=True)
    follow = actions.add_parser("tail", help="print events as they come")
    follow.add_argument("--type", action="append", metavar="PATTERN", help="e.g. 'order.*'")
    follow.add_argument("--order", metavar="ID", help="only events about this order")
    follow.add_argument(
        "--from", dest="start", default="$", metavar="ID", help="0: all that is kept"
    )
    follow.add_argument("--count", type=int, metavar="N", help="stop after so many")
    again = actions.add_parser("replay", help="publish again what the database has recorded")
    again.add_argument(
        "--since", required=True, metavar="INSTANT", help="2026-03-02T10:00:00+08:00"
    )
    again.add_argument("--until", metavar="INSTANT", help="default: now")
    listed = actions.add_parser("groups", help="who reads the streams, and how far each has come")
    listed.add_argument("change", nargs="?", choices=("list", "create", "delete"), default="list")
    listed.add_argument("name", nargs="?", metavar="GROUP")
    listed.add_argument("--stream", choices=("events", "reminders"), default="events")
    listed.add_argument(
        "--from", dest="start", default="0", metavar="ID", help="$: only what is new"
    )
    for one in (follow, again, listed):
        _with_json(one)


def _with_json(word: argparse.ArgumentParser) -> None:
    word.add_argument("--json", action="store_true", help="JSON for programs")


def contract(_: Settings, options: argparse.Namespace) -> int:
    """Write, check or release the message contract."""
    from ops.contract import contract as run

    return run(options.action, as_json=options.json)


def events(settings: Settings, options: argparse.Namespace) -> int:
    """Follow, replay or administer the streams."""
    from ops import streams

    if options.action == "tail":
        return streams.tail(settings, options)
    if options.action == "replay":
        return streams.replay(settings, options.since, options.until, as_json=options.json)
    return streams.groups(settings, options)


def queues(settings: Settings, options: argparse.Namespace) -> int:
    """Show the queues."""
    from ops import watch

    return watch.queues(settings, as_json=options.json)


def deadlines(settings: Settings, options: argparse.Namespace) -> int:
    """Show the deadlines."""
    from ops import watch

    return watch.deadlines(settings, as_json=options.json)


def explain(settings: Settings, options: argparse.Namespace) -> int:
    """Account for one order."""
    from ops import watch

    return watch.explain(settings, options.order_id, as_json=options.json)


def doctor(settings: Settings, options: argparse.Namespace) -> int:
    """Check everything that the pipeline relies on."""
    from ops.doctor import doctor as run

    return run(settings, as_json=options.json)
