"""Dead letters: commands that nothing settled, handled again under their first receipt."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import redis

from ops.serializers import command_of
from workers.outbox.relay import ring
from workers.processing import failures
from workers.processing.processor import Settler
from workers.queries.reader import Reader
from workers.queue.watermark import RedisDoor


def settled_again(
    reader: Reader, client: redis.Redis, letters: Sequence[Any]
) -> list[dict[str, Any]]:
    """Settle letters again and say what became of each; one that fails as before has no outcome."""
    reader.store.adopt_policy()
    settler = Settler(reader.store, RedisDoor(client, reader.store.engine), partial(ring, client))
    return [_replayed(settler, reader, letter) for letter in letters]


def _replayed(settler: Settler, reader: Reader, letter: Any) -> dict[str, Any]:  # noqa: ANN401
    message, command_id = failures.read_dead_letter(letter), command_of(letter).get("id")
    deferred = settler.settle([message])
    key = (f"command:{command_id or '-'}", letter.stamp)
    answer = reader.answers([key]).get(key)
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
