"""Run: one export, from the database to wherever it is wanted."""

from __future__ import annotations

import json
import sys
from argparse import Namespace
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Protocol

from models.errors import Unavailable
from ops.context import open_reader
from ops.errors import UsageError
from ops.export.checkpoint import Checkpoint
from ops.export.text_files import PLAIN_CSV, StdoutWriter, TextFileWriter
from ops.spreadsheets import PLAIN_WITHOUT_CSV
from ops.terminal import Progress
from workers.database.repository import Store
from workers.queries.exports import EXPORTS, BadExportCursor, Export, ExportPage, export_pages
from workers.settings import Settings

CACHE_KIB = 4_096
"""Of the database: every page of it is read once, and would only fill memory."""


class ExportWriter(Protocol):
    """Where an export goes: `checkpoint` is how far it has come."""

    checkpoint: Checkpoint

    def add(self, page: ExportPage) -> None:
        """Write a page."""

    def finish(self, *, complete: bool) -> None:
        """Write what is left, durably where that is promised."""


def export(settings: Settings, options: Namespace) -> int:
    """Export, or go on with an export; return 0."""
    kind = EXPORTS[options.what]
    if options.limit is not None and options.limit < 1:
        raise UsageError("--limit: 1 or more is wanted")
    try:
        kind.place(options.after)
        with open_reader(settings, CACHE_KIB) as reader:
            checkpoint = _write_pages(reader.store, kind, options)
    except BadExportCursor as error:
        raise UsageError(f"--after: {error}") from None
    except BrokenPipeError:
        raise
    except OSError as error:
        raise Unavailable(f"{options.output or 'standard output'}: {error}") from None
    _print_result(checkpoint, options)
    return 0


def _write_pages(store: Store, kind: Export, options: Namespace) -> Checkpoint:
    with _open_writer(kind, options) as writer:
        start, limit = writer.checkpoint, options.limit
        if start.complete and not kind.is_immutable:
            output, name = options.output, kind.name
            raise UsageError(
                f"{output} is complete, and {name} change: export them anew, elsewhere"
            )
        with _progress(kind, options) as progress:
            for page in export_pages(store, kind, start.cursor or start.after, limit):
                writer.add(page)
                if progress:
                    progress.add(len(page.records))
            writer.finish(complete=limit is None or writer.checkpoint.rows - start.rows < limit)
        return writer.checkpoint


def _open_writer(kind: Export, options: Namespace) -> AbstractContextManager[ExportWriter]:
    if options.plain and options.format != "csv":
        raise UsageError(PLAIN_WITHOUT_CSV)
    output_format = PLAIN_CSV if options.plain else options.format
    checkpoint = Checkpoint(export=kind.name, format=output_format, after=options.after)
    if options.format == "parquet":
        if options.output is None:
            raise UsageError("parquet: --output FOLDER is wanted, since it is written in parts")
        from ops.export.parquet import ParquetWriter

        return ParquetWriter(kind.columns, checkpoint, Path(options.output))
    if options.output is None:
        return nullcontext(StdoutWriter(kind.columns, checkpoint))
    return TextFileWriter(kind.columns, checkpoint, Path(options.output))


def _progress(kind: Export, options: Namespace) -> AbstractContextManager[Progress | None]:
    # On a terminal the rows themselves show how far it is.
    is_shown = options.output is not None or not sys.stdout.isatty()
    return Progress(f"{kind.name} exported") if is_shown else nullcontext()


def _print_result(checkpoint: Checkpoint, options: Namespace) -> None:
    """Say where it ended: on standard output, unless that is where the rows went."""
    stream = sys.stderr if options.output is None else sys.stdout
    if options.json:
        print(json.dumps(asdict(checkpoint) | {"output": options.output}), file=stream)
        return
    completeness = "complete" if checkpoint.complete else "there may be more"
    print(
        f"{checkpoint.rows} {checkpoint.export}, {completeness}; cursor {checkpoint.cursor}",
        file=stream,
    )
