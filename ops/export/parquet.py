"""Parquet: numbered files in a folder, each of them whole."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import pyarrow as pa
from pyarrow import parquet

from ops.errors import Refused
from ops.export.checkpoint import Mark, alone, flush, found, keep, publish
from workers.queries.export_columns import Columns, Kind
from workers.queries.exports import Page

GROUP = 50_000
"""Rows of one row group: all that is held in memory at a time."""

PART = 100_000
"""Rows of one part: so many are written again after a kill."""

TYPES = {
    Kind.TEXT: pa.string(),
    Kind.NAME: pa.dictionary(pa.int32(), pa.string()),
    Kind.WHOLE: pa.int64(),
    Kind.INSTANT: pa.timestamp("us", tz="UTC"),
    Kind.FLAG: pa.bool_(),
    Kind.JSON: pa.string(),
}


def schema(columns: Columns) -> pa.Schema:
    """Say what a part's columns are."""
    return pa.schema([(column.name, TYPES[column.kind]) for column in columns])


class Folder:
    """A folder of parts. Names that begin with an underscore are for us; readers pass them over."""

    def __init__(self, columns: Columns, mark: Mark, path: Path) -> None:
        """Keep what to write, and where; nothing is opened yet."""
        self.schema, self.mark, self.path = schema(columns), mark, path
        self.beside = path / "_cursor.json"
        self.batches: list[pa.RecordBatch] = []
        self.part: Part | None = None

    def __enter__(self) -> Self:
        if self.path.exists() and not self.path.is_dir():
            raise Refused(f"{self.path}: a folder is wanted, since Parquet is written in parts")
        self.path.mkdir(parents=True, exist_ok=True)
        with ExitStack() as stack:
            stack.enter_context(alone(self.path))
            self._go_on()
            self.closing = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        with self.closing:
            if self.part is not None:
                self.part.writer.close()

    def _go_on(self) -> None:
        saved_mark = found(self.beside, self.mark)
        if saved_mark is None and any(self.path.iterdir()):
            raise Refused(f"{self.path} is not empty, and is no export of ours")
        self.mark = saved_mark or self.mark
        keep(self.beside, self.mark)
        for partial_path in self.path.glob("_part-*.partial"):
            partial_path.unlink()

    def add(self, page: Page) -> None:
        """Hold a page until a row group is full, and write that."""
        columns = zip(*page.records, strict=True)
        arrays = [
            pa.array(values, arrow_type)
            for values, arrow_type in zip(columns, self.schema.types, strict=True)
        ]
        self.batches.append(pa.record_batch(arrays, schema=self.schema))
        rows = self.mark.rows + len(page.records)
        self.mark = replace(self.mark, rows=rows, cursor=page.cursor, complete=False)
        if sum(batch.num_rows for batch in self.batches) >= GROUP:
            part = self._write_group()
            if part.rows >= PART:
                self._publish(part)

    def end(self, *, complete: bool) -> None:
        """Finish the last part; an export of nothing is one part without rows."""
        self.mark = replace(self.mark, complete=complete)
        if self.batches or not (self.part or self.mark.size):
            self._write_group()
        if self.part:
            self._publish(self.part)
        keep(self.beside, self.mark)

    def _write_group(self) -> Part:
        if self.part is None:
            name = f"part-{self.mark.size:05}.parquet"
            self.part = Part(self.path / f"_{name}.partial", self.path / name, self.schema)
        self.part.write(pa.Table.from_batches(self.batches, self.schema))
        self.batches = []
        return self.part

    def _publish(self, part: Part) -> None:
        """Give the part its name, and only then say that it is there."""
        part.publish()
        self.part = None
        self.mark = replace(self.mark, size=self.mark.size + 1)
        keep(self.beside, self.mark)


class Part:
    """One part while it is being written, under a name that no reader looks at."""

    def __init__(self, partial_path: Path, path: Path, file_schema: pa.Schema) -> None:
        """Begin the file."""
        self.aside, self.path, self.rows = partial_path, path, 0
        self.writer: Any = parquet.ParquetWriter(partial_path, file_schema, compression="zstd")

    def write(self, group: pa.Table) -> None:
        """Add a row group."""
        self.writer.write_table(group, row_group_size=GROUP + PART)
        self.rows += group.num_rows

    def publish(self) -> None:
        """Finish the file, make it durable and give it its name."""
        self.writer.close()
        with self.aside.open("rb") as file:
            flush(file.fileno())
        publish(self.aside, self.path)
