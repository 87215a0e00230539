"""Producer: hand in commands and learn their outcomes, with redis-py and nothing of Earnest.

    python examples/producer.py redis://localhost:6379 < commands.jsonl

Prints one outcome a line. Whatever has none after a while is sent again under the same id, which
does no harm: a command takes effect once. An id belongs to its sender: others may use it too, so
outcomes are told apart by both.
"""

from __future__ import annotations

import json
import sys
import time
import uuid
from pathlib import Path
from typing import Any

import redis

ENQUEUE = Path(__file__).parents[1] / "docs" / "contract" / "enqueue.lua"
NAMESPACE = "earnest"
KEYS = [f"{NAMESPACE}:commands", NAMESPACE]
EVENTS = f"{NAMESPACE}:events"

MAX_WAITING = 1_000_000
PER_MESSAGE = 100
OUTCOME_TIMEOUT_S = 10.0
RETRY_INTERVAL_S = 0.5


def message(texts: list[str]) -> list[str]:
    """Write one message of up to 100 commands: its id, their number, its text."""
    body: dict[str, Any] = {"queue_name": "commands", "actor_name": "settle_commands"}
    return [str(uuid.uuid4()), str(len(texts)), json.dumps(body | {"kwargs": {"commands": texts}})]


def submit(client: redis.Redis, texts: list[str]) -> None:
    """Enqueue commands; wait while the queue is full."""
    enqueue = client.register_script(ENQUEUE.read_text("utf-8"))
    for n in range(0, len(texts), PER_MESSAGE):
        arguments = [str(MAX_WAITING), *message(texts[n : n + PER_MESSAGE])]
        while not enqueue(keys=KEYS, args=arguments):
            time.sleep(RETRY_INTERVAL_S)


def last_event_id(client: redis.Redis) -> str:
    """Return the id of the last event in the stream, where reading is to begin."""
    entries: Any = client.xrevrange(EVENTS, count=1)
    return entries[0][0].decode() if entries else "0"


def subject_of(line: str) -> str:
    """Return what the outcome of a command will be about: its sender and its id."""
    command = json.loads(line)
    return f"command:{command['by']['role']}:{command['by']['id']}:{command['id']}"


def collect(client: redis.Redis, waiting: dict[str, str], start: str) -> None:
    """Print the outcomes of `waiting`, and take them out, until all are known or time is up."""
    last_id, until = start, time.monotonic() + OUTCOME_TIMEOUT_S
    while waiting and time.monotonic() < until:
        streams: Any = client.xread({EVENTS: last_id}, count=1_000, block=1_000)
        for last_id, fields in streams[0][1] if streams else ():  # noqa: B007 - it is where to go on
            event = json.loads(fields[b"event"])
            if event["type"] == "command.settled" and waiting.pop(event["subject"], None):
                print(json.dumps(event["data"], ensure_ascii=False), flush=True)


def main(url: str) -> None:
    """Hand in what standard input has, until every command has its outcome."""
    # A repeat that redis-py decides on would be another message: ours are enough.
    client = redis.Redis.from_url(url, socket_timeout=5, retry=None)
    lines = [line.strip() for line in sys.stdin if line.strip()]
    waiting = {subject_of(line): line for line in lines}
    while waiting:
        try:
            start = last_event_id(client)
            submit(client, list(waiting.values()))
            collect(client, waiting, start)
        except redis.RedisError as error:
            print(f"trying again: {error}", file=sys.stderr)
            time.sleep(RETRY_INTERVAL_S)


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "redis://localhost:6379")
