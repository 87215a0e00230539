"""Batch numbers: a worker that stamps commands as it takes them, batch by batch."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tests.law.controls import no_announcing
from workers.queue import consumer
from workers.queue.messages import read_message
from workers.queue.redis import FetchedMessage
from workers.timestamps import now_us


def replace_part() -> None:
    """Let the order of taking decide, as if a batch that is taken first were judged first."""
    no_announcing.replace_part()
    last = [0]

    def read_as_taken(queue: str, message: FetchedMessage, *arguments: Any) -> Any:  # noqa: ANN401
        last[0] = max(last[0] + consumer_gap(message), now_us())
        return read_message(queue, replace(message, stamp=last[0]), *arguments)

    vars(consumer)["read_message"] = read_as_taken


def consumer_gap(message: FetchedMessage) -> int:
    """Leave room for the stamps of a message's commands."""
    return 1 + message.payload.count(b"kind")
