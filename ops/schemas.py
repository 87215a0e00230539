"""Schemas: what a command, and the message around it, look like, as JSON Schema from the models."""

from __future__ import annotations

from typing import Any, get_args

from models.commands import AnyCommand
from models.commands.command import Command
from workers.queue.messages import ACTORS, MAX_ITEMS
from workers.queue.redis import COMMANDS

Schema = dict[str, Any]


DIALECT = "https://json-schema.org/draft/2020-12/schema"


# What the models check beyond types, said in the schemas' own words. A promise's conditions may
# not change, so fields that came later have theirs in `dependentSchemas`.
CONDITIONS: dict[str, Schema] = {
    "register_creator": {
        "if": {"properties": {"contract": {"const": "mcn"}}},
        "then": {"required": ["mcn_id"], "properties": {"mcn_id": {"type": "string"}}},
        "else": {"properties": {"mcn_id": {"type": "null"}}},
        "dependentSchemas": {
            "mcn_share_bps": {
                "if": {"properties": {"mcn_share_bps": {"type": "integer"}}},
                "then": {"properties": {"contract": {"const": "mcn"}}},
            }
        },
    },
    "place_order": {
        "dependentSchemas": {
            "needs_script": {
                "if": {"properties": {"needs_script": {"const": False}}},
                "then": {"properties": {"task_type": {"not": {"const": "douyin_live"}}}},
            }
        }
    },
    "resolve_dispute": {
        "allOf": [
            {
                "if": {"properties": {"outcome": {"const": outcome}}},
                "then": {"required": [name], "properties": {name: {"type": kind}}},
                "else": {"properties": {name: {"type": "null"}}},
            }
            for outcome, name, kind in (
                ("cancel", "creator_bps", "integer"),
                ("extend", "until", "string"),
            )
        ]
    },
}


def commands() -> dict[str, Schema]:
    """Describe every command that a sender may hand in, by kind."""
    schemas = {}
    for model in get_args(AnyCommand):
        kind = get_args(model.model_fields["kind"].annotation)[0]
        schemas[kind] = _command(kind, model)
    return schemas


def _command(kind: str, model: type[Command]) -> Schema:
    body = _tolerant(inlined(model.model_json_schema(mode="validation")))
    head = {"$schema": DIALECT, "$id": f"urn:earnest:command:{kind}"}
    if kind == "operator_act":
        inner_command = body["properties"]["command"]
        inner_command["oneOf"] = [
            _tolerant(_unsigned(alternative)) for alternative in inner_command["oneOf"]
        ]
    return head | body | CONDITIONS.get(kind, {})


def _tolerant(body: Schema) -> Schema:
    """Let every optional field be null, which is absence."""
    fields = {
        name: field if name in body["required"] else _or_null(field)
        for name, field in body["properties"].items()
    }
    return body | {"properties": fields}


def _unsigned(body: Schema) -> Schema:
    """Leave out who asks, and under which id: the command around it tells."""
    properties = {name: field for name, field in body["properties"].items() if name not in SENDER}
    return body | {
        "properties": properties,
        "required": [name for name in body["required"] if name not in SENDER],
    }


SENDER = ("id", "by")


def _or_null(field: Schema) -> Schema:
    if "anyOf" in field:
        return field
    annotations = {name: field[name] for name in ("description", "default") if name in field}
    inner = {name: value for name, value in field.items() if name not in annotations}
    return {"anyOf": [inner, {"type": "null"}]} | annotations


def message() -> Schema:
    """Describe the message around commands, as the queue keeps it."""
    texts = {
        "type": "array",
        "items": {
            "type": "string",
            "contentMediaType": "application/json",
            "description": "The text of one command; each kind has its schema in commands/.",
        },
        "minItems": 1,
        "maxItems": MAX_ITEMS,
    }
    stamp = {"type": "integer", "description": "Written by enqueue.lua, by the server's clock."}
    kwargs: Schema = {"commands": texts, "received_at": stamp, "stamp": stamp}
    required = list(kwargs)
    kwargs |= BESIDE
    properties: Schema = {
        "queue_name": {"const": COMMANDS},
        "actor_name": {"const": ACTORS[COMMANDS]},
        "kwargs": {"type": "object", "properties": kwargs, "required": required},
    }
    return {
        "$schema": DIALECT,
        "$id": "urn:earnest:message",
        "title": "Message",
        "description": "A message of commands. Whatever else it contains is never looked at.",
        "type": "object",
        "properties": properties,
        "required": list(properties),
    }


BESIDE: Schema = {
    "signatures": {
        "type": "array",
        "items": {"type": "object", "required": ["kid", "mac"]},
        "description": "Where keys are in force, one for each command: see docs/security.md.",
    },
    "traces": {
        "type": "array",
        "items": {"type": ["string", "null"]},
        "description": "One W3C traceparent for each command, which its events will bear.",
    },
}
"""What a message may say beside its commands."""


def inlined(schema: Schema) -> Schema:
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
        return {key: _resolve_part(key, value) for key, value in node.items() if key not in DROPPED}

    def _resolve_part(key: str, part: Any) -> Any:  # noqa: ANN401 - the same
        if key == "properties":
            return {name: resolve(field) for name, field in part.items()}
        return resolve(part)

    inlined_schema: Schema = {"title": schema["title"]} if "title" in schema else {}
    inlined_schema.update(resolve(schema))
    return inlined_schema


DROPPED = ("$defs", "title", "discriminator")
