"""Global watermark: a worker that judges what it has, and only refusals again.

What would be refused waits until everything received earlier, by anybody about anything, has been
settled; whatever is applied is applied at once.
"""

from __future__ import annotations

from collections.abc import Mapping

from workers.processing.batch import Batch
from workers.queue.frontier import Blocker, Frontier
from workers.queue.messages import Received
from workers.queue.redis import COMMANDS, Keys
from workers.queue.watermark import ArrivalClock

COMMAND_KEYS = Keys(COMMANDS)
WATERMARKS: list[Blocker | None] = [None]
"""The watermark of the batch at hand."""


def replace_part() -> None:
    """Let subjects block nobody, and the oldest unsettled message all refusals after it."""
    judge = Batch.judge

    def oldest_alone(
        clock: ArrivalClock, announcements: Mapping[str, bytes], before: int
    ) -> Frontier:
        reply = clock.scripts.frontier(COMMAND_KEYS, announcements, before=before)
        oldest = min((message.stamp for message in reply.earlier), default=None)
        watermark = None if oldest is None else Blocker("", 0, oldest)
        WATERMARKS[0] = watermark
        return Frontier(reply.now)

    def judge_unless_refused_too_early(batch: Batch, received: Received) -> None:
        uow, watermark = batch.page.uow, WATERMARKS[0]
        uow.savepoint()
        marks = len(batch.page.events), len(batch.page.outcomes)
        judge(batch, received)
        answers = batch.page.outcomes[marks[1] :]
        refused = any(getattr(answer.fact, "outcome", "") == "rejected" for answer in answers)
        if refused and watermark is not None and watermark.stamp < received.stamp:
            uow.rollback()
            del batch.page.events[marks[0] :], batch.page.outcomes[marks[1] :]
            batch.hold(received, watermark)

    ArrivalClock.frontier = oldest_alone  # type: ignore[method-assign, assignment]
    Batch.judge = judge_unless_refused_too_early  # type: ignore[method-assign, assignment]
