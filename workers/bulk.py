"""Bulk: many rows in one statement, written once per table in each database's own fast form.

SQLAlchemy's executemany prepares every parameter of every row anew, which cost a third of a
commit; these statements take tuples as they are. On PostgreSQL rows travel as arrays, so that a
thousand rows are one round trip and one plan.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import cache
from typing import Any

from sqlalchemy import BigInteger, Column, Connection, LargeBinary, Table

from models.errors import BrokenInvariant
from workers import tables
from workers.database import only_reads

Row = Mapping[str, Any]
Names = tuple[str, ...]


def insert(
    connection: Connection, table: Table, rows: Sequence[Row], *, pass_over: bool = False
) -> None:
    """Insert rows that all have the same columns; `pass_over` those whose key is there already."""
    if rows:
        names = tuple(rows[0])
        statement = _insert(connection.dialect.name, table.name, names, pass_over)
        _run(connection, statement, [tuple(row.values()) for row in rows])


def update(connection: Connection, table: Table, key: str, rows: Sequence[Row]) -> None:
    """Update rows that all have the same columns, found by `key`, which must come first."""
    if rows:
        names = tuple(rows[0])
        statement = _update(connection.dialect.name, table.name, key, names)
        values = [tuple(row.values()) for row in rows]
        if connection.dialect.name == "sqlite":
            # SQLite numbers its parameters as they come: the key is asked for last.
            values = [(*others, first) for first, *others in values]
        _run(connection, statement, values)


def fetch(
    connection: Connection,
    columns: Iterable[Column[Any]],
    by: Column[Any],
    ids: Collection[Any],
    lock: str = "",
) -> Sequence[Any]:
    """Return the `columns` of rows whose column `by` is among `ids`, in the order of the first.

    `lock` is what PostgreSQL adds, such as FOR UPDATE; SQLite's writer is alone anyway, and who
    only reads locks nothing.
    """
    if not ids:
        return ()
    if only_reads(connection):
        lock = ""
    names = tuple(one.name for one in columns)
    dialect = connection.dialect.name
    statement = _select(dialect, by.table.name, names, by.name, lock)
    wanted = list(ids)
    given = json.dumps(wanted) if dialect == "sqlite" else wanted
    return connection.exec_driver_sql(statement, (given,)).all()


def whereabouts(
    connection: Connection, tables: tuple[Table, Table], key: str, ids: Collection[str]
) -> dict[str, bool]:
    """Say which ids are in the first of two tables (False) or in the second (True).

    One statement sees both as they stood at one moment, also while rows are being moved.
    """
    dialect = connection.dialect.name
    statement = _whereabouts(dialect, tables[0].name, tables[1].name, key)
    wanted = list(ids)
    given = json.dumps(wanted) if dialect == "sqlite" else wanted
    found = connection.exec_driver_sql(statement, (given, given))
    return {name: bool(second) for name, second in found}


def move(
    connection: Connection, source: Table, target: Table, by: str, ids: Collection[Any]
) -> None:
    """Move the rows whose column `by` is among `ids` to a table with the same columns."""
    if not ids:
        return
    dialect = connection.dialect.name
    wanted = list(ids)
    given = json.dumps(wanted) if dialect == "sqlite" else wanted
    for statement in _move(dialect, source.name, target.name, by):
        connection.exec_driver_sql(statement, (given,))


def _run(connection: Connection, statement: str, rows: list[tuple[Any, ...]]) -> None:
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql(statement, rows)
    else:
        columns = zip(*rows, strict=True)
        connection.exec_driver_sql(statement, tuple(array(column) for column in columns))


def array(column: Sequence[Any]) -> str:
    """Write a column of text, bytes or whole numbers as the text of a PostgreSQL array.

    The driver's own way looks at every value with a regular expression, half the cost of a batch.
    """
    kinds = set(map(type, column))
    if kinds == {str}:
        return f"{{{_quoted(column)}}}"
    return f"{{{','.join(map(str if kinds == {int} else _element, column))}}}"


def _quoted(texts: Sequence[str]) -> str:
    joined = "\0".join(texts)
    if joined.count("\0") != len(texts) - 1:
        raise BrokenInvariant("a NUL is no text that PostgreSQL could keep")
    escaped = joined.replace("\\", "\\\\").replace('"', '\\"')
    inner = escaped.replace("\0", '","')
    return f'"{inner}"'


def _element(value: str | bytes | int | None) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, int):
        return str(int(value))
    return f'"\\\\x{value.hex()}"' if isinstance(value, bytes) else _quoted([value])


@cache
def _insert(dialect: str, table: str, names: Names, pass_over: bool) -> str:  # noqa: FBT001
    clause = " ON CONFLICT DO NOTHING" if pass_over else ""
    into = f"INSERT INTO {table} ({', '.join(names)})"
    if dialect == "sqlite":
        return f"{into} VALUES ({', '.join('?' * len(names))}){clause}"
    return f"{into} SELECT * FROM unnest({_arrays(table, names)}){clause}"


@cache
def _update(dialect: str, table: str, key: str, names: Names) -> str:
    others = [name for name in names if name != key]
    if dialect == "sqlite":
        return f"UPDATE {table} SET {', '.join(f'{n} = ?' for n in others)} WHERE {key} = ?"
    changes = ", ".join(f"{name} = new.{name}" for name in others)
    new = f"unnest({_arrays(table, names)}) AS new({', '.join(names)})"
    return f"UPDATE {table} SET {changes} FROM {new} WHERE {table}.{key} = new.{key}"


@cache
def _select(dialect: str, table: str, names: Names, by: str, lock: str) -> str:
    query = f"SELECT {', '.join(names)} FROM {table} WHERE {by}"
    order = f"ORDER BY {names[0]}"
    if dialect == "sqlite":
        return f"{query} IN (SELECT value FROM json_each(?)) {order}"
    return f"{query} = ANY(%s) {order} {lock}"


@cache
def _whereabouts(dialect: str, first: str, second: str, key: str) -> str:
    found = "IN (SELECT value FROM json_each(?))" if dialect == "sqlite" else "= ANY(%s)"
    return " UNION ALL ".join(
        f"SELECT {key}, {number} FROM {table} WHERE {key} {found}"
        for number, table in enumerate((first, second))
    )


@cache
def _move(dialect: str, source: str, target: str, by: str) -> tuple[str, str]:
    names = ", ".join(tables.metadata.tables[source].c.keys())
    found = "IN (SELECT value FROM json_each(?))" if dialect == "sqlite" else "= ANY(%s)"
    rows = f"FROM {source} WHERE {by} {found}"
    return f"INSERT INTO {target} ({names}) SELECT {names} {rows}", f"DELETE {rows}"


def _arrays(table: str, names: Names) -> str:
    columns = tables.metadata.tables[table].c
    return ", ".join(f"%s::{_array(columns[name].type)}" for name in names)


def _array(kind: object) -> str:
    if isinstance(kind, BigInteger):
        return "bigint[]"
    return "bytea[]" if isinstance(kind, LargeBinary) else "text[]"
