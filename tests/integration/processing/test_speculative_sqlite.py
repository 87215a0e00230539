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
from tests.support.store_harness import StoreHarness
from tests.support.stories import MICRO
from workers.database.engine import only_reads
from workers.database.repository import LoadedState, Store
from workers.processing.processor import BatchProcessor


@dataclass
class InterruptedStore(Store):
    """A store before whose next turn to write something else happens, once."""

    engine: Engine
    policy: Policy
    interruptions: list[Callable[[], Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__(self.engine, self.policy)

    def load(
        self, connection: Connection, commands: Sequence[AnyCommand], wakes: Collection[str]
    ) -> LoadedState:
        page = super().load(connection, commands, wakes)
        if only_reads(connection) and self.interruptions:
            self.interruptions.pop()()
        return page


@pytest.fixture
def harness(sqlite_engine: Engine) -> StoreHarness:
    """Give a desk with one order on offer."""
    sqlite_desk = StoreHarness(engine=sqlite_engine).admit()
    sqlite_desk.offer("o1")
    return sqlite_desk


def settle_after(
    harness: StoreHarness, command: sample_commands.SampleCommand, meanwhile: Callable[[], Any]
) -> Any:  # noqa: ANN401
    """Settle a command before whose turn something else is; return its outcome and reason."""
    store = InterruptedStore(harness.engine, harness.policy, [meanwhile])
    submission = harness.receive(command, harness.now + 2 * MICRO)
    harness.door.present = submission.at
    assert BatchProcessor(store, harness.door, lambda: None).settle([submission]) == []
    assert store.interruptions == []
    assert harness.reader.audit().findings == []
    return harness.outcome_of(submission)[:2]


def settling(harness: StoreHarness, command: sample_commands.SampleCommand) -> Callable[[], Any]:
    return lambda: harness.settle(harness.receive(command, harness.now + MICRO))


def test_an_order_that_moved_meanwhile_is_judged_where_it_is(harness: StoreHarness) -> None:
    declines = sample_commands.command("decline_order", "creator", "o1")
    assert settle_after(harness, sample_commands.accept(), settling(harness, declines)) == (
        "rejected",
        "wrong_state",
    )


def test_the_same_command_settled_meanwhile_is_not_applied_twice(harness: StoreHarness) -> None:
    accepts = sample_commands.accept()
    assert settle_after(harness, accepts, settling(harness, accepts)) == ("duplicate", None)
    assert len(harness.published("order.accepted")) == 1


def test_an_order_that_was_placed_meanwhile_is_there(harness: StoreHarness) -> None:
    cancels = sample_commands.command("cancel_order", "client", "o2")
    assert settle_after(harness, cancels, settling(harness, sample_commands.place("o2"))) == (
        "applied",
        None,
    )


def test_a_creator_who_was_banned_meanwhile_gets_no_order(harness: StoreHarness) -> None:
    def ban() -> None:
        for number in (1, 2):
            harness.settle(
                harness.receive(sample_commands.report_violation(f"v{number}"), harness.now + MICRO)
            )

    assert settle_after(harness, sample_commands.place("o2"), ban) == ("rejected", "creator_banned")


def test_money_that_came_meanwhile_is_counted(harness: StoreHarness) -> None:
    settling(harness, sample_commands.accept())()
    pays = sample_commands.pay("p2", {"o1": 94_500})
    again = sample_commands.pay("p3", {"o1": 94_500})
    assert settle_after(harness, pays, settling(harness, again)) == ("applied", None)
    (returned,) = harness.published("payment.unapplied")
    assert returned["payment_id"] == "p2"


def test_a_change_elsewhere_does_not_repeat_the_batch(harness: StoreHarness) -> None:
    elsewhere = sample_commands.place("o9")
    assert settle_after(harness, sample_commands.accept(), settling(harness, elsewhere)) == (
        "applied",
        None,
    )
