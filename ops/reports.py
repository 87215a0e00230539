"""Reports: as tables for people, and as JSON and CSV for programs."""

from __future__ import annotations

import argparse
import csv
import json
import sys
from collections.abc import Callable, Iterator
from datetime import timedelta
from itertools import islice
from typing import Any

from models.fields import instant_text
from ops import tables
from ops.refused import Refused
from ops.show import MOST_SHOWN
from ops.watch import opened, present
from workers.queries.reports import ZONE, Name, NoSuchBreakdown, Report
from workers.queries.reports.grouping import By, Row
from workers.queue.watermark import RedisDoor
from workers.settings import Settings

TITLES = {
    Name.FUNNEL: "How far orders come; times are medians since the stage before",
    Name.ENDINGS: "How orders ended (amounts in fen)",
    Name.MONEY: "Money (fen)",
    Name.FORECAST: "What falls due, and what hangs on it (amounts in fen)",
}


def show(settings: Settings, options: argparse.Namespace) -> int:
    """Print a report as it is added up: however many rows it has, they need no memory."""
    by = None if options.by is None else By(options.by)
    with opened(settings) as (reader, client):
        engine = reader.store.engine
        at, _ = present(RedisDoor(client, engine))
        try:
            report = Report(Name(options.name), by, at, timedelta(hours=options.hours))
        except NoSuchBreakdown as error:
            raise Refused(f"--{error}") from None
        write = _write_json if options.json else _write_csv if options.csv else _write_table
        write(report, report.rows(engine))
    return 0


def described(report: Report) -> dict[str, Any]:
    """Describe a report as JSON, all but its rows."""
    by = None if report.by is None else report.by.value
    return {"report": report.name.value, "by": by, "at": instant_text(report.at), "zone": ZONE}


def _write_json(report: Report, rows: Iterator[Row]) -> None:
    print(json.dumps(described(report), ensure_ascii=False)[:-1], end=', "rows": [')
    for number, row in enumerate(rows):
        print(", " if number else "", json.dumps(row, ensure_ascii=False), sep="", end="")
    print("]}")


def _write_csv(report: Report, rows: Iterator[Row]) -> None:
    writer = csv.DictWriter(sys.stdout, report.columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)


def _write_table(report: Report, rows: Iterator[Row]) -> None:
    first_rows = list(islice(rows, MOST_SHOWN + 1))
    if report.name is Name.MONEY and report.by is None:
        cells = [
            (name.removesuffix("_fen"), fen) for row in first_rows for name, fen in row.items()
        ]
        print(tables.draw(TITLES[report.name], ("what", "fen"), cells) if cells else NOTHING)
        return
    heads = [column.removesuffix("_fen") for column in report.columns]
    lines = [
        tuple(_cell(name, row[name]) for name in report.columns) for row in first_rows[:MOST_SHOWN]
    ]
    print(tables.draw(TITLES[report.name], heads, lines) if lines else NOTHING)
    if report.by is By.MONTH:
        print(f"Months are those of {ZONE}.")
    if len(first_rows) > MOST_SHOWN:
        print(f"… and more: only the first {MOST_SHOWN} rows are shown; --json and --csv have all")


NOTHING = "Nothing to report."


def _cell(name: str, value: Any) -> tables.Cell:  # noqa: ANN401 - of any column
    format_value: Callable[[Any], str] | None = _TOLD.get(name)
    return value if format_value is None or value is None else format_value(value)


def _share(part: float) -> str:
    return f"{100 * part:.1f} %"


def _length(seconds: float) -> str:
    """Write a length of time to the second, or finer where that would be none."""
    rounded = timedelta(seconds=round(seconds))
    return str(rounded) if rounded else f"{seconds:.3f} s"


_TOLD: dict[str, Callable[[Any], str]] = {
    "of_placed": _share,
    "of_previous": _share,
    "median_seconds": _length,
}
