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
from ops import context
from ops.errors import UsageError
from ops.export.checkpoint import Checkpoint
from ops.export.text_files import StdoutWriter, TextFileWriter
from ops.terminal import Progress
from workers.database.repository import Store
from workers.queries.exports import EXPORTS, BadExportCursor, Export, ExportPage, export_pages
from workers.settings import Settings

CACHE_KIB = 4_096
"""Of the database: every page of it is read once, and would only fill memory."""


class ExportWriter(Protocol):
    """Where an export goes: `mark` is how far it has come."""

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
        with context.open_reader(settings, CACHE_KIB) as source:
            mark = _write_pages(source.store, kind, options)
    except BadExportCursor as error:
        raise UsageError(f"--after: {error}") from None
    except BrokenPipeError:
        raise
    except OSError as error:
        raise Unavailable(f"{options.output or 'standard output'}: {error}") from None
    _print_result(mark, options)
    return 0


def _write_pages(store: Store, kind: Export, options: Namespace) -> Checkpoint:
    with _open_writer(kind, options) as sink:
        start_mark, limit = sink.checkpoint, options.limit
        if start_mark.complete and not kind.is_immutable:
            output, name = options.output, kind.name
            raise UsageError(
                f"{output} is complete, and {name} change: export them anew, elsewhere"
            )
        with _progress(kind, options) as progress:
            for page in export_pages(store, kind, start_mark.cursor or start_mark.after, limit):
                sink.add(page)
                if progress:
                    progress.add(len(page.records))
            sink.finish(complete=limit is None or sink.checkpoint.rows - start_mark.rows < limit)
        return sink.checkpoint


def _open_writer(kind: Export, options: Namespace) -> AbstractContextManager[ExportWriter]:
    mark = Checkpoint(export=kind.name, format=options.format, after=options.after)
    if options.format == "parquet":
        if options.output is None:
            raise UsageError("parquet: --output FOLDER is wanted, since it is written in parts")
        from ops.export.parquet import ParquetWriter

        return ParquetWriter(kind.columns, mark, Path(options.output))
    if options.output is None:
        return nullcontext(StdoutWriter(kind.columns, mark))
    return TextFileWriter(kind.columns, mark, Path(options.output))


def _progress(kind: Export, options: Namespace) -> AbstractContextManager[Progress | None]:
    # On a terminal the rows themselves show how far it is.
    is_shown = options.output is not None or not sys.stdout.isatty()
    return Progress(f"{kind.name} exported") if is_shown else nullcontext()


def _print_result(mark: Checkpoint, options: Namespace) -> None:
    """Say where it ended: on standard output, unless that is where the rows went."""
    stream = sys.stderr if options.output is None else sys.stdout
    if options.json:
        print(json.dumps(asdict(mark) | {"output": options.output}), file=stream)
        return
    completeness = "complete" if mark.complete else "there may be more"
    print(f"{mark.rows} {mark.export}, {completeness}; cursor {mark.cursor}", file=stream)
