"""Consumer: turn events into notices, each once, whatever dies meanwhile.

    python examples/consumer.py redis://localhost:6379 notices.db

Reads `earnest:reminders` in the consumer group `notices`; `--stream earnest:events` reads
everything. Any number may run side by side on the same database. Nothing of Earnest is imported.

A notice and the id of its event are written in one transaction, and only then is the event
acknowledged. So a repeat is recognised, and what a dead sibling had taken is taken over: with its
notice if it came that far, without if it did not.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import sqlite3
import sys
import threading
from typing import Any

import redis

GROUP = "notices"
BATCH_SIZE = 100
BLOCK_MS = 1_000
RETRY_INTERVAL_S = 0.5

SCHEMA = """
CREATE TABLE IF NOT EXISTS notices (
    event_id TEXT PRIMARY KEY, recipient TEXT NOT NULL, text TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS told (recipient TEXT PRIMARY KEY, times INTEGER NOT NULL);
"""


class Notices:
    """The consumer's own store: which notice went to whom, and so which events are done."""

    def __init__(self, path: str) -> None:
        """Open the database, which siblings share."""
        self.connection = sqlite3.connect(path, timeout=30, isolation_level=None)
        self.connection.execute("PRAGMA journal_mode = WAL")
        self.connection.executescript(SCHEMA)

    def record(self, event: dict[str, Any]) -> None:
        """Write an event's notice down, unless that was done before."""
        data = event["data"]
        recipient = data.get("recipient_id") or data.get("client_id") or "operators"
        text = f"{event['type']} about {event['subject']}, due {data.get('due_at', '-')}"
        insert = "INSERT INTO notices VALUES (?, ?, ?) ON CONFLICT DO NOTHING"
        count = "INSERT INTO told VALUES (?, 1) ON CONFLICT DO UPDATE SET times = times + 1"
        self.connection.execute("BEGIN IMMEDIATE")
        try:
            if self.connection.execute(insert, (event["id"], recipient, text)).rowcount:
                self.connection.execute(count, (recipient,))
        except BaseException:
            self.connection.execute("ROLLBACK")
            raise
        self.connection.execute("COMMIT")


class Consumer:
    """One member of the group, under a name that nobody else has."""

    def __init__(self, client: redis.Redis, notices: Notices, stream: str, idle_ms: int) -> None:
        """Keep both ends; `idle_ms` is after how long a silent sibling counts as dead."""
        self.client, self.notices = client, notices
        self.stream, self.idle_ms = stream, idle_ms
        self.name = f"{socket.gethostname()}:{os.getpid()}"

    def run(self, stop_event: threading.Event) -> None:
        """Take events until told to stop; wait where Redis is away."""
        while not stop_event.is_set():
            try:
                self.take_over()
                self.take_new()
            except redis.ResponseError as error:
                if "NOGROUP" not in str(error):
                    raise
                self.join()
            except redis.RedisError as error:
                print(f"waiting: {error}", file=sys.stderr)
                stop_event.wait(RETRY_INTERVAL_S)

    def join(self) -> None:
        """Register the group, at the beginning: a server that was wiped has forgotten it."""
        try:
            self.client.xgroup_create(self.stream, GROUP, id="0", mkstream=True)
        except redis.ResponseError as error:
            if "BUSYGROUP" not in str(error):
                raise

    def take_over(self) -> None:
        """Handle what a sibling took and has not acknowledged for so long that it must be dead."""
        start = "0-0"
        while True:
            reply: Any = self.client.xautoclaim(
                self.stream, GROUP, self.name, self.idle_ms, start_id=start, count=BATCH_SIZE
            )
            start = reply[0].decode()
            self.handle(reply[1])
            if start == "0-0":
                return

    def take_new(self) -> None:
        """Handle what nobody has taken yet; block for a moment if there is nothing."""
        reply: Any = self.client.xreadgroup(
            GROUP, self.name, {self.stream: ">"}, count=BATCH_SIZE, block=BLOCK_MS
        )
        self.handle(reply[0][1] if reply else [])

    def handle(self, entries: list[Any]) -> None:
        """Handle entries one by one; acknowledge each after its effect is on disk."""
        for entry_id, fields in entries:
            self.notices.record(json.loads(fields[b"event"]))
            self.client.xack(self.stream, GROUP, entry_id)


def main() -> None:
    """Read the command line and run until a signal."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url", help="redis://… or unix://…")
    parser.add_argument("database", help="file of notices, shared by siblings")
    parser.add_argument("--stream", default="earnest:reminders")
    parser.add_argument("--idle-ms", type=int, default=30_000, help="silence of the dead")
    arguments = parser.parse_args()
    stop_event = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop_event.set())
    client = redis.Redis.from_url(arguments.url, socket_timeout=5)
    Consumer(client, Notices(arguments.database), arguments.stream, arguments.idle_ms).run(
        stop_event
    )


if __name__ == "__main__":
    main()
