"""Records: the words of the command line for taking records out, and for putting them away."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from workers.settings import Settings

Run = Callable[[Settings, argparse.Namespace], int]
Word = Callable[[str, Run, str], argparse.ArgumentParser]

EXPORT = """\
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

ARCHIVE = """\
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


def register(word: Word) -> None:
    """Declare the words."""
    parser = word("export", export, "write orders, events or postings as JSON Lines, CSV, Parquet")
    parser.description, parser.epilog = EXPORT, EXPORT_PROMISES
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("what", choices=("orders", "events", "postings"))
    parser.add_argument(
        "--format", choices=("jsonl", "csv", "parquet"), default="jsonl", help="default: jsonl"
    )
    parser.add_argument(
        "--output",
        metavar="FILE",
        help="a file, or for Parquet a folder; default: standard output",
    )
    parser.add_argument("--after", metavar="CURSOR", help="begin behind this row")
    parser.add_argument("--limit", type=int, metavar="N", help="stop after so many rows")
    parser.add_argument("--json", action="store_true", help="say as JSON where it ended")
    parser = word("archive", archive, "put away orders that ended long ago; --yes does it")
    parser.description, parser.epilog = ARCHIVE, ARCHIVE_PROMISES
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
    """Put orders at rest away."""
    from ops.archiving import archive_orders

    return archive_orders(settings, options)
