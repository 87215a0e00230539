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

from models.parse import Malformed, parse
from models.text import read_loosely
from ops.opened import books, wire
from ops.progress import Progress
from workers.client import Client
from workers.reading import Reader
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
            good = [one for one in chunk if isinstance(one, Entry)]
            for bad in (one for one in chunk if isinstance(one, dict)):
                print(json.dumps(bad), file=sys.stderr)
                status = 1
            stamps = client.submit_many(one.text for one in good)
            progress.add(len(good))
            if reader is not None and wait_s is not None:
                missing = _print_outcomes(reader, list(zip(good, stamps, strict=True)), wait_s)
                status = 1 if missing else status
    return status


def _entries(lines: Iterable[str]) -> Iterator[Entry | dict[str, Any]]:
    """Read a file: a command a line, or a step of `simulate` whose `at` is ignored."""
    for number, text in enumerate(lines, start=1):
        if not text.strip():
            continue
        found = read_loosely(text)
        if not isinstance(found, dict):
            yield {"line": number, "error": "a JSON object is wanted: a command or a step"}
            continue
        if {"at"} <= found.keys() <= {"at", "command"}:
            if isinstance(found.get("command"), dict):
                inner = json.dumps(found["command"], ensure_ascii=False)
                yield Entry(number, inner, _id_of(inner))
            elif "command" in found:
                yield {"line": number, "error": "command: an object is wanted"}
            continue
        yield Entry(number, text.strip(), _id_of(text))


def _id_of(text: str) -> str | None:
    try:
        return parse(text).id
    except Malformed as fault:
        return fault.command_id


def _print_outcomes(reader: Reader, sent: list[tuple[Entry, int]], wait_s: float) -> int:
    """Print outcomes as they become known, in order; return how many never did.

    In order while there is time: behind one that never comes they are printed when it is over.
    """
    until, shown = time.monotonic() + wait_s, 0
    keys = [(f"command:{one.command_id or '-'}", stamp) for one, stamp in sent]
    known: dict[tuple[str, int], Any] = {}
    while True:
        known |= reader.answers([key for key in keys[shown:] if key not in known])
        while shown < len(keys) and keys[shown] in known:
            _print_outcome(sent[shown][0], known[keys[shown]])
            shown += 1
        if shown == len(keys) or time.monotonic() > until:
            break
        time.sleep(LOOK_S)
    for (entry, _), key in zip(sent[shown:], keys[shown:], strict=True):
        if key in known:
            _print_outcome(entry, known[key])
        else:
            error = f"no outcome after {wait_s:g} s: are workers running? `earnest up` starts them"
            print(json.dumps({"line": entry.line, "error": error}), file=sys.stderr)
    return sum(key not in known for key in keys)


def _print_outcome(entry: Entry, body: dict[str, Any]) -> None:
    line = {"line": entry.line, "id": body["command_id"], "outcome": body["outcome"]}
    line |= {"reason": body["reason"]}
    line |= {"detail": body["detail"]} if body["detail"] else {}
    print(json.dumps(line, ensure_ascii=False), flush=True)
