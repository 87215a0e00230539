"""Export run: what stands in the file or the folder, and what an interruption leaves of it."""

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

from tests.support.command_line import EARNEST, Said, earnest, environ
from tests.support.datasets.many_orders import fill
from workers.timestamps import instant, to_us

WHATS = ("orders", "events", "postings")


FORMATS = ("jsonl", "csv", "parquet")


@dataclass(frozen=True, slots=True)
class Office:
    """A database to export from, and a folder to export to."""

    engine: Engine
    folder: Path

    @property
    def url(self) -> str:
        return self.engine.url.render_as_string(hide_password=False)

    def export(self, *words: Path | str) -> Said:
        return earnest("export", *words, EARNEST_DATABASE_URL=self.url)

    def write(self, dataset: str, form: str, name: str, *words: str) -> dict[str, Any]:
        """Export to a file or a folder; return how that ended."""
        output_options = ("--output", self.folder / name, "--json")
        result = self.export(dataset, "--format", form, *output_options, *words)
        assert result.status == 0, result.err
        (summary,) = result.lines()
        return dict(summary)

    def read(self, form: str, name: str) -> list[dict[str, Any]]:
        """Read an export, whatever its format, as text by column."""
        path = self.folder / name
        if form == "parquet":
            rows = [row for part in sorted(path.glob("*.parquet")) for row in records(part)]
        elif form == "csv":
            rows = list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"))))
        else:
            rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        return [{name: as_text(value) for name, value in row.items()} for row in rows]


def records(part: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = parquet.read_table(part).to_pylist()
    return rows


def as_text(value: Any) -> str:  # noqa: ANN401 - a value of any column
    """Write a value as CSV does: what differs now is no matter of the format."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return str(value) if isinstance(value, str | int) else str(instant(to_us(value)))


@pytest.fixture
def office(engine: Engine, tmp_path: Path) -> Office:
    folder = tmp_path / "exports"
    folder.mkdir()
    return Office(engine, folder)


@pytest.fixture
def near(sqlite_engine: Engine, tmp_path: Path) -> Office:
    """Give an office where the kind of database is not the question."""
    folder = tmp_path / "exports"
    folder.mkdir()
    return Office(sqlite_engine, folder)


@pytest.mark.parametrize("dataset", WHATS)
def test_the_three_formats_say_the_same(office: Office, dataset: str) -> None:
    fill(office.engine, 30)
    for form in FORMATS:
        summary = office.write(dataset, form, f"all.{form}")
        assert summary["complete"]
        assert summary["rows"] == len(office.read(form, f"all.{form}")) > 0
    first_rows, *other_rows = (office.read(form, f"all.{form}") for form in FORMATS)
    assert other_rows == [first_rows, first_rows]


def test_rows_go_to_standard_output_and_the_cursor_to_standard_error(near: Office) -> None:
    fill(near.engine, 3)
    first_result = near.export("orders", "--limit", "2", "--json")
    summary = json.loads(first_result.err.splitlines()[-1])
    assert (summary["rows"], summary["complete"]) == (2, False)
    rest_result = near.export("orders", "--after", summary["cursor"], "--json")
    assert [row["order_id"] for row in (*first_result.lines(), *rest_result.lines())] == [
        "o00000000",
        "o00000001",
        "o00000002",
    ]
    assert json.loads(rest_result.err.splitlines()[-1])["complete"]


@pytest.mark.parametrize("form", FORMATS)
def test_nothing_on_record_is_an_export_all_the_same(near: Office, form: str) -> None:
    summary = near.write("orders", form, "none")
    assert (summary["rows"], summary["complete"]) == (0, True)
    assert near.read(form, "none") == []


@pytest.mark.parametrize("form", FORMATS)
def test_a_finished_export_of_facts_is_gone_on_with(near: Office, form: str) -> None:
    fill(near.engine, 3)
    near.write("events", form, "log")
    fill(near.engine, 3, first=3)
    summary = near.write("events", form, "log")
    assert summary["complete"]
    near.write("events", form, "whole")
    assert near.read(form, "log") == near.read(form, "whole")
    assert summary["rows"] == 18


def test_a_finished_export_of_orders_is_not_gone_on_with(near: Office) -> None:
    near.write("orders", "csv", "orders.csv")
    result = near.export("orders", "--format", "csv", "--output", near.folder / "orders.csv")
    assert result.status == 2
    assert "orders change: export them anew, elsewhere" in result.complaint()


@pytest.mark.parametrize("form", FORMATS)
def test_what_was_half_written_is_written_again(near: Office, form: str) -> None:
    fill(near.engine, 10)
    near.write("orders", form, "whole")
    near.write("orders", form, "cut", "--limit", "4")
    leave_half_a_row(near.folder / "cut")
    summary = near.write("orders", form, "cut")
    assert (summary["rows"], summary["complete"]) == (10, True)
    assert near.read(form, "cut") == near.read(form, "whole")
    assert list(near.folder.rglob("*.partial")) == []


def leave_half_a_row(path: Path) -> None:
    if path.is_dir():
        (path / "_part-00001.parquet.partial").write_bytes(b"PAR1")
        # A kill between a part's name and its mark leaves a part that is not counted.
        (path / "part-00001.parquet").write_bytes((path / "part-00000.parquet").read_bytes())
    else:
        with path.open("a", encoding="utf-8") as file:
            file.write('{"order_id": "o000000')


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMATS)
def test_kill_9_leaves_an_export_that_is_gone_on_with(office: Office, form: str) -> None:
    fill(office.engine, 45_000)
    path = office.folder / "events"
    mark = path / "_cursor.json" if form == "parquet" else path.with_name("events.cursor")
    words = [*EARNEST, "export", "events", "--format", form, "--output", str(path)]
    process = subprocess.Popen(
        words, env=environ(EARNEST_DATABASE_URL=office.url), stderr=subprocess.DEVNULL
    )
    for cursor_state in marks(mark, process):
        if cursor_state["rows"]:
            process.kill()
            break
    assert process.wait() == -9
    interrupted = json.loads(mark.read_text())
    assert not interrupted["complete"]
    assert 0 < interrupted["rows"] < 135_000
    assert office.write("events", form, "events")["rows"] == 135_000
    positions = [int(row["position"]) for row in office.read(form, "events")]
    assert len(positions) == 135_000
    assert positions == sorted(set(positions))


def marks(path: Path, writer: subprocess.Popen[bytes]) -> Iterator[dict[str, Any]]:
    """Give what the mark says, for as long as the export runs."""
    while writer.poll() is None:
        if path.exists():
            yield json.loads(path.read_text())
        time.sleep(0.002)


REFUSED = {
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
    "another beginning": (["events", "--after", "7", "--output", "ours"], "begin another"),
    "a file that lost something": (["events", "--output", "short"], "is shorter than"),
    "no such folder": (["events", "--output", "nowhere/events"], "No such file or directory"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_would_spoil_an_export_is_refused(near: Office, kind: str) -> None:
    words, complaint = REFUSED[kind]
    fill(near.engine, 1)
    (near.folder / "theirs").write_text("theirs")
    (near.folder / "full").mkdir()
    (near.folder / "full" / "theirs").write_text("theirs")
    near.write("events", "jsonl", "ours")
    near.write("events", "jsonl", "short")
    os.truncate(near.folder / "short", 10)
    names = [near.folder / word if before == "--output" else word for before, word in pairs(words)]
    result = near.export(*names)
    assert result.status != 0
    assert complaint in result.complaint()
    assert (near.folder / "theirs").read_text() == "theirs"


def pairs(words: list[str]) -> list[tuple[str, str]]:
    return list(zip(["", *words], words, strict=False))


@pytest.mark.parametrize("form", FORMATS)
def test_two_exports_do_not_write_to_one_place(near: Office, form: str) -> None:
    near.write("events", form, "ours")
    holder = os.open(near.folder / "ours", os.O_RDONLY)
    fcntl.flock(holder, fcntl.LOCK_EX)
    result = near.export("events", "--format", form, "--output", near.folder / "ours")
    os.close(holder)
    assert "another export is writing there" in result.complaint()
