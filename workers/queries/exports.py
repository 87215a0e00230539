"""Exports: orders, events and postings in an order that never changes, a page at a time.

Events and postings are facts: they go by the number that each event got when it was written down,
up to the stable position, so a cursor splits them for ever into those before and those behind it.
Orders change and their place does not: they go by when they were placed, each as it stood when its
page was read. A page is one state of the database, and no transaction outlives it: a slow reader of
what comes out keeps nobody waiting.
"""

from __future__ import annotations

import re
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from sqlalchemy import (
    Connection,
    Engine,
    Select,
    Table,
    and_,
    func,
    or_,
    select,
    text,
    tuple_,
    union_all,
)

from models.errors import Unavailable
from models.fields import format_instant, parse_instant
from workers.database import schema
from workers.database.archive_schema import ARCHIVED, with_archive
from workers.database.engine import reading
from workers.database.repository import Store
from workers.queries import export_columns
from workers.queries.export_columns import ExportColumns, ExportValue, StoredOrder
from workers.timestamps import from_us, to_us

ExportRecord = tuple[ExportValue, ...]


ExportPlace = tuple[Any, ...]


class BadExportCursor(ValueError):
    """A cursor that no row has; says what one is like."""


@dataclass(frozen=True, slots=True)
class ExportPage:
    """Records, in order, and the cursor behind the last of them."""

    records: list[ExportRecord]
    cursor: str


class Export(ABC):
    """What can be exported: its columns, and its rows between one place and another."""

    name: ClassVar[str]
    columns: ClassVar[ExportColumns]
    example: ClassVar[str]
    """What a cursor is like: columns of the row that it stands behind."""

    beginning: ClassVar[ExportPlace]
    is_immutable: ClassVar[bool]
    """Whether a row never changes, so that an export once finished may be gone on with."""

    def place(self, cursor: str | None) -> ExportPlace:
        """Read a cursor; raise `BadExportCursor`."""
        try:
            return self.beginning if cursor is None else self._read(cursor)
        except ValueError:
            message = f"{cursor} is no cursor of {self.name}: one is like {self.example}"
            raise BadExportCursor(message) from None

    @abstractmethod
    def last(self, engine: Engine) -> ExportPlace:
        """Return the place of the last row that is there now."""

    @abstractmethod
    def query(self, after: ExportPlace, until: ExportPlace) -> Select[Any]:
        """Ask for the rows behind one place, up to another."""

    def fetch(
        self, connection: Connection, after: ExportPlace, until: ExportPlace, limit: int
    ) -> tuple[Sequence[Any], ExportPlace | None]:
        """Return rows behind a place, and where to go on; None where there is nothing more."""
        rows = connection.execute(self.query(after, until).limit(limit)).all()
        return rows, self.place_of(rows[-1]) if rows else None

    @abstractmethod
    def place_of(self, row: Any) -> ExportPlace:  # noqa: ANN401 - a row of the query
        """Return the place of a row."""

    @abstractmethod
    def cursor(self, place: ExportPlace) -> str:
        """Write a place."""

    def read(self, rows: Sequence[Any], _: Store, __: Connection) -> Sequence[Any]:
        """Read rows as the columns want them."""
        return rows

    @abstractmethod
    def _read(self, cursor: str) -> ExportPlace: ...


def match_part(pattern: str, text: str) -> str:
    """Return a part of a cursor; raise `ValueError` where it is none."""
    if not re.fullmatch(pattern, text, re.ASCII):
        raise ValueError(text)
    return text


WRITER_TIMEOUT_S = 60.0
"""How long a writer may take to end; PostgreSQL itself ends one that has fallen silent by then."""


POLL_INTERVAL_S = 0.005


# Every writer holds this lock from before it takes its first number until it has committed.
WRITERS_QUERY = text(
    "SELECT virtualtransaction FROM pg_locks WHERE locktype = 'relation'"
    " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    " AND relation = to_regclass('events') AND mode = 'RowExclusiveLock' AND granted"
)


def stable_position(engine: Engine) -> int:
    """Return a position behind which no event will ever appear that is not there already.

    PostgreSQL gives numbers before commits, so a smaller one may appear after a larger. Whoever
    is writing at this moment is waited for, and nobody is kept from writing; raise `Unavailable`
    where a writer does not end.
    """
    with reading(engine) as connection:
        last_position = connection.execute(select(func.max(schema.events.c.position))).scalar() or 0
        # In this order: who took a smaller number than the last one seen is among them.
        writers = _writers(connection)
    give_up_at = time.monotonic() + WRITER_TIMEOUT_S
    while writers:
        if time.monotonic() > give_up_at:
            raise Unavailable(
                f"a transaction has been writing events for over {WRITER_TIMEOUT_S:.0f} s"
            )
        time.sleep(POLL_INTERVAL_S)
        with reading(engine) as connection:
            writers &= _writers(connection)
    return int(last_position)


def _writers(connection: Connection) -> set[str]:
    """Name the transactions that are writing events; SQLite's writers come one after the other."""
    if connection.dialect.name != "postgresql":
        return set()
    return set(connection.execute(WRITERS_QUERY).scalars())


PAGE_SIZE = 2_000
"""Rows read at a time."""


POSTINGS_WINDOW = 4 * PAGE_SIZE
"""Events looked at for one page of postings: most move nothing."""


class OrderExport(Export):
    """Orders as they stand, by when they were placed and then by id."""

    name = "orders"
    columns = export_columns.ORDER_COLUMNS
    example = "2026-03-02T02:00:00.5Z/ord_1, which is placed_at/order_id"
    beginning = (-1, "")
    is_immutable = False

    def last(self, engine: Engine) -> ExportPlace:
        table = with_archive(schema.orders).c
        query = select(table.placed_at, table.order_id)
        query = query.order_by(table.placed_at.desc(), table.order_id.desc())
        with reading(engine) as connection:
            row = connection.execute(query.limit(1)).first()
        return self.beginning if row is None else self.place_of(row)

    def query(self, after: ExportPlace, until: ExportPlace) -> Select[Any]:
        table = with_archive(schema.orders).c
        key = tuple_(table.placed_at, table.order_id)
        # A brief may be long, and no column says it.
        query = select(*(column for column in table if column.name != "brief"))
        query = query.where(key > after, key <= until)
        return query.order_by(table.placed_at, table.order_id)

    def place_of(self, row: Any) -> ExportPlace:  # noqa: ANN401 - a row of the query
        return row.placed_at, row.order_id

    def cursor(self, place: ExportPlace) -> str:
        return f"{format_instant(from_us(place[0]))}/{place[1]}"

    def read(self, rows: Sequence[Any], store: Store, connection: Connection) -> Sequence[Any]:
        return list(map(StoredOrder, rows, store.read_orders(connection, rows)))

    def _read(self, cursor: str) -> ExportPlace:
        instant, _, order_id = cursor.partition("/")
        return to_us(parse_instant(instant)), match_part(r"[A-Za-z0-9_-]{1,64}", order_id)


class FactExport(Export):
    """Facts, by the number that their event has."""

    is_immutable = True

    def last(self, engine: Engine) -> ExportPlace:
        return (stable_position(engine),)

    def cursor(self, place: ExportPlace) -> str:
        return ":".join(map(str, place))

    def _read(self, cursor: str) -> ExportPlace:
        numbers = [int(match_part(r"\d{1,18}", part)) for part in cursor.split(":")]
        if len(numbers) != len(self.beginning):
            raise ValueError(cursor)
        return tuple(numbers)


class EventExport(FactExport):
    """Everything that happened, outcomes of commands among it."""

    name = "events"
    columns = export_columns.EVENT_COLUMNS
    example = "1234, which is position"
    beginning = (0,)

    def query(self, after: ExportPlace, until: ExportPlace) -> Select[Any]:
        position = with_archive(schema.events).c.position
        query = select(with_archive(schema.events)).where(position > after[0], position <= until[0])
        return query.order_by(position)

    def place_of(self, row: Any) -> ExportPlace:  # noqa: ANN401 - a row of the query
        return (row.position,)


def _postings_with_events(events: Table, postings: Table) -> Select[Any]:
    event, posting = events.c, postings.c
    same_event = and_(posting.subject == event.subject, posting.sequence == event.sequence)
    query = select(postings, event.position, event.type, event.at)
    return query.select_from(events.join(postings, same_event))


# An event and its postings are always in the same half.
POSTINGS_WITH_EVENTS = union_all(
    _postings_with_events(schema.events, schema.postings),
    _postings_with_events(ARCHIVED[schema.events], ARCHIVED[schema.postings]),
).subquery("moved")


class PostingExport(FactExport):
    """The money that moved, and the event that moved it."""

    name = "postings"
    columns = export_columns.POSTING_COLUMNS
    example = "1234:1, which is position:ordinal"
    beginning = (0, 0)

    def fetch(
        self, connection: Connection, after: ExportPlace, until: ExportPlace, limit: int
    ) -> tuple[Sequence[Any], ExportPlace | None]:
        # Event by event: asked for all at once, a database may join all there are for each page.
        position = with_archive(schema.events).c.position
        positions = select(position).where(position >= after[0], position <= until[0])
        window = positions.order_by(position).limit(POSTINGS_WINDOW).subquery()
        last_position = connection.execute(select(func.max(window.c.position))).scalar()
        if last_position is None:
            return (), None
        rows = connection.execute(self.query(after, (last_position, 0))).all()[:limit]
        if len(rows) == limit:
            return rows, self.place_of(rows[-1])
        return rows, (last_position + 1, 0) if last_position < until[0] else None

    def query(self, after: ExportPlace, until: ExportPlace) -> Select[Any]:
        table = POSTINGS_WITH_EVENTS.c
        behind = or_(table.position > after[0], table.ordinal > after[1])
        query = select(POSTINGS_WITH_EVENTS).where(
            table.position.between(after[0], until[0]), behind
        )
        return query.order_by(table.position, table.ordinal)

    def place_of(self, row: Any) -> ExportPlace:  # noqa: ANN401 - a row of the query
        return row.position, row.ordinal


EXPORTS: dict[str, Export] = {
    export.name: export for export in (OrderExport(), EventExport(), PostingExport())
}


def export_pages(
    store: Store, export: Export, after: str | None = None, limit: int | None = None
) -> Iterator[ExportPage]:
    """Give what stands in the database now, behind a cursor; raise `BadExportCursor`.

    A row that is there at the first page comes exactly once, whatever is written meanwhile.
    """
    place: ExportPlace | None = export.place(after)
    until = export.last(store.engine)
    remaining = PAGE_SIZE if limit is None else limit
    while remaining > 0 and place is not None:
        with reading(store.engine) as connection:
            rows, place = export.fetch(connection, place, until, min(PAGE_SIZE, remaining))
            entries = export.read(rows, store, connection)
        remaining -= len(rows) if limit is not None else 0
        records = [tuple(column.of(row) for column in export.columns) for row in entries]
        if records:
            yield ExportPage(records, export.cursor(export.place_of(rows[-1])))
