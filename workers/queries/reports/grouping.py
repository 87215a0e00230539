"""Grouping: by what a report can be taken apart, and how the database finds it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, Connection, Engine, FromClause, collate, func, literal_column

from models.calendar import SHANGHAI
from workers.database import archive_schema, schema
from workers.database.archive_schema import with_archive
from workers.database.engine import reading
from workers.timestamps import SECOND_US

SHANGHAI_OFFSET_S = SHANGHAI.utcoffset(None) // timedelta(seconds=1)


HOUR_US = 3_600 * SECOND_US


SORT_CACHE_KIB = 8_192
"""What SQLite sorts in memory at a time, and keeps of the file; a report sorts several things."""


ReportRow = dict[str, Any]


TextColumn = ColumnElement[str]


class Grouping(StrEnum):
    """What rows can be about; without any, a report is about everything."""

    CLIENT = "client"
    CREATOR = "creator"
    MCN = "mcn"
    TASK_TYPE = "task_type"
    MONTH = "month"
    STATE = "state"
    HOUR = "hour"


PARTY_GROUPINGS = (Grouping.CLIENT, Grouping.CREATOR, Grouping.MCN, Grouping.TASK_TYPE)


@dataclass(frozen=True, slots=True)
class ReportSource:
    """Rows, and the columns of the order that each is about."""

    rows: FromClause
    column: Callable[[str], ColumnElement[Any]]

    def key(self, connection: Connection, by: Grouping | None) -> tuple[FromClause, TextColumn]:
        """Return the rows and what each counts under.

        Months are those in which orders were placed, agencies those that creators are signed with
        now.
        """
        if by is Grouping.MCN:
            creator = schema.creators
            same_creator = creator.c.creator_id == self.column("creator_id")
            return self.rows.outerjoin(creator, same_creator), group_name(
                connection, creator.c.mcn_id
            )
        if by is Grouping.MONTH:
            return self.rows, group_name(connection, month_of(connection, self.column("placed_at")))
        column = literal_column("''") if by is None else self.column(GROUPING_COLUMNS[by])
        return self.rows, group_name(connection, column)


GROUPING_COLUMNS = {
    Grouping.CLIENT: "client_id",
    Grouping.CREATOR: "creator_id",
    Grouping.TASK_TYPE: "task_type",
    Grouping.STATE: "state",
}


def all_orders() -> ReportSource:
    """Return all orders, those in the archive too."""
    orders_table = with_archive(schema.orders)
    return ReportSource(orders_table, lambda name: orders_table.c[name])


def with_order(rows: FromClause, order_id: TextColumn) -> ReportSource:
    """Return rows with the order that each belongs to, if it belongs to one."""
    live, archived = schema.orders, archive_schema.orders
    joined = rows.outerjoin(live, live.c.order_id == order_id)
    joined = joined.outerjoin(archived, archived.c.order_id == order_id)
    return ReportSource(joined, lambda name: func.coalesce(live.c[name], archived.c[name]))


def group_name(connection: Connection, column: ColumnElement[Any]) -> TextColumn:
    """Return a name, empty for none, sorted by bytes whatever language a server speaks."""
    name = func.coalesce(column, "")
    return collate(name, "C") if connection.dialect.name == "postgresql" else name


def month_of(connection: Connection, at: ColumnElement[int]) -> TextColumn:
    """Return the month of Asia/Shanghai in which an instant falls, like 2026-03."""
    seconds = at // SECOND_US + SHANGHAI_OFFSET_S
    if connection.dialect.name == "sqlite":
        return func.strftime("%Y-%m", seconds, "unixepoch")
    return func.to_char(func.timezone("UTC", func.to_timestamp(seconds)), "YYYY-MM")


@contextmanager
def report_transaction(engine: Engine) -> Iterator[Connection]:
    """Read one state of the database, with room on disk for what does not fit into memory."""
    with reading(engine) as connection:
        if engine.dialect.name != "sqlite":
            yield connection.execution_options(stream_results=True)
            return
        # SQLite changes its mind about this between transactions only.
        driver: Any = connection.connection.driver_connection
        (cache_size,) = driver.execute("PRAGMA cache_size").fetchone()
        driver.execute("PRAGMA temp_store = FILE")
        driver.execute(f"PRAGMA cache_size = -{SORT_CACHE_KIB}")
        try:
            yield connection
        finally:
            connection.rollback()
            driver.execute("PRAGMA temp_store = MEMORY")
            driver.execute(f"PRAGMA cache_size = {cache_size}")
