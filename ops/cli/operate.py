"""Operate: what an operator asks for one order or for many, shown first, then done, then logged.

There is a subcommand for each operator action, with an option for each of its fields: they are
drawn from the commands' own schemas, so a new one needs no line here.
"""

from __future__ import annotations

import argparse
import getpass
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
from models.events.parties import OperatorActed, OrderSnapshot, PayoutSnapshot
from models.fields import format_instant, parse_duration
from models.lifecycle import State
from ops import terminal
from ops.context import open_reader, open_redis
from ops.errors import UsageError
from ops.operate import bulk_runs, rendering
from ops.operate.actions import (
    ON_BEHALF_ACTIONS,
    OWN_ACTIONS,
    REASON_FIELD,
    FormField,
    OperatorAction,
)
from ops.operate.bulk_runs import (
    BulkRequest,
    BulkRun,
    BulkRunDraft,
    RunExecutor,
    RunOutcomes,
    dry_run_all,
    plan_run,
)
from ops.operate.dry_run import ActionRequest, DryRunSummary
from ops.private_files import private_umask
from ops.terminal import MAX_ROWS, Progress, open_lines, read_instant
from workers.client import CommandClient
from workers.queries.order_filters import Selection
from workers.queries.reader import OperatorLogFilter, Reader, operator_log
from workers.queue.watermark import LocalArrivalClock
from workers.settings import Settings
from workers.timestamps import from_us

NAME_PATTERN = r"[A-Za-z0-9_-]{1,64}"

MAX_EXTENSION = timedelta(days=3650)


def run_operate(settings: Settings, options: Namespace) -> int:
    """Show what an action would do, do it, or look after its runs."""
    if options.run_action == "runs":
        return list_runs(settings, as_json=options.json)
    if options.run_action == "abandon":
        return abandon_run(settings, options.name, as_json=options.json)
    if options.run_action == "continue":
        return _continue_run(settings, options)
    action_request = read_request(options)
    order_ids, selection = _named_orders(options), _selection(options)
    if options.power.in_bulk and order_ids is None and selection.is_empty():
        raise UsageError("which orders? Name them, or say --state, --due-between, --orders …")
    with _open_context(settings, options) as context:
        bulk_request = BulkRequest(
            request=action_request, selection=selection, order_ids=order_ids, at=context.now()
        )
        if options.yes:
            return perform(context, bulk_request, again=getattr(options, "again", True))
        return preview(context, bulk_request)


def _continue_run(settings: Settings, options: Namespace) -> int:
    run = bulk_runs.find_run(bulk_runs.runs_folder(settings.var), options.name)
    if run.report() is not None:
        raise UsageError(f"run {run.name} is over: nothing is left of it to do")
    if not options.json:
        print(rendering.render_runs([run]) + "\n")
    with _open_context(settings, options) as context:
        return execute_run(context, run)


def read_request(options: Namespace) -> ActionRequest:
    """Read what is wanted, by whom and why."""
    action: OperatorAction = options.power
    entry_values = (
        (entry, getattr(options, FIELD_PREFIX + entry.name)) for entry in action.entries
    )
    longer = getattr(options, "longer", None)
    return ActionRequest(
        action=action,
        operator=operator_name(options.operator),
        reason=options.reason,
        field_values={
            entry.name: _field_value(entry, value)
            for entry, value in entry_values
            if value not in (None, False)
        },
        extension=None if longer is None else _duration("--by", longer),
    )


def operator_name(option_value: str | None) -> str:
    """Return who acts: the name given, else the login name."""
    try:
        name = option_value or getpass.getuser()
    except (KeyError, OSError):
        raise UsageError("--as: nobody is logged in here; say who acts") from None
    if not re.fullmatch(NAME_PATTERN, name):
        raise UsageError("--as: a name of up to 64 letters, digits, - and _ is wanted")
    return name


def _field_value(entry: FormField, value: Any) -> Any:  # noqa: ANN401 - whatever the field takes
    if entry.takes == "records":
        return [_record(entry, text) for text in value]
    # What must be given, and may be nothing, is given as nothing.
    return None if value == "" and entry.required and entry.nullable else value


def _record(entry: FormField, text: str) -> dict[str, Any]:
    pairs = dict(part.partition("=")[::2] for part in text.split(","))
    numbers = {field.name for field in entry.entries if field.takes == "number"}
    for name in numbers & pairs.keys():
        if not re.fullmatch(r"[0-9]{1,18}", pairs[name]):
            raise UsageError(f"--{entry.name}: {name} must be a whole number")
    return {name: int(value) if name in numbers else value for name, value in pairs.items()}


def _duration(option: str, text: str) -> timedelta:
    try:
        duration = parse_duration(text)
    except ValueError as error:
        raise UsageError(f"{option}: {error}") from None
    if not timedelta(0) < duration <= MAX_EXTENSION:
        raise UsageError(f"{option}: more than nothing and at most 10 years are wanted")
    return duration


def _selection(options: Namespace) -> Selection:
    if not options.power.in_bulk:
        return Selection()
    due_range = [
        read_instant("--due-between", text) for text in options.due_between or (None, None) if text
    ]
    return Selection(
        states=tuple(sorted(options.state or ())),
        clients=tuple(sorted(options.client or ())),
        creators=tuple(sorted(options.creator or ())),
        task_types=tuple(sorted(options.task_type or ())),
        due_from=due_range[0] if due_range else None,
        due_until=due_range[1] if due_range else None,
    )


def _named_orders(options: Namespace) -> Sequence[str] | None:
    """Return the orders that are named, each once; None where none is."""
    order_ids = list(getattr(options, "named", None) or ())
    file = getattr(options, "orders", None)
    if file is None and not order_ids:
        return None
    if file is not None:
        with open_lines(file) as lines:
            order_ids += [line.strip() for line in lines if line.strip()]
    invalid_id = next(
        (order_id for order_id in order_ids if not re.fullmatch(NAME_PATTERN, order_id)), None
    )
    if invalid_id is not None:
        raise UsageError(f"{ascii(invalid_id)[:80]} is no order's id")
    return list(dict.fromkeys(order_ids))


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorContext:
    """What an operator's command works with: database, Redis, and how to answer."""

    settings: Settings
    reader: Reader
    redis_client: redis.Redis
    as_json: bool
    timeout_s: float

    def now(self) -> datetime:
        """Return the present by the one clock that decides anything."""
        return from_us(LocalArrivalClock(self.redis_client).now())


@contextmanager
def _open_context(settings: Settings, options: Namespace) -> Iterator[OperatorContext]:
    """Open everything, for as long as it is needed."""
    with open_reader(settings) as reader, open_redis(settings) as redis_client:
        yield OperatorContext(
            settings=settings,
            reader=reader,
            redis_client=redis_client,
            as_json=options.json,
            timeout_s=options.timeout,
        )


def preview(context: OperatorContext, bulk_request: BulkRequest) -> int:
    """Show what would happen; 1 if nothing would."""
    return _print_dry_run(context, dry_run_all(context.reader.store, bulk_request))


def _print_dry_run(context: OperatorContext, summary: DryRunSummary) -> int:
    if context.as_json:
        _print_json({"run": None, "forecast": summary.to_json(), "outcomes": None})
    else:
        print(rendering.render_dry_run(summary))
        print("\nNothing was done: --yes does it." if summary.applied else "\nNothing to do.")
    return 0 if summary.applied else 1


@private_umask()
def perform(context: OperatorContext, bulk_request: BulkRequest, *, again: bool) -> int:
    """Write the plan down, carry it out, and say what became of it; without one, show why."""
    draft = BulkRunDraft(bulk_runs.runs_folder(context.settings.var), bulk_request.fingerprint())
    summary, run = plan_run(context.reader.store, bulk_request, draft, again=again)
    if run is None:
        return _print_dry_run(context, summary)
    if not context.as_json:
        print(rendering.render_dry_run(summary) + "\n")
    return execute_run(context, run, summary)


@private_umask()
def execute_run(
    context: OperatorContext, run: BulkRun, summary: DryRunSummary | None = None
) -> int:
    """Carry a run out, or what is left of it; 1 if anything was refused or has no outcome."""
    with run.locked(), _run_progress(run) as progress, _hint_on_interrupt(run):
        executor = RunExecutor(
            client=CommandClient(context.redis_client, context.settings.keyring),
            reader=context.reader,
            progress=progress,
            timeout_s=context.timeout_s,
        )
        run_outcomes = executor.execute(run)
        if not run_outcomes.missing:
            run.finish({"finished_at": format_instant(datetime.now(UTC)), **run_outcomes.to_json()})
    return _print_outcomes(context, run, run_outcomes, summary)


def _run_progress(run: BulkRun) -> Progress:
    orders = int(run.head["orders"])
    return Progress("settled", orders, quiet=orders == 1)


@contextmanager
def _hint_on_interrupt(run: BulkRun) -> Iterator[None]:
    try:
        yield
    except BaseException:
        print(_hint_to_continue(run), file=sys.stderr)
        raise


def _hint_to_continue(run: BulkRun) -> str:
    return f"run {run.name} is unfinished: `earnest operate continue {run.name}` goes on with it"


def _print_outcomes(
    context: OperatorContext, run: BulkRun, run_outcomes: RunOutcomes, summary: DryRunSummary | None
) -> int:
    if context.as_json:
        forecast_document = None if summary is None else summary.to_json()
        _print_json(
            {"run": run.name, "forecast": forecast_document, "outcomes": run_outcomes.to_json()}
        )
    else:
        print(rendering.render_outcomes(run, run_outcomes))
        if run.head["orders"] == 1:
            print("\n" + rendering.render_order(context.reader, run))
    if run_outcomes.missing:
        print(f"{_hint_to_continue(run)}. Are workers running?", file=sys.stderr)
    return 1 if run_outcomes.missing or run_outcomes.outcomes.keys() - {("applied", None)} else 0


def list_runs(settings: Settings, *, as_json: bool) -> int:
    """List what was done to many orders, and what is unfinished."""
    runs = bulk_runs.list_runs(bulk_runs.runs_folder(settings.var))
    if as_json:
        _print_json(
            {"runs": [{"run": run.name, **run.head, "report": run.report()} for run in runs]}
        )
    else:
        print(rendering.render_runs(runs))
    return 0


def abandon_run(settings: Settings, name: str, *, as_json: bool) -> int:
    """End a run where it is: what was done stays done, the rest is not."""
    run = bulk_runs.find_run(bulk_runs.runs_folder(settings.var), name)
    with run.locked():
        if run.report() is None:
            run.finish({"finished_at": format_instant(datetime.now(UTC)), "abandoned": True})
    if as_json:
        _print_json({"run": run.name, "report": run.report()})
    else:
        print(f"Run {run.name} is over.")
    return 0


def _print_json(document: dict[str, Any]) -> None:
    print(terminal.format_json(document))


FIELD_PREFIX = "said_"
"""Before the name of a field, in the name of its option's value: so it clashes with none."""

OUTCOME_TIMEOUT_S = 60.0


def declare_actions(parser: argparse.ArgumentParser, settings: argparse.ArgumentParser) -> None:
    """Declare every action, and what is done with runs."""
    subparsers = parser.add_subparsers(title="what", metavar="WHAT", required=True)

    def add_command(
        parent: Any,  # noqa: ANN401 - argparse hides the type
        name: str,
        about: str,
        *aliases: str,
    ) -> argparse.ArgumentParser:
        action_parser: argparse.ArgumentParser = parent.add_parser(
            name, aliases=aliases, help=about, description=about, parents=[settings]
        )
        return action_parser

    for action in OWN_ACTIONS.values():
        _declare_action(
            add_command(subparsers, action.kind, action.about, *_short_names(action.kind)), action
        )
    act = add_command(subparsers, "act", "ask what a client or a creator may ask, in their stead")
    kinds = act.add_subparsers(title="what", metavar="COMMAND", required=True)
    for action in ON_BEHALF_ACTIONS.values():
        _declare_action(add_command(kinds, action.kind, action.about), action)
    for name, about in RUN_COMMANDS.items():
        run_parser = add_command(subparsers, name, about)
        run_parser.set_defaults(run_action=name)
        if name != "runs":
            run_parser.add_argument("name", metavar="RUN")
        _add_output_options(run_parser)


RUN_COMMANDS = {
    "runs": "list what was done to many orders, and what is unfinished",
    "continue": "go on with a run that was broken off",
    "abandon": "end a run where it is",
}


def _short_names(kind: str) -> list[str]:
    """Return the first word of a kind, where no other kind begins so, or did not at first."""
    first_word = kind.partition("_")[0]
    namesakes = sum(own_kind.startswith(f"{first_word}_") for own_kind in OWN_ACTIONS)
    return [first_word] if namesakes == 1 or kind in KINDS_FIRST_NAMED else []


KINDS_FIRST_NAMED = ("release_forfeit",)
"""Kinds that keep a short name by which another kind, which came later, might be called too."""


def declare_action(parser: argparse.ArgumentParser, kind: str) -> None:
    """Give a command the options of one of an operator's own actions."""
    _declare_action(parser, OWN_ACTIONS[kind])


def _declare_action(parser: argparse.ArgumentParser, action: OperatorAction) -> None:
    parser.set_defaults(power=action, run_action=None)
    if action.in_bulk:
        parser.add_argument("named", metavar="ORDER", nargs="*")
        _add_selection_options(parser.add_argument_group("which orders, instead of naming them"))
    elif action.needs_order:
        parser.add_argument("named", metavar="ORDER", nargs=1)
    field_options = parser.add_argument_group("what is said")
    for entry in action.entries:
        _add_field_option(field_options, entry, action)
    field_options.add_argument("--reason", required=True, metavar="WHY", help="kept in the trail")
    field_options.add_argument(
        "--as", dest="operator", metavar="NAME", help="default: the login name"
    )
    run_options = parser.add_argument_group("doing it")
    mode = run_options.add_mutually_exclusive_group()
    mode.add_argument("--dry-run", action="store_true", help="show what would happen (default)")
    mode.add_argument("--yes", action="store_true", help="do it, and wait for the outcome")
    if action.in_bulk:
        run_options.add_argument(
            "--again", action="store_true", help="even if a run did the same before"
        )
    _add_output_options(parser)


def _add_selection_options(group: Any) -> None:  # noqa: ANN401 - argparse hides the type
    group.add_argument("--orders", metavar="FILE", help="ids, one a line; - for standard input")
    group.add_argument("--state", action="append", choices=tuple(State), metavar="STATE")
    for name in ("client", "creator", "task-type"):
        group.add_argument(
            f"--{name}", action="append", metavar="ID" if "-" not in name else "TYPE"
        )
    group.add_argument(
        "--due-between", nargs=2, metavar=("FROM", "UNTIL"), help="2026-03-02T10:00:00+08:00 …"
    )


def _add_field_option(group: Any, entry: FormField, action: OperatorAction) -> None:  # noqa: ANN401 - the same
    flag = "--their-reason" if entry.name == REASON_FIELD else f"--{entry.name.replace('_', '-')}"
    options: dict[str, Any] = {"dest": FIELD_PREFIX + entry.name}
    if entry.takes == "flag":
        group.add_argument(flag, action="store_true", **options)
        return
    if action.in_bulk and entry.takes == "instant":
        time_options = group.add_mutually_exclusive_group(required=entry.required)
        time_options.add_argument(flag, metavar="INSTANT", help="the same for all", **options)
        help_by = "from each order's own deadline on, or from now: PT3H"
        time_options.add_argument("--by", dest="longer", metavar="DURATION", help=help_by)
        return
    group.add_argument(flag, required=entry.required, **options, **_option_settings(entry))


def _option_settings(entry: FormField) -> dict[str, Any]:
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


def _add_output_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--timeout", type=float, default=OUTCOME_TIMEOUT_S, metavar="S", help="to wait for outcomes"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object")


OPERATOR_LOG_HEADS = ("at", "who", "did", "about", "why", "status", "until")


def show_operator_log(settings: Settings, options: Namespace) -> int:
    """List what operators did, the latest first."""
    log_filter = OperatorLogFilter(
        by=options.by and options.by.removeprefix("operator:"),
        since=None if options.since is None else read_instant("--since", options.since),
        until=None if options.until is None else read_instant("--until", options.until),
        order_id=options.order,
    )
    with open_reader(settings) as reader:
        entries = operator_log(reader.store.engine, log_filter)
        if options.json:
            for event, _ in entries:
                print(terminal.format_json(event.published() | {"about": event.subject}))
            return 0
        first_entries = list(islice(entries, MAX_ROWS + 1))
    rows = [_log_row(*entry) for entry in first_entries[:MAX_ROWS]]
    print(
        terminal.draw_table("Trail", OPERATOR_LOG_HEADS, rows)
        if rows
        else "No operator did anything."
    )
    if len(first_entries) > MAX_ROWS:
        print(f"… and more: only the latest {MAX_ROWS} are shown; --json lists all")
    return 0


def _log_row(event: Event, fact: OperatorActed) -> tuple[terminal.Cell, ...]:
    return (
        format_instant(event.at),
        fact.by.partition(":")[2],
        fact.act,
        event.subject.removeprefix("order:"),
        terminal.shorten(fact.note, 40),
        _change_text(_snapshot_status(fact.before), _snapshot_status(fact.after)),
        _change_text(_snapshot_due_at(fact.before), _snapshot_due_at(fact.after)),
    )


def _change_text(before: str | None, after: str | None) -> str | None:
    return before if before == after else f"{before or '-'} → {after or '-'}"


def _snapshot_status(snapshot: OrderSnapshot | PayoutSnapshot | None) -> str | None:
    if isinstance(snapshot, PayoutSnapshot):
        return f"{snapshot.status}, held" if snapshot.held else snapshot.status
    return None if snapshot is None else snapshot.status


def _snapshot_due_at(snapshot: OrderSnapshot | PayoutSnapshot | None) -> str | None:
    due_at = snapshot.due_at if isinstance(snapshot, OrderSnapshot) else None
    return None if due_at is None else format_instant(due_at)
