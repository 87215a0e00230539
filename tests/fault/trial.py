"""Trial: one fault let loose on one database, and what the checker makes of it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from tests.fault.checks.checker import CheckerFinding, FindingKind, check, lateness_s, recovery_s
from tests.fault.checks.model import audit_findings, model_findings
from tests.fault.faults import FaultScenario
from tests.fault.processes.order_lives import POLICY
from tests.fault.processes.stack import FaultStack
from workers.timestamps import now_us

WARM_UP_S = 2.0


@dataclass(slots=True)
class TrialResult:
    """What one fault did to one database: a row of the table, and of the JSON."""

    fault: str
    database: str
    trials: int
    faults: list[CheckerFinding] = field(default_factory=list)
    lateness_s: float = 0.0
    recovery_s: float = 0.0

    def count(self, kind: FindingKind) -> int:
        return Counter(fault.kind for fault in self.faults)[kind]


def run_trial(
    scenario: FaultScenario, database: str, trials: int, seed: int, folder: Path
) -> TrialResult:
    """Inject a fault into a running Earnest `trials` times, let it come to rest, and check it."""
    rng = Random(f"{seed} {scenario.name} {database}")  # noqa: S311
    with FaultStack(folder, database, scenario.options, seed) as stack:
        stack.sender.stopping.wait(WARM_UP_S)
        for _ in range(trials):
            stack.sender.stopping.wait(rng.uniform(*scenario.pause_s))
            scenario.inject(stack, rng)
        last_fault_us = now_us()
        stack.wait_until_settled()
        evidence = stack.collect()
        faults = [*check(evidence), *audit_findings(stack.engine, POLICY)]
        faults += model_findings(stack.engine, evidence, POLICY)
    command_count = len({submission.key for submission in evidence.sent})
    deadline_count = sum(event.caused_by.startswith("deadline:") for event in evidence.events)
    trial_counts = {"faults": trials, "commands": command_count, "deadlines": deadline_count}
    return TrialResult(
        scenario.name,
        database,
        trial_counts[scenario.counted],
        faults=faults,
        lateness_s=lateness_s(evidence),
        recovery_s=recovery_s(evidence, last_fault_us),
    )
