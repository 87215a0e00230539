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
from workers.database import schema
from workers.database.engine import only_reads

RowValues = Mapping[str, Any]


ColumnNames = tuple[str, ...]


def insert(
    connection: Connection,
    table: Table,
    rows: Sequence[RowValues],
    *,
    ignore_existing: bool = False,
) -> None:
    """Insert rows that all have the same columns; `ignore_existing` passes over known keys."""
    _insert_all(connection, table, rows, "DO NOTHING" if ignore_existing else "")


def add_to_totals(connection: Connection, table: Table, rows: Sequence[RowValues]) -> None:
    """Add to a total, the last column of each row, or begin it; the other columns are its key."""
    if rows:
        *key, total = rows[0]
        assignment = f"{total} = {table.name}.{total} + excluded.{total}"
        _insert_all(connection, table, rows, f"({', '.join(key)}) DO UPDATE SET {assignment}")


def _insert_all(
    connection: Connection, table: Table, rows: Sequence[RowValues], conflict: str
) -> None:
    if rows:
        statement = _insert(connection.dialect.name, table.name, tuple(rows[0]), conflict)
        _run(connection, statement, [tuple(row.values()) for row in rows])


def update(connection: Connection, table: Table, key: str, rows: Sequence[RowValues]) -> None:
    """Update rows that all have the same columns, found by `key`, which must come first."""
    if rows:
        names = tuple(rows[0])
        statement = _update(connection.dialect.name, table.name, key, names)
        values = [tuple(row.values()) for row in rows]
        if connection.dialect.name == "sqlite":
            # SQLite numbers its parameters as they come: the key is asked for last.
            values = [(*new_values, key_value) for key_value, *new_values in values]
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
    names = tuple(column.name for column in columns)
    dialect = connection.dialect.name
    statement = _select(dialect, by.table.name, names, by.name, lock)
    return connection.exec_driver_sql(statement, (_ids_parameter(dialect, ids),)).all()


def fetch_pairs(
    connection: Connection,
    columns: Iterable[Column[Any]],
    by: tuple[Column[Any], Column[Any]],
    pairs: Collection[tuple[str, str]],
) -> Sequence[Any]:
    """Return the `columns` of rows whose two columns `by` are one of these pairs, unlocked."""
    if not pairs:
        return ()
    names = tuple(column.name for column in columns)
    dialect = connection.dialect.name
    statement = _select_pairs(dialect, by[0].table.name, names, (by[0].name, by[1].name))
    parameters: tuple[object, ...]
    if dialect == "sqlite":
        parameters = (json.dumps(list(pairs)),)
    else:
        parameters = tuple(map(list, zip(*pairs, strict=True)))
    return connection.exec_driver_sql(statement, parameters).all()


def count_up_to(
    connection: Connection, limit: int, by: Column[Any], condition: str, ids: Collection[str]
) -> dict[str, int]:
    """Count the rows under a condition whose column `by` is each of `ids`, no further than needed.

    An index that has all of these is read up to `limit` entries for each id.
    """
    if not ids:
        return {}
    dialect = connection.dialect.name
    statement = _count_up_to(dialect, by.table.name, by.name, condition, limit)
    rows = connection.exec_driver_sql(statement, (_ids_parameter(dialect, ids),))
    return {row[0]: row[1] for row in rows}


def set_where_null(
    connection: Connection, column: Column[Any], value: int, by: Column[Any], ids: Collection[Any]
) -> set[Any]:
    """Give a column a value where it has none yet, in rows whose `by` is among `ids`; say whose."""
    dialect = connection.dialect.name
    statement = _set_where_null(dialect, column.table.name, column.name, by.name)
    result = connection.exec_driver_sql(statement, (value, _ids_parameter(dialect, ids)))
    return set(result.scalars())


def which_table(
    connection: Connection, tables: tuple[Table, Table], key: str, ids: Collection[str]
) -> dict[str, bool]:
    """Say which ids are in the first of two tables (False) or in the second (True).

    One statement sees both as they stood at one moment, also while rows are being moved.
    """
    dialect = connection.dialect.name
    statement = _which_table(dialect, tables[0].name, tables[1].name, key)
    id_parameter = _ids_parameter(dialect, ids)
    rows = connection.exec_driver_sql(statement, (id_parameter, id_parameter))
    return {row_id: bool(is_second) for row_id, is_second in rows}


def move(
    connection: Connection, source: Table, target: Table, by: str, ids: Collection[Any]
) -> None:
    """Move the rows whose column `by` is among `ids` to a table with the same columns."""
    if not ids:
        return
    dialect = connection.dialect.name
    id_parameter = _ids_parameter(dialect, ids)
    for statement in _move(dialect, source.name, target.name, by):
        connection.exec_driver_sql(statement, (id_parameter,))


def delete(connection: Connection, table: Table, key: str, ids: Collection[Any]) -> None:
    """Delete the rows whose column `key` is among `ids`."""
    if ids:
        dialect = connection.dialect.name
        statement = _delete(dialect, table.name, key)
        connection.exec_driver_sql(statement, (_ids_parameter(dialect, ids),))


def _ids_parameter(dialect: str, ids: Collection[Any]) -> str | list[Any]:
    """Hand over ids, as many as there are, in one parameter."""
    id_list = list(ids)
    return json.dumps(id_list) if dialect == "sqlite" else id_list


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
def _count_up_to(dialect: str, table: str, by: str, condition: str, limit: int) -> str:
    ids, name = (
        ("json_each(?) AS ids", "ids.value")
        if dialect == "sqlite"
        else ("unnest(%s::text[]) AS ids(id)", "ids.id")
    )
    first_rows = f"SELECT 1 FROM {table} WHERE {table}.{by} = {name} AND {condition} LIMIT {limit}"
    return f"SELECT {name}, (SELECT count(*) FROM ({first_rows}) AS few) FROM {ids}"


@cache
def _insert(dialect: str, table: str, names: ColumnNames, conflict: str) -> str:
    clause = f" ON CONFLICT {conflict}" if conflict else ""
    into = f"INSERT INTO {table} ({', '.join(names)})"
    if dialect == "sqlite":
        return f"{into} VALUES ({', '.join('?' * len(names))}){clause}"
    return f"{into} SELECT * FROM unnest({_array_parameters(table, names)}){clause}"


@cache
def _update(dialect: str, table: str, key: str, names: ColumnNames) -> str:
    changed_names = [name for name in names if name != key]
    if dialect == "sqlite":
        return f"UPDATE {table} SET {', '.join(f'{n} = ?' for n in changed_names)} WHERE {key} = ?"
    changes = ", ".join(f"{name} = new.{name}" for name in changed_names)
    new = f"unnest({_array_parameters(table, names)}) AS new({', '.join(names)})"
    return f"UPDATE {table} SET {changes} FROM {new} WHERE {table}.{key} = new.{key}"


@cache
def _select(dialect: str, table: str, names: ColumnNames, by: str, lock: str) -> str:
    query = f"SELECT {', '.join(names)} FROM {table} WHERE {by} {_in_ids(dialect)}"
    return f"{query} ORDER BY {names[0]} {'' if dialect == 'sqlite' else lock}"


@cache
def _select_pairs(dialect: str, table: str, names: ColumnNames, by: tuple[str, str]) -> str:
    pairs = (
        "SELECT value ->> 0, value ->> 1 FROM json_each(?)"
        if dialect == "sqlite"
        else "SELECT * FROM unnest(%s::text[], %s::text[])"
    )
    return f"SELECT {', '.join(names)} FROM {table} WHERE ({by[0]}, {by[1]}) IN ({pairs})"


@cache
def _set_where_null(dialect: str, table: str, column: str, by: str) -> str:
    value = "?" if dialect == "sqlite" else "%s"
    rows = f"{by} {_in_ids(dialect)} AND {column} IS NULL"
    return f"UPDATE {table} SET {column} = {value} WHERE {rows} RETURNING {by}"


@cache
def _which_table(dialect: str, first: str, second: str, key: str) -> str:
    return " UNION ALL ".join(
        f"SELECT {key}, {number} FROM {table} WHERE {key} {_in_ids(dialect)}"
        for number, table in enumerate((first, second))
    )


@cache
def _move(dialect: str, source: str, target: str, by: str) -> tuple[str, str]:
    names = ", ".join(schema.metadata.tables[source].c.keys())
    rows = f"FROM {source} WHERE {by} {_in_ids(dialect)}"
    return f"INSERT INTO {target} ({names}) SELECT {names} {rows}", f"DELETE {rows}"


@cache
def _delete(dialect: str, table: str, key: str) -> str:
    return f"DELETE FROM {table} WHERE {key} {_in_ids(dialect)}"


def _in_ids(dialect: str) -> str:
    return "IN (SELECT value FROM json_each(?))" if dialect == "sqlite" else "= ANY(%s)"


def _array_parameters(table: str, names: ColumnNames) -> str:
    columns = schema.metadata.tables[table].c
    return ", ".join(f"%s::{_array_type(columns[name].type)}" for name in names)


def _array_type(kind: object) -> str:
    if isinstance(kind, BigInteger):
        return "bigint[]"
    return "bytea[]" if isinstance(kind, LargeBinary) else "text[]"
