"""Dead letters: commands that nothing settled, handled again under their first receipt."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import redis

from ops.serializers import read_command
from workers.outbox.relay import notify_relay
from workers.processing import failures
from workers.processing.processor import BatchProcessor
from workers.queries.reader import Reader
from workers.queue.watermark import ArrivalClock


def replay(reader: Reader, client: redis.Redis, letters: Sequence[Any]) -> list[dict[str, Any]]:
    """Settle letters again and say what became of each; one that fails as before has no outcome."""
    reader.store.adopt_policy()
    settler = BatchProcessor(
        reader.store, ArrivalClock(client, reader.store.engine), partial(notify_relay, client)
    )
    return [_replay_one(settler, reader, letter) for letter in letters]


def _replay_one(settler: BatchProcessor, reader: Reader, letter: Any) -> dict[str, Any]:  # noqa: ANN401
    message, command_id = failures.read_dead_letter(letter), read_command(letter).get("id")
    deferred = settler.settle([message])
    key = (f"command:{command_id or '-'}", letter.stamp)
    answer = reader.outcome_bodies([key]).get(key)
    document = {"letter": letter.letter_id, "command": command_id}
    if answer is None:
        reason = (
            "commands before it are still being settled: try again"
            if deferred
            else "fails as before"
        )
        return document | {"outcome": None, "reason": reason}
    failures.mark_replayed(reader.store.engine, letter.letter_id)
    return document | {"outcome": answer["outcome"], "reason": answer["reason"]}
