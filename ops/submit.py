"""Submit: a file of commands into the pipeline, and what became of each."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice
from typing import Any

from models.commands.parsing import Malformed, parse, read_loosely
from ops.opened import books, wire
from ops.progress import Progress
from workers.client import Client
from workers.queries.reader import Reader
from workers.settings import Settings

CHUNK = 5_000
"""Commands read, sent and waited for at a time."""


LOOK_S = 0.05


@dataclass(frozen=True, slots=True)
class Entry:
    """One command of the file: its line number, its text, and the id that it gives itself."""

    line: int
    text: str
    command_id: str | None


def submit(settings: Settings, lines: Iterable[str], *, wait_s: float | None) -> int:
    """Hand in a file; with `wait_s` print each outcome, in the file's order, as JSON.

    Returns 1 if a line was no command object, or an outcome did not come in time.
    """
    entries, status = _entries(lines), 0
    with ExitStack() as stack, Progress("submitted") as progress:
        client = Client(stack.enter_context(wire(settings)), settings.keyring)
        reader = stack.enter_context(books(settings)) if wait_s is not None else None
        while chunk := list(islice(entries, CHUNK)):
            valid_entries = [entry for entry in chunk if isinstance(entry, Entry)]
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


def _entries(lines: Iterable[str]) -> Iterator[Entry | dict[str, Any]]:
    """Read a file: a command a line, or a step of `simulate` whose `at` is ignored."""
    for number, text in enumerate(lines, start=1):
        if not text.strip():
            continue
        body = read_loosely(text)
        if not isinstance(body, dict):
            yield {"line": number, "error": "a JSON object is wanted: a command or a step"}
            continue
        if {"at"} <= body.keys() <= {"at", "command"}:
            if isinstance(body.get("command"), dict):
                inner = json.dumps(body["command"], ensure_ascii=False)
                yield Entry(number, inner, _id_of(inner))
            elif "command" in body:
                yield {"line": number, "error": "command: an object is wanted"}
            continue
        yield Entry(number, text.strip(), _id_of(text))


def _id_of(text: str) -> str | None:
    try:
        return parse(text).id
    except Malformed as error:
        return error.command_id


def _print_outcomes(reader: Reader, submissions: list[tuple[Entry, int]], wait_s: float) -> int:
    """Print outcomes as they become known, in order; return how many never did.

    In order while there is time: behind one that never comes they are printed when it is over.
    """
    give_up_at, printed_count = time.monotonic() + wait_s, 0
    keys = [
        (f"command:{entry.command_id or '-'}", arrival_seq) for entry, arrival_seq in submissions
    ]
    outcomes: dict[tuple[str, int], Any] = {}
    while True:
        outcomes |= reader.answers([key for key in keys[printed_count:] if key not in outcomes])
        while printed_count < len(keys) and keys[printed_count] in outcomes:
            _print_outcome(submissions[printed_count][0], outcomes[keys[printed_count]])
            printed_count += 1
        if printed_count == len(keys) or time.monotonic() > give_up_at:
            break
        time.sleep(LOOK_S)
    for (entry, _), key in zip(submissions[printed_count:], keys[printed_count:], strict=True):
        if key in outcomes:
            _print_outcome(entry, outcomes[key])
        else:
            error = f"no outcome after {wait_s:g} s: are workers running? `earnest up` starts them"
            print(json.dumps({"line": entry.line, "error": error}), file=sys.stderr)
    return sum(key not in outcomes for key in keys)


def _print_outcome(entry: Entry, body: dict[str, Any]) -> None:
    line = {"line": entry.line, "id": body["command_id"], "outcome": body["outcome"]}
    line |= {"reason": body["reason"]}
    line |= {"detail": body["detail"]} if body["detail"] else {}
    print(json.dumps(line, ensure_ascii=False), flush=True)
