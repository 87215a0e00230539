"""Commands: every command of the command line, its options, and which function it runs.

Each imports the function that it runs when it runs, so that --help stays fast: most are in the
modules beside this one, contract and export in folders of their own. What starts processes is in
`runtime`.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from models.fields import parse_instant
from models.lifecycle import PublicStatus
from ops.cli import runtime
from ops.cli.runtime import PROCESSES, CommandFunction, demo, simulate, up
from ops.errors import UsageError
from ops.terminal import open_lines
from workers.settings import Settings


class LazyParser(argparse.ArgumentParser):
    """A command whose options need imports that others do without: declared at its first use."""

    fill: Callable[[LazyParser], None] | None = None

    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[Any, list[str]]:
        """Declare the options, then parse as ever."""
        if self.fill is not None:
            fill, self.fill = self.fill, None
            fill(self)
        return super().parse_known_args(args, namespace)


AddCommand = Callable[[str, CommandFunction, str], LazyParser]
"""Declares a command: its name, the function it runs, and its help in a line."""


def register(subparsers: Any, settings: argparse.ArgumentParser) -> None:  # noqa: ANN401 - argparse hides the type
    """Declare every command."""

    def add_command(name: str, run: CommandFunction, summary: str) -> LazyParser:
        parser: LazyParser = subparsers.add_parser(
            name, help=summary, description=summary, parents=[settings]
        )
        parser.set_defaults(run=run)
        return parser

    up_parser = add_command(
        "up", up, "start everything on this machine; Ctrl-C stops it in good order"
    )
    up_parser.add_argument("--workers", type=int, default=2, metavar="N", help="default: 2")
    up_parser.add_argument("--quiet", action="store_true", help="logs to var/log only")
    demo_parser = add_command(
        "demo", demo, "play a whole campaign of orders against the real pipeline"
    )
    demo_parser.add_argument("--keep", action="store_true", help="keep the demo's state folder")
    simulate_parser = add_command(
        "simulate", simulate, "play steps against the rules, without servers"
    )
    simulate_parser.add_argument("steps", metavar="STEPS.jsonl", help="- for standard input")
    submit_parser = add_command("submit", submit, "hand in commands, one JSON object a line")
    submit_parser.add_argument("file", metavar="FILE.jsonl", help="- for standard input")
    submit_parser.add_argument("--wait", action="store_true", help="print each outcome as JSON")
    submit_parser.add_argument(
        "--timeout", type=float, default=60.0, metavar="S", help="with --wait"
    )
    _register_orders(add_command)
    _register_failures(add_command)
    _register_monitoring(add_command)
    _register_records(add_command)
    _register_lists(add_command)
    _register_operate(add_command, settings)
    for name, summary in (
        ("migrate", "bring the database's schema up to date"),
        ("worker", "run one worker process"),
        ("relay", "run the relay that publishes events"),
        ("scheduler", "run the scheduler that makes time pass"),
        ("web", "run the web process: commands over HTTP, the ops page, metrics"),
    ):
        add_command(name, PROCESSES[name], summary)
    runtime.register_programs(subparsers)


def _register_orders(add_command: AddCommand) -> None:
    """Declare `orders`, `refunds`, `payouts` and `books`."""
    orders_parser = add_command("orders", list_orders, "list orders, or show one with its history")
    orders_parser.add_argument("action", choices=("list", "show"), nargs="?", default="list")
    orders_parser.add_argument("order_id", metavar="ID", nargs="?")
    orders_parser.add_argument("--status", metavar="STATE", help="only orders in this state")
    orders_parser.add_argument("--json", action="store_true", help="one JSON object")
    refunds_parser = add_command(
        "refunds", show_refunds, "list refunds, or show one by its id or a reference"
    )
    payouts_parser = add_command(
        "payouts", show_payouts, "list payouts, or show one by its id or a reference"
    )
    payouts_parser.add_argument("--held", action="store_true", help="only those that are held")
    for debts_parser in (refunds_parser, payouts_parser):
        debts_parser.add_argument("name", metavar="ID", nargs="?")
        debts_parser.add_argument("--status", metavar="STATUS", help="requested, failed, …")
        debts_parser.add_argument("--json", action="store_true", help="one JSON object")
    books_parser = add_command(
        "books", show_books, "add up the money by account and audit the books"
    )
    books_parser.add_argument("--json", action="store_true", help="one JSON object")


def submit(settings: Settings, options: argparse.Namespace) -> int:
    """Hand in commands."""
    from ops.cli import messages as cli_messages

    with open_lines(options.file) as lines:
        return cli_messages.submit(
            settings, lines, wait_s=options.timeout if options.wait else None
        )


def list_orders(settings: Settings, options: argparse.Namespace) -> int:
    """List orders or show one."""
    from ops.cli import orders as cli_orders

    if options.action == "show":
        if not options.order_id:
            raise UsageError(
                "orders show: which one? Give its id; `earnest orders list` knows them"
            )
        return cli_orders.show_order(settings, options.order_id, as_json=options.json)
    return cli_orders.list_orders(settings, options.status, as_json=options.json)


def show_refunds(settings: Settings, options: argparse.Namespace) -> int:
    """List refunds or show one."""
    from ops.cli import money as cli_money

    return cli_money.show_refunds(settings, options.name, options.status, as_json=options.json)


def show_payouts(settings: Settings, options: argparse.Namespace) -> int:
    """List payouts or show one."""
    from ops.cli import money as cli_money

    return cli_money.show_payouts(
        settings, options.name, options.status, held=options.held, as_json=options.json
    )


def show_books(settings: Settings, options: argparse.Namespace) -> int:
    """Show balances and what the audit found."""
    from ops.cli import money as cli_money

    return cli_money.show_books(settings, as_json=options.json)


def _register_failures(add_command: AddCommand) -> None:
    """Declare `dead-letters`, `quarantine` and `audit`."""
    dead_letters_parser = add_command(
        "dead-letters", dead_letters, "commands that no repetition settled: list, replay"
    )
    dead_letters_parser.add_argument(
        "action", choices=("list", "show", "replay"), nargs="?", default="list"
    )
    dead_letters_parser.add_argument("ids", type=number, metavar="ID", nargs="*")
    dead_letters_parser.add_argument("--all", action="store_true", help="replay all that wait")
    dead_letters_parser.add_argument("--json", action="store_true", help="one JSON object")
    quarantine_parser = add_command(
        "quarantine", quarantine, "what came in and was for nobody: list, look at, drop"
    )
    quarantine_parser.add_argument(
        "action", choices=("list", "show", "drop"), nargs="?", default="list"
    )
    quarantine_parser.add_argument("ids", type=number, metavar="ID", nargs="*")
    quarantine_parser.add_argument("--json", action="store_true", help="one JSON object")
    audit_parser = add_command(
        "audit", audit, "check books and delivery; exit status 1 if anything is wrong"
    )
    audit_parser.add_argument("--json", action="store_true", help="one JSON object")


def number(text: str) -> int:
    """Read an id; what no database could have given is misuse, like what is no number.

    The name of this function is what people read when it refuses.
    """
    row_id = int(text)
    if not 0 < row_id < 2**63:
        raise ValueError
    return row_id


def dead_letters(settings: Settings, options: argparse.Namespace) -> int:
    """List dead letters, show one, or replay some."""
    from ops.cli import dead_letters as cli_dead_letters

    if options.action == "list":
        return cli_dead_letters.list_dead_letters(settings, as_json=options.json)
    if options.action == "show":
        return cli_dead_letters.show_dead_letter(
            settings, single_id(options.ids, "dead-letters show"), as_json=options.json
        )
    if bool(options.ids) == options.all:
        raise UsageError("dead-letters replay: which ones? Give their ids, or --all")
    return cli_dead_letters.replay_dead_letters(settings, options.ids, as_json=options.json)


def quarantine(settings: Settings, options: argparse.Namespace) -> int:
    """List quarantined items, show one, or drop some."""
    from ops.cli import dead_letters as cli_dead_letters

    if options.action == "list":
        return cli_dead_letters.list_quarantined(settings, as_json=options.json)
    if options.action == "show":
        return cli_dead_letters.show_quarantined(
            settings, single_id(options.ids, "quarantine show"), as_json=options.json
        )
    if not options.ids:
        raise UsageError("quarantine drop: which ones? Give their ids")
    return cli_dead_letters.drop_quarantined(settings, options.ids, as_json=options.json)


def audit(settings: Settings, options: argparse.Namespace) -> int:
    """Check books and delivery."""
    from ops.cli import money as cli_money

    return cli_money.show_audit(settings, as_json=options.json)


def single_id(ids: list[int], command_name: str) -> int:
    """Return the one id given."""
    if len(ids) != 1:
        raise UsageError(f"{command_name}: which one? Give its id")
    return ids[0]


def _register_monitoring(add_command: AddCommand) -> None:
    """Declare `contract`, `events`, `recover`, `queues`, `deadlines`, `explain` and `doctor`."""
    parser = add_command("contract", contract, "write, check or release the message contract")
    parser.add_argument("action", choices=("write", "check", "release"))
    _add_json_option(parser)
    _register_events(add_command)
    _register_recover(add_command)
    _add_json_option(add_command("queues", queues, "what waits where, and who is there to work"))
    _add_json_option(
        add_command("deadlines", deadlines, "what falls due within the hour, and what is overdue")
    )
    parser = add_command("explain", explain, "why an order is where it is, and what happens next")
    parser.add_argument("order_id", metavar="ORDER")
    _add_json_option(parser)
    _add_json_option(
        add_command("doctor", doctor, "check settings, servers, clocks, durability and disk")
    )


def _register_events(add_command: AddCommand) -> None:
    events_parser = add_command(
        "events", events, "follow, replay or administer the streams of events"
    )
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
        _add_json_option(action_parser)


def _register_recover(add_command: AddCommand) -> None:
    parser = add_command(
        "recover", recover, "after a database was set back: what it lost, and a new beginning"
    )
    parser.add_argument(
        "--output", type=Path, metavar="FOLDER", help="for files (default: var/recover/…)"
    )
    parser.add_argument("--yes", action="store_true", help="begin a new timeline")
    parser.add_argument("--reason", metavar="TEXT", help="why; kept in the operators' log")
    parser.add_argument(
        "--as", dest="operator", metavar="NAME", help="who acts (default: the login name)"
    )
    _add_json_option(parser)


def _add_json_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="JSON for programs")


def contract(_: Settings, options: argparse.Namespace) -> int:
    """Write, check or release the message contract."""
    from ops.contract.release import run_contract as run

    return run(options.action, as_json=options.json)


def events(settings: Settings, options: argparse.Namespace) -> int:
    """Follow, replay or administer the streams."""
    from ops.cli import events as cli_events

    if options.action == "tail":
        return cli_events.tail_events(settings, options)
    if options.action == "replay":
        return cli_events.replay_events(
            settings, options.since, options.until, as_json=options.json
        )
    return cli_events.manage_groups(settings, options)


def recover(settings: Settings, options: argparse.Namespace) -> int:
    """Show what was lost, and begin a new timeline."""
    from ops.cli import events as cli_events

    return cli_events.recover(settings, options)


def queues(settings: Settings, options: argparse.Namespace) -> int:
    """Show the queues."""
    from ops.cli import messages as cli_messages

    return cli_messages.show_queues(settings, as_json=options.json)


def deadlines(settings: Settings, options: argparse.Namespace) -> int:
    """Show the deadlines."""
    from ops.cli import orders as cli_orders

    return cli_orders.show_deadlines(settings, as_json=options.json)


def explain(settings: Settings, options: argparse.Namespace) -> int:
    """Explain one order."""
    from ops.cli import orders as cli_orders

    return cli_orders.show_explanation(settings, options.order_id, as_json=options.json)


def doctor(settings: Settings, options: argparse.Namespace) -> int:
    """Check everything that the pipeline relies on."""
    from ops.cli.doctor import doctor as run

    return run(settings, as_json=options.json)


EXPORT_HELP = """\
Write orders, events or postings for other programs: a page at a time, in flat memory however
many there are, while everything else goes on.

orders    as they stand, oldest first, without their briefs
events    everything that happened, outcomes of commands among it, in the order of their position
postings  the money that moved, each with the event that moved it

Amounts are whole fen. Instants are UTC: ISO 8601 as text, timestamps with microseconds in Parquet.
"""


EXPORT_PROMISES = """\
Going on. With --output, the same command goes on where an interrupted one ended, also after
kill -9: FILE.cursor, or _cursor.json in a folder of Parquet, says up to where every row is there
for good, and what was half written behind it is written again. Parquet comes in parts,
part-00000.parquet and so on, and each is whole as soon as it has its name. Where rows go to
standard output, standard error ends with the cursor, and --after begins behind it; a cursor is made
of columns, so the last row that arrived tells it too:

  orders    placed_at/order_id    2026-03-02T02:00:00.5Z/ord_1
  events    position              1234
  postings  position:ordinal      1234:1

What is promised while others write. A row that is on record when an export begins is in it exactly
once. Events and postings never change, and nothing is ever added before a cursor: a finished
export may be gone on with, tomorrow, and then holds all that came since, without a gap or a repeat.
An order is as it stood when its page was read, and `sequence` is the number of its latest event
then; one placed meanwhile may be left out. Because orders change, a finished export of them is not
gone on with: begin another.
"""


ARCHIVE_HELP = """\
Put away orders that ended long ago: they leave the tables that everything else looks through, with
their events, postings and settled debts. The scheduler does the same, a batch at a time, once an
order has ended EARNEST_ARCHIVE_AFTER ago. Without --yes nothing is changed.
"""


ARCHIVE_PROMISES = """\
What stays: orders with a refund or a payout that is not confirmed, with a forfeited deposit for
which a notice of payment may still come, or with an event that is not published.

Nobody need know where an order is. It is listed, shown, explained, exported, counted and audited as
before. Its ids stay taken: a repeated command is a duplicate, a new order of its name is
`order_exists`. A command about it brings it back in the same transaction and is judged as if it had
never been away: a payment that comes late is refunded, a deposit can still be released. When
nothing is left to do it is archived again. It may be stopped at any moment, also by kill -9.
"""


PLAIN_HELP = "CSV for programs: texts as they are, and no byte order mark"


def _register_records(add_command: AddCommand) -> None:
    """Declare `export` and `archive`."""
    parser = add_command(
        "export", export, "write orders, events or postings as JSON Lines, CSV, Parquet"
    )
    parser.description, parser.epilog = EXPORT_HELP, EXPORT_PROMISES
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("what", choices=("orders", "events", "postings"))
    parser.add_argument(
        "--format", choices=("jsonl", "csv", "parquet"), default="jsonl", help="default: jsonl"
    )
    parser.add_argument("--plain", action="store_true", help=PLAIN_HELP)
    parser.add_argument(
        "--output",
        metavar="FILE",
        help="a file, or for Parquet a folder; default: standard output",
    )
    parser.add_argument("--after", metavar="CURSOR", help="begin behind this row")
    parser.add_argument("--limit", type=int, metavar="N", help="stop after so many rows")
    parser.add_argument("--json", action="store_true", help="say as JSON where it ended")
    parser = add_command("archive", archive, "put away orders that ended long ago; --yes does it")
    parser.description, parser.epilog = ARCHIVE_HELP, ARCHIVE_PROMISES
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--yes", action="store_true", help="do it; without, only say what would be")
    parser.add_argument(
        "--older-than", metavar="DURATION", help="like P400D; default: EARNEST_ARCHIVE_AFTER"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object")


def export(settings: Settings, options: argparse.Namespace) -> int:
    """Export what is on record."""
    from ops.export.run import export as run

    return run(settings, options)


def archive(settings: Settings, options: argparse.Namespace) -> int:
    """Archive orders at rest."""
    from ops.cli.records import run_archive

    return run_archive(settings, options)


def _register_lists(add_command: AddCommand) -> None:
    """Declare `tasks` and `reports`."""
    parser = add_command(
        "tasks", tasks, "list a creator's tasks, or those of all of an agency's creators"
    )
    owner_options = parser.add_mutually_exclusive_group()
    owner_options.add_argument("--creator", metavar="ID", help="default: everybody's")
    owner_options.add_argument("--mcn", metavar="ID", help="whoever is signed with it now")
    parser.add_argument("--status", choices=[status.value for status in PublicStatus])
    parser.add_argument("--created-after", type=_instant, metavar="INSTANT", help=INSTANT_EXAMPLE)
    parser.add_argument("--created-before", type=_instant, metavar="INSTANT")
    parser.add_argument("--id", metavar="PREFIX", help="only ids that begin so")
    parser.add_argument("--limit", type=_count, default=50, metavar="N", help="default: 50")
    parser.add_argument("--cursor", metavar="CURSOR", help="where an earlier list said it goes on")
    parser.add_argument("--json", action="store_true", help="one JSON object")
    parser = add_command(
        "reports", reports, "add up what became of all orders, and what falls due next"
    )
    parser.add_argument("name", choices=("funnel", "endings", "money", "forecast"))
    breakdowns = ("client", "creator", "mcn", "task_type", "month", "state", "hour")
    parser.add_argument(
        "--by", choices=breakdowns, help="state and hour: forecast only, month: the others"
    )
    parser.add_argument("--hours", type=_count, default=24, metavar="N", help="forecast: how far")
    format_options = parser.add_mutually_exclusive_group()
    format_options.add_argument("--json", action="store_true", help="one JSON object")
    format_options.add_argument(
        "--csv", action="store_true", help="comma-separated values, with a head, for a spreadsheet"
    )
    parser.add_argument("--plain", action="store_true", help=PLAIN_HELP)


INSTANT_EXAMPLE = "2026-03-02T10:00:00+08:00"


def _instant(text: str) -> datetime:
    try:
        return parse_instant(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _count(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= MAX_COUNT:
        raise argparse.ArgumentTypeError(f"1 to {MAX_COUNT} is wanted")
    return int(text)


MAX_COUNT = 10_000


def reports(settings: Settings, options: argparse.Namespace) -> int:
    """Make a report."""
    from ops.cli.reports import show_report

    return show_report(settings, options)


def tasks(settings: Settings, options: argparse.Namespace) -> int:
    """List tasks."""
    from ops.cli import orders as cli_orders
    from workers.queries.order_filters import OrderFilter

    order_filter = OrderFilter(
        creator=options.creator,
        mcn=options.mcn,
        status=None if options.status is None else PublicStatus(options.status),
        placed_after=options.created_after,
        placed_before=options.created_before,
        prefix=options.id,
    )
    return cli_orders.list_tasks(settings, order_filter, options)


OPERATE_HELP = (
    "use an operator's power on one order or many; shows what would happen, --yes does it"
)


EXTEND_HELP = "give orders more time: short for `operate extend`"


TRAIL_HELP = "who used an operator's power, when, why, and what it changed"


def _register_operate(add_command: AddCommand, settings: argparse.ArgumentParser) -> None:
    """Declare `operate`, `extend` and `trail`."""

    def fill_operate(parser: LazyParser) -> None:
        from ops.cli import operate as cli_operate

        cli_operate.declare_actions(parser, settings)

    def fill_extend(parser: LazyParser) -> None:
        from ops.cli import operate as cli_operate

        cli_operate.declare_action(parser, "extend_deadline")

    add_command("operate", operate, OPERATE_HELP).fill = fill_operate
    add_command("extend", operate, EXTEND_HELP).fill = fill_extend
    parser = add_command("trail", trail, TRAIL_HELP)
    parser.add_argument("--by", metavar="WHO", help="only what this operator did")
    parser.add_argument("--since", metavar="INSTANT", help="2026-03-02T10:00:00+08:00")
    parser.add_argument("--until", metavar="INSTANT", help="default: now")
    parser.add_argument("--order", metavar="ID", help="only what was done to this order")
    parser.add_argument("--json", action="store_true", help="one JSON object a line, latest first")


def operate(settings: Settings, options: argparse.Namespace) -> int:
    """Show what an operator's action would do, or do it."""
    from ops.cli.operate import run_operate as run

    return run(settings, options)


def trail(settings: Settings, options: argparse.Namespace) -> int:
    """List what operators did."""
    from ops.cli.operate import show_operator_log as run

    return run(settings, options)
