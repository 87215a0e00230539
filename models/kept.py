"""Kept: a shelf of the book that can take back what was put on it since a moment."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

V = TypeVar("V")


class Kept(dict[str, V]):
    """A dictionary of immutable values that remembers, once marked, what each key held before.

    Assignment of items is all that is remembered: the book changes its shelves in no other way.
    """

    __slots__ = ("_before",)

    def __init__(self, held: Mapping[str, V] | None = None) -> None:
        """Begin with what is held already."""
        super().__init__(held or {})
        self._before: dict[str, V | None] | None = None

    def mark(self) -> None:
        """Begin to remember; what was remembered so far is forgotten."""
        if self._before or self._before is None:
            self._before = {}

    def back(self) -> None:
        """Hold again what was held at the mark."""
        for key, value in (self._before or {}).items():
            if value is None:
                self.pop(key, None)
            else:
                super().__setitem__(key, value)
        self._before = {}

    def __setitem__(self, key: str, value: V) -> None:
        if self._before is not None:
            self._before.setdefault(key, self.get(key))
        super().__setitem__(key, value)
