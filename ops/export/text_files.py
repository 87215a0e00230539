"""Text files: JSON Lines and CSV, to standard output or to a file that grows."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO, Self

from ops.errors import Refused
from ops.export.checkpoint import Mark, alone, flush, found, keep
from workers.queries.export_columns import Columns, Kind
from workers.queries.exports import Page, Record
from workers.timestamps import instant

CHECKPOINT = 20_000
"""Rows after which a file is made durable: so many are written again after a kill."""

Encode = Callable[[Columns, Sequence[Record]], str]


def _shown(columns: Columns, record: Record) -> list[Any]:
    """Write instants as ISO 8601; the rest is what it is."""
    pairs = zip(columns, record, strict=True)
    return [instant(value) if column.kind is Kind.INSTANT else value for column, value in pairs]  # type: ignore[arg-type]


def jsonl(columns: Columns, records: Sequence[Record]) -> str:
    """Write one JSON object a line; what is JSON already becomes part of it."""
    names = [column.name for column in columns if column.kind is not Kind.JSON]
    json_columns = [
        (index, column.name) for index, column in enumerate(columns) if column.kind is Kind.JSON
    ]
    lines = []
    for record in records:
        plain = zip(names, _shown(columns, record), strict=False)
        line = json.dumps(dict(plain), ensure_ascii=False, separators=(",", ":"))
        json_members = "".join(f',"{name}":{record[index]}' for index, name in json_columns)
        lines.append(f"{line[:-1]}{json_members}}}\n")
    return "".join(lines)


def table(columns: Columns, records: Sequence[Record]) -> str:
    """Write CSV: an empty field is absence, true and false are words."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerows(map(_words, (_shown(columns, record) for record in records)))
    return text.getvalue()


def _words(values: list[Any]) -> list[Any]:
    return [str(value).lower() if isinstance(value, bool) else value for value in values]


def heads(columns: Columns, _: Sequence[Record] = ()) -> str:
    """Write the first line of a CSV file."""
    return ",".join(column.name for column in columns) + "\n"


ENCODE: dict[str, tuple[Encode | None, Encode]] = {"jsonl": (None, jsonl), "csv": (heads, table)}
"""For each format: what comes first, and how records are written."""


class Stream:
    """Standard output, a page at a time; its reader sets the pace."""

    def __init__(self, columns: Columns, mark: Mark) -> None:
        """Write what comes first, if anything does."""
        self.columns, self.mark = columns, mark
        encode_head, self.encode = ENCODE[mark.format]
        self.out = sys.stdout.buffer
        if encode_head:
            self.out.write(encode_head(columns, ()).encode())

    def add(self, page: Page) -> None:
        """Write a page."""
        self.out.write(self.encode(self.columns, page.records).encode())
        self.out.flush()
        rows = self.mark.rows + len(page.records)
        self.mark = replace(self.mark, rows=rows, cursor=page.cursor)

    def end(self, *, complete: bool) -> None:
        """Write what is left."""
        self.out.flush()
        self.mark = replace(self.mark, complete=complete)


class File:
    """One file; `mark` tells how much of it counts."""

    def __init__(self, columns: Columns, mark: Mark, path: Path) -> None:
        """Keep what to write, and where; nothing is opened yet."""
        self.columns, self.mark, self.path = columns, mark, path
        self.beside = path.with_name(f"{path.name}.cursor")
        self.first, self.encode = ENCODE[mark.format]
        self.pending = 0

    def __enter__(self) -> Self:
        self.path.touch()
        with ExitStack() as stack:
            stack.enter_context(alone(self.path))
            self.file: BinaryIO = stack.enter_context(self.path.open("r+b"))
            self._go_on()
            self.closing = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.close()

    def _go_on(self) -> None:
        """Stand where the export ended; what follows was never promised."""
        size, saved_mark = self.file.seek(0, io.SEEK_END), found(self.beside, self.mark)
        if saved_mark is None and size:
            raise Refused(f"{self.path} is there already, and is no export of ours")
        self.mark = saved_mark or self.mark
        if size < self.mark.size:
            raise Refused(f"{self.path} is shorter than {self.beside} says")
        keep(self.beside, self.mark)
        self.file.truncate(self.file.seek(self.mark.size))
        if self.first and not self.mark.size:
            self.file.write(self.first(self.columns, ()).encode())

    def add(self, page: Page) -> None:
        """Write a page; now and then, make sure of it."""
        self.file.write(self.encode(self.columns, page.records).encode())
        rows = self.mark.rows + len(page.records)
        self.mark = replace(self.mark, rows=rows, cursor=page.cursor, complete=False)
        self.pending += len(page.records)
        if self.pending >= CHECKPOINT:
            self._keep()

    def end(self, *, complete: bool) -> None:
        """Make sure of everything."""
        self.mark = replace(self.mark, complete=complete)
        self._keep()

    def _keep(self) -> None:
        self.file.flush()
        flush(self.file.fileno())
        self.mark = replace(self.mark, size=self.file.tell())
        keep(self.beside, self.mark)
        self.pending = 0
