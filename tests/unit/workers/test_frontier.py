"""Frontier: of two commands about the same, the one received first is handled first."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.service.subjects import ANY_CREATOR, Subjects
from workers.queue.frontier import Blocker, Frontier, SubjectKeys

ORDER = SubjectKeys.of(Subjects(changes=frozenset({"order:o1"})))
OTHER_ORDER = SubjectKeys.of(Subjects(changes=frozenset({"order:o2"})))
NAMES_CLIENT = SubjectKeys.of(Subjects(frozenset({"order:o3"}), reads=frozenset({"client:c1"})))
REGISTERS_CLIENT = SubjectKeys.of(Subjects(frozenset({"client:c1"})))
OBSERVES_CREATOR = SubjectKeys.of(
    Subjects(frozenset({"order:o4"}), observes=frozenset({"creator:k1"}))
)
CHANGES_CREATOR = SubjectKeys.of(Subjects(frozenset({"creator:k1"})))
CHANGES_ANY_CREATOR = SubjectKeys.of(Subjects(frozenset({ANY_CREATOR})))


def frontier_with(stamp: int, *commands: SubjectKeys) -> Frontier:
    frontier = Frontier(now=1_000)
    blob = b"".join(keys.announcement(offset) for offset, keys in enumerate(commands))
    frontier.add_message("earlier", stamp, blob)
    return frontier


@pytest.mark.parametrize(
    ("earlier", "later", "waits"),
    [
        (ORDER, ORDER, True),
        (ORDER, OTHER_ORDER, False),
        (NAMES_CLIENT, REGISTERS_CLIENT, True),
        (REGISTERS_CLIENT, NAMES_CLIENT, True),
        (NAMES_CLIENT, NAMES_CLIENT, True),
        (CHANGES_CREATOR, OBSERVES_CREATOR, True),
        (OBSERVES_CREATOR, CHANGES_CREATOR, False),
        (CHANGES_ANY_CREATOR, OBSERVES_CREATOR, True),
        (CHANGES_CREATOR, CHANGES_CREATOR, True),
    ],
)
def test_who_waits_for_whom(earlier: SubjectKeys, later: SubjectKeys, *, waits: bool) -> None:
    frontier = frontier_with(5, earlier)
    assert (frontier.find_blocker(6, later) is not None) == waits
    assert frontier.find_blocker(5, later) is None, "nobody waits for what was not earlier"
    assert frontier.find_blocker(4, later) is None


def test_two_that_only_name_the_same_client_do_not_wait_for_each_other() -> None:
    place = SubjectKeys.of(Subjects(frozenset({"order:o5"}), reads=frozenset({"client:c1"})))
    assert frontier_with(5, NAMES_CLIENT).find_blocker(6, place) is None


def test_a_command_waits_for_its_place_in_the_message_not_for_the_message() -> None:
    frontier = frontier_with(5, OTHER_ORDER, ORDER)
    assert frontier.find_blocker(6, ORDER) is None
    blocker = frontier.find_blocker(7, ORDER)
    assert blocker is not None
    assert (blocker.message_id, blocker.stamp) == ("earlier", 6)


def test_a_blocker_says_how_long_its_announcement_in_redis_is() -> None:
    blob = ORDER.announcement(0)
    for is_announced, size in ((True, len(blob)), (False, 0)):
        frontier = Frontier(now=1_000)
        frontier.add_message("earlier", 5, blob, is_announced=is_announced)
        assert frontier.find_blocker(6, ORDER) == Blocker("earlier", size, 5)


def test_from_the_first_unknown_message_on_everything_waits() -> None:
    frontier = Frontier(1_000, Blocker("unread", 0, 10))
    assert frontier.find_blocker(10, ORDER) is None
    assert frontier.find_blocker(11, ORDER) == Blocker("unread", 0, 10)
    assert frontier.horizon(["order:o1"]) == 10


def test_time_passes_up_to_the_earliest_unsettled_command_about_the_same() -> None:
    frontier = frontier_with(5, ORDER)
    assert frontier.horizon(["order:o1"]) == 5
    assert frontier.horizon(["order:o2"]) == 1_000
    assert frontier_with(5, CHANGES_ANY_CREATOR).horizon(["creator:k1", "order:o1"]) == 5


def test_what_a_branch_holds_back_its_origin_does_not() -> None:
    frontier = Frontier(1_000)
    branch = frontier.branch()
    branch.add(Blocker("held", 0, 5), ORDER)
    assert branch.find_blocker(6, ORDER)
    assert frontier.find_blocker(6, ORDER) is None
    assert frontier.is_clear()


COMMANDS = st.lists(
    st.tuples(
        st.frozensets(st.sampled_from("abcd"), min_size=1, max_size=2),
        st.frozensets(st.sampled_from("xyz"), max_size=2),
    ),
    min_size=1,
    max_size=8,
)


@given(COMMANDS)
def test_a_command_waits_exactly_when_something_earlier_is_about_the_same(
    commands: list[tuple[frozenset[str], frozenset[str]]],
) -> None:
    *earlier, (changes, reads) = commands
    keys = [SubjectKeys.of(Subjects(*command)) for command in commands]
    frontier = frontier_with(5, *keys[:-1])
    expected = any(
        changes & (other_changes | other_reads) or reads & other_changes
        for other_changes, other_reads in earlier
    )
    waits = frontier.find_blocker(5 + len(earlier), keys[-1]) is not None
    assert waits == expected
