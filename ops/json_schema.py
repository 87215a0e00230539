"""JSON: what objects and schemas are here, and references put in their place."""

from __future__ import annotations

from typing import Any

JsonObject = dict[str, Any]
Schema = dict[str, Any]

DROPPED_KEYS = ("$defs", "title", "discriminator")


def inline_references(schema: Schema) -> Schema:
    """Put what a schema refers to in its place, and leave out titles that repeat a name."""
    definitions = schema.get("$defs", {})

    def resolve(node: Any) -> Any:  # noqa: ANN401 - any part of a JSON document
        if isinstance(node, list):
            return [resolve(element) for element in node]
        if not isinstance(node, dict):
            return node
        if "$ref" in node:
            target = definitions[node["$ref"].rpartition("/")[2]]
            return resolve(target | {key: value for key, value in node.items() if key != "$ref"})
        return {
            key: _resolve_part(key, value) for key, value in node.items() if key not in DROPPED_KEYS
        }

    def _resolve_part(key: str, part: Any) -> Any:  # noqa: ANN401 - the same
        if key == "properties":
            return {name: resolve(field) for name, field in part.items()}
        return resolve(part)

    inlined_schema: Schema = {"title": schema["title"]} if "title" in schema else {}
    inlined_schema.update(resolve(schema))
    return inlined_schema
