"""Frontier: the unsettled commands that were received earlier, by what they are about.

Of two commands about the same subject the one with the smaller stamp is handled first, wherever
they are. Waiting is always for a smaller stamp, so nobody waits in a circle.
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from models.ids import subject_key
from models.service.subjects import ANY_CREATOR, Subjects

RECORD = struct.Struct(">H?8s")
"""How one subject of one command travels: the command's distance from its message's stamp, whether
it changes the subject or reads it, and the subject's key."""


CHANGES, READS = True, False


ANY_CREATOR_KEY = subject_key(ANY_CREATOR)


class SubjectKeys(NamedTuple):
    """What a command is about, as keys; see `Subjects`."""

    changes: tuple[bytes, ...] = ()
    reads: tuple[bytes, ...] = ()
    observes: tuple[bytes, ...] = ()

    @classmethod
    def of(cls, subjects: Subjects) -> SubjectKeys:
        """Return the keys of subjects."""
        observes = tuple(map(subject_key, subjects.observes))
        return cls(
            tuple(map(subject_key, subjects.changes)),
            tuple(map(subject_key, subjects.reads)),
            (*observes, ANY_CREATOR_KEY) if observes else (),
        )

    @classmethod
    def observing(cls, subjects: Iterable[str]) -> SubjectKeys:
        """Return the keys of subjects that somebody waits for, and nobody waits for in turn."""
        return cls(observes=(*map(subject_key, subjects), ANY_CREATOR_KEY))

    @classmethod
    def changing(cls, subjects: Iterable[str]) -> SubjectKeys:
        """Return the keys of subjects of which somebody waits also for all that only read them."""
        return cls(changes=tuple(map(subject_key, subjects)))

    def announcement(self, offset: int) -> bytes:
        """Write down what others must know: what is only observed concerns nobody."""
        changes = (RECORD.pack(offset, CHANGES, key) for key in self.changes)
        reads = (RECORD.pack(offset, READS, key) for key in self.reads)
        return b"".join((*changes, *reads))


ABOUT_NOTHING = SubjectKeys()


class Blocker(NamedTuple):
    """A message that has to be settled first.

    `size` is the length of its announcement in Redis: 0 where nobody has announced it yet.
    """

    message_id: str
    size: int
    stamp: int


@dataclass(slots=True)
class Frontier:
    """Everything earlier and unsettled, as of `now`; from `unknown_from` on nothing is known."""

    now: int
    unknown_from: Blocker | None = None
    _changed: dict[bytes, Blocker] = field(default_factory=dict)
    _read: dict[bytes, Blocker] = field(default_factory=dict)
    _readers: Counter[bytes] = field(default_factory=Counter)

    def add_message(
        self, message_id: str, stamp: int, announcement: bytes, *, is_announced: bool = True
    ) -> None:
        """Add what a message's commands are about; `is_announced` where Redis was told so."""
        size = len(announcement) if is_announced else 0
        blockers: dict[int, Blocker] = {}
        for offset, is_change, key in RECORD.iter_unpack(announcement):
            blocker = blockers.get(offset)
            if blocker is None:
                blocker = Blocker(message_id, size, stamp + offset)
                blockers[offset] = blocker
            if is_change:
                _keep_earliest(self._changed, key, blocker)
            else:
                self._add_reader(key, blocker)

    def add(self, blocker: Blocker, keys: SubjectKeys) -> None:
        """Add a command that is held back: later ones about the same wait for it."""
        for key in keys.changes:
            _keep_earliest(self._changed, key, blocker)
        for key in keys.reads:
            self._add_reader(key, blocker)

    def _add_reader(self, key: bytes, blocker: Blocker) -> None:
        _keep_earliest(self._read, key, blocker)
        self._readers[key] += 1

    def count_readers(self, subject: str) -> int:
        """Count the unsettled commands that only read a subject, whenever they were received."""
        return self._readers[subject_key(subject)] if self._readers else 0

    def is_clear(self) -> bool:
        """Tell whether there is nothing to wait for."""
        return not (self._changed or self._read or self.unknown_from)

    def branch(self) -> Frontier:
        """Return a copy, for an attempt that may come to nothing."""
        return Frontier(
            *(self.now, self.unknown_from, dict(self._changed), dict(self._read)),
            Counter(self._readers),
        )

    def find_blocker(self, stamp: int, keys: SubjectKeys) -> Blocker | None:
        """Return what a command has to wait for, or None."""
        unknown = self.unknown_from
        if unknown is not None and unknown.stamp < stamp:
            return unknown
        changed = self._changed
        if changed:
            for group in (keys.changes, keys.reads, keys.observes):
                for key in group:
                    if key in changed and changed[key].stamp < stamp:
                        return changed[key]
        if self._read:
            for key in keys.changes:
                if key in self._read and self._read[key].stamp < stamp:
                    return self._read[key]
        return None

    def horizon(self, subjects: Iterable[str], counted_subjects: Iterable[str] = ()) -> int:
        """Return up to when time may pass for some subjects: not past what is still unsettled.

        Of those that are `counted`, not past what only reads them either.
        """
        keys = [subject_key(subject) for subject in subjects]
        keys += [ANY_CREATOR_KEY]
        stamps = [self._changed[key].stamp for key in keys if key in self._changed]
        counted_keys = map(subject_key, counted_subjects)
        stamps += [self._read[key].stamp for key in counted_keys if key in self._read]
        if self.unknown_from is not None:
            stamps.append(self.unknown_from.stamp)
        return min((self.now, *stamps))


def _keep_earliest(blockers: dict[bytes, Blocker], key: bytes, blocker: Blocker) -> None:
    known = blockers.get(key)
    if known is None or blocker.stamp < known.stamp:
        blockers[key] = blocker
