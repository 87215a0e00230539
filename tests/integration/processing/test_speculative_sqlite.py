"""Speculative handling: on SQLite a batch is judged before its turn, anew if something changed."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from sqlalchemy import Connection, Engine

from models.commands import AnyCommand
from models.policy import Policy
from tests.support import sample_commands
from tests.support.store_harness import Desk
from tests.support.stories import MICRO
from workers.database.engine import only_reads
from workers.database.repository import Page, Store
from workers.processing.processor import Settler


@dataclass
class Interrupted(Store):
    """A store before whose next turn to write something else happens, once."""

    engine: Engine
    policy: Policy
    meanwhile: list[Callable[[], Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__(self.engine, self.policy)

    def load(
        self, connection: Connection, commands: Sequence[AnyCommand], wakes: Collection[str]
    ) -> Page:
        page = super().load(connection, commands, wakes)
        if only_reads(connection) and self.meanwhile:
            self.meanwhile.pop()()
        return page


@pytest.fixture
def desk(sqlite_engine: Engine) -> Desk:
    """Give a desk with one order on offer."""
    sqlite_desk = Desk(engine=sqlite_engine).admit()
    sqlite_desk.offer("o1")
    return sqlite_desk


def settled_late(desk: Desk, command: sample_commands.Letter, meanwhile: Callable[[], Any]) -> Any:  # noqa: ANN401
    """Settle a command before whose turn something else is; return its outcome and reason."""
    store = Interrupted(desk.engine, desk.policy, [meanwhile])
    submission = desk.receive(command, desk.now + 2 * MICRO)
    desk.door.present = submission.at
    assert Settler(store, desk.door, lambda: None).settle([submission]) == []
    assert store.meanwhile == []
    assert desk.reader.audit().findings == []
    return desk.answer(submission)[:2]


def say(desk: Desk, command: sample_commands.Letter) -> Callable[[], Any]:
    return lambda: desk.settle(desk.receive(command, desk.now + MICRO))


def test_an_order_that_moved_meanwhile_is_judged_where_it_is(desk: Desk) -> None:
    declines = sample_commands.ask("decline_order", "creator", "o1")
    assert settled_late(desk, sample_commands.accept(), say(desk, declines)) == (
        "rejected",
        "wrong_state",
    )


def test_what_was_said_meanwhile_in_the_same_words_is_not_done_twice(desk: Desk) -> None:
    accepts = sample_commands.accept()
    assert settled_late(desk, accepts, say(desk, accepts)) == ("duplicate", None)
    assert len(desk.published("order.accepted")) == 1


def test_an_order_that_was_placed_meanwhile_is_there(desk: Desk) -> None:
    cancels = sample_commands.ask("cancel_order", "client", "o2")
    assert settled_late(desk, cancels, say(desk, sample_commands.place("o2"))) == ("applied", None)


def test_a_creator_who_was_banned_meanwhile_gets_no_order(desk: Desk) -> None:
    def ban() -> None:
        for number in (1, 2):
            desk.settle(desk.receive(sample_commands.report(f"v{number}"), desk.now + MICRO))

    assert settled_late(desk, sample_commands.place("o2"), ban) == ("rejected", "creator_banned")


def test_money_that_came_meanwhile_is_counted(desk: Desk) -> None:
    say(desk, sample_commands.accept())()
    pays = sample_commands.pay("p2", {"o1": 94_500})
    again = sample_commands.pay("p3", {"o1": 94_500})
    assert settled_late(desk, pays, say(desk, again)) == ("applied", None)
    (returned,) = desk.published("payment.unapplied")
    assert returned["payment_id"] == "p2"


def test_what_changes_elsewhere_is_nobodys_concern(desk: Desk) -> None:
    elsewhere = sample_commands.place("o9")
    assert settled_late(desk, sample_commands.accept(), say(desk, elsewhere)) == ("applied", None)
