"""Tracked dictionary: a dict that can restore what it held before a savepoint."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

V = TypeVar("V")

Journal = list[tuple[int, str, Any]]
"""What each changed dictionary, by its index, held under a key before, in order of the changes."""


class TrackedDict(dict[str, V]):
    """A dictionary of immutable values that can write down what each key held before.

    Only assignments and deletions of items are remembered: the unit of work changes its
    dictionaries in no other way.
    """

    __slots__ = ("_index", "_journal")

    def __init__(self, initial: Mapping[str, V] | None = None) -> None:
        """Begin with what `initial` holds."""
        super().__init__(initial or {})
        self._journal: Journal | None = None
        self._index = 0

    def track(self, journal: Journal, index: int) -> None:
        """Write every change from now on into a journal, under an index: others may share it."""
        self._journal, self._index = journal, index

    def restore(self, key: str, value: V | None) -> None:
        """Hold what was held before, None for nothing."""
        if value is None:
            self.pop(key, None)
        else:
            super().__setitem__(key, value)

    def __setitem__(self, key: str, value: V) -> None:
        if self._journal is not None:
            self._journal.append((self._index, key, self.get(key)))
        super().__setitem__(key, value)

    def __delitem__(self, key: str) -> None:
        if self._journal is not None:
            self._journal.append((self._index, key, self.get(key)))
        super().__delitem__(key)
