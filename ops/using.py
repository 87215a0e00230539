"""Using: from the options of a power's word to what is asked of which orders."""

from __future__ import annotations

import getpass
import re
from argparse import Namespace
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from models.fields import parse_duration, parse_instant
from ops import operate, outlook, runs
from ops.commands import opened as opened_file
from ops.forms import Entry
from ops.intents import Intent
from ops.planning import Task
from ops.power_words import SAID
from ops.powers import Power
from ops.refused import Refused
from workers.selecting import Selection
from workers.settings import Settings

NAME = r"[A-Za-z0-9_-]{1,64}"
LONGEST = timedelta(days=3650)


def use(settings: Settings, options: Namespace) -> int:
    """Show what a power would do, use it, or look after its runs."""
    if options.run_action == "runs":
        return operate.list_runs(settings, as_json=options.json)
    if options.run_action == "abandon":
        return operate.abandon(settings, options.name, as_json=options.json)
    if options.run_action == "continue":
        return _go_on(settings, options)
    intent, among, wanted = read_intent(options), _among(options), _wanted(options)
    if options.power.in_bulk and among is None and wanted.is_empty():
        raise Refused("which orders? Name them, or say --state, --due-between, --orders …")
    with operate.opened(settings, options) as place:
        task = Task(intent=intent, wanted=wanted, among=among, at=place.now())
        if options.yes:
            return operate.perform(place, task, again=getattr(options, "again", True))
        return operate.preview(place, task)


def _go_on(settings: Settings, options: Namespace) -> int:
    run = runs.found(runs.root_of(settings.var), options.name)
    if run.report() is not None:
        raise Refused(f"run {run.name} is over: nothing is left of it to do")
    if not options.json:
        print(outlook.runs([run]) + "\n")
    with operate.opened(settings, options) as place:
        return operate.carry(place, run)


def read_intent(options: Namespace) -> Intent:
    """Read what is wanted, by whom and why."""
    power: Power = options.power
    given = ((one, getattr(options, SAID + one.name)) for one in power.entries)
    longer = getattr(options, "longer", None)
    return Intent(
        power=power,
        operator=_operator(options.operator),
        reason=options.reason,
        said={one.name: _value(one, value) for one, value in given if value not in (None, False)},
        longer=None if longer is None else _duration("--by", longer),
    )


def _operator(given: str | None) -> str:
    try:
        name = given or getpass.getuser()
    except (KeyError, OSError):
        raise Refused("--as: nobody is logged in here; say who acts") from None
    if not re.fullmatch(NAME, name):
        raise Refused("--as: a name of up to 64 letters, digits, - and _ is wanted")
    return name


def _value(entry: Entry, given: Any) -> Any:  # noqa: ANN401 - whatever the field takes
    if entry.takes == "records":
        return [_record(entry, one) for one in given]
    # What must be given, and may be nothing, is given as nothing.
    return None if given == "" and entry.required and entry.nullable else given


def _record(entry: Entry, text: str) -> dict[str, Any]:
    pairs = dict(part.partition("=")[::2] for part in text.split(","))
    numbers = {one.name for one in entry.entries if one.takes == "number"}
    for name in numbers & pairs.keys():
        if not re.fullmatch(r"[0-9]{1,18}", pairs[name]):
            raise Refused(f"--{entry.name}: {name} must be a whole number")
    return {name: int(one) if name in numbers else one for name, one in pairs.items()}


def _duration(option: str, text: str) -> timedelta:
    try:
        found = parse_duration(text)
    except ValueError as error:
        raise Refused(f"{option}: {error}") from None
    if not timedelta(0) < found <= LONGEST:
        raise Refused(f"{option}: more than nothing and at most 10 years are wanted")
    return found


def instant(option: str, text: str) -> datetime:
    """Read an instant that an option was given; raise `Refused`."""
    try:
        return parse_instant(text)
    except ValueError as error:
        raise Refused(f"{option}: {error}") from None


def _wanted(options: Namespace) -> Selection:
    if not options.power.in_bulk:
        return Selection()
    due = [instant("--due-between", one) for one in options.due_between or (None, None) if one]
    return Selection(
        states=tuple(sorted(options.state or ())),
        clients=tuple(sorted(options.client or ())),
        creators=tuple(sorted(options.creator or ())),
        task_types=tuple(sorted(options.task_type or ())),
        due_from=due[0] if due else None,
        due_until=due[1] if due else None,
    )


def _among(options: Namespace) -> Sequence[str] | None:
    """Return the orders that are named, each once; None where none is."""
    named = list(getattr(options, "named", None) or ())
    file = getattr(options, "orders", None)
    if file is None and not named:
        return None
    if file is not None:
        with opened_file(file) as lines:
            named += [line.strip() for line in lines if line.strip()]
    strange = next((one for one in named if not re.fullmatch(NAME, one)), None)
    if strange is not None:
        raise Refused(f"{ascii(strange)[:80]} is no order's id")
    return list(dict.fromkeys(named))
