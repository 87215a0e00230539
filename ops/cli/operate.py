"""Operate: what an operator asks for one order or for many, shown first, then done, then logged.

There is a word for each operator action, with an option for each of its fields: they are drawn
from the commands themselves, so a new one needs no word here.
"""

from __future__ import annotations

import argparse
import getpass
import json
import re
import sys
from argparse import Namespace
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any

import redis

from models.events.event import Event
from models.events.parties import Glimpse, OperatorActed
from models.fields import instant_text, parse_duration
from models.lifecycle import State
from ops import terminal
from ops.context import open_reader, open_redis
from ops.errors import Refused
from ops.operate import bulk_runs, rendering
from ops.operate.actions import LENT, OWN, WHY, Entry, Power
from ops.operate.bulk_runs import Carrier, Draft, Run, Tally, Task, forecast, plan
from ops.operate.dry_run import Forecast, Intent
from ops.terminal import MOST_SHOWN, Progress, instant
from ops.terminal import open_lines as opened_file
from workers.client import Client
from workers.queries.order_filters import Selection
from workers.queries.reader import Reader, Wanted, acts
from workers.queue.watermark import DoorClock
from workers.settings import Settings
from workers.timestamps import from_us

NAME = r"[A-Za-z0-9_-]{1,64}"
LONGEST = timedelta(days=3650)


def use(settings: Settings, options: Namespace) -> int:
    """Show what a power would do, use it, or look after its runs."""
    if options.run_action == "runs":
        return list_runs(settings, as_json=options.json)
    if options.run_action == "abandon":
        return abandon(settings, options.name, as_json=options.json)
    if options.run_action == "continue":
        return _continue_run(settings, options)
    intent, order_ids, selection = read_intent(options), _among(options), _wanted(options)
    if options.power.in_bulk and order_ids is None and selection.is_empty():
        raise Refused("which orders? Name them, or say --state, --due-between, --orders …")
    with _open_context(settings, options) as context:
        task = Task(intent=intent, wanted=selection, among=order_ids, at=context.now())
        if options.yes:
            return perform(context, task, again=getattr(options, "again", True))
        return preview(context, task)


def _continue_run(settings: Settings, options: Namespace) -> int:
    run = bulk_runs.find_run(bulk_runs.root_of(settings.var), options.name)
    if run.report() is not None:
        raise Refused(f"run {run.name} is over: nothing is left of it to do")
    if not options.json:
        print(rendering.runs([run]) + "\n")
    with _open_context(settings, options) as context:
        return carry(context, run)


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where an operator works: the books, the wire, and how to answer."""

    settings: Settings
    reader: Reader
    wire: redis.Redis
    as_json: bool
    patience_s: float

    def now(self) -> datetime:
        """Return the present by the one clock that decides anything."""
        return from_us(DoorClock(self.wire).now())


@contextmanager
def _open_context(settings: Settings, options: Namespace) -> Iterator[Place]:
    """Open everything, for as long as it is needed."""
    with open_reader(settings) as reader, open_redis(settings) as client:
        yield Place(
            settings=settings,
            reader=reader,
            wire=client,
            as_json=options.json,
            patience_s=options.timeout,
        )


def preview(place: Place, task: Task) -> int:
    """Show what would happen; 1 if nothing would."""
    dry_run = forecast(place.reader.store, task)
    if place.as_json:
        _print({"run": None, "forecast": dry_run.shown(), "outcomes": None})
    else:
        print(rendering.drawn(dry_run))
        print("\nNothing was done: --yes does it." if dry_run.applied else "\nNothing to do.")
    return 0 if dry_run.applied else 1


def perform(place: Place, task: Task, *, again: bool) -> int:
    """Write the plan down, carry it out, and say what became of it."""
    draft = Draft(bulk_runs.root_of(place.settings.var), task.name())
    dry_run, run = plan(place.reader.store, task, draft, again=again)
    if run is None:
        return preview_of_nothing(place, dry_run)
    if not place.as_json:
        print(rendering.drawn(dry_run) + "\n")
    return carry(place, run, dry_run)


def preview_of_nothing(place: Place, dry_run: Forecast) -> int:
    """Say that everything would be refused, and was not asked."""
    if place.as_json:
        _print({"run": None, "forecast": dry_run.shown(), "outcomes": None})
    else:
        print(f"{rendering.drawn(dry_run)}\n\nNothing to do.")
    return 1


def carry(place: Place, run: Run, dry_run: Forecast | None = None) -> int:
    """Carry a run out, or what is left of it; 1 if anything was refused or has no outcome."""
    with run.alone(), _progress(run) as progress, _said_how(run):
        carrier = Carrier(
            client=Client(place.wire, place.settings.keyring),
            reader=place.reader,
            progress=progress,
            patience_s=place.patience_s,
        )
        tally = carrier.carry(run)
        if not tally.missing:
            run.finish({"finished_at": instant_text(datetime.now(UTC)), **tally.shown()})
    return _told(place, run, tally, dry_run)


def _progress(run: Run) -> Progress:
    orders = int(run.head["orders"])
    return Progress("settled", orders, quiet=orders == 1)


@contextmanager
def _said_how(run: Run) -> Iterator[None]:
    try:
        yield
    except BaseException:
        print(_hint_to_continue(run), file=sys.stderr)
        raise


def _hint_to_continue(run: Run) -> str:
    return f"run {run.name} is unfinished: `earnest operate continue {run.name}` goes on with it"


def _told(place: Place, run: Run, tally: Tally, dry_run: Forecast | None) -> int:
    if place.as_json:
        forecast_document = None if dry_run is None else dry_run.shown()
        _print({"run": run.name, "forecast": forecast_document, "outcomes": tally.shown()})
    else:
        print(rendering.outcomes(run, tally))
        if run.head["orders"] == 1:
            print("\n" + rendering.order_now(place.reader, run))
    if tally.missing:
        print(f"{_hint_to_continue(run)}. Are workers running?", file=sys.stderr)
    return 1 if tally.missing or tally.outcomes.keys() - {("applied", None)} else 0


def list_runs(settings: Settings, *, as_json: bool) -> int:
    """List what was done to many orders, and what is unfinished."""
    listed_runs = bulk_runs.list_runs(bulk_runs.root_of(settings.var))
    if as_json:
        _print(
            {"runs": [{"run": run.name, **run.head, "report": run.report()} for run in listed_runs]}
        )
    else:
        print(rendering.runs(listed_runs))
    return 0


def abandon(settings: Settings, name: str, *, as_json: bool) -> int:
    """End a run where it is: what was done stays done, the rest is not."""
    run = bulk_runs.find_run(bulk_runs.root_of(settings.var), name)
    with run.alone():
        if run.report() is None:
            run.finish({"finished_at": instant_text(datetime.now(UTC)), "abandoned": True})
    if as_json:
        _print({"run": run.name, "report": run.report()})
    else:
        print(f"Run {run.name} is over.")
    return 0


def _print(document: dict[str, Any]) -> None:
    print(json.dumps(document, ensure_ascii=False))


SAID = "said_"
"""Before the names under which what fields were given is kept: they clash with nothing."""

PATIENCE_S = 60.0


def fill(parser: argparse.ArgumentParser, settings: argparse.ArgumentParser) -> None:
    """Declare every power, and what is done with runs."""
    actions = parser.add_subparsers(title="what", metavar="WHAT", required=True)

    def word(subparsers: Any, name: str, about: str, *aliases: str) -> argparse.ArgumentParser:  # noqa: ANN401 - argparse hides it
        action_parser: argparse.ArgumentParser = subparsers.add_parser(
            name, aliases=aliases, help=about, description=about, parents=[settings]
        )
        return action_parser

    for power in OWN.values():
        _declare_action(word(actions, power.kind, power.about, *_short(power.kind)), power)
    act = word(actions, "act", "ask what a client or a creator may ask, in their stead")
    kinds = act.add_subparsers(title="what", metavar="COMMAND", required=True)
    for power in LENT.values():
        _declare_action(word(kinds, power.kind, power.about), power)
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


def declare_action(parser: argparse.ArgumentParser, kind: str) -> None:
    """Give a word the options of one of an operator's own powers."""
    _declare_action(parser, OWN[kind])


def _declare_action(parser: argparse.ArgumentParser, power: Power) -> None:
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


def _answering(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--timeout", type=float, default=PATIENCE_S, metavar="S", help="to wait for outcomes"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object")


LOG_HEADS = ("at", "who", "did", "about", "why", "status", "until")


def show_operator_log(settings: Settings, options: Namespace) -> int:
    """List what operators did, the latest first."""
    act_filter = Wanted(
        by=options.by and options.by.removeprefix("operator:"),
        since=None if options.since is None else instant("--since", options.since),
        until=None if options.until is None else instant("--until", options.until),
        order_id=options.order,
    )
    with open_reader(settings) as source:
        entries = acts(source.store.engine, act_filter)
        if options.json:
            for event, _ in entries:
                print(json.dumps(event.published() | {"about": event.subject}, ensure_ascii=False))
            return 0
        first_entries = list(islice(entries, MOST_SHOWN + 1))
    rows = [_log_row(*entry) for entry in first_entries[:MOST_SHOWN]]
    print(terminal.draw("Trail", LOG_HEADS, rows) if rows else "No operator did anything.")
    if len(first_entries) > MOST_SHOWN:
        print(f"… and more: only the latest {MOST_SHOWN} are shown; --json lists all")
    return 0


def _log_row(event: Event, fact: OperatorActed) -> tuple[terminal.Cell, ...]:
    return (
        instant_text(event.at),
        fact.by.partition(":")[2],
        fact.act,
        event.subject.removeprefix("order:"),
        terminal.fit(fact.note, 40),
        _change(_status(fact.before), _status(fact.after)),
        _change(_until(fact.before), _until(fact.after)),
    )


def _change(before: str | None, after: str | None) -> str | None:
    return before if before == after else f"{before or '-'} → {after or '-'}"


def _status(snapshot: Glimpse | None) -> str | None:
    return None if snapshot is None else snapshot.status


def _until(snapshot: Glimpse | None) -> str | None:
    return None if snapshot is None or snapshot.due_at is None else instant_text(snapshot.due_at)
