"""Quarantined: what an operator does with what came in and was for nobody."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from typing import Any

from models.fields import instant_text
from ops import tables
from ops.opened import books
from ops.refused import Refused
from workers.processing import failures
from workers.settings import Settings
from workers.timestamps import from_us

HEADS = ("item", "queue", "message", "reason", "bytes", "at", "begins with")


GLIMPSE = 200


NONE = "`earnest quarantine` lists those there are"


def list_items(settings: Settings, *, as_json: bool) -> int:
    """List all items, oldest first."""
    with books(settings) as source:
        items = failures.list_quarantined(source.store.engine)
    if as_json:
        print(json.dumps({"quarantine": [described(item) for item in items]}))
        return 0
    rows = [(*_head(item).values(), tables.fit(_text(item), 40)) for item in items]
    print(tables.draw("Quarantine", HEADS, rows) if rows else "The quarantine is empty.")
    return 0


def show(settings: Settings, item_id: int, *, as_json: bool) -> int:
    """Show one item with what was kept of its bytes."""
    with books(settings) as source:
        item = failures.shown(source.store.engine, item_id)
    if item is None:
        raise Refused(f"no item {item_id}: {NONE}")
    if as_json:
        print(json.dumps(described(item)))
        return 0
    for name, value in _head(item).items():
        print(f"{name:<12}{value}")
    print(f"{'kept':<12}{len(item.payload)} bytes\n\n{_text(item)}")
    return 0


def drop(settings: Settings, item_ids: Sequence[int], *, as_json: bool) -> int:
    """Forget items that somebody has looked at."""
    with books(settings) as source:
        dropped_ids = [
            item_id for item_id in item_ids if failures.drop(source.store.engine, item_id)
        ]
    missing_ids = sorted(set(item_ids) - set(dropped_ids))
    if as_json:
        print(json.dumps({"dropped": dropped_ids, "missing": missing_ids}))
    else:
        print(f"{len(dropped_ids)} dropped")
    if missing_ids:
        raise Refused(f"no item {', '.join(map(str, missing_ids))}: {NONE}")
    return 0


def described(item: Any) -> dict[str, Any]:  # noqa: ANN401 - a row of the table
    """Describe an item; its bytes may be anything, so they come as base64."""
    return _head(item) | {"payload_base64": base64.b64encode(item.payload).decode()}


def glimpsed(item: Any) -> dict[str, Any]:  # noqa: ANN401 - a row of the table
    """Describe an item with a readable beginning, for a list."""
    return _head(item) | {"beginning": tables.fit(_text(item), GLIMPSE)}


def _head(item: Any) -> dict[str, Any]:  # noqa: ANN401 - a row of the table
    return {
        "item": item.item_id,
        "queue": item.queue,
        "message": item.message_id,
        "reason": item.reason,
        "bytes": item.size,
        "at": instant_text(from_us(item.quarantined_at)),
    }


def _text(item: Any) -> str:  # noqa: ANN401 - a row of the table
    # Escaped: what somebody sent must not steer an operator's terminal.
    return ascii(bytes(item.payload).decode("utf-8", "replace"))[1:-1]
