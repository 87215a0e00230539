"""Tracked dictionary: after a rollback it holds what it held before, and nothing else."""

from __future__ import annotations

from models.tracked_dict import Journal, TrackedDict


def rolled_back(tracked: TrackedDict[int], journal: Journal) -> dict[str, int]:
    for _, key, value in reversed(journal):
        tracked.restore(key, value)
    return dict(tracked)


def test_what_was_new_is_gone_after_a_rollback() -> None:
    journal: Journal = []
    balances = TrackedDict[int]({"a": 1})
    balances.track(journal, 3)
    balances["b"] = 2
    assert journal == [(3, "b", None)]
    assert rolled_back(balances, journal) == {"a": 1}


def test_what_was_changed_twice_is_as_it_was_before_the_first_time() -> None:
    journal: Journal = []
    balances = TrackedDict[int]({"a": 1})
    balances.track(journal, 0)
    balances["a"] = 2
    balances["a"] = 3
    assert rolled_back(balances, journal) == {"a": 1}


def test_what_was_deleted_is_back_after_a_rollback() -> None:
    journal: Journal = []
    balances = TrackedDict[int]({"a": 1, "b": 2})
    balances.track(journal, 0)
    del balances["a"]
    assert dict(balances) == {"b": 2}
    assert rolled_back(balances, journal) == {"a": 1, "b": 2}


def test_a_rollback_is_no_change_that_could_be_rolled_back() -> None:
    journal: Journal = []
    balances = TrackedDict[int]({"a": 1})
    balances.track(journal, 0)
    balances["a"] = 2
    balances.restore("a", 1)
    assert journal == [(0, "a", 1)]


def test_what_is_not_tracked_is_written_down_nowhere() -> None:
    balances = TrackedDict[int]()
    balances["a"] = 1
    del balances["a"]
    assert balances == {}
