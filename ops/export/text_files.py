"""Text files: JSON Lines and CSV, to standard output or to a file that grows."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO, Self

from ops.errors import UsageError
from ops.export.checkpoint import Checkpoint, locked, read_checkpoint, sync, write_checkpoint
from ops.spreadsheets import BYTE_ORDER_MARK, spreadsheet_cell
from ops.terminal import escape_controls
from workers.queries.export_columns import ExportColumns, ValueKind
from workers.queries.exports import ExportPage, ExportRecord
from workers.timestamps import optional_text

ROWS_PER_CHECKPOINT = 20_000
"""Rows after which a file is made durable: so many are written again after a kill."""

Encoder = Callable[[ExportColumns, Sequence[ExportRecord]], str]


def _cell_values(columns: ExportColumns, record: ExportRecord) -> list[Any]:
    """Write instants as ISO 8601; the rest is what it is."""
    pairs = zip(columns, record, strict=True)
    return [
        optional_text(value) if column.kind is ValueKind.INSTANT else value  # type: ignore[arg-type]
        for column, value in pairs
    ]


def encode_jsonl(columns: ExportColumns, records: Sequence[ExportRecord]) -> str:
    """Write one JSON object a line; what is JSON already becomes part of it."""
    names = [column.name for column in columns if column.kind is not ValueKind.JSON]
    json_columns = [
        (index, column.name)
        for index, column in enumerate(columns)
        if column.kind is ValueKind.JSON
    ]
    lines = []
    for record in records:
        plain = zip(names, _cell_values(columns, record), strict=False)
        line = json.dumps(dict(plain), ensure_ascii=False, separators=(",", ":"))
        json_members = "".join(f',"{name}":{record[index]}' for index, name in json_columns)
        lines.append(escape_controls(f"{line[:-1]}{json_members}}}") + "\n")
    return "".join(lines)


def encode_csv(columns: ExportColumns, records: Sequence[ExportRecord]) -> str:
    """Write CSV for people, who open it in a spreadsheet."""
    return _csv_text(
        map(spreadsheet_cell, _csv_values(_cell_values(columns, record))) for record in records
    )


def encode_plain_csv(columns: ExportColumns, records: Sequence[ExportRecord]) -> str:
    """Write CSV for programs, which take every text as it is."""
    return _csv_text(_csv_values(_cell_values(columns, record)) for record in records)


def _csv_text(rows: Iterable[Iterable[object]]) -> str:
    """Write rows of CSV: an empty field is absence, true and false are words."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def _csv_values(values: list[Any]) -> list[Any]:
    return [str(value).lower() if isinstance(value, bool) else value for value in values]


def encode_csv_header(columns: ExportColumns, records: Sequence[ExportRecord] = ()) -> str:
    """Write the first line of a CSV file for people."""
    return BYTE_ORDER_MARK + encode_plain_csv_header(columns, records)


def encode_plain_csv_header(columns: ExportColumns, _: Sequence[ExportRecord] = ()) -> str:
    """Write the first line of a CSV file for programs."""
    return ",".join(column.name for column in columns) + "\n"


PLAIN_CSV = "plain csv"
"""A format of its own, so that no file is begun as one kind of CSV and goes on as the other."""

ENCODERS: dict[str, tuple[Encoder | None, Encoder]] = {
    "jsonl": (None, encode_jsonl),
    "csv": (encode_csv_header, encode_csv),
    PLAIN_CSV: (encode_plain_csv_header, encode_plain_csv),
}
"""For each format: what comes first, and how records are written."""


class StdoutWriter:
    """Standard output, a page at a time; its reader sets the pace."""

    def __init__(self, columns: ExportColumns, checkpoint: Checkpoint) -> None:
        """Write what comes first, if anything does."""
        self.columns, self.checkpoint = columns, checkpoint
        encode_head, self.encode = ENCODERS[checkpoint.format]
        self.out = sys.stdout.buffer
        if encode_head:
            self.out.write(encode_head(columns, ()).encode())

    def add(self, page: ExportPage) -> None:
        """Write a page."""
        self.out.write(self.encode(self.columns, page.records).encode())
        self.out.flush()
        rows = self.checkpoint.rows + len(page.records)
        self.checkpoint = replace(self.checkpoint, rows=rows, cursor=page.cursor)

    def finish(self, *, complete: bool) -> None:
        """Write what is left."""
        self.out.flush()
        self.checkpoint = replace(self.checkpoint, complete=complete)


class TextFileWriter:
    """One file; `checkpoint` tells how much of it counts."""

    def __init__(self, columns: ExportColumns, checkpoint: Checkpoint, path: Path) -> None:
        """Keep what to write, and where; nothing is opened yet."""
        self.columns, self.checkpoint, self.path = columns, checkpoint, path
        self.checkpoint_path = path.with_name(f"{path.name}.cursor")
        self.encode_head, self.encode = ENCODERS[checkpoint.format]
        self.unsaved_rows = 0

    def __enter__(self) -> Self:
        self.path.touch()
        with ExitStack() as stack:
            stack.enter_context(locked(self.path))
            self.file: BinaryIO = stack.enter_context(self.path.open("r+b"))
            self._resume()
            self.closing = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.close()

    def _resume(self) -> None:
        """Stand where the export ended; what follows was never promised."""
        size = self.file.seek(0, io.SEEK_END)
        saved = read_checkpoint(self.checkpoint_path, self.checkpoint)
        if saved is None and size:
            raise UsageError(f"{self.path} is there already, and is no export of ours")
        self.checkpoint = saved or self.checkpoint
        if size < self.checkpoint.size:
            raise UsageError(f"{self.path} is shorter than {self.checkpoint_path} says")
        write_checkpoint(self.checkpoint_path, self.checkpoint)
        self.file.truncate(self.file.seek(self.checkpoint.size))
        if self.encode_head and not self.checkpoint.size:
            self.file.write(self.encode_head(self.columns, ()).encode())

    def add(self, page: ExportPage) -> None:
        """Write a page; now and then, make sure of it."""
        self.file.write(self.encode(self.columns, page.records).encode())
        rows = self.checkpoint.rows + len(page.records)
        self.checkpoint = replace(self.checkpoint, rows=rows, cursor=page.cursor, complete=False)
        self.unsaved_rows += len(page.records)
        if self.unsaved_rows >= ROWS_PER_CHECKPOINT:
            self._save()

    def finish(self, *, complete: bool) -> None:
        """Make sure of everything."""
        self.checkpoint = replace(self.checkpoint, complete=complete)
        self._save()

    def _save(self) -> None:
        self.file.flush()
        sync(self.file.fileno())
        self.checkpoint = replace(self.checkpoint, size=self.file.tell())
        write_checkpoint(self.checkpoint_path, self.checkpoint)
        self.unsaved_rows = 0
