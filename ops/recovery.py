"""Recovery: what consumers were told and the database no longer knows, as files to send again."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import redis
from sqlalchemy import Engine

from models.errors import Unavailable
from models.events.notifications import CommandSettled, TimelineBegan
from models.fields import parse_instant
from workers.outbox.streams import EVENTS_STREAM
from workers.outbox.timeline import known_events

PAGE_SIZE = 500

Published = dict[str, Any]
"""An event as consumers read it: CloudEvents JSON, parsed."""

MONEY_EVENTS = ("payment.", "refund.", "payout.", "suspense.")
"""What begins the names of events about money that has moved, or is to."""


@dataclass(slots=True)
class LostEvents:
    """What the streams still hold and the database lacks, in the order in which it was told.

    `last_stamp` is the largest stamp that any sender has heard of, lost or not; `first_kept_at` is
    when the oldest event was written that the streams still hold: what is older cannot be compared.
    """

    events: list[Published] = field(default_factory=list)
    compared: int = 0
    last_stamp: int = 0
    first_kept_at: str | None = None

    @property
    def commands(self) -> list[dict[str, Any]]:
        """Return the outcomes that senders were told: they may send these commands again."""
        return [event["data"] for event in self.events if event["type"] == CommandSettled.type]

    @property
    def money(self) -> list[Published]:
        """Return the events about money."""
        return [event for event in self.events if event["type"].startswith(MONEY_EVENTS)]

    def count_types(self) -> dict[str, int]:
        """Count what was lost, by type."""
        return dict(sorted(Counter(event["type"] for event in self.events).items()))

    def count_senders(self) -> dict[str, int]:
        """Count the commands that were lost, by sender."""
        return dict(sorted(Counter(_sender_of(command) for command in self.commands).items()))


def find_lost_events(engine: Engine, client: redis.Redis) -> LostEvents:
    """Compare the stream of events with the database; raise `Unavailable` where one is away."""
    lost = LostEvents()
    for page in _pages(client):
        lost.compared += len(page)
        lost.first_kept_at = lost.first_kept_at or page[0]["time"]
        names = [_name_of(event) for event in page]
        known = {(name, kind, at) for name, kind, at in known_events(engine, names)}
        for name, event in zip(names, page, strict=True):
            if event["type"] == CommandSettled.type:
                lost.last_stamp = max(lost.last_stamp, int(name.rpartition("/")[2]))
            if (name, event["type"], parse_instant(event["time"])) not in known:
                lost.events.append(event)
            elif event["type"] == TimelineBegan.type:
                # What was lost before that was dealt with then.
                lost.events.clear()
    return lost


def _pages(client: redis.Redis) -> Iterator[list[Published]]:
    after = "-"
    while True:
        try:
            entries: Any = client.xrange(EVENTS_STREAM, min=after, count=PAGE_SIZE)
        except redis.RedisError as error:
            raise Unavailable(f"Redis does not answer: {error}") from error
        if not entries:
            return
        yield [json.loads(fields[b"event"]) for _, fields in entries]
        after = f"({entries[-1][0].decode()}"


def _name_of(event: Published) -> str:
    """Return subject and number of an event, without its timeline."""
    return re.sub(r"~\d+$", "", str(event["id"]))


def _sender_of(command: dict[str, Any]) -> str:
    return command.get("sender") or "unknown"


def write_lost_events(lost: LostEvents, folder: Path) -> list[Path]:
    """Write a file for each sender, one of money, and one of all; only their owner may read them.

    Commands are named by the ids under which their senders know them: their texts are with whoever
    sent them. Raise `OSError` where that fails, or where a file is there already.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    contents: dict[str, Sequence[dict[str, Any]]] = {
        f"commands-{sender.replace(':', '-')}.jsonl": [
            command for command in lost.commands if _sender_of(command) == sender
        ]
        for sender in lost.count_senders()
    }
    contents |= {"money.jsonl": lost.money, "events.jsonl": lost.events}
    paths = []
    for name, items in contents.items():
        path = folder / name
        with path.open("x", encoding="utf-8") as file:
            path.chmod(0o600)
            file.writelines(json.dumps(item, ensure_ascii=False) + "\n" for item in items)
        paths.append(path)
    return paths
