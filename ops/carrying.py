"""Carrying: a run's commands through the door, a window at a time, until each has an outcome."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from models.errors import TransientError
from models.service.outcome import Receipt
from ops.progress import Progress
from ops.runs import Run
from workers.client import Client
from workers.queries.reader import Reader

CHUNK = 1_000
"""Commands handed in together."""


WINDOW = 3_000
"""Commands under way at once: the workers are never idle, and nobody else waits behind us long."""


LOOK_S = 0.05


AGAIN_S = 10.0
"""After so long without any outcome what is under way is sent again: Redis may have lost it."""


NAMED = 5
"""Orders named for each reason why one was refused."""


@dataclass(slots=True)
class Tally:
    """What became of a run so far."""

    outcomes: Counter[tuple[str, str | None]] = field(default_factory=Counter)
    named: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    missing: int = 0

    def add(self, receipt: Receipt) -> None:
        """Count one outcome, and remember of each refusal a few orders."""
        self.outcomes[receipt.outcome, receipt.reason] += 1
        if receipt.reason and receipt.about and len(self.named[receipt.reason]) < NAMED:
            self.named[receipt.reason].append(receipt.about)

    def shown(self) -> dict[str, Any]:
        """Describe it for a program."""
        rejections = {str(reason): count for (_, reason), count in self.outcomes.items() if reason}
        return {
            "applied": self.outcomes["applied", None],
            "rejected": dict(sorted(rejections.items())),
            "examples": {
                reason: sorted(order_ids) for reason, order_ids in sorted(self.named.items())
            },
            "missing": self.missing,
        }


@dataclass(slots=True, kw_only=True)
class Carrier:
    """Carries one run out; what is done already, by whomever, is only counted.

    It never gives up an order: after `patience_s` without any outcome it says what is missing,
    and whoever continues the run begins with that.
    """

    client: Client
    reader: Reader
    progress: Progress
    patience_s: float
    again_s: float = AGAIN_S
    tally: Tally = field(default_factory=Tally)
    _under_way: dict[str, str] = field(default_factory=dict)
    _unsent: dict[str, str] = field(default_factory=dict)
    _heard_at: float = 0.0
    _sent_at: float = 0.0

    def carry(self, run: Run) -> Tally:
        """Send every command of the plan that has no outcome, and wait until all have one."""
        plan = run.commands()
        self._heard_at = time.monotonic()
        while self._fill(plan):
            if self._go_on():
                continue
            if time.monotonic() - self._heard_at > self.patience_s:
                self.tally.missing = len(self._under_way) + sum(1 for _ in plan)
                break
            time.sleep(LOOK_S)
        return self.tally

    def _fill(self, plan: Iterator[tuple[str, str]]) -> bool:
        """Take more of the plan where there is room; False when nothing is left to do."""
        if len(self._under_way) <= WINDOW - CHUNK:
            next_commands = dict(islice(plan, CHUNK))
            self._under_way |= next_commands
            self._unsent |= next_commands
        return bool(self._under_way)

    def _go_on(self) -> bool:
        """Hear what has an outcome and send what has none; False where nothing has changed."""
        try:
            return self._hear() + self._send() > 0
        except TransientError:
            # A server is away, or so much is waiting that nothing is taken in: it is tried again.
            return False

    def _hear(self) -> int:
        receipts = self.reader.outcomes(self._under_way)
        for command_id, receipt in receipts.items():
            del self._under_way[command_id]
            self._unsent.pop(command_id, None)
            self.tally.add(receipt)
        self.progress.add(len(receipts))
        if receipts:
            self._heard_at = time.monotonic()
        return len(receipts)

    def _send(self) -> int:
        now = time.monotonic()
        if now - max(self._heard_at, self._sent_at) > self.again_s:
            self._unsent = dict(self._under_way)
        count = len(self._unsent)
        if count:
            self._sent_at = now
            self.client.submit_many(self._unsent.values())
            self._unsent = {}
        return count
