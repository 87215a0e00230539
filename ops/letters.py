"""Letters: what an operator does with commands that could not be settled."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial
from typing import Any

import redis

from models.commands.parsing import read_loosely
from models.fields import instant_text
from ops import tables
from ops.opened import books
from ops.refused import Refused
from workers.outbox.relay import ring
from workers.processing import failures
from workers.processing.processor import Settler
from workers.queries.reader import Reader
from workers.queue.redis import connect
from workers.queue.watermark import RedisDoor
from workers.runtime import configure_logs
from workers.settings import Settings
from workers.timestamps import from_us

HEADS = ("letter", "command", "kind", "received", "died", "replayed", "error")


def list_letters(settings: Settings, *, as_json: bool) -> int:
    """List all letters, oldest first."""
    with books(settings) as reader:
        letters = failures.list_dead_letters(reader.store.engine)
    if as_json:
        print(
            json.dumps(
                {"dead_letters": [described(letter) for letter in letters]}, ensure_ascii=False
            )
        )
        return 0
    rows = [_row(described(letter)) for letter in letters]
    print(tables.draw("Dead letters", HEADS, rows) if rows else "No dead letters.")
    return 0


def show(settings: Settings, letter_id: int, *, as_json: bool) -> int:
    """Show one letter, with the command's text as it came in."""
    with books(settings) as reader:
        (letter,) = _find(reader, [letter_id])
    document = described(letter) | {"text": letter.command}
    if as_json:
        print(json.dumps(document, ensure_ascii=False))
        return 0
    for name, value in document.items():
        # JSON, because a text may contain what a terminal obeys.
        print(f"{name:<12}{json.dumps(value) if value is not None else '-'}")
    return 0


def replay(settings: Settings, letter_ids: Sequence[int], *, as_json: bool) -> int:
    """Settle letters again, all that wait where none is named; 1 if any is still unsettled.

    Here, and not by way of Redis: the door would stamp them anew, and a command received in time
    would be late. So they are judged under their first receipt and stamp; doing it twice, or
    beside a worker that still has the command, changes nothing, for the receipts are asked first.
    """
    with books(settings) as reader, connect(settings.redis_url) as client:
        engine = reader.store.engine
        letters = _find(reader, letter_ids) if letter_ids else []
        letters = letters or list(failures.list_dead_letters(engine, replayed=False))
        configure_logs("replay")
        outcomes = settled_again(reader, client, letters)
    if as_json:
        print(json.dumps({"replayed": outcomes}, ensure_ascii=False))
    else:
        rows = [
            (outcome["letter"], outcome["command"], outcome["outcome"], outcome["reason"])
            for outcome in outcomes
        ]
        heads = ("letter", "command", "outcome", "reason")
        print(tables.draw("Replayed", heads, rows) if rows else "No dead letters wait.")
    return 1 if any(outcome["outcome"] is None for outcome in outcomes) else 0


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


def _find(reader: Reader, letter_ids: Sequence[int]) -> list[Any]:
    letters_by_id = failures.dead_letters_by_id(reader.store.engine, letter_ids)
    for letter_id in letter_ids:
        if letter_id not in letters_by_id:
            raise Refused(f"no letter {letter_id}: `earnest dead-letters` lists those there are")
    return [letters_by_id[letter_id] for letter_id in sorted(letters_by_id)]


def described(letter: Any) -> dict[str, Any]:  # noqa: ANN401 - a row of the table
    """Describe a letter without its text: that may hold a brief."""
    command = command_of(letter)
    return {
        "letter": letter.letter_id,
        "command": command.get("id"),
        "kind": command.get("kind"),
        "received_at": instant_text(from_us(letter.received_at)),
        "died_at": instant_text(from_us(letter.died_at)),
        "replayed_at": instant_text(from_us(letter.replayed_at)) if letter.replayed_at else None,
        "error": letter.error,
    }


def command_of(letter: Any) -> dict[str, Any]:  # noqa: ANN401 - a row of the table
    """Read what the command calls itself, where that can be read."""
    document = read_loosely(letter.command)
    fields = document if isinstance(document, dict) else {}
    return {key: value for key, value in fields.items() if isinstance(value, str)}


def _row(letter: dict[str, Any]) -> tuple[tables.Cell, ...]:
    *cells, error = letter.values()
    return (*cells, tables.fit(error, 60))
