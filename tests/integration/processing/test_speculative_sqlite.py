"""Speculative handling: on SQLite a batch is handled before it has the lock, anew on a change."""

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
    """A store that lets something else happen, once, between reading a batch and writing it."""

    engine: Engine
    policy: Policy
    interruptions: list[Callable[[], Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__(self.engine, self.policy)

    def load(
        self, connection: Connection, commands: Sequence[AnyCommand], wakes: Collection[str]
    ) -> LoadedState:
        state = super().load(connection, commands, wakes)
        if only_reads(connection) and self.interruptions:
            self.interruptions.pop()()
        return state


@pytest.fixture
def harness(sqlite_engine: Engine) -> StoreHarness:
    """Give a store harness with one order on offer."""
    sqlite_harness = StoreHarness(engine=sqlite_engine).admit()
    sqlite_harness.offer("o1")
    return sqlite_harness


def settle_after(
    harness: StoreHarness, command: sample_commands.SampleCommand, meanwhile: Callable[[], Any]
) -> Any:  # noqa: ANN401
    """Settle a command, and `meanwhile` before it is written; return its outcome and reason."""
    store = InterruptedStore(harness.engine, harness.policy, [meanwhile])
    submission = harness.receive(command, harness.now + 2 * MICRO)
    harness.clock.present = submission.at
    assert BatchProcessor(store, harness.clock, lambda: None).settle([submission]) == []
    assert store.interruptions == []
    assert harness.findings_of_a_race() == []
    return harness.outcome_of(submission)[:2]


def settle_call(harness: StoreHarness, command: sample_commands.SampleCommand) -> Callable[[], Any]:
    return lambda: harness.settle(harness.receive(command, harness.now + MICRO))


def test_a_command_is_decided_in_the_state_that_its_order_reached_meanwhile(
    harness: StoreHarness,
) -> None:
    decline = sample_commands.command("decline_order", "creator", "o1")
    assert settle_after(harness, sample_commands.accept(), settle_call(harness, decline)) == (
        "rejected",
        "wrong_state",
    )


def test_the_same_command_settled_meanwhile_is_not_applied_twice(harness: StoreHarness) -> None:
    acceptance = sample_commands.accept()
    assert settle_after(harness, acceptance, settle_call(harness, acceptance)) == (
        "duplicate",
        None,
    )
    assert len(harness.published("order.accepted")) == 1


def test_an_order_that_was_placed_meanwhile_can_be_cancelled(harness: StoreHarness) -> None:
    cancellation = sample_commands.command("cancel_order", "client", "o2")
    assert settle_after(
        harness, cancellation, settle_call(harness, sample_commands.place("o2"))
    ) == (
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


def test_a_payment_that_was_settled_meanwhile_makes_a_second_one_unapplied(
    harness: StoreHarness,
) -> None:
    settle_call(harness, sample_commands.accept())()
    payment = sample_commands.pay("p2", {"o1": 94_500})
    other_payment = sample_commands.pay("p3", {"o1": 94_500})
    assert settle_after(harness, payment, settle_call(harness, other_payment)) == ("applied", None)
    (unapplied_payment,) = harness.published("payment.unapplied")
    assert unapplied_payment["payment_id"] == "p2"


def test_a_change_elsewhere_does_not_repeat_the_batch(harness: StoreHarness) -> None:
    placement = sample_commands.place("o9")
    assert settle_after(harness, sample_commands.accept(), settle_call(harness, placement)) == (
        "applied",
        None,
    )
