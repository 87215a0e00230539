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
    """One row of the table."""

    fault: str
    database: str
    trials: int
    faults: list[CheckerFinding] = field(default_factory=list)
    lateness_s: float = 0.0
    recovery_s: float = 0.0

    def count(self, kind: FindingKind) -> int:
        return Counter(fault.kind for fault in self.faults)[kind]


def run_trial(
    trouble: FaultScenario, database: str, trials: int, seed: int, folder: Path
) -> TrialResult:
    """Strike a running Earnest `trials` times, let it come to rest, and look."""
    rng = Random(f"{seed} {trouble.name} {database}")  # noqa: S311
    with FaultStack(folder, database, trouble.plan, seed) as arena:
        arena.sender.stopping.wait(WARM_UP_S)
        for _ in range(trials):
            arena.sender.stopping.wait(rng.uniform(*trouble.pause_s))
            trouble.blow(arena, rng)
        last_blow_us = now_us()
        arena.wait_until_settled()
        evidence = arena.collect()
        faults = [*check(evidence), *audit_findings(arena.engine, POLICY)]
        faults += model_findings(arena.engine, evidence, POLICY)
    command_count = len({submission.command_id for submission in evidence.sent})
    deadline_count = sum(event.caused_by.startswith("deadline:") for event in evidence.happenings)
    trial_counts = {"blows": trials, "commands": command_count, "deadlines": deadline_count}
    return TrialResult(
        trouble.name,
        database,
        trial_counts[trouble.counted],
        faults=faults,
        lateness_s=lateness_s(evidence),
        recovery_s=recovery_s(evidence, last_blow_us),
    )
