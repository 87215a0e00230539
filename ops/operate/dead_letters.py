"""Dead letters: commands that nothing settled, handled again under their first receipt."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import redis

from models.commands.parsing import find_command_name
from models.ids import make_command_key
from workers.outbox.relay import notify_relay
from workers.processing import failures
from workers.processing.processor import BatchProcessor
from workers.queries.reader import Reader
from workers.queue.watermark import ArrivalClock


def replay(
    reader: Reader, redis_client: redis.Redis, dead_letters: Sequence[Any]
) -> list[dict[str, Any]]:
    """Handle commands again and say what became of each; one that fails again has no outcome."""
    reader.store.adopt_policy()
    processor = BatchProcessor(
        reader.store,
        ArrivalClock(redis_client, reader.store.engine),
        partial(notify_relay, redis_client),
    )
    return [_replay_one(processor, reader, dead_letter) for dead_letter in dead_letters]


def _replay_one(processor: BatchProcessor, reader: Reader, dead_letter: Any) -> dict[str, Any]:  # noqa: ANN401
    message = failures.read_dead_letter(dead_letter)
    sender, command_id = find_command_name(message.text)
    deferred = processor.settle([message])
    key = (f"command:{make_command_key(sender, command_id)}", dead_letter.stamp)
    outcome = reader.outcome_bodies([key]).get(key)
    document = {"letter": dead_letter.letter_id, "sender": sender, "command": command_id}
    if outcome is None:
        reason = (
            "commands before it are still being settled: try again"
            if deferred
            else "fails as before"
        )
        return document | {"outcome": None, "reason": reason}
    failures.mark_replayed(reader.store.engine, dead_letter.letter_id)
    return document | {"outcome": outcome["outcome"], "reason": outcome["reason"]}
