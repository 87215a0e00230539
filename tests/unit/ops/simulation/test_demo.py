"""Demo: it reports that all is right exactly when it is."""

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
    """A pipeline in memory; `spoil` changes commands, its audit finds `finding_subjects`."""

    clock: HostClock
    simulation: Simulation = field(default_factory=lambda: Simulation(UnitOfWork(policy=POLICY)))
    reminders: Counter[StateAndReason] = field(default_factory=Counter)
    answers: Counter[StateAndReason] = field(default_factory=Counter)
    spoil: Callable[[str], str] = lambda text: text
    finding_subjects: tuple[str, ...] = ()

    def submit(self, texts: Sequence[str]) -> None:
        for text in texts:
            self._count(SimulationStep(self.clock.now(), self.spoil(text)))

    def _count(self, step: SimulationStep) -> None:
        for line in self.simulation.play(step):
            reminder_events = (event for event in line["events"] if "reminded" in event["type"])
            self.reminders.update(
                reminder_kind(event["type"], event["caused_by"]) for event in reminder_events
            )
            if "outcome" in line:
                self.answers[line["outcome"], line["reason"]] += 1

    def count_outcomes(self) -> int:
        return len(self.simulation.state.receipts)

    def endings(self) -> Counter[StateAndReason]:
        return Counter(map(order_state_and_reason, self.orders()))

    def outcomes(self, keys: Collection[str]) -> Mapping[str, Receipt]:
        receipts = self.simulation.state.receipts
        return {key: receipts[key] for key in keys if key in receipts}

    def orders(self) -> Iterator[Order]:
        self._count(SimulationStep(self.clock.now(), None))
        return iter(list(self.simulation.state.orders.values()))

    def answer_counts(self) -> Counter[StateAndReason]:
        return self.answers

    def posting_totals(self) -> Sequence[Posting]:
        return [posting for _, posting in self.simulation.state.postings]

    def reminder_counts(self) -> Counter[StateAndReason]:
        return self.reminders

    def lateness(self) -> Sequence[float]:
        return [0.01, 0.02]

    def audit(self) -> AuditReport:
        return AuditReport(
            findings=[Finding("no_debts", subject, "-5 fen") for subject in self.finding_subjects]
        )


@cache
def demo_campaign() -> PreparedCampaign:
    return prepare_campaign()


def compare_run(pipeline: InMemoryPipeline) -> tuple[set[str], str]:
    running = RunningPipeline(pipeline.submit, pipeline, dict)
    played, actual = play_campaign(demo_campaign(), running, pipeline.clock)
    checks = comparison.compare(played.expectation, actual)
    report = comparison.render_comparison(played.expectation, actual, played.steps)
    return {check.claim for check in checks if check.faults}, report


def test_the_demo_finds_nothing_wrong_with_a_pipeline_that_obeys_the_rules() -> None:
    wrong, report = compare_run(InMemoryPipeline(InstantClock()))
    assert wrong == set()
    assert "settled" in report
    assert "·" in report
    assert "NO," not in report


def test_the_demo_notices_a_changed_command() -> None:
    pipeline = InMemoryPipeline(
        InstantClock(), spoil=lambda text: text.replace('"decline_order"', '"nudge_creator"')
    )
    wrong, report = compare_run(pipeline)
    assert "every command has the outcome foreseen" in wrong
    assert "every order came to the ending foreseen" in wrong
    assert "NO," in report


def test_the_demo_notices_a_lost_command() -> None:
    pipeline = InMemoryPipeline(
        InstantClock(), spoil=lambda text: "{}" if '"confirm_refund-' in text else text
    )
    wrong, _ = compare_run(pipeline)
    assert wrong == {
        "every message was answered, bad ones too",
        "every command has the outcome foreseen",
        "every account holds the money foreseen",
        "every fen went where it should",
    }


def test_the_demo_notices_a_finding_of_the_audit() -> None:
    wrong, _ = compare_run(InMemoryPipeline(InstantClock(), finding_subjects=("escrow:ord-1",)))
    assert wrong == {"the audit finds nothing wrong"}


def test_the_demo_notices_a_process_left_running() -> None:
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


def test_the_quantile_of_no_measurements_is_zero() -> None:
    assert quantile([], 0.99) == 0.0
