"""Latency: from handing in a command to its published outcome, by an open loop."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from bench import workload
from bench.servers import BenchServers, process_command, running_servers, wait_until_empty
from workers.client import CommandClient
from workers.outbox.streams import EVENTS_STREAM

POLL_INTERVAL_S = 0.002
"""How often the sender looks: what it notices too late counts as waiting."""

MAX_PEOPLE = 1_000_000
"""Commands of people beside something else: more than any measurement lasts for."""

SETTLED = b"command.settled"
COMMAND_ID = re.compile(rb'"command_id": ?"([^"]+)"')


@dataclass(slots=True)
class LatencyRecorder:
    """When each command was to be sent, and when its outcome was seen."""

    due: dict[str, float] = field(default_factory=dict)
    seen: dict[str, float] = field(default_factory=dict)

    def milliseconds(self) -> list[float]:
        """Return every latency; one never seen counts as infinite."""
        missing = float("inf")
        return sorted(1000 * (self.seen.get(key, missing) - at) for key, at in self.due.items())


def open_loop(database: str, per_second: float, seconds: float) -> list[float]:
    """Send at fixed instants whatever happens, and return sorted latencies in ms.

    Each is counted from the instant at which the command was due to be sent, so a stall is paid
    for by everyone who would have come during it.
    """
    with (
        running_servers(database) as servers,
        servers.running(*map(process_command, ("worker", "relay", "scheduler"))),
    ):
        client = ready_client(servers)
        with recording(servers) as recorder:
            _send_when_due(client, recorder, per_second, int(per_second * seconds))
        return recorder.milliseconds()


def full_load(database: str, commands: int) -> float:
    """Return the commands a second from one sender to the stream when nobody waits for anybody.

    Everything is counted that a machine does for a command: the sender, the worker, the relay.
    """
    with (
        running_servers(database) as servers,
        servers.running(*map(process_command, ("worker", "relay", "scheduler"))),
    ):
        client = ready_client(servers)
        with recording(servers) as recorder:
            began = time.monotonic()
            recorder.due |= {f"place_{number:08}": began for number in range(commands)}
            client.submit_many(map(workload.place, range(commands)), per_message=1)
        return 1000 * commands / recorder.milliseconds()[-1]


def after_idleness(database: str, seconds: float) -> float:
    """Return the latency in ms of the first command after a silence."""
    with (
        running_servers(database) as servers,
        servers.running(*map(process_command, ("worker", "relay", "scheduler"))),
    ):
        client = ready_client(servers)
        time.sleep(seconds)
        with recording(servers) as recorder:
            recorder.due["place_00000000"] = time.monotonic()
            client.submit(workload.place(0))
        return recorder.milliseconds()[0]


def ready_client(servers: BenchServers) -> CommandClient:
    """Admit the creator, and wait until that is published: by then everybody is at work."""
    client = CommandClient(servers.redis)
    client.submit(workload.registration())
    wait_until_empty(lambda: not servers.redis.xlen(EVENTS_STREAM))
    return client


@contextmanager
def recording(servers: BenchServers) -> Iterator[LatencyRecorder]:
    """Note when each outcome is seen, until all are, or it is too late."""
    recorder, stop = LatencyRecorder(), threading.Event()
    # From here on: to read what was before would take seconds, which nobody has waited.
    latest: Any = servers.redis.xrevrange(EVENTS_STREAM, count=1)
    last_id = latest[0][0] if latest else b"0"
    reader = threading.Thread(target=_watch, args=(servers, recorder, stop, last_id))
    reader.start()
    try:
        yield recorder
        _wait(recorder)
    finally:
        stop.set()
        reader.join()


def _send_when_due(
    client: CommandClient,
    recorder: LatencyRecorder,
    per_second: float,
    total: int,
    *,
    first: int = 0,
    stop: threading.Event | None = None,
) -> None:
    """Look now and then what is due, and hand it in, each command in a message of its own."""
    sent_count, began_at = 0, time.monotonic()
    while sent_count < total and not (stop and stop.is_set()):
        time.sleep(POLL_INTERVAL_S)
        due_count = min(total, int((time.monotonic() - began_at) * per_second) + 1)
        numbers = range(first + sent_count, first + due_count)
        for number in numbers:
            due_at = began_at + (number - first) / per_second
            recorder.due[f"place_{number:08}"] = due_at
        client.submit_many(map(workload.place, numbers), per_message=1)
        sent_count = due_count


@contextmanager
def people(servers: BenchServers, per_second: float, *, first: int) -> Iterator[LatencyRecorder]:
    """Let people place orders at fixed instants as long as the block lasts, whatever it does.

    Their orders are numbered from `first` on. The waits are complete when the block has ended.
    """
    stop = threading.Event()
    client = CommandClient(servers.redis)
    with recording(servers) as recorder:
        arguments = {"first": first, "stop": stop}
        sender = threading.Thread(
            target=_send_when_due, args=(client, recorder, per_second, MAX_PEOPLE), kwargs=arguments
        )
        sender.start()
        try:
            yield recorder
        finally:
            stop.set()
            sender.join()


def _watch(
    servers: BenchServers, recorder: LatencyRecorder, stop: threading.Event, last_id: bytes
) -> None:
    while not stop.is_set():
        streams: Any = servers.redis.xread({EVENTS_STREAM: last_id}, count=1_000, block=100)
        now = time.monotonic()
        for _, entries in streams or ():
            last_id = entries[-1][0]
            for _, entry in entries:
                # Whoever measures shares two cores with what is measured: nothing is parsed whole.
                if SETTLED in entry[b"event"]:
                    (command_id,) = COMMAND_ID.findall(entry[b"event"])
                    recorder.seen[command_id.decode()] = now


def _wait(recorder: LatencyRecorder) -> None:
    until = time.monotonic() + 30
    while recorder.due.keys() - recorder.seen.keys() and time.monotonic() < until:
        time.sleep(0.05)


def percentile(values: list[float], percent: float) -> float:
    """Return the value that so many percent of sorted values do not exceed."""
    return values[min(len(values) - 1, int(len(values) * percent / 100))]
