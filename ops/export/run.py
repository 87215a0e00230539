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
from ops.errors import Refused
from ops.export.checkpoint import Mark
from ops.export.text_files import File, Stream
from ops.terminal import Progress
from workers.database.repository import Store
from workers.queries.exports import EXPORTS, BadCursor, Export, Page, pages
from workers.settings import Settings

CACHE_KIB = 4_096
"""Of the database: every page of it is read once, and would only fill memory."""


class Sink(Protocol):
    """Where an export goes: `mark` is how far it has come."""

    mark: Mark

    def add(self, page: Page) -> None:
        """Write a page."""

    def end(self, *, complete: bool) -> None:
        """Write what is left, durably where that is promised."""


def export(settings: Settings, options: Namespace) -> int:
    """Export, or go on with an export; return 0."""
    kind = EXPORTS[options.what]
    if options.limit is not None and options.limit < 1:
        raise Refused("--limit: 1 or more is wanted")
    try:
        kind.place(options.after)
        with context.open_reader(settings, CACHE_KIB) as source:
            mark = _carry(source.store, kind, options)
    except BadCursor as error:
        raise Refused(f"--after: {error}") from None
    except BrokenPipeError:
        raise
    except OSError as error:
        raise Unavailable(f"{options.output or 'standard output'}: {error}") from None
    _tell(mark, options)
    return 0


def _carry(store: Store, kind: Export, options: Namespace) -> Mark:
    with _sink(kind, options) as sink:
        start_mark, limit = sink.mark, options.limit
        if start_mark.complete and not kind.lasting:
            output, name = options.output, kind.name
            raise Refused(f"{output} is complete, and {name} change: export them anew, elsewhere")
        with _progress(kind, options) as progress:
            for page in pages(store, kind, start_mark.cursor or start_mark.after, limit):
                sink.add(page)
                if progress:
                    progress.add(len(page.records))
            sink.end(complete=limit is None or sink.mark.rows - start_mark.rows < limit)
        return sink.mark


def _sink(kind: Export, options: Namespace) -> AbstractContextManager[Sink]:
    mark = Mark(export=kind.name, format=options.format, after=options.after)
    if options.format == "parquet":
        if options.output is None:
            raise Refused("parquet: --output FOLDER is wanted, since it is written in parts")
        from ops.export.parquet import Folder

        return Folder(kind.columns, mark, Path(options.output))
    if options.output is None:
        return nullcontext(Stream(kind.columns, mark))
    return File(kind.columns, mark, Path(options.output))


def _progress(kind: Export, options: Namespace) -> AbstractContextManager[Progress | None]:
    # On a terminal the rows themselves show how far it is.
    is_shown = options.output is not None or not sys.stdout.isatty()
    return Progress(f"{kind.name} exported") if is_shown else nullcontext()


def _tell(mark: Mark, options: Namespace) -> None:
    """Say where it ended: on standard output, unless that is where the rows went."""
    stream = sys.stderr if options.output is None else sys.stdout
    if options.json:
        print(json.dumps(asdict(mark) | {"output": options.output}), file=stream)
        return
    completeness = "complete" if mark.complete else "there may be more"
    print(f"{mark.rows} {mark.export}, {completeness}; cursor {mark.cursor}", file=stream)
