"""Delivery: the words for what could not be settled, or was for nobody, and for the checker."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from ops.refused import Refused
from workers.settings import Settings

Run = Callable[[Settings, argparse.Namespace], int]
Word = Callable[[str, Run, str], argparse.ArgumentParser]


def register(word: Word) -> None:
    """Declare `dead-letters`, `quarantine` and `audit`."""
    letters_parser = word(
        "dead-letters", dead_letters, "commands that no repetition settled: list, replay"
    )
    letters_parser.add_argument(
        "action", choices=("list", "show", "replay"), nargs="?", default="list"
    )
    letters_parser.add_argument("ids", type=number, metavar="ID", nargs="*")
    letters_parser.add_argument("--all", action="store_true", help="replay all that wait")
    letters_parser.add_argument("--json", action="store_true", help="one JSON object")
    items_parser = word(
        "quarantine", quarantine, "what came in and was for nobody: list, look at, drop"
    )
    items_parser.add_argument("action", choices=("list", "show", "drop"), nargs="?", default="list")
    items_parser.add_argument("ids", type=number, metavar="ID", nargs="*")
    items_parser.add_argument("--json", action="store_true", help="one JSON object")
    audit_parser = word(
        "audit", audit, "check books and delivery; exit status 1 if anything is wrong"
    )
    audit_parser.add_argument("--json", action="store_true", help="one JSON object")


def number(text: str) -> int:
    """Read an id; what no database could have given is misuse, like what is no number."""
    row_id = int(text)
    if not 0 < row_id < 2**63:
        raise ValueError
    return row_id


def dead_letters(settings: Settings, options: argparse.Namespace) -> int:
    """List dead letters, show one, or settle some again."""
    from ops import letters

    if options.action == "list":
        return letters.list_letters(settings, as_json=options.json)
    if options.action == "show":
        return letters.show(settings, only(options.ids, "dead-letters show"), as_json=options.json)
    if bool(options.ids) == options.all:
        raise Refused("dead-letters replay: which ones? Give their ids, or --all")
    return letters.replay(settings, options.ids, as_json=options.json)


def quarantine(settings: Settings, options: argparse.Namespace) -> int:
    """List quarantined items, show one, or drop some."""
    from ops import quarantined

    if options.action == "list":
        return quarantined.list_items(settings, as_json=options.json)
    if options.action == "show":
        return quarantined.show(
            settings, only(options.ids, "quarantine show"), as_json=options.json
        )
    if not options.ids:
        raise Refused("quarantine drop: which ones? Give their ids")
    return quarantined.drop(settings, options.ids, as_json=options.json)


def audit(settings: Settings, options: argparse.Namespace) -> int:
    """Check books and delivery."""
    from ops import checking

    return checking.audit(settings, as_json=options.json)


def only(ids: list[int], command_name: str) -> int:
    """Return the one id given."""
    if len(ids) != 1:
        raise Refused(f"{command_name}: which one? Give its id")
    return ids[0]
