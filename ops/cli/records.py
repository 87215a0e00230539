"""Records: archiving orders at rest by hand, or saying how many would be archived."""

from __future__ import annotations

import json
from argparse import Namespace
from datetime import timedelta

from models.fields import format_duration, format_instant, parse_duration
from ops.context import open_reader
from ops.errors import UsageError
from ops.terminal import Progress
from scheduler.maintenance import ArchiveCutoff, archive_orders, count_archivable
from workers.database.repository import Store
from workers.settings import Settings
from workers.timestamps import from_us, now_us


def run_archive(settings: Settings, options: Namespace) -> int:
    """Archive the orders that ended long enough ago, or say how many those are; return 0."""
    archive_after = _archive_after(settings, options.older_than)
    now = from_us(now_us())
    with open_reader(settings) as reader:
        cutoff = ArchiveCutoff(now - archive_after, now)
        if options.yes:
            _print_archived(_archive_all(reader.store, cutoff), options)
        else:
            _print_archivable(
                *count_archivable(reader.store, cutoff), cutoff, archive_after, options
            )
    return 0


def _archive_after(settings: Settings, older_than: str | None) -> timedelta:
    try:
        archive_after = settings.archive_after if older_than is None else parse_duration(older_than)
    except ValueError as error:
        raise UsageError(f"--older-than: {error}") from None
    if archive_after is None:
        raise UsageError("EARNEST_ARCHIVE_AFTER is `never`: say --older-than how long, like P400D")
    return archive_after


def _archive_all(store: Store, cutoff: ArchiveCutoff) -> int:
    archived_count = 0
    with Progress("orders archived") as progress:
        while batch_count := archive_orders(store, cutoff):
            archived_count += batch_count
            progress.add(batch_count)
    return archived_count


def _print_archived(archived_count: int, options: Namespace) -> None:
    print(
        json.dumps({"archived": archived_count})
        if options.json
        else f"{archived_count} orders are archived."
    )


def _print_archivable(
    archivable_count: int,
    retained_count: int,
    cutoff: ArchiveCutoff,
    archive_after: timedelta,
    options: Namespace,
) -> None:
    before = format_instant(cutoff.ended_before)
    if options.json:
        print(
            json.dumps(
                {
                    "ended_before": before,
                    "ready": archivable_count,
                    "kept": retained_count,
                    "archived": 0,
                }
            )
        )
        return
    print(
        f"{archivable_count} orders that ended before {before} "
        f"({format_duration(archive_after)} ago) are at rest."
    )
    if retained_count:
        print(
            f"{retained_count} more ended by then and must stay: "
            "they owe somebody, or wait for notices."
        )
    print(
        "Nothing is done yet: --yes archives them."
        if archivable_count
        else "There is nothing to do."
    )
