"""Exports: orders, events and postings in an order that never changes, a page at a time.

Events and postings are facts: they go by the number that each event got when it was written down,
up to the horizon, so a cursor splits them for ever into those before and those behind it. Orders
change and their place does not: they go by when they were placed, each as it stood when its page
was read. A page is one state of the database, and no transaction outlives it: a slow reader of
what comes out keeps nobody waiting.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import Connection, Engine, Select, Table, and_, func, or_, select, tuple_, union_all

from models.fields import instant_text, parse_instant
from workers import columns, tables
from workers.archive_tables import ARCHIVED, whole
from workers.clock import from_us, to_us
from workers.columns import Stood
from workers.database import reading
from workers.exportable import BadCursor, Export, Page, Place, matched
from workers.horizon import horizon
from workers.store import Store

__all__ = ["EXPORTS", "PAGE", "BadCursor", "Export", "Page", "pages"]

PAGE = 2_000
"""Rows read at a time."""

WINDOW = 4 * PAGE
"""Events looked at for one page of postings: most move nothing."""


class Orders(Export):
    """Orders as they stand, by when they were placed and then by id."""

    name = "orders"
    columns = columns.ORDERS
    example = "2026-03-02T02:00:00.5Z/ord_1, which is placed_at/order_id"
    beginning = (-1, "")
    lasting = False

    def last(self, engine: Engine) -> Place:
        table = whole(tables.orders).c
        query = select(table.placed_at, table.order_id)
        query = query.order_by(table.placed_at.desc(), table.order_id.desc())
        with reading(engine) as connection:
            row = connection.execute(query.limit(1)).first()
        return self.beginning if row is None else self.place_of(row)

    def query(self, after: Place, until: Place) -> Select[Any]:
        table = whole(tables.orders).c
        key = tuple_(table.placed_at, table.order_id)
        # A brief may be long, and no column says it.
        query = select(*(column for column in table if column.name != "brief"))
        query = query.where(key > after, key <= until)
        return query.order_by(table.placed_at, table.order_id)

    def place_of(self, row: Any) -> Place:  # noqa: ANN401 - a row of the query
        return row.placed_at, row.order_id

    def cursor(self, place: Place) -> str:
        return f"{instant_text(from_us(place[0]))}/{place[1]}"

    def read(self, rows: Sequence[Any], store: Store, connection: Connection) -> Sequence[Any]:
        return list(map(Stood, rows, store.read_orders(connection, rows)))

    def _read(self, cursor: str) -> Place:
        instant, _, order_id = cursor.partition("/")
        return to_us(parse_instant(instant)), matched(r"[A-Za-z0-9_-]{1,64}", order_id)


class Facts(Export):
    """Facts, by the number that their event has."""

    lasting = True

    def last(self, engine: Engine) -> Place:
        return (horizon(engine),)

    def cursor(self, place: Place) -> str:
        return ":".join(map(str, place))

    def _read(self, cursor: str) -> Place:
        numbers = [int(matched(r"\d{1,18}", part)) for part in cursor.split(":")]
        if len(numbers) != len(self.beginning):
            raise ValueError(cursor)
        return tuple(numbers)


class Events(Facts):
    """Everything that happened, outcomes of commands among it."""

    name = "events"
    columns = columns.EVENTS
    example = "1234, which is position"
    beginning = (0,)

    def query(self, after: Place, until: Place) -> Select[Any]:
        position = whole(tables.events).c.position
        query = select(whole(tables.events)).where(position > after[0], position <= until[0])
        return query.order_by(position)

    def place_of(self, row: Any) -> Place:  # noqa: ANN401 - a row of the query
        return (row.position,)


def _moved(events: Table, postings: Table) -> Select[Any]:
    event, posting = events.c, postings.c
    same_event = and_(posting.subject == event.subject, posting.sequence == event.sequence)
    query = select(postings, event.position, event.type, event.at)
    return query.select_from(events.join(postings, same_event))


# An event and its postings are always in the same half.
MOVED = union_all(
    _moved(tables.events, tables.postings),
    _moved(ARCHIVED[tables.events], ARCHIVED[tables.postings]),
).subquery("moved")


class Postings(Facts):
    """The money that moved, and the event that moved it."""

    name = "postings"
    columns = columns.POSTINGS
    example = "1234:1, which is position:ordinal"
    beginning = (0, 0)

    def fetch(
        self, connection: Connection, after: Place, until: Place, limit: int
    ) -> tuple[Sequence[Any], Place | None]:
        # Event by event: asked for all at once, a database may join all there are for each page.
        position = whole(tables.events).c.position
        positions = select(position).where(position >= after[0], position <= until[0])
        window = positions.order_by(position).limit(WINDOW).subquery()
        last_position = connection.execute(select(func.max(window.c.position))).scalar()
        if last_position is None:
            return (), None
        rows = connection.execute(self.query(after, (last_position, 0))).all()[:limit]
        if len(rows) == limit:
            return rows, self.place_of(rows[-1])
        return rows, (last_position + 1, 0) if last_position < until[0] else None

    def query(self, after: Place, until: Place) -> Select[Any]:
        table = MOVED.c
        behind = or_(table.position > after[0], table.ordinal > after[1])
        query = select(MOVED).where(table.position.between(after[0], until[0]), behind)
        return query.order_by(table.position, table.ordinal)

    def place_of(self, row: Any) -> Place:  # noqa: ANN401 - a row of the query
        return row.position, row.ordinal


EXPORTS: dict[str, Export] = {export.name: export for export in (Orders(), Events(), Postings())}


def pages(
    store: Store, export: Export, after: str | None = None, limit: int | None = None
) -> Iterator[Page]:
    """Give what stands in the database now, behind a cursor; raise `BadCursor`.

    A row that is there at the first page comes exactly once, whatever is written meanwhile.
    """
    place: Place | None = export.place(after)
    until = export.last(store.engine)
    remaining = PAGE if limit is None else limit
    while remaining > 0 and place is not None:
        with reading(store.engine) as connection:
            rows, place = export.fetch(connection, place, until, min(PAGE, remaining))
            entries = export.read(rows, store, connection)
        remaining -= len(rows) if limit is not None else 0
        records = [tuple(column.of(row) for column in export.columns) for row in entries]
        if records:
            yield Page(records, export.cursor(export.place_of(rows[-1])))
