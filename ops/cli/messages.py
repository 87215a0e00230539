"""Messages: commands handed in, and what waits in the queues."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any

from models.commands.parsing import find_command_name, read_json_leniently
from models.ids import make_command_key
from ops import terminal
from ops.context import open_reader, open_redis
from ops.terminal import Progress
from workers.client import CommandClient
from workers.outbox import streams as event_streams
from workers.queries import monitoring
from workers.queries.reader import Reader
from workers.queue.redis import connect
from workers.settings import Settings

BATCH_SIZE = 5_000
"""Commands read, sent and waited for at a time."""


MAX_STALLED_SHOWN = 10
"""Commands that wait for long worth a line each."""

POLL_INTERVAL_S = 0.05


@dataclass(frozen=True, slots=True)
class SubmittedLine:
    """One command of the file: its line number, its text, and what names it to all senders."""

    line: int
    text: str
    key: str


def submit(settings: Settings, lines: Iterable[str], *, wait_s: float | None) -> int:
    """Hand in a file; with `wait_s` print each outcome, in the file's order, as JSON.

    Returns 1 if a line was no command object, or an outcome did not come in time.
    """
    entries, status = _read_commands(lines), 0
    with ExitStack() as stack, Progress("submitted") as progress:
        client = CommandClient(stack.enter_context(open_redis(settings)), settings.keyring)
        reader = stack.enter_context(open_reader(settings)) if wait_s is not None else None
        while chunk := list(islice(entries, BATCH_SIZE)):
            valid_entries = [entry for entry in chunk if isinstance(entry, SubmittedLine)]
            for line_error in (entry for entry in chunk if isinstance(entry, dict)):
                print(json.dumps(line_error), file=sys.stderr)
                status = 1
            arrival_seqs = client.submit_many(entry.text for entry in valid_entries)
            progress.add(len(valid_entries))
            if reader is not None and wait_s is not None:
                missing_count = _print_outcomes(
                    reader, list(zip(valid_entries, arrival_seqs, strict=True)), wait_s
                )
                status = 1 if missing_count else status
    return status


def _read_commands(lines: Iterable[str]) -> Iterator[SubmittedLine | dict[str, Any]]:
    """Read a file: a command a line, or a step of `simulate` whose `at` is ignored."""
    for number, text in enumerate(lines, start=1):
        if not text.strip():
            continue
        body = read_json_leniently(text)
        if not isinstance(body, dict):
            yield {"line": number, "error": "a JSON object is wanted: a command or a step"}
            continue
        if {"at"} <= body.keys() <= {"at", "command"}:
            if isinstance(body.get("command"), dict):
                inner = json.dumps(body["command"], ensure_ascii=False)
                yield SubmittedLine(number, inner, _key_of(inner))
            elif "command" in body:
                yield {"line": number, "error": "command: an object is wanted"}
            continue
        yield SubmittedLine(number, text.strip(), _key_of(text))


def _key_of(text: str) -> str:
    return make_command_key(*find_command_name(text))


def _print_outcomes(
    reader: Reader, submissions: list[tuple[SubmittedLine, int]], wait_s: float
) -> int:
    """Print outcomes as they become known, in order; return how many never did.

    In order while there is time: behind one that never comes they are printed when it is over.
    """
    give_up_at, printed_count = time.monotonic() + wait_s, 0
    keys = [(f"command:{entry.key}", arrival_seq) for entry, arrival_seq in submissions]
    outcomes: dict[tuple[str, int], Any] = {}
    while True:
        outcomes |= reader.outcome_bodies(
            [key for key in keys[printed_count:] if key not in outcomes]
        )
        while printed_count < len(keys) and keys[printed_count] in outcomes:
            _print_outcome(submissions[printed_count][0], outcomes[keys[printed_count]])
            printed_count += 1
        if printed_count == len(keys) or time.monotonic() > give_up_at:
            break
        time.sleep(POLL_INTERVAL_S)
    for (entry, _), key in zip(submissions[printed_count:], keys[printed_count:], strict=True):
        if key in outcomes:
            _print_outcome(entry, outcomes[key])
        else:
            error = f"no outcome after {wait_s:g} s: are workers running? `earnest up` starts them"
            print(json.dumps({"line": entry.line, "error": error}), file=sys.stderr)
    return sum(key not in outcomes for key in keys)


def _print_outcome(entry: SubmittedLine, body: dict[str, Any]) -> None:
    names, optional_names = ("sender", "outcome", "reason"), ("detail", "limits", "first", "shares")
    line = {"line": entry.line, "id": body["command_id"]} | {name: body[name] for name in names}
    line |= {name: body[name] for name in optional_names if body.get(name)}
    print(terminal.format_json(line), flush=True)


def show_queues(settings: Settings, *, as_json: bool) -> int:
    """Show what waits where, who is there to work, and how far the readers of events are."""
    with open_reader(settings) as reader, connect(settings.redis_url) as redis_client:
        status = monitoring.queue_status(reader.store.engine, redis_client)
        consumer_groups = (
            event_streams.list_groups(redis_client, settings.retention)
            if status["redis"] == "up"
            else []
        )
    if as_json:
        print(json.dumps(status | {"groups": [asdict(group) for group in consumer_groups]}))
        return 0
    rows = [
        (name, counts["waiting"], counts["in_flight"]) for name, counts in status["queues"].items()
    ]
    rows.append(("accepted over HTTP", status["inbox"]["commands"], None))
    rows.append(("events to publish", status["outbox"]["events"], None))
    print(terminal.draw_table("Queues", ("queue", "waiting", "in flight"), rows))
    print(f"\nOldest command: {status['oldest_seconds']:.1f} s. Redis is {status['redis']}.")
    print(f"Oldest unpublished event: {status['outbox']['lag_seconds']:.1f} s.")
    _print_stalled(status["stalled"])
    if status["locked_by"]:
        print(f"LOCKED: nobody can write to the database but {status['locked_by']}.")
    print(f"Workers alive: {status['workers_alive']}. {_duty_states(status)}")
    print(f"Aside: {status['quarantine']} in quarantine, {status['dead_letters']} dead letters.")
    for group in consumer_groups:
        late_note = " TOO FAR BEHIND" if group.behind else ""
        line = f"{group.stream}, group {group.name}: {group.lag + group.pending} unread{late_note}"
        print(terminal.without_controls(line))
    return 0


def _print_stalled(stalled_commands: list[dict[str, Any]]) -> None:
    """Name the commands that wait for long, and what they wait for; the oldest come first."""
    for stalled in stalled_commands[:MAX_STALLED_SHOWN]:
        behind = stalled["behind"] or "a row that somebody else has locked"
        about = ", ".join(stalled["about"])
        age = f"{stalled['seconds']:.1f} s"
        line = f"STALLED: {stalled['command']}, {age}, about {about}, behind {behind}."
        print(terminal.without_controls(line))
    if len(stalled_commands) > MAX_STALLED_SHOWN:
        print(f"STALLED: {len(stalled_commands) - MAX_STALLED_SHOWN} more commands.")


def _duty_states(status: dict[str, Any]) -> str:
    names = ("relay", "scheduler")
    return " ".join(f"{name}: {'at work' if status[name] else 'NOT THERE'}." for name in names)
