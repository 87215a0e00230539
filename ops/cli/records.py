"""Records: putting orders at rest away by hand, or saying which would be."""

from __future__ import annotations

import json
from argparse import Namespace
from datetime import timedelta

from models.fields import format_duration, format_instant, parse_duration
from ops import context
from ops.errors import UsageError
from ops.terminal import Progress
from scheduler.maintenance import ArchiveCutoff, archive_orders, count_archivable
from workers.database.repository import Store
from workers.settings import Settings
from workers.timestamps import from_us, now_us


def run_archive(settings: Settings, options: Namespace) -> int:
    """Put away the orders that ended long enough ago, or say how many those are; return 0."""
    archive_after = _archive_after(settings, options.older_than)
    now = from_us(now_us())
    with context.open_reader(settings) as reader:
        due = ArchiveCutoff(now - archive_after, now)
        if options.yes:
            _print_done(_archive_all(reader.store, due), options)
        else:
            _print_due(*count_archivable(reader.store, due), due, archive_after, options)
    return 0


def _archive_after(settings: Settings, older_than: str | None) -> timedelta:
    try:
        archive_after = settings.archive_after if older_than is None else parse_duration(older_than)
    except ValueError as error:
        raise UsageError(f"--older-than: {error}") from None
    if archive_after is None:
        raise UsageError("EARNEST_ARCHIVE_AFTER is `never`: say --older-than how long, like P400D")
    return archive_after


def _archive_all(store: Store, due: ArchiveCutoff) -> int:
    archived_count = 0
    with Progress("orders archived") as progress:
        while batch_count := archive_orders(store, due):
            archived_count += batch_count
            progress.add(batch_count)
    return archived_count


def _print_done(archived_count: int, options: Namespace) -> None:
    print(
        json.dumps({"archived": archived_count})
        if options.json
        else f"{archived_count} orders are archived."
    )


def _print_due(
    ready_count: int,
    kept_count: int,
    due: ArchiveCutoff,
    archive_after: timedelta,
    options: Namespace,
) -> None:
    before = format_instant(due.ended_before)
    if options.json:
        print(
            json.dumps(
                {"ended_before": before, "ready": ready_count, "kept": kept_count, "archived": 0}
            )
        )
        return
    print(
        f"{ready_count} orders that ended before {before} "
        f"({format_duration(archive_after)} ago) are at rest."
    )
    if kept_count:
        print(
            f"{kept_count} more ended by then and must stay: "
            "they owe somebody, or wait for notices."
        )
    print("Nothing is done yet: --yes archives them." if ready_count else "There is nothing to do.")
