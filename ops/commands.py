"""Commands: what each word of the command line does."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ops import acting, delivery, notify, operating, programs, reads, records
from ops.refused import Refused
from ops.words import Word
from workers.runtime import configure_logs, policy_in_force, stop_on_signals
from workers.settings import Settings

Run = Callable[[Settings, argparse.Namespace], int]


def register(subparsers: Any, settings: argparse.ArgumentParser) -> None:  # noqa: ANN401 - argparse hides the type
    """Declare every command."""

    def word(name: str, run: Run, summary: str) -> Word:
        parser: Word = subparsers.add_parser(
            name, help=summary, description=summary, parents=[settings]
        )
        parser.set_defaults(run=run)
        return parser

    up_parser = word("up", up, "start everything on this machine; Ctrl-C stops it in good order")
    up_parser.add_argument("--workers", type=int, default=2, metavar="N", help="default: 2")
    up_parser.add_argument("--quiet", action="store_true", help="logs to var/log only")
    demo_parser = word("demo", demo, "play a campaign of 300 orders against the real pipeline")
    demo_parser.add_argument("--keep", action="store_true", help="keep the demo's state folder")
    simulate_parser = word("simulate", simulate, "play steps against the rules, without servers")
    simulate_parser.add_argument("steps", metavar="STEPS.jsonl", help="- for standard input")
    submit_parser = word("submit", submit, "hand in commands, one JSON object a line")
    submit_parser.add_argument("file", metavar="FILE.jsonl", help="- for standard input")
    submit_parser.add_argument("--wait", action="store_true", help="print each outcome as JSON")
    submit_parser.add_argument(
        "--timeout", type=float, default=60.0, metavar="S", help="with --wait"
    )
    _register_reading(word)
    delivery.register(word)
    operating.register(word)
    records.register(word)
    reads.register(word)
    acting.register(word, settings)
    for name, summary in (
        ("migrate", "bring the database's schema up to date"),
        ("worker", "run one worker process"),
        ("relay", "run the relay that publishes events"),
        ("scheduler", "run the scheduler that makes time pass"),
        ("web", "run the web process: commands over HTTP, the ops page, metrics"),
    ):
        word(name, PROCESSES[name], summary)
    programs.register(subparsers)


def _register_reading(word: Callable[[str, Run, str], argparse.ArgumentParser]) -> None:
    orders_parser = word("orders", list_orders, "list orders, or show one with its history")
    orders_parser.add_argument("action", choices=("list", "show"), nargs="?", default="list")
    orders_parser.add_argument("order_id", metavar="ID", nargs="?")
    orders_parser.add_argument("--status", metavar="STATE", help="only orders in this state")
    orders_parser.add_argument("--json", action="store_true", help="one JSON object")
    books_parser = word("books", show_books, "add up the money by account and audit the books")
    books_parser.add_argument("--json", action="store_true", help="one JSON object")


def up(settings: Settings, options: argparse.Namespace) -> int:
    """Start the whole formation and keep it up until a signal."""
    from ops.up import Formation

    if not 1 <= options.workers <= MOST_WORKERS:
        raise Refused(f"--workers: 1 to {MOST_WORKERS} is wanted")
    policy_in_force(settings)
    with usable_folders():
        Formation(settings, workers=options.workers, quiet=options.quiet).run_until_stopped()
    return 0


MOST_WORKERS = 64


def demo(_: Settings, options: argparse.Namespace) -> int:
    """Play the demo."""
    from ops.demo import demo as play

    with usable_folders():
        return play(keep=options.keep)


def simulate(settings: Settings, options: argparse.Namespace) -> int:
    """Play steps on simulated time."""
    from ops.simulate import simulate as play

    policy = policy_in_force(settings)
    with opened(options.steps) as lines:
        return play(lines, policy, sys.stdout, sys.stderr)


def submit(settings: Settings, options: argparse.Namespace) -> int:
    """Hand in commands."""
    from ops.submit import submit as hand_in

    with opened(options.file) as lines:
        return hand_in(settings, lines, wait_s=options.timeout if options.wait else None)


def list_orders(settings: Settings, options: argparse.Namespace) -> int:
    """List orders or show one."""
    from ops import show

    if options.action == "show":
        if not options.order_id:
            raise Refused("orders show: which one? Give its id; `earnest orders list` knows them")
        return show.order(settings, options.order_id, as_json=options.json)
    return show.orders(settings, options.status, as_json=options.json)


def show_books(settings: Settings, options: argparse.Namespace) -> int:
    """Show balances and the audit's verdict."""
    from ops import show

    return show.books(settings, as_json=options.json)


def migrate(settings: Settings, _: argparse.Namespace) -> int:
    """Create or update the schema."""
    from workers.database.engine import open_database
    from workers.database.migrations import migrate as run
    from workers.server_checks import refuse_unsafe

    engine = open_database(settings.database_url)
    if settings.embedded_database and engine.url.database:
        with usable_folders():
            Path(engine.url.database).parent.mkdir(parents=True, exist_ok=True)
    refuse_unsafe(engine)
    run(engine)
    return 0


def process(name: str, load: Callable[[], Callable[..., None]]) -> Run:
    """Make the command that runs one of the long-running processes."""

    def run(settings: Settings, _: argparse.Namespace) -> int:
        stop_event = stop_on_signals()
        configure_logs(name)
        load()(settings, stop_event, notify.ready)
        return 0

    return run


def _worker() -> Callable[..., None]:
    from workers.main import run

    return run


def _relay() -> Callable[..., None]:
    from workers.outbox.relay import run

    return run


def _scheduler() -> Callable[..., None]:
    from scheduler.main import run

    return run


def _web() -> Callable[..., None]:
    from ops.web.server import run

    return run


@contextmanager
def usable_folders() -> Iterator[None]:
    """Name in one line the file or folder that cannot be used, where that is all that is wrong."""
    try:
        yield
    except OSError as error:
        if error.filename is None:
            raise
        raise Refused(f"{error.filename}: {error.strerror}") from None


PROCESSES: dict[str, Run] = {
    "migrate": migrate,
    "worker": process("worker", _worker),
    "relay": process("relay", _relay),
    "scheduler": process("scheduler", _scheduler),
    "web": process("web", _web),
}


LINES = "utf-8-sig"
"""UTF-8, with or without the mark that some editors put in front."""


def opened(name: str) -> Any:  # noqa: ANN401 - a file, or what only looks like one
    """Open a file of lines for reading, or standard input for `-`."""
    if name == "-":
        return open(sys.stdin.fileno(), encoding=LINES, errors="surrogateescape", closefd=False)
    try:
        return Path(name).open(encoding=LINES, errors="surrogateescape")
    except OSError as error:
        raise Refused(f"{name}: {error.strerror}") from None
