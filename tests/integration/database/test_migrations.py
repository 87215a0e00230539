"""Migrations: the steps lead to exactly the schema that the code declares."""

from __future__ import annotations

import re
from functools import partial
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Engine, MetaData, inspect, text

from tests.support.concurrency import at_once, engines_for
from workers.database import schema
from workers.database.engine import open_database, reading, writing
from workers.database.migrations import is_current, migrate
from workers.settings import SettingsError


def describe_tables(engine: Engine) -> dict[str, Any]:
    """Read back what the database says of its own tables, constraints and all."""
    if engine.dialect.name == "sqlite":
        query = "SELECT name, sql FROM sqlite_master WHERE name NOT LIKE 'alembic%'"
        query += " AND name NOT LIKE 'sqlite_%'"
        with reading(engine) as connection:
            return {name: statement_parts(sql) for name, sql in connection.execute(text(query))}
    query = "SELECT conrelid::regclass || '.' || conname, pg_get_constraintdef(oid)"
    query += " FROM pg_constraint WHERE conrelid <> 0 UNION ALL"
    query += " SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'"
    with reading(engine) as connection:
        definitions = {str(name): sql for name, sql in connection.execute(text(query))}
        return {name: sql for name, sql in definitions.items() if "alembic" not in name}


def statement_parts(sql: str) -> set[str]:
    """Split a CREATE statement, so that the order of constraints does not matter."""
    statement = re.sub(r"\s*\)\s*STRICT\s*$", " , \n STRICT", sql)
    # A column that was added later stands on the line of the one before.
    cuts = r",\s*\n|\(\s*\n|,\s(?=\w+ (?:TEXT|INTEGER|BLOB)\b)"
    return {" ".join(line.split()) for line in re.split(cuts, statement)}


def columns(engine: Engine) -> dict[str, list[Any]]:
    inspector = inspect(engine)
    return {
        name: sorted(
            (column["name"], str(column["type"]), column["nullable"]) for column in table_columns
        )
        for (_, name), table_columns in inspector.get_multi_columns().items()
        if not name.startswith("alembic")
    }


def test_migrating_an_empty_database_gives_the_tables_of_the_code(engine: Engine) -> None:
    with reading(engine) as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, schema.metadata) == []


def test_every_constraint_and_index_is_the_one_in_the_code(engine: Engine) -> None:
    migrated, types = describe_tables(engine), columns(engine)
    with writing(engine) as connection:
        reflected = MetaData()
        reflected.reflect(connection)
        reflected.drop_all(connection)
        schema.metadata.create_all(connection)
    assert describe_tables(engine) == migrated
    assert columns(engine) == types
    assert len(migrated) > len(schema.metadata.tables)


def test_migrating_a_second_time_changes_nothing(engine: Engine) -> None:
    before = describe_tables(engine)
    with writing(engine) as connection:
        connection.execute(text("INSERT INTO mcns VALUES ('m', 'kept', 1)"))
    migrate(engine)
    assert describe_tables(engine) == before
    with reading(engine) as connection:
        assert connection.execute(text("SELECT name FROM mcns")).scalars().all() == ["kept"]


def test_an_empty_database_is_not_current_until_it_is_migrated(database_url: str) -> None:
    engine = open_database(database_url)
    assert not is_current(engine)
    migrate(engine)
    assert is_current(engine)
    engine.dispose()


def test_a_database_of_a_newer_version_is_told_apart_in_one_line(engine: Engine) -> None:
    with writing(engine) as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    for look in (is_current, migrate):
        with pytest.raises(SettingsError, match=r"newer version: its schema is 9999.* up to \d{4}"):
            look(engine)


def test_two_processes_that_migrate_at_once_both_find_it_done(database_url: str) -> None:
    engine = open_database(database_url)
    with engines_for(engine, 2) as engines:
        at_once(*(partial(migrate, opened_engine) for opened_engine in engines))
    assert is_current(engine)
    engine.dispose()


@pytest.mark.parametrize("name", sorted(schema.metadata.tables))
def test_a_sqlite_table_refuses_values_of_the_wrong_type(sqlite_engine: Engine, name: str) -> None:
    with reading(sqlite_engine) as connection:
        query = text("SELECT strict FROM pragma_table_list WHERE name = :name")
        assert connection.execute(query, {"name": name}).scalar() == 1
