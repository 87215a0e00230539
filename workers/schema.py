"""Schema: how tables are declared, the same for both databases."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects import postgresql

NAMING = {
    "pk": "pk_%(table_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
}
metadata = MetaData(naming_convention=NAMING)
Whole = BigInteger().with_variant(Integer(), "sqlite")
Key = Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")
"""What names an order, sorted by bytes, whatever language a server speaks: a prefix is a range.

Where one is compared with another both must be of this kind, or PostgreSQL uses no index for it.
"""


def listed(names: Iterable[object]) -> str:
    """Write names as SQL lists them."""
    return ", ".join(f"'{name}'" for name in sorted(map(str, names)))


def strict(name: str, *parts: Column[Any] | CheckConstraint | UniqueConstraint) -> Table:
    """Declare a table; on SQLite a STRICT one, which refuses values of the wrong type."""
    return Table(name, metadata, *parts, sqlite_strict=True)


def partial(name: str, column: Column[Any], condition: str) -> Index:
    """Index a column of the rows that fulfil a condition: the others cost nothing."""
    where_clause = text(condition)
    return Index(name, column, sqlite_where=where_clause, postgresql_where=where_clause)
