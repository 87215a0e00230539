"""Demo: it says that all is right exactly when it is."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache

import pytest

from examples.stage import POLICY, START
from models.audit.order_checks import Finding
from models.ledger import Posting
from models.orders.order import Order
from models.service.outcome import Receipt
from models.service.unit_of_work import UnitOfWork
from ops.simulation import comparison
from ops.simulation.comparison import quantile
from ops.simulation.demo import (
    HostClock,
    PreparedCampaign,
    RunningPipeline,
    find_still_running,
    play_campaign,
    prepare_campaign,
)
from ops.simulation.replay import StateAndReason, order_state_and_reason, reminder_kind
from ops.simulation.simulate import Simulation, SimulationStep
from workers.queries.audit import AuditReport


class InstantClock(HostClock):
    """A clock whose waiting costs nothing."""

    def __init__(self) -> None:
        self._now = START

    def now(self) -> datetime:
        return self._now

    def wait(self, seconds: float) -> None:
        self._now += timedelta(seconds=seconds)


@dataclass
class InMemoryPipeline:
    """A pipeline in memory, which may be told to go wrong."""

    clock: HostClock
    world: Simulation = field(default_factory=lambda: Simulation(UnitOfWork(policy=POLICY)))
    reminders: Counter[StateAndReason] = field(default_factory=Counter)
    told: Counter[StateAndReason] = field(default_factory=Counter)
    spoil: Callable[[str], str] = lambda text: text
    complaint: tuple[str, ...] = ()

    def submit(self, texts: Sequence[str]) -> None:
        for text in texts:
            self._count(SimulationStep(self.clock.now(), self.spoil(text)))

    def _count(self, step: SimulationStep) -> None:
        for line in self.world.play(step):
            reminder_events = (event for event in line["events"] if "reminded" in event["type"])
            self.reminders.update(
                reminder_kind(event["type"], event["caused_by"]) for event in reminder_events
            )
            if "outcome" in line:
                self.told[line["outcome"], line["reason"]] += 1

    def count_outcomes(self) -> int:
        return len(self.world.state.receipts)

    def endings(self) -> Counter[StateAndReason]:
        return Counter(map(order_state_and_reason, self.orders()))

    def outcomes(self, command_ids: Collection[str]) -> Mapping[str, Receipt]:
        receipts = self.world.state.receipts
        return {
            command_id: receipts[command_id] for command_id in command_ids if command_id in receipts
        }

    def orders(self) -> Iterator[Order]:
        self._count(SimulationStep(self.clock.now(), None))
        return iter(list(self.world.state.orders.values()))

    def answer_counts(self) -> Counter[StateAndReason]:
        return self.told

    def posting_totals(self) -> Sequence[Posting]:
        return [posting for _, posting in self.world.state.postings]

    def reminder_counts(self) -> Counter[StateAndReason]:
        return self.reminders

    def lateness(self) -> Sequence[float]:
        return [0.01, 0.02]

    def audit(self) -> AuditReport:
        return AuditReport(
            findings=[Finding("no_debts", subject, "-5 fen") for subject in self.complaint]
        )


@cache
def demo_programme() -> PreparedCampaign:
    return prepare_campaign()


def compare_run(stand: InMemoryPipeline) -> tuple[set[str], str]:
    running = RunningPipeline(stand.submit, stand, dict)
    show, actual = play_campaign(demo_programme(), running, stand.clock)
    checks = comparison.compare(show.expectation, actual)
    report = comparison.render_comparison(show.expectation, actual, show.steps)
    return {check.claim for check in checks if check.faults}, report


def test_all_is_right_when_the_pipeline_obeys_the_rules() -> None:
    wrong, report = compare_run(InMemoryPipeline(InstantClock()))
    assert wrong == set()
    assert "settled" in report
    assert "·" in report
    assert "NO," not in report


def test_a_changed_command_is_noticed() -> None:
    stand = InMemoryPipeline(
        InstantClock(), spoil=lambda text: text.replace('"decline_order"', '"nudge_creator"')
    )
    wrong, report = compare_run(stand)
    assert "every command has the outcome foreseen" in wrong
    assert "every order came to the ending foreseen" in wrong
    assert "NO," in report


def test_a_lost_command_is_noticed() -> None:
    stand = InMemoryPipeline(
        InstantClock(), spoil=lambda text: "{}" if '"confirm_refund-' in text else text
    )
    wrong, _ = compare_run(stand)
    assert wrong == {
        "every message was answered, bad ones too",
        "every command has the outcome foreseen",
        "every account holds the money foreseen",
        "every fen went where it should",
    }


def test_a_finding_of_the_audit_is_noticed() -> None:
    wrong, _ = compare_run(InMemoryPipeline(InstantClock(), complaint=("escrow:ord-1",)))
    assert wrong == {"the audit finds nothing wrong"}


def test_a_process_left_running_is_noticed() -> None:
    code = "import time; time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", code], start_new_session=True) as sleeper:
        assert find_still_running({"sleeper": sleeper.pid}) == [f"sleeper ({sleeper.pid})"]
        sleeper.kill()
        sleeper.wait()
        assert find_still_running({"sleeper": sleeper.pid}) == []
    assert os.getpgrp() != sleeper.pid


@pytest.mark.parametrize(
    ("rank", "value"), [(0.0, 1.0), (0.5, 2.0), (0.51, 3.0), (0.99, 4.0), (1.0, 4.0)]
)
def test_a_quantile_is_a_value_that_was_measured(rank: float, value: float) -> None:
    assert quantile([4.0, 1.0, 3.0, 2.0], rank) == value


def test_nothing_measured_is_no_lateness() -> None:
    assert quantile([], 0.99) == 0.0
