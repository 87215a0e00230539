"""Power words: one word for each power of an operator, with an option for each of its fields."""

from __future__ import annotations

import argparse
from typing import Any

from models.lifecycle import State
from ops.forms import Entry
from ops.powers import LENT, OWN, WHY, Power
from ops.words import Word

SAID = "said_"
"""Before the names under which what fields were given is kept: they clash with nothing."""

PATIENCE_S = 60.0


def fill(parser: Word, settings: argparse.ArgumentParser) -> None:
    """Declare every power, and what is done with runs."""
    actions = parser.add_subparsers(title="what", metavar="WHAT", required=True)

    def word(subparsers: Any, name: str, about: str, *aliases: str) -> Word:  # noqa: ANN401 - argparse hides it
        action_parser: Word = subparsers.add_parser(
            name, aliases=aliases, help=about, description=about, parents=[settings]
        )
        return action_parser

    for power in OWN.values():
        _describe(word(actions, power.kind, power.about, *_short(power.kind)), power)
    act = word(actions, "act", "ask what a client or a creator may ask, in their stead")
    kinds = act.add_subparsers(title="what", metavar="COMMAND", required=True)
    for power in LENT.values():
        _describe(word(kinds, power.kind, power.about), power)
    for name, about in RUNS.items():
        run_parser = word(actions, name, about)
        run_parser.set_defaults(run_action=name)
        if name != "runs":
            run_parser.add_argument("name", metavar="RUN")
        _answering(run_parser)


RUNS = {
    "runs": "list what was done to many orders, and what is unfinished",
    "continue": "go on with a run that was broken off",
    "abandon": "end a run where it is",
}


def _short(kind: str) -> list[str]:
    """Return the first word of a kind, where no other kind begins so."""
    first_word = kind.partition("_")[0]
    return (
        [first_word] if sum(own_kind.startswith(f"{first_word}_") for own_kind in OWN) == 1 else []
    )


def describe(parser: Word, kind: str) -> None:
    """Give a word the options of one of an operator's own powers."""
    _describe(parser, OWN[kind])


def _describe(parser: Word, power: Power) -> None:
    parser.set_defaults(power=power, run_action=None)
    if power.in_bulk:
        parser.add_argument("named", metavar="ORDER", nargs="*")
        _selecting(parser.add_argument_group("which orders, instead of naming them"))
    elif power.of_an_order:
        parser.add_argument("named", metavar="ORDER", nargs=1)
    field_options = parser.add_argument_group("what is said")
    for entry in power.entries:
        _field(field_options, entry, power)
    field_options.add_argument("--reason", required=True, metavar="WHY", help="kept in the trail")
    field_options.add_argument(
        "--as", dest="operator", metavar="NAME", help="default: the login name"
    )
    run_options = parser.add_argument_group("doing it")
    mode = run_options.add_mutually_exclusive_group()
    mode.add_argument("--dry-run", action="store_true", help="show what would happen (default)")
    mode.add_argument("--yes", action="store_true", help="do it, and wait for the outcome")
    if power.in_bulk:
        run_options.add_argument(
            "--again", action="store_true", help="even if a run did the same before"
        )
    _answering(parser)


def _selecting(group: Any) -> None:  # noqa: ANN401 - argparse hides the type
    group.add_argument("--orders", metavar="FILE", help="ids, one a line; - for standard input")
    group.add_argument("--state", action="append", choices=tuple(State), metavar="STATE")
    for name in ("client", "creator", "task-type"):
        group.add_argument(
            f"--{name}", action="append", metavar="ID" if "-" not in name else "TYPE"
        )
    group.add_argument(
        "--due-between", nargs=2, metavar=("FROM", "UNTIL"), help="2026-03-02T10:00:00+08:00 …"
    )


def _field(group: Any, entry: Entry, power: Power) -> None:  # noqa: ANN401 - the same
    flag = "--their-reason" if entry.name == WHY else f"--{entry.name.replace('_', '-')}"
    options: dict[str, Any] = {"dest": SAID + entry.name}
    if entry.takes == "flag":
        group.add_argument(flag, action="store_true", **options)
        return
    if power.in_bulk and entry.takes == "instant":
        time_options = group.add_mutually_exclusive_group(required=entry.required)
        time_options.add_argument(flag, metavar="INSTANT", help="the same for all", **options)
        help_by = "from each order's own deadline on, or from now: PT3H"
        time_options.add_argument("--by", dest="longer", metavar="DURATION", help=help_by)
        return
    group.add_argument(flag, required=entry.required, **options, **_values(entry))


def _values(entry: Entry) -> dict[str, Any]:
    """Say what an option takes."""
    if entry.takes == "number":
        return {"type": int, "metavar": "N"}
    if entry.takes == "choice":
        return {"choices": entry.choices}
    if entry.takes == "texts":
        return {"nargs": "+", "metavar": "TEXT"}
    if entry.takes == "records":
        shape = ",".join(f"{part.name}={'|'.join(part.choices) or 'N'}" for part in entry.entries)
        return {"nargs": "+", "metavar": "PART", "help": f"each like {shape}"}
    nullable_help = {"help": "'' for nobody"} if entry.required and entry.nullable else {}
    return {"metavar": "INSTANT" if entry.takes == "instant" else "TEXT"} | nullable_help


def _answering(parser: Word) -> None:
    parser.add_argument(
        "--timeout", type=float, default=PATIENCE_S, metavar="S", help="to wait for outcomes"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object")
