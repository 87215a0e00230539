"""Parquet: numbered files in a folder, each of them whole."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import pyarrow as pa
from pyarrow import parquet

from ops.errors import UsageError
from ops.export.checkpoint import (
    Checkpoint,
    locked,
    publish_file,
    read_checkpoint,
    sync,
    write_checkpoint,
)
from workers.queries.export_columns import ExportColumns, ValueKind
from workers.queries.exports import ExportPage

ROWS_PER_GROUP = 50_000
"""Rows of one row group: all that is held in memory at a time."""

ROWS_PER_PART = 100_000
"""Rows of one part: so many are written again after a kill."""

ARROW_TYPES = {
    ValueKind.TEXT: pa.string(),
    ValueKind.NAME: pa.dictionary(pa.int32(), pa.string()),
    ValueKind.WHOLE: pa.int64(),
    ValueKind.INSTANT: pa.timestamp("us", tz="UTC"),
    ValueKind.FLAG: pa.bool_(),
    ValueKind.JSON: pa.string(),
}


def arrow_schema(columns: ExportColumns) -> pa.Schema:
    """Say what a part's columns are."""
    return pa.schema([(column.name, ARROW_TYPES[column.kind]) for column in columns])


class ParquetWriter:
    """A folder of parts. Names that begin with an underscore are for us; readers pass them over."""

    def __init__(self, columns: ExportColumns, checkpoint: Checkpoint, path: Path) -> None:
        """Keep what to write, and where; nothing is opened yet."""
        self.schema, self.checkpoint, self.path = arrow_schema(columns), checkpoint, path
        self.checkpoint_path = path / "_cursor.json"
        self.batches: list[pa.RecordBatch] = []
        self.part: ParquetPart | None = None

    def __enter__(self) -> Self:
        if self.path.exists() and not self.path.is_dir():
            raise UsageError(f"{self.path}: a folder is wanted, since Parquet is written in parts")
        self.path.mkdir(parents=True, exist_ok=True)
        with ExitStack() as stack:
            stack.enter_context(locked(self.path))
            self._resume()
            self.closing = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        with self.closing:
            if self.part is not None:
                self.part.writer.close()

    def _resume(self) -> None:
        saved = read_checkpoint(self.checkpoint_path, self.checkpoint)
        if saved is None and any(self.path.iterdir()):
            raise UsageError(f"{self.path} is not empty, and is no export of ours")
        self.checkpoint = saved or self.checkpoint
        write_checkpoint(self.checkpoint_path, self.checkpoint)
        for partial_path in self.path.glob("_part-*.partial"):
            partial_path.unlink()

    def add(self, page: ExportPage) -> None:
        """Hold a page until a row group is full, and write that."""
        columns = zip(*page.records, strict=True)
        arrays = [
            pa.array(values, arrow_type)
            for values, arrow_type in zip(columns, self.schema.types, strict=True)
        ]
        self.batches.append(pa.record_batch(arrays, schema=self.schema))
        rows = self.checkpoint.rows + len(page.records)
        self.checkpoint = replace(self.checkpoint, rows=rows, cursor=page.cursor, complete=False)
        if sum(batch.num_rows for batch in self.batches) >= ROWS_PER_GROUP:
            part = self._write_group()
            if part.rows >= ROWS_PER_PART:
                self._publish(part)

    def finish(self, *, complete: bool) -> None:
        """Finish the last part; an export of nothing is one part without rows."""
        self.checkpoint = replace(self.checkpoint, complete=complete)
        if self.batches or not (self.part or self.checkpoint.size):
            self._write_group()
        if self.part:
            self._publish(self.part)
        write_checkpoint(self.checkpoint_path, self.checkpoint)

    def _write_group(self) -> ParquetPart:
        if self.part is None:
            name = f"part-{self.checkpoint.size:05}.parquet"
            self.part = ParquetPart(self.path / f"_{name}.partial", self.path / name, self.schema)
        self.part.write(pa.Table.from_batches(self.batches, self.schema))
        self.batches = []
        return self.part

    def _publish(self, part: ParquetPart) -> None:
        """Give the part its name, and only then say that it is there."""
        part.publish()
        self.part = None
        self.checkpoint = replace(self.checkpoint, size=self.checkpoint.size + 1)
        write_checkpoint(self.checkpoint_path, self.checkpoint)


class ParquetPart:
    """One part while it is being written, under a name that no reader looks at."""

    def __init__(self, partial_path: Path, path: Path, file_schema: pa.Schema) -> None:
        """Begin the file."""
        self.partial_path, self.path, self.rows = partial_path, path, 0
        self.writer: Any = parquet.ParquetWriter(partial_path, file_schema, compression="zstd")

    def write(self, group: pa.Table) -> None:
        """Add a row group."""
        self.writer.write_table(group, row_group_size=ROWS_PER_GROUP + ROWS_PER_PART)
        self.rows += group.num_rows

    def publish(self) -> None:
        """Finish the file, make it durable and give it its name."""
        self.writer.close()
        with self.partial_path.open("rb") as file:
            sync(file.fileno())
        publish_file(self.partial_path, self.path)
