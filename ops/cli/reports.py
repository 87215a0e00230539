"""Reports: what became of all orders, and what falls due, as tables, JSON or CSV."""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Callable, Iterator
from datetime import timedelta
from itertools import islice
from typing import Any

from ops import terminal
from ops.context import now_and_watermark, open_reader
from ops.errors import UsageError
from ops.serializers import serialize_report
from ops.spreadsheets import BYTE_ORDER_MARK, PLAIN_WITHOUT_CSV, spreadsheet_cell
from ops.terminal import MAX_ROWS
from workers.queries.reports import ZONE, NoSuchGrouping, ReportName, ReportRequest
from workers.queries.reports.grouping import Grouping, ReportRow
from workers.queue.redis import connect
from workers.queue.watermark import ArrivalClock
from workers.settings import Settings

REPORT_TITLES = {
    ReportName.FUNNEL: "How far orders come; times are medians since the stage before",
    ReportName.ENDINGS: "How orders ended (amounts in fen)",
    ReportName.MONEY: "Money (fen)",
    ReportName.FORECAST: "What falls due, and what hangs on it (amounts in fen)",
}


EMPTY_REPORT = "Nothing to report."


def show_report(settings: Settings, options: argparse.Namespace) -> int:
    """Print a report as it is added up: however many rows it has, they need no memory."""
    if options.plain and not options.csv:
        raise UsageError(PLAIN_WITHOUT_CSV)
    by = None if options.by is None else Grouping(options.by)
    with open_reader(settings) as reader, connect(settings.redis_url) as redis_client:
        engine = reader.store.engine
        at, _ = now_and_watermark(ArrivalClock(redis_client, engine))
        try:
            report = ReportRequest(ReportName(options.name), by, at, timedelta(hours=options.hours))
        except NoSuchGrouping as error:
            raise UsageError(f"--{error}") from None
        write_csv = _write_plain_csv if options.plain else _write_csv
        write = _write_json if options.json else write_csv if options.csv else _write_table
        write(report, report.rows(engine))
    return 0


def _write_json(report: ReportRequest, rows: Iterator[ReportRow]) -> None:
    print(terminal.format_json(serialize_report(report))[:-1], end=', "rows": [')
    for number, row in enumerate(rows):
        print(", " if number else "", terminal.format_json(row), sep="", end="")
    print("]}")


def _write_csv(report: ReportRequest, rows: Iterator[ReportRow]) -> None:
    """Write CSV for people, who open it in a spreadsheet."""
    print(BYTE_ORDER_MARK, end="")
    shown_rows = ({name: spreadsheet_cell(row[name]) for name in row} for row in rows)
    _write_plain_csv(report, shown_rows)


def _write_plain_csv(report: ReportRequest, rows: Iterator[ReportRow]) -> None:
    writer = csv.DictWriter(sys.stdout, report.columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)


def _write_table(report: ReportRequest, rows: Iterator[ReportRow]) -> None:
    first_rows = list(islice(rows, MAX_ROWS + 1))
    if report.name is ReportName.MONEY and report.by is None:
        cells = [
            (name.removesuffix("_fen"), fen) for row in first_rows for name, fen in row.items()
        ]
        print(
            terminal.draw_table(REPORT_TITLES[report.name], ("what", "fen"), cells)
            if cells
            else EMPTY_REPORT
        )
        return
    heads = [column.removesuffix("_fen") for column in report.columns]
    lines = [
        tuple(_cell_text(name, row[name]) for name in report.columns)
        for row in first_rows[:MAX_ROWS]
    ]
    print(terminal.draw_table(REPORT_TITLES[report.name], heads, lines) if lines else EMPTY_REPORT)
    if report.by is Grouping.MONTH:
        print(f"Months are those of {ZONE}.")
    if len(first_rows) > MAX_ROWS:
        print(f"… and more: only the first {MAX_ROWS} rows are shown; --json and --csv have all")


def _cell_text(name: str, value: Any) -> terminal.Cell:  # noqa: ANN401 - of any column
    format_value: Callable[[Any], str] | None = _CELL_TEXTS.get(name)
    return value if format_value is None or value is None else format_value(value)


def _percent_text(part: float) -> str:
    return f"{100 * part:.1f} %"


def _duration_text(seconds: float) -> str:
    """Write a length of time to the second, or finer where that would be none."""
    rounded = timedelta(seconds=round(seconds))
    return str(rounded) if rounded else f"{seconds:.3f} s"


_CELL_TEXTS: dict[str, Callable[[Any], str]] = {
    "of_placed": _percent_text,
    "of_previous": _percent_text,
    "median_seconds": _duration_text,
}
