"""Export run: what is in the file or the folder, and what an interruption leaves of it."""

from __future__ import annotations

import csv
import fcntl
import io
import json
import os
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pyarrow import parquet
from sqlalchemy import Engine

from tests.support.command_line import EARNEST, CommandResult, clean_environ, run_earnest
from tests.support.datasets.many_orders import write_orders
from workers.timestamps import optional_text, to_us

EXPORTS = ("orders", "events", "postings")
FORMATS = ("jsonl", "csv", "parquet")


@dataclass(frozen=True, slots=True)
class ExportRunner:
    """A database to export from, and a folder to export to."""

    engine: Engine
    folder: Path

    @property
    def url(self) -> str:
        return self.engine.url.render_as_string(hide_password=False)

    def export(self, *arguments: Path | str) -> CommandResult:
        return run_earnest("export", *arguments, EARNEST_DATABASE_URL=self.url)

    def write(self, dataset: str, form: str, name: str, *arguments: str) -> dict[str, Any]:
        """Export to a file or a folder; return how that ended."""
        output_options = ("--output", self.folder / name, "--json")
        result = self.export(dataset, "--format", form, *output_options, *arguments)
        assert result.status == 0, result.err
        (summary,) = result.lines()
        return dict(summary)

    def read(self, form: str, name: str) -> list[dict[str, Any]]:
        """Read an export, whatever its format, as text by column."""
        path = self.folder / name
        if form == "parquet":
            rows = [row for part in sorted(path.glob("*.parquet")) for row in records(part)]
        elif form == "csv":
            # With the mark for spreadsheets, or without.
            rows = list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8-sig"))))
        else:
            rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        return [{name: as_text(value) for name, value in row.items()} for row in rows]


def records(part: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = parquet.read_table(part).to_pylist()
    return rows


def as_text(value: Any) -> str:  # noqa: ANN401 - a value of any column
    """Write a value as CSV does, so that only the format can make a difference."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return str(value) if isinstance(value, str | int) else str(optional_text(to_us(value)))


@pytest.fixture
def export_runner(engine: Engine, tmp_path: Path) -> ExportRunner:
    folder = tmp_path / "exports"
    folder.mkdir()
    return ExportRunner(engine, folder)


@pytest.fixture
def sqlite_export_runner(sqlite_engine: Engine, tmp_path: Path) -> ExportRunner:
    """Give a runner over SQLite, where the kind of database is not the question."""
    folder = tmp_path / "exports"
    folder.mkdir()
    return ExportRunner(sqlite_engine, folder)


@pytest.mark.parametrize("dataset", EXPORTS)
def test_an_export_has_the_same_rows_in_all_three_formats(
    export_runner: ExportRunner, dataset: str
) -> None:
    write_orders(export_runner.engine, 30)
    for form in FORMATS:
        summary = export_runner.write(dataset, form, f"all.{form}")
        assert summary["complete"]
        assert summary["rows"] == len(export_runner.read(form, f"all.{form}")) > 0
    first_rows, *other_rows = (export_runner.read(form, f"all.{form}") for form in FORMATS)
    assert other_rows == [first_rows, first_rows]


def test_an_export_writes_rows_to_standard_output_and_the_cursor_to_standard_error(
    sqlite_export_runner: ExportRunner,
) -> None:
    write_orders(sqlite_export_runner.engine, 3)
    first_result = sqlite_export_runner.export("orders", "--limit", "2", "--json")
    summary = json.loads(first_result.err.splitlines()[-1])
    assert (summary["rows"], summary["complete"]) == (2, False)
    rest_result = sqlite_export_runner.export("orders", "--after", summary["cursor"], "--json")
    assert [row["order_id"] for row in (*first_result.lines(), *rest_result.lines())] == [
        "o00000000",
        "o00000001",
        "o00000002",
    ]
    assert json.loads(rest_result.err.splitlines()[-1])["complete"]


@pytest.mark.parametrize("form", FORMATS)
def test_an_export_of_no_orders_is_empty_and_complete(
    sqlite_export_runner: ExportRunner, form: str
) -> None:
    summary = sqlite_export_runner.write("orders", form, "none")
    assert (summary["rows"], summary["complete"]) == (0, True)
    assert sqlite_export_runner.read(form, "none") == []


@pytest.mark.parametrize("form", FORMATS)
def test_a_finished_export_of_facts_is_continued(
    sqlite_export_runner: ExportRunner, form: str
) -> None:
    write_orders(sqlite_export_runner.engine, 3)
    sqlite_export_runner.write("events", form, "log")
    write_orders(sqlite_export_runner.engine, 3, first=3)
    summary = sqlite_export_runner.write("events", form, "log")
    assert summary["complete"]
    sqlite_export_runner.write("events", form, "whole")
    assert sqlite_export_runner.read(form, "log") == sqlite_export_runner.read(form, "whole")
    assert summary["rows"] == 18


def test_a_finished_export_of_orders_is_not_continued(sqlite_export_runner: ExportRunner) -> None:
    sqlite_export_runner.write("orders", "csv", "orders.csv")
    result = sqlite_export_runner.export(
        "orders", "--format", "csv", "--output", sqlite_export_runner.folder / "orders.csv"
    )
    assert result.status == 2
    assert "orders change: export them anew, elsewhere" in result.error_line()


@pytest.mark.parametrize("form", FORMATS)
def test_a_half_written_export_row_is_written_again(
    sqlite_export_runner: ExportRunner, form: str
) -> None:
    write_orders(sqlite_export_runner.engine, 10)
    sqlite_export_runner.write("orders", form, "whole")
    sqlite_export_runner.write("orders", form, "cut", "--limit", "4")
    leave_half_a_row(sqlite_export_runner.folder / "cut")
    summary = sqlite_export_runner.write("orders", form, "cut")
    assert (summary["rows"], summary["complete"]) == (10, True)
    assert sqlite_export_runner.read(form, "cut") == sqlite_export_runner.read(form, "whole")
    assert list(sqlite_export_runner.folder.rglob("*.partial")) == []


def leave_half_a_row(path: Path) -> None:
    if path.is_dir():
        (path / "_part-00001.parquet.partial").write_bytes(b"PAR1")
        # A kill between renaming a part and writing the cursor leaves a part that is not counted.
        (path / "part-00001.parquet").write_bytes((path / "part-00000.parquet").read_bytes())
    else:
        with path.open("a", encoding="utf-8") as file:
            file.write('{"order_id": "o000000')


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMATS)
def test_kill_9_leaves_an_export_that_can_be_continued(
    export_runner: ExportRunner, form: str
) -> None:
    write_orders(export_runner.engine, 45_000)
    path = export_runner.folder / "events"
    cursor_file = path / "_cursor.json" if form == "parquet" else path.with_name("events.cursor")
    arguments = [*EARNEST, "export", "events", "--format", form, "--output", str(path)]
    process = subprocess.Popen(
        arguments,
        env=clean_environ(EARNEST_DATABASE_URL=export_runner.url),
        stderr=subprocess.DEVNULL,
    )
    for cursor_state in checkpoints_during(cursor_file, process):
        if cursor_state["rows"]:
            process.kill()
            break
    assert process.wait() == -9
    interrupted = json.loads(cursor_file.read_text())
    assert not interrupted["complete"]
    assert 0 < interrupted["rows"] < 135_000
    assert export_runner.write("events", form, "events")["rows"] == 135_000
    positions = [int(row["position"]) for row in export_runner.read(form, "events")]
    assert len(positions) == 135_000
    assert positions == sorted(set(positions))


def checkpoints_during(path: Path, writer: subprocess.Popen[bytes]) -> Iterator[dict[str, Any]]:
    """Yield the contents of the cursor file for as long as the export runs."""
    while writer.poll() is None:
        if path.exists():
            yield json.loads(path.read_text())
        time.sleep(0.002)


REFUSED_ARGUMENTS = {
    "parquet to standard output": (["orders", "--format", "parquet"], "--output FOLDER"),
    "a limit of nothing": (["orders", "--limit", "0"], "1 or more"),
    "no cursor": (["events", "--after", "x"], "one is like 1234, which is position"),
    "a file of somebody's": (["orders", "--output", "theirs"], "no export of ours"),
    "a folder of somebody's": (
        ["orders", "--format", "parquet", "--output", "full"],
        "no export of ours",
    ),
    "a file where a folder belongs": (
        ["orders", "--format", "parquet", "--output", "theirs"],
        "a folder is wanted",
    ),
    "another export": (["orders", "--output", "ours"], "belongs to an export of events as jsonl"),
    "another format": (
        ["events", "--format", "csv", "--output", "ours"],
        "belongs to an export of events as jsonl",
    ),
    "CSV for programs, behind CSV for people": (
        ["events", "--format", "csv", "--plain", "--output", "for people"],
        "belongs to an export of events as csv",
    ),
    "plain, but not CSV": (["events", "--plain", "--output", "new"], "only CSV has a form"),
    "another beginning": (["events", "--after", "7", "--output", "ours"], "begin another"),
    "a file that lost something": (["events", "--output", "short"], "is shorter than"),
    "no such folder": (["events", "--output", "nowhere/events"], "No such file or directory"),
}


@pytest.mark.parametrize("kind", REFUSED_ARGUMENTS)
def test_arguments_that_would_spoil_an_export_are_refused(
    sqlite_export_runner: ExportRunner, kind: str
) -> None:
    arguments, complaint = REFUSED_ARGUMENTS[kind]
    write_orders(sqlite_export_runner.engine, 1)
    (sqlite_export_runner.folder / "theirs").write_text("theirs")
    (sqlite_export_runner.folder / "full").mkdir()
    (sqlite_export_runner.folder / "full" / "theirs").write_text("theirs")
    sqlite_export_runner.write("events", "jsonl", "ours")
    sqlite_export_runner.write("events", "jsonl", "short")
    sqlite_export_runner.write("events", "csv", "for people")
    os.truncate(sqlite_export_runner.folder / "short", 10)
    names = [
        sqlite_export_runner.folder / word if before == "--output" else word
        for before, word in option_pairs(arguments)
    ]
    result = sqlite_export_runner.export(*names)
    assert result.status != 0
    assert complaint in result.error_line()
    assert (sqlite_export_runner.folder / "theirs").read_text() == "theirs"


def option_pairs(arguments: list[str]) -> list[tuple[str, str]]:
    return list(zip(["", *arguments], arguments, strict=False))


@pytest.mark.parametrize("form", FORMATS)
def test_two_exports_do_not_write_to_one_place(
    sqlite_export_runner: ExportRunner, form: str
) -> None:
    sqlite_export_runner.write("events", form, "ours")
    holder = os.open(sqlite_export_runner.folder / "ours", os.O_RDONLY)
    fcntl.flock(holder, fcntl.LOCK_EX)
    result = sqlite_export_runner.export(
        "events", "--format", form, "--output", sqlite_export_runner.folder / "ours"
    )
    os.close(holder)
    assert "another export is writing there" in result.error_line()
