"""Tracked dictionary: a dict that can restore what it held before a savepoint."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

V = TypeVar("V")


class TrackedDict(dict[str, V]):
    """A dictionary of immutable values that can write down what each key held before.

    Assignment of items is all that is remembered: the book changes its shelves in no other way.
    """

    __slots__ = ("_journal", "_number")

    def __init__(self, initial: Mapping[str, V] | None = None) -> None:
        """Begin with what is held already."""
        super().__init__(initial or {})
        self._journal: Journal | None = None
        self._number = 0

    def track(self, journal: Journal, index: int) -> None:
        """Write every change from now on into a journal, under a number: others may share it."""
        self._journal, self._number = journal, index

    def restore(self, key: str, value: V | None) -> None:
        """Hold what was held before, None for nothing."""
        if value is None:
            self.pop(key, None)
        else:
            super().__setitem__(key, value)

    def __setitem__(self, key: str, value: V) -> None:
        if self._journal is not None:
            self._journal.append((self._number, key, self.get(key)))
        super().__setitem__(key, value)


Journal = list[tuple[int, str, Any]]
"""What shelves held before each change, by their numbers, in the order of the changes."""
