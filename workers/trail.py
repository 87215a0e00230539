"""Trail: what operators did, as it was written down with its effects, the latest first."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Engine, Select, select, text

from models.events.event import Event
from models.events.parties import OperatorActed
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


def acts(engine: Engine, act_filter: Wanted) -> Iterator[tuple[Event, OperatorActed]]:
    """Return what operators did, a page at a time, the latest written down first."""
    table, before = whole(tables.events).c, None
    while True:
        page_query = query(act_filter)
        page_query = page_query if before is None else page_query.where(table.position < before)
        with reading(engine) as connection:
            page = connection.execute(page_query.limit(PAGE)).all()
        if not page:
            return
        before = page[-1].position
        for event in map(rows.read_event, page):
            fact = event.fact
            if isinstance(fact, OperatorActed) and act_filter.by in (
                None,
                fact.by.partition(":")[2],
            ):
                yield event, fact


def query(act_filter: Wanted) -> Select[tuple[object, ...]]:
    """Ask for acts, but for who did them, the latest written down first."""
    all_events = whole(tables.events)
    table, act_query = all_events.c, select(all_events).where(text(tables.ACTED))
    if act_filter.order_id is not None:
        act_query = act_query.where(table.subject == f"order:{act_filter.order_id}")
    if act_filter.since is not None:
        act_query = act_query.where(table.at >= to_us(act_filter.since))
    if act_filter.until is not None:
        act_query = act_query.where(table.at <= to_us(act_filter.until))
    return act_query.order_by(table.position.desc())
