"""AsyncAPI: the channels of the message contract, in a form that other tools can read."""

from __future__ import annotations

from ops import json_schema
from ops.contract import schemas
from ops.json_schema import JsonObject
from workers.outbox.streams import EVENTS_STREAM, REMINDER_TYPES, REMINDERS_STREAM
from workers.queue.redis import COMMANDS, Keys

ABOUT = """\
Commands go in through `enqueue.lua`, or as messages of Dramatiq's; outcomes and all other events
come out of Redis Streams as CloudEvents JSON, in the field `event` of each entry. Events come at
least once and in order for each subject; their `id` is the same however often they come. Fields may
be added to events, and values to lists of values: ignore what you do not know.
See README.md beside this file."""

CHANNELS = {
    "commands": (
        Keys(COMMANDS).waiting,
        "receive",
        "The queue of commands: EVAL enqueue.lua, or send with Dramatiq.",
    ),
    "events": (EVENTS_STREAM, "send", "Every event. Read it with a consumer group."),
    "reminders": (
        REMINDERS_STREAM,
        "send",
        "Only reminders and nudges, for whoever sends them on.",
    ),
}


def asyncapi_document(version: str) -> JsonObject:
    """Write the AsyncAPI 3 document, complete in itself."""
    commands, events = schemas.command_schemas(), schemas.event_schemas()
    reminders = [name for name in events if name in REMINDER_TYPES]
    channel_messages = {"commands": list(commands), "events": list(events), "reminders": reminders}
    messages = {name: _message(name, schema) for name, schema in (commands | events).items()}
    return {
        "asyncapi": "3.0.0",
        "info": {"title": "Earnest", "version": version, "description": ABOUT},
        "defaultContentType": "application/json",
        "servers": {
            "redis": {
                "host": "localhost:6379",
                "protocol": "redis",
                "description": "The server that EARNEST_REDIS_URL names.",
            }
        },
        "channels": {name: _channel(name, channel_messages[name]) for name in CHANNELS},
        "operations": {name: _operation(name) for name in CHANNELS},
        "components": {"messages": messages},
    }


def _channel(name: str, messages: list[str]) -> JsonObject:
    address, _, description = CHANNELS[name]
    message_refs = {
        message_name: {"$ref": f"#/components/messages/{message_name}"} for message_name in messages
    }
    return {"address": address, "description": description, "messages": message_refs}


def _operation(name: str) -> JsonObject:
    _, action, description = CHANNELS[name]
    return {"action": action, "channel": {"$ref": f"#/channels/{name}"}, "summary": description}


def _message(name: str, schema: json_schema.Schema) -> JsonObject:
    metadata_keys = {"$schema", "$id"}
    payload = {key: value for key, value in schema.items() if key not in metadata_keys}
    return {
        "name": name,
        "title": schema["title"],
        "summary": schema.get("description", ""),
        "contentType": "application/json",
        "payload": payload,
    }
