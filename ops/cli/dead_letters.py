"""Dead letters and quarantine: what could not be handled, listed, shown, replayed and dropped."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from ops import terminal
from ops.context import open_reader
from ops.errors import UsageError
from ops.operate.dead_letters import replay
from ops.serializers import (
    escaped_payload,
    quarantine_head,
    serialize_dead_letter,
    serialize_quarantined,
)
from workers.processing import failures
from workers.queries.reader import Reader
from workers.queue.redis import connect
from workers.runtime import configure_logs
from workers.settings import Settings

DEAD_LETTER_HEADS = ("letter", "sender", "command", "kind", "received", "died", "replayed", "error")


def list_dead_letters(settings: Settings, *, as_json: bool) -> int:
    """List all dead letters, oldest first."""
    with open_reader(settings) as reader:
        dead_letters = failures.list_dead_letters(reader.store.engine)
    documents = [serialize_dead_letter(dead_letter) for dead_letter in dead_letters]
    if as_json:
        print(terminal.format_json({"dead_letters": documents}))
        return 0
    rows = [_dead_letter_row(document) for document in documents]
    print(
        terminal.draw_table("Dead letters", DEAD_LETTER_HEADS, rows) if rows else "No dead letters."
    )
    return 0


def show_dead_letter(settings: Settings, letter_id: int, *, as_json: bool) -> int:
    """Show one dead letter, with the command's text as it came in."""
    with open_reader(settings) as reader:
        (dead_letter,) = _find_dead_letters(reader, [letter_id])
    document = serialize_dead_letter(dead_letter) | {"text": dead_letter.command}
    if as_json:
        print(terminal.format_json(document))
        return 0
    for name, value in document.items():
        # JSON, because a text may contain what a terminal obeys.
        print(f"{name:<12}{json.dumps(value) if value is not None else '-'}")
    return 0


def replay_dead_letters(settings: Settings, letter_ids: Sequence[int], *, as_json: bool) -> int:
    """Handle dead letters again, all that wait where none is named; 1 if any has no outcome still.

    Here, and not by way of Redis: there they would arrive anew, and a command received in time
    would be late. So they are handled under their first instant and arrival number; doing it twice,
    or beside a worker that still has the command, changes nothing: receipts are read first.
    """
    with open_reader(settings) as reader, connect(settings.redis_url) as redis_client:
        engine = reader.store.engine
        dead_letters = _find_dead_letters(reader, letter_ids) if letter_ids else []
        dead_letters = dead_letters or list(failures.list_dead_letters(engine, replayed=False))
        configure_logs("replay")
        outcomes = replay(reader, redis_client, dead_letters)
    if as_json:
        print(terminal.format_json({"replayed": outcomes}))
    else:
        rows = [
            (outcome["letter"], outcome["command"], outcome["outcome"], outcome["reason"])
            for outcome in outcomes
        ]
        heads = ("letter", "command", "outcome", "reason")
        print(terminal.draw_table("Replayed", heads, rows) if rows else "No dead letters wait.")
    return 1 if any(outcome["outcome"] is None for outcome in outcomes) else 0


def _find_dead_letters(reader: Reader, letter_ids: Sequence[int]) -> list[Any]:
    dead_letters_by_id = failures.dead_letters_by_id(reader.store.engine, letter_ids)
    for letter_id in letter_ids:
        if letter_id not in dead_letters_by_id:
            raise UsageError(f"no letter {letter_id}: `earnest dead-letters` lists those there are")
    return [dead_letters_by_id[letter_id] for letter_id in sorted(dead_letters_by_id)]


def _dead_letter_row(document: dict[str, Any]) -> tuple[terminal.Cell, ...]:
    *cells, error = document.values()
    return (*cells, terminal.shorten(error, 60))


QUARANTINE_HEADS = ("item", "queue", "message", "reason", "bytes", "at", "begins with")


QUARANTINE_HINT = "`earnest quarantine` lists those there are"


def list_quarantined(settings: Settings, *, as_json: bool) -> int:
    """List all items, oldest first."""
    with open_reader(settings) as reader:
        items = failures.list_quarantined(reader.store.engine)
    if as_json:
        print(json.dumps({"quarantine": [serialize_quarantined(item) for item in items]}))
        return 0
    rows = [
        (*quarantine_head(item).values(), terminal.shorten(escaped_payload(item), 40))
        for item in items
    ]
    print(
        terminal.draw_table("Quarantine", QUARANTINE_HEADS, rows)
        if rows
        else "The quarantine is empty."
    )
    return 0


def show_quarantined(settings: Settings, item_id: int, *, as_json: bool) -> int:
    """Show one item with what was kept of its bytes."""
    with open_reader(settings) as reader:
        item = failures.quarantined_item(reader.store.engine, item_id)
    if item is None:
        raise UsageError(f"no item {item_id}: {QUARANTINE_HINT}")
    if as_json:
        print(json.dumps(serialize_quarantined(item)))
        return 0
    for name, value in quarantine_head(item).items():
        print(terminal.without_controls(f"{name:<12}{value}"))
    print(f"{'kept':<12}{len(item.payload)} bytes\n\n{escaped_payload(item)}")
    return 0


def drop_quarantined(settings: Settings, item_ids: Sequence[int], *, as_json: bool) -> int:
    """Forget items that somebody has looked at."""
    with open_reader(settings) as reader:
        dropped_ids = [
            item_id
            for item_id in item_ids
            if failures.drop_quarantined(reader.store.engine, item_id)
        ]
    missing_ids = sorted(set(item_ids) - set(dropped_ids))
    if as_json:
        print(json.dumps({"dropped": dropped_ids, "missing": missing_ids}))
    else:
        print(f"{len(dropped_ids)} dropped")
    if missing_ids:
        raise UsageError(f"no item {', '.join(map(str, missing_ids))}: {QUARANTINE_HINT}")
    return 0
