"""Operating: the words of the command line for those who operate the pipeline or connect to it."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from workers.settings import Settings

Run = Callable[[Settings, argparse.Namespace], int]
Word = Callable[[str, Run, str], argparse.ArgumentParser]


def register(word: Word) -> None:
    """Declare the words."""
    parser = word("contract", contract, "write, check or release the message contract")
    parser.add_argument("action", choices=("write", "check", "release"))
    _with_json(parser)
    _register_events(word)
    _with_json(word("queues", queues, "what waits where, and who is there to work"))
    _with_json(word("deadlines", deadlines, "what falls due within the hour, and what is overdue"))
    parser = word("explain", explain, "why an order is where it is, and what happens next")
    parser.add_argument("order_id", metavar="ORDER")
    _with_json(parser)
    _with_json(word("doctor", doctor, "check settings, servers, clocks, durability and disk"))


def _register_events(word: Word) -> None:
    events_parser = word("events", events, "follow, replay or administer the streams of events")
    actions = events_parser.add_subparsers(title="actions", dest="action", required=True)
    tail_parser = actions.add_parser("tail", help="print events as they come")
    tail_parser.add_argument("--type", action="append", metavar="PATTERN", help="e.g. 'order.*'")
    tail_parser.add_argument("--order", metavar="ID", help="only events about this order")
    tail_parser.add_argument(
        "--from", dest="start", default="$", metavar="ID", help="0: all that is kept"
    )
    tail_parser.add_argument("--count", type=int, metavar="N", help="stop after so many")
    replay_parser = actions.add_parser(
        "replay", help="publish again what the database has recorded"
    )
    replay_parser.add_argument(
        "--since", required=True, metavar="INSTANT", help="2026-03-02T10:00:00+08:00"
    )
    replay_parser.add_argument("--until", metavar="INSTANT", help="default: now")
    groups_parser = actions.add_parser(
        "groups", help="who reads the streams, and how far each has come"
    )
    groups_parser.add_argument(
        "change", nargs="?", choices=("list", "create", "delete"), default="list"
    )
    groups_parser.add_argument("name", nargs="?", metavar="GROUP")
    groups_parser.add_argument("--stream", choices=("events", "reminders"), default="events")
    groups_parser.add_argument(
        "--from", dest="start", default="0", metavar="ID", help="$: only what is new"
    )
    for action_parser in (tail_parser, replay_parser, groups_parser):
        _with_json(action_parser)


def _with_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="JSON for programs")


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
