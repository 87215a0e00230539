"""Trial: one fault let loose on one database, and what the checker makes of it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from tests.fault.arena import Arena
from tests.fault.checker import Fault, Kind, check, lateness_s, recovery_s
from tests.fault.faults import Trouble
from tests.fault.oracle import books, replayed
from tests.fault.plots import POLICY
from workers.clock import now_us

WARM_UP_S = 2.0


@dataclass(slots=True)
class Verdict:
    """One row of the table."""

    fault: str
    database: str
    trials: int
    faults: list[Fault] = field(default_factory=list)
    lateness_s: float = 0.0
    recovery_s: float = 0.0

    def count(self, kind: Kind) -> int:
        return Counter(one.kind for one in self.faults)[kind]


def endure(trouble: Trouble, database: str, trials: int, seed: int, folder: Path) -> Verdict:
    """Strike a running Earnest `trials` times, let it come to rest, and look."""
    chance = Random(f"{seed} {trouble.name} {database}")  # noqa: S311
    with Arena(folder, database, trouble.plan, seed) as arena:
        arena.sender.stopping.wait(WARM_UP_S)
        for _ in range(trials):
            arena.sender.stopping.wait(chance.uniform(*trouble.pause_s))
            trouble.blow(arena, chance)
        last_us = now_us()
        arena.settle_down()
        evidence = arena.evidence()
        found = [*check(evidence), *books(arena.engine, POLICY)]
        found += replayed(arena.engine, evidence, POLICY)
    commands = len({one.command_id for one in evidence.sent})
    deadlines = sum(one.caused_by.startswith("deadline:") for one in evidence.happenings)
    met = {"blows": trials, "commands": commands, "deadlines": deadlines}
    return Verdict(
        trouble.name,
        database,
        met[trouble.counted],
        faults=found,
        lateness_s=lateness_s(evidence),
        recovery_s=recovery_s(evidence, last_us),
    )
