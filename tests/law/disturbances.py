"""Disturbances: what is done to a pipeline while a campaign runs, by seed."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Sequence
from random import Random

from tests.fault.processes.stack import ProcessStack
from tests.law.evidence import read_answered
from tests.law.sender import CampaignSender
from workers.timestamps import now_us

POLL_INTERVAL_S = 0.05
FREEZE_SHORT_S, FREEZE_LONG_S = 4.0, 17.0
"""Shorter and longer than the 15 s after which a worker counts as dead."""

RESEND_AFTER_S = 18.0
"""A sender's patience: by then all has said again what it has, and the grace is over."""


class Disturbance(threading.Thread):
    """Does some of `ACTIONS`, one after the other, each at its share of the campaign."""

    def __init__(
        self, stack: ProcessStack, sender: CampaignSender, rng: Random, names: Sequence[str]
    ) -> None:
        """Keep what to disturb, and the names of what to do, in order."""
        super().__init__(name="disturbance", daemon=True)
        self.stack, self.sender, self.rng, self.names = stack, sender, rng, names
        self.wiped_us: list[int] = []
        self.campaign_over = threading.Event()

    def run(self) -> None:
        """Wait for each moment in turn; what has not begun when the campaign ends is left out."""
        moments = sorted(self.rng.uniform(0.1, 0.8) for _ in self.names)
        for moment, name in zip(moments, self.names, strict=True):
            while len(self.sender.log) < moment * self.sender.command_count:
                if self.campaign_over.wait(POLL_INTERVAL_S):
                    return
            ACTIONS[name](self)

    def kill_workers(self) -> None:
        """Kill a few workers, one after the other."""
        for _ in range(3):
            self.stack.signal_process(self._worker())
            self.sender.stopping.wait(self.rng.uniform(0.1, 1.0))

    def freeze_worker(self, seconds: float) -> None:
        """Stop a worker for a while."""
        name = self._worker()
        if self.stack.signal_process(name, signal.SIGSTOP):
            self.sender.stopping.wait(seconds)
            self.stack.signal_process(name, signal.SIGCONT)

    def flush_redis(self) -> None:
        """Empty Redis; a little later the sender says again what has no outcome."""
        self.stack.redis_client.flushall()
        wiped_us = now_us()
        self.wiped_us.append(wiped_us)
        self.sender.stopping.wait(RESEND_AFTER_S)
        lost = self.sender.find_unanswered(read_answered(self.stack.engine), wiped_us)
        self.sender.send_again(lost.values())

    def _worker(self) -> str:
        return f"worker.{self.rng.randint(1, self.stack.options.workers)}"


ACTIONS: dict[str, Callable[[Disturbance], None]] = {
    "kill": Disturbance.kill_workers,
    "freeze short": lambda disturbance: disturbance.freeze_worker(FREEZE_SHORT_S),
    "freeze long": lambda disturbance: disturbance.freeze_worker(FREEZE_LONG_S),
    "flush": Disturbance.flush_redis,
}

POISONS = ("broken", "deadly")
"""Commands that cannot be judged, and that kill whoever judges them: part of the campaign."""


def choose_disturbances(rng: Random) -> list[str]:
    """Choose what a round with faults suffers: two or three things, in any order."""
    return rng.sample([*ACTIONS, *POISONS], rng.choice((2, 3)))
