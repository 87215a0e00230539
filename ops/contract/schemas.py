"""Schemas: what a command, the message around it and an event look like to others.

They are JSON Schema, written from the models.
"""

from __future__ import annotations

from typing import get_args

from models.commands import AnyCommand
from models.commands.command import Command
from models.events.event import EVENT_TYPES, fact_adapter_for
from models.fields import ID_PATTERN, PAYOUT_ID_PATTERN, REFUND_ID_PATTERN, SENDER_ROLES
from ops.json_schema import Schema, inline_references
from workers.queue.messages import ACTORS
from workers.queue.redis import COMMANDS, MAX_ITEMS

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
    "resolve_suspense": {
        "if": {"properties": {"to": {"const": "order"}}},
        "then": {
            "required": ["target_order_id"],
            "properties": {"target_order_id": {"type": "string"}},
        },
        "else": {"properties": {"target_order_id": {"type": "null"}}},
    },
}


def command_schemas() -> dict[str, Schema]:
    """Describe every command that a sender may hand in, by kind."""
    schemas = {}
    for model in get_args(AnyCommand):
        kind = get_args(model.model_fields["kind"].annotation)[0]
        schemas[kind] = _command_schema(kind, model)
    return schemas


def _command_schema(kind: str, model: type[Command]) -> Schema:
    body = _with_nullable_fields(inline_references(model.model_json_schema(mode="validation")))
    head = {"$schema": DIALECT, "$id": f"urn:earnest:command:{kind}"}
    if kind == "operator_act":
        inner_command = body["properties"]["command"]
        inner_command["oneOf"] = [
            _with_nullable_fields(_without_sender(alternative))
            for alternative in inner_command["oneOf"]
        ]
    return head | body | CONDITIONS.get(kind, {})


def _with_nullable_fields(body: Schema) -> Schema:
    """Let every optional field be null, which is absence."""
    fields = {
        name: field if name in body["required"] else _nullable(field)
        for name, field in body["properties"].items()
    }
    return body | {"properties": fields}


def _without_sender(body: Schema) -> Schema:
    """Leave out who asks, and under which id: the command around it tells."""
    properties = {
        name: field for name, field in body["properties"].items() if name not in SENDER_FIELDS
    }
    return body | {
        "properties": properties,
        "required": [name for name in body["required"] if name not in SENDER_FIELDS],
    }


SENDER_FIELDS = ("id", "by")


def _nullable(field: Schema) -> Schema:
    if "anyOf" in field:
        return field
    annotations = {name: field[name] for name in ("description", "default") if name in field}
    inner = {name: value for name, value in field.items() if name not in annotations}
    return {"anyOf": [inner, {"type": "null"}]} | annotations


def message_schema() -> Schema:
    """Describe the message around commands: one of Dramatiq's, by whomever it is written."""
    command = {"description": "One command; each kind has its schema in commands/."}
    text = {"type": "string", "contentMediaType": "application/json"}
    commands = {
        "type": "array",
        "items": {"anyOf": [text | command, {"type": "object"} | command]},
        "minItems": 1,
        "maxItems": MAX_ITEMS,
    }
    properties: Schema = {
        "queue_name": {"const": COMMANDS},
        "actor_name": {"const": ACTORS[COMMANDS]},
        "args": {
            "type": "array",
            "items": commands,
            "maxItems": 1,
            "description": "The list of commands, where they are not named in `kwargs`.",
        },
        "kwargs": {"type": "object", "properties": {"commands": commands} | OPTIONAL_FIELDS},
    }
    return {
        "$schema": DIALECT,
        "$id": "urn:earnest:message",
        "title": "Message",
        "description": "A message of commands. Whatever else it contains is never looked at.",
        "type": "object",
        "properties": properties,
        "required": ["queue_name", "actor_name"],
        "if": {"properties": {"args": {"minItems": 1}}, "required": ["args"]},
        "else": {"properties": {"kwargs": {"required": ["commands"]}}, "required": ["kwargs"]},
    }


OPTIONAL_FIELDS: Schema = {
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

SUBJECT_ID_PATTERNS = {
    "refund": REFUND_ID_PATTERN,
    "payout": PAYOUT_ID_PATTERN,
    # The first is how commands were named before an id belonged to its sender.
    "command": f"([ -~]{{1,64}}|(-|({'|'.join(sorted(SENDER_ROLES))}):{ID_PATTERN}):[ -~]{{1,64}})",
}
"""What the id of a subject may be, where it is longer: a malformed command names itself."""

SUBJECTS: dict[str, tuple[str, ...]] = {
    "mcn.registered": ("mcn",),
    "client.registered": ("client",),
    "provider.registered": ("provider",),
    **dict.fromkeys(
        (
            *("creator.registered", "contract.ended", "creator.banned", "creator.ban_lifted"),
            *("violation.reported", "violation.overturned", "post.removal_requested"),
        ),
        ("creator",),
    ),
    **dict.fromkeys(
        (
            *("payment.unapplied", "refund.requested", "refund.failed"),
            *("refund.confirmed", "refund.voided"),
        ),
        ("order", "payment"),
    ),
    **dict.fromkeys(("suspense.resolved", "payment.voided"), ("payment",)),
    "operator.alerted": ("order", "payment", "refund", "payout", "calendar"),
    "operator.acted": ("order", "creator", "payment", "timeline"),
    "stream.timeline_began": ("timeline",),
    "command.settled": ("command",),
}
"""What an event may be about; those not named are about an order."""

CAUSE_PATTERN = (
    f"^(command:.+|(deadline|reminder):[a-z_]+|(ban|contract):{ID_PATTERN}|(upgrade|recovery):.+)$"
)
"""What an event may follow from."""


def event_schemas() -> dict[str, Schema]:
    """Describe every event as it stands in a stream, by its published name."""
    # Sorted: kinds of event become known in whatever order modules are imported.
    return {name: _event_schema(name) for name in sorted(EVENT_TYPES)}


def _event_schema(name: str) -> Schema:
    subject = _subject_pattern(name)
    instant = {"type": "string", "format": "date-time"}
    properties = {
        "specversion": {"const": "1.0"},
        "id": {"type": "string", "pattern": f"^{subject}/[1-9][0-9]*(~[1-9][0-9]*)?$"},
        "source": {"const": "earnest"},
        "type": {"const": name},
        "subject": {"type": "string", "pattern": f"^{subject}$"},
        "time": instant,
        "datacontenttype": {"const": "application/json"},
        "data": _event_data(name),
    }
    required = list(properties)
    # CloudEvents' extension for distributed tracing: what the command came with, if anything.
    properties["traceparent"] = {"type": "string"}
    return {
        "$schema": DIALECT,
        "$id": f"urn:earnest:event:{name}",
        "title": EVENT_TYPES[name].__name__,
        "description": first_paragraph(EVENT_TYPES[name]),
        "type": "object",
        "properties": properties,
        "required": required,
    }


def _event_data(name: str) -> Schema:
    """Describe the flat object that an event carries: where it stands, then its own fields."""
    fact = inline_references(fact_adapter_for(name).json_schema(mode="serialization"))
    kinds = SUBJECTS.get(name, ("order",))
    subject = (
        {"order_id": {"type": "string", "pattern": f"^{ID_PATTERN}$"}} if "order" in kinds else {}
    )
    head: Schema = {
        "type": {"const": name},
        **subject,
        "at": {"type": "string", "format": "date-time"},
        "sequence": {"type": "integer", "minimum": 1},
        "caused_by": {"type": "string", "pattern": CAUSE_PATTERN},
    }
    properties = head | fact.get("properties", {})
    optional = {"order_id"} if kinds != ("order",) else set()
    required = [field_name for field_name in properties if field_name not in optional]
    return {"type": "object", "properties": properties, "required": required}


def _subject_pattern(name: str) -> str:
    """Write the pattern of what an event may be about, kind by kind of equal ids."""
    by_form: dict[str, list[str]] = {}
    for kind in SUBJECTS.get(name, ("order",)):
        by_form.setdefault(SUBJECT_ID_PATTERNS.get(kind, ID_PATTERN), []).append(kind)
    parts = [f"({'|'.join(kinds)}):{form}" for form, kinds in by_form.items()]
    return parts[0] if len(parts) == 1 else f"({'|'.join(parts)})"


def first_paragraph(kind: type) -> str:
    """Return the first paragraph of a class's docstring, on one line."""
    return " ".join((kind.__doc__ or "").split("\n\n")[0].split())
