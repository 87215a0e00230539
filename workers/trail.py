"""Trail: what operators did, as it was written down with its effects, the latest first."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Engine, Select, select, text

from models.events import Event
from models.party_events import OperatorActed
from workers import rows, tables
from workers.archive_tables import whole
from workers.clock import to_us
from workers.database import reading

PAGE = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which acts: those that fit everything that is not None; `by` is an operator's name."""

    by: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    order_id: str | None = None


def acts(engine: Engine, wanted: Wanted) -> Iterator[tuple[Event, OperatorActed]]:
    """Return what operators did, a page at a time, the latest written down first."""
    table, before = whole(tables.events).c, None
    while True:
        found = query(wanted)
        found = found if before is None else found.where(table.position < before)
        with reading(engine) as connection:
            page = connection.execute(found.limit(PAGE)).all()
        if not page:
            return
        before = page[-1].position
        for event in map(rows.read_event, page):
            fact = event.fact
            if isinstance(fact, OperatorActed) and wanted.by in (None, fact.by.partition(":")[2]):
                yield event, fact


def query(wanted: Wanted) -> Select[tuple[object, ...]]:
    """Ask for acts, but for who did them, the latest written down first."""
    both = whole(tables.events)
    table, found = both.c, select(both).where(text(tables.ACTED))
    if wanted.order_id is not None:
        found = found.where(table.subject == f"order:{wanted.order_id}")
    if wanted.since is not None:
        found = found.where(table.at >= to_us(wanted.since))
    if wanted.until is not None:
        found = found.where(table.at <= to_us(wanted.until))
    return found.order_by(table.position.desc())
