"""Snapshots: the whole content of a database, so that it can be set back to how it was."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Engine, text

from workers.database import archive_schema, schema
from workers.database.engine import reading, writing

TABLES = (*schema.metadata.sorted_tables,)
assert archive_schema.events in TABLES


class DatabaseSnapshot:
    """All rows of all tables as they are now."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.rows: dict[str, list[dict[str, Any]]] = {}
        with reading(engine) as connection:
            for table in TABLES:
                rows = connection.execute(table.select()).mappings()
                self.rows[table.name] = [dict(row) for row in rows]

    def restore(self) -> None:
        """Set the database back, and the numbers that it gives, as a restored file has them."""
        with writing(self.engine) as connection:
            for table in reversed(TABLES):
                connection.execute(table.delete())
            for table in TABLES:
                if self.rows[table.name]:
                    connection.execute(table.insert(), self.rows[table.name])
            if self.engine.dialect.name == "postgresql":
                last = max((row["position"] for row in self.rows["events"]), default=0)
                sequence = "pg_get_serial_sequence('events', 'position')"
                connection.execute(
                    text(f"SELECT setval({sequence}, :next, false)"), {"next": last + 1}
                )
