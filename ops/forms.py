"""Forms: what has to be said for a command, drawn from the command's own schema.

The command line makes options of it and the ops page fields, so neither knows any command by name.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Literal

from models.commands.command import Command
from ops.schemas import inlined

Schema = dict[str, Any]


Takes = Literal["text", "number", "flag", "choice", "instant", "texts", "records"]


LONG_TEXT = 500
"""A text that may be longer than this wants room on a page."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One field: its name, what it takes, and whether it must be given, were it only as null."""

    name: str
    takes: Takes
    required: bool
    nullable: bool = False
    long: bool = False
    choices: tuple[str, ...] = ()
    entries: tuple[Entry, ...] = ()


def entries(model: type[Command], without: Collection[str]) -> tuple[Entry, ...]:
    """Return the fields of a command, in their order, but for some."""
    return _entries(inlined(model.model_json_schema(mode="validation")), without)


def _entries(schema: Schema, without: Collection[str] = ()) -> tuple[Entry, ...]:
    required = schema.get("required", ())
    return tuple(
        _entry(name, node, name in required)
        for name, node in schema["properties"].items()
        if name not in without
    )


def _entry(name: str, node: Schema, required: bool) -> Entry:  # noqa: FBT001
    variants = [variant for variant in node.get("anyOf", [node]) if variant.get("type") != "null"]
    schema = variants[0]
    return Entry(
        name=name,
        takes=_takes(schema),
        required=required,
        nullable="anyOf" in node,
        long=schema.get("maxLength", 0) > LONG_TEXT,
        choices=tuple(schema.get("enum", ())),
        entries=_entries(schema["items"]) if _takes(schema) == "records" else (),
    )


def _takes(node: Schema) -> Takes:
    if "enum" in node:
        return "choice"
    if node["type"] == "array":
        return "records" if node["items"].get("type") == "object" else "texts"
    if node["type"] == "string":
        return "instant" if node.get("format") == "date-time" else "text"
    return "flag" if node["type"] == "boolean" else "number"
