"""Archiving: putting orders at rest away by hand, or saying which would be."""

from __future__ import annotations

import json
from argparse import Namespace
from datetime import timedelta

from models.fields import duration_text, instant_text, parse_duration
from ops import opened
from ops.progress import Progress
from ops.refused import Refused
from workers.archive import Due, archive, count
from workers.clock import from_us, now_us
from workers.settings import Settings
from workers.store import Store


def archive_orders(settings: Settings, options: Namespace) -> int:
    """Put away the orders that ended long enough ago, or say how many those are; return 0."""
    after = _after(settings, options.older_than)
    now = from_us(now_us())
    with opened.books(settings) as source:
        due = Due(now - after, now)
        if options.yes:
            _tell_done(_put_away(source.store, due), options)
        else:
            _tell_due(*count(source.store, due), due, after, options)
    return 0


def _after(settings: Settings, given: str | None) -> timedelta:
    try:
        after = settings.archive_after if given is None else parse_duration(given)
    except ValueError as error:
        raise Refused(f"--older-than: {error}") from None
    if after is None:
        raise Refused("EARNEST_ARCHIVE_AFTER is `never`: say --older-than how long, like P400D")
    return after


def _put_away(store: Store, due: Due) -> int:
    done = 0
    with Progress("orders archived") as progress:
        while moved := archive(store, due):
            done += moved
            progress.add(moved)
    return done


def _tell_done(done: int, options: Namespace) -> None:
    print(json.dumps({"archived": done}) if options.json else f"{done} orders are archived.")


def _tell_due(ready: int, kept: int, due: Due, after: timedelta, options: Namespace) -> None:
    before = instant_text(due.ended_before)
    if options.json:
        print(json.dumps({"ended_before": before, "ready": ready, "kept": kept, "archived": 0}))
        return
    print(f"{ready} orders that ended before {before} ({duration_text(after)} ago) are at rest.")
    if kept:
        print(f"{kept} more ended by then and must stay: they owe somebody, or wait for notices.")
    print("Nothing is done yet: --yes archives them." if ready else "There is nothing to do.")
