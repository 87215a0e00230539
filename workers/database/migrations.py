"""Migrations: bring the schema to the version this code was written for."""

from __future__ import annotations

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, Engine, text

from workers.database.engine import reading, writing
from workers.settings import SettingsError, project_root

# Any number that other users of the same PostgreSQL are unlikely to have chosen.
ADVISORY_LOCK = 7_310_579


def alembic_config() -> Config:
    """Point Alembic at our migrations; no file of settings is involved."""
    config = Config()
    config.set_main_option("script_location", str(project_root() / "migrations"))
    return config


def migrate(engine: Engine) -> None:
    """Run the steps that are missing, in one transaction; does nothing the second time.

    Two processes may call it at once: the second waits and finds nothing left to do. Raise
    `SettingsError` where the database is a newer version's.
    """
    config = alembic_config()
    with writing(engine) as connection:
        if engine.dialect.name == "postgresql":
            connection.execute(text(f"SELECT pg_advisory_xact_lock({ADVISORY_LOCK})"))
        _read_revision(connection)
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def is_current(engine: Engine) -> bool:
    """Tell whether the schema is the one this code was written for; raise as `migrate` does."""
    head_revision = ScriptDirectory.from_config(alembic_config()).get_current_head()
    with reading(engine) as connection:
        return _read_revision(connection) == head_revision


def _read_revision(connection: Connection) -> str | None:
    """Return the schema's version, None where there is none; one that is unknown here is newer."""
    revision = MigrationContext.configure(connection).get_current_revision()
    scripts = ScriptDirectory.from_config(alembic_config())
    try:
        scripts.get_revision(revision or "base")
    except CommandError:
        raise SettingsError(
            f"the database is of a newer version: its schema is {revision}, this version knows "
            f"up to {scripts.get_current_head()}: run that version, or restore a copy from before"
        ) from None
    return revision
