"""Trail: what operators did, to whom, why, and what it changed, for people and programs."""

from __future__ import annotations

import json
from argparse import Namespace
from itertools import islice

from models.events.event import Event
from models.events.parties import Glimpse, OperatorActed
from models.fields import instant_text
from ops import tables
from ops.opened import books
from ops.using import instant
from workers.queries.reader import Wanted, acts
from workers.settings import Settings

MOST_SHOWN = 200
"""Rows of the table for people; `--json` lists everything."""


HEADS = ("at", "who", "did", "about", "why", "status", "until")


def trail(settings: Settings, options: Namespace) -> int:
    """List what operators did, the latest first."""
    act_filter = Wanted(
        by=options.by and options.by.removeprefix("operator:"),
        since=None if options.since is None else instant("--since", options.since),
        until=None if options.until is None else instant("--until", options.until),
        order_id=options.order,
    )
    with books(settings) as source:
        entries = acts(source.store.engine, act_filter)
        if options.json:
            for event, _ in entries:
                print(json.dumps(event.published() | {"about": event.subject}, ensure_ascii=False))
            return 0
        first_entries = list(islice(entries, MOST_SHOWN + 1))
    rows = [_row(*entry) for entry in first_entries[:MOST_SHOWN]]
    print(tables.draw("Trail", HEADS, rows) if rows else "No operator did anything.")
    if len(first_entries) > MOST_SHOWN:
        print(f"… and more: only the latest {MOST_SHOWN} are shown; --json lists all")
    return 0


def _row(event: Event, fact: OperatorActed) -> tuple[tables.Cell, ...]:
    return (
        instant_text(event.at),
        fact.by.partition(":")[2],
        fact.act,
        event.subject.removeprefix("order:"),
        tables.fit(fact.note, 40),
        _change(_status(fact.before), _status(fact.after)),
        _change(_until(fact.before), _until(fact.after)),
    )


def _change(before: str | None, after: str | None) -> str | None:
    return before if before == after else f"{before or '-'} → {after or '-'}"


def _status(snapshot: Glimpse | None) -> str | None:
    return None if snapshot is None else snapshot.status


def _until(snapshot: Glimpse | None) -> str | None:
    return None if snapshot is None or snapshot.due_at is None else instant_text(snapshot.due_at)
