"""Exportable: what an export must know of its rows, to give each once and to go on behind any."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from sqlalchemy import Connection, Engine, Select

from workers.columns import Columns, Value
from workers.store import Store

Record = tuple[Value, ...]
Place = tuple[Any, ...]


class BadCursor(ValueError):
    """A cursor that no row has; says what one is like."""


@dataclass(frozen=True, slots=True)
class Page:
    """Records, in order, and the cursor behind the last of them."""

    records: list[Record]
    cursor: str


class Export(ABC):
    """What can be exported: its columns, and its rows between one place and another."""

    name: ClassVar[str]
    columns: ClassVar[Columns]
    example: ClassVar[str]
    """What a cursor is like: columns of the row that it stands behind."""

    beginning: ClassVar[Place]
    lasting: ClassVar[bool]
    """Whether a row never changes, so that an export once finished may be gone on with."""

    def place(self, cursor: str | None) -> Place:
        """Read a cursor; raise `BadCursor`."""
        try:
            return self.beginning if cursor is None else self._read(cursor)
        except ValueError:
            message = f"{cursor} is no cursor of {self.name}: one is like {self.example}"
            raise BadCursor(message) from None

    @abstractmethod
    def last(self, engine: Engine) -> Place:
        """Return the place of the last row that is there now."""

    @abstractmethod
    def query(self, after: Place, until: Place) -> Select[Any]:
        """Ask for the rows behind one place, up to another."""

    def fetch(
        self, connection: Connection, after: Place, until: Place, limit: int
    ) -> tuple[Sequence[Any], Place | None]:
        """Return rows behind a place, and where to go on; None where there is nothing more."""
        rows = connection.execute(self.query(after, until).limit(limit)).all()
        return rows, self.place_of(rows[-1]) if rows else None

    @abstractmethod
    def place_of(self, row: Any) -> Place:  # noqa: ANN401 - a row of the query
        """Return the place of a row."""

    @abstractmethod
    def cursor(self, place: Place) -> str:
        """Write a place."""

    def read(self, rows: Sequence[Any], _: Store, __: Connection) -> Sequence[Any]:
        """Read rows as the columns want them."""
        return rows

    @abstractmethod
    def _read(self, cursor: str) -> Place: ...


def matched(pattern: str, text: str) -> str:
    """Return a part of a cursor; raise `ValueError` where it is none."""
    if not re.fullmatch(pattern, text, re.ASCII):
        raise ValueError(text)
    return text
