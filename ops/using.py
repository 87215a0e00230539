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
from workers.queries.order_filters import Selection
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
    intent, order_ids, selection = read_intent(options), _among(options), _wanted(options)
    if options.power.in_bulk and order_ids is None and selection.is_empty():
        raise Refused("which orders? Name them, or say --state, --due-between, --orders …")
    with operate.opened(settings, options) as context:
        task = Task(intent=intent, wanted=selection, among=order_ids, at=context.now())
        if options.yes:
            return operate.perform(context, task, again=getattr(options, "again", True))
        return operate.preview(context, task)


def _go_on(settings: Settings, options: Namespace) -> int:
    run = runs.found(runs.root_of(settings.var), options.name)
    if run.report() is not None:
        raise Refused(f"run {run.name} is over: nothing is left of it to do")
    if not options.json:
        print(outlook.runs([run]) + "\n")
    with operate.opened(settings, options) as context:
        return operate.carry(context, run)


def read_intent(options: Namespace) -> Intent:
    """Read what is wanted, by whom and why."""
    power: Power = options.power
    entry_values = ((entry, getattr(options, SAID + entry.name)) for entry in power.entries)
    longer = getattr(options, "longer", None)
    return Intent(
        power=power,
        operator=_operator(options.operator),
        reason=options.reason,
        said={
            entry.name: _value(entry, value)
            for entry, value in entry_values
            if value not in (None, False)
        },
        longer=None if longer is None else _duration("--by", longer),
    )


def _operator(option_value: str | None) -> str:
    try:
        name = option_value or getpass.getuser()
    except (KeyError, OSError):
        raise Refused("--as: nobody is logged in here; say who acts") from None
    if not re.fullmatch(NAME, name):
        raise Refused("--as: a name of up to 64 letters, digits, - and _ is wanted")
    return name


def _value(entry: Entry, value: Any) -> Any:  # noqa: ANN401 - whatever the field takes
    if entry.takes == "records":
        return [_record(entry, text) for text in value]
    # What must be given, and may be nothing, is given as nothing.
    return None if value == "" and entry.required and entry.nullable else value


def _record(entry: Entry, text: str) -> dict[str, Any]:
    pairs = dict(part.partition("=")[::2] for part in text.split(","))
    numbers = {field.name for field in entry.entries if field.takes == "number"}
    for name in numbers & pairs.keys():
        if not re.fullmatch(r"[0-9]{1,18}", pairs[name]):
            raise Refused(f"--{entry.name}: {name} must be a whole number")
    return {name: int(value) if name in numbers else value for name, value in pairs.items()}


def _duration(option: str, text: str) -> timedelta:
    try:
        duration = parse_duration(text)
    except ValueError as error:
        raise Refused(f"{option}: {error}") from None
    if not timedelta(0) < duration <= LONGEST:
        raise Refused(f"{option}: more than nothing and at most 10 years are wanted")
    return duration


def instant(option: str, text: str) -> datetime:
    """Read an instant that an option was given; raise `Refused`."""
    try:
        return parse_instant(text)
    except ValueError as error:
        raise Refused(f"{option}: {error}") from None


def _wanted(options: Namespace) -> Selection:
    if not options.power.in_bulk:
        return Selection()
    due_range = [
        instant("--due-between", text) for text in options.due_between or (None, None) if text
    ]
    return Selection(
        states=tuple(sorted(options.state or ())),
        clients=tuple(sorted(options.client or ())),
        creators=tuple(sorted(options.creator or ())),
        task_types=tuple(sorted(options.task_type or ())),
        due_from=due_range[0] if due_range else None,
        due_until=due_range[1] if due_range else None,
    )


def _among(options: Namespace) -> Sequence[str] | None:
    """Return the orders that are named, each once; None where none is."""
    order_ids = list(getattr(options, "named", None) or ())
    file = getattr(options, "orders", None)
    if file is None and not order_ids:
        return None
    if file is not None:
        with opened_file(file) as lines:
            order_ids += [line.strip() for line in lines if line.strip()]
    invalid_id = next(
        (order_id for order_id in order_ids if not re.fullmatch(NAME, order_id)), None
    )
    if invalid_id is not None:
        raise Refused(f"{ascii(invalid_id)[:80]} is no order's id")
    return list(dict.fromkeys(order_ids))
