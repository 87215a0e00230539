"""Published: what an event looks like to others, as JSON Schema from the models."""

from __future__ import annotations

from models.events.event import FACTS, reader
from ops.schemas import DIALECT, Schema, inlined

ID = "[A-Za-z0-9_-]{1,64}"


LONG_ID = "[A-Za-z0-9_-]{1,140}"


FORMS = {"refund": f"{LONG_ID}(~[0-9]{{1,6}})?", "payout": LONG_ID, "command": "[ -~]{1,64}"}
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
    "payment.unapplied": ("order", "payment"),
    "refund.requested": ("order", "payment"),
    "refund.confirmed": ("order", "payment"),
    "suspense.resolved": ("payment",),
    "operator.alerted": ("order", "payment", "refund", "payout"),
    "operator.acted": ("order", "creator", "payment"),
    "command.settled": ("command",),
}
"""What an event may be about; those not named are about an order."""


CAUSE = f"^(command:.+|(deadline|reminder):[a-z_]+|(ban|contract):{ID}|upgrade:.+)$"
"""What an event may follow from."""


def events() -> dict[str, Schema]:
    """Describe every event as it stands in a stream, by its published name."""
    # Sorted: kinds of event become known in whatever order modules are imported.
    return {name: _event(name) for name in sorted(FACTS)}


def _event(name: str) -> Schema:
    subject = _subject(name)
    instant = {"type": "string", "format": "date-time"}
    properties = {
        "specversion": {"const": "1.0"},
        "id": {"type": "string", "pattern": f"^{subject}/[1-9][0-9]*$"},
        "source": {"const": "earnest"},
        "type": {"const": name},
        "subject": {"type": "string", "pattern": f"^{subject}$"},
        "time": instant,
        "datacontenttype": {"const": "application/json"},
        "data": _data(name),
    }
    required = list(properties)
    # CloudEvents' extension for distributed tracing: what the command came with, if anything.
    properties["traceparent"] = {"type": "string"}
    return {
        "$schema": DIALECT,
        "$id": f"urn:earnest:event:{name}",
        "title": FACTS[name].__name__,
        "description": _sentence(FACTS[name]),
        "type": "object",
        "properties": properties,
        "required": required,
    }


def _data(name: str) -> Schema:
    """Describe the flat object that an event carries: where it stands, then its own fields."""
    fact = inlined(reader(name).json_schema(mode="serialization"))
    kinds = SUBJECTS.get(name, ("order",))
    subject = {"order_id": {"type": "string", "pattern": f"^{ID}$"}} if "order" in kinds else {}
    head: Schema = {
        "type": {"const": name},
        **subject,
        "at": {"type": "string", "format": "date-time"},
        "sequence": {"type": "integer", "minimum": 1},
        "caused_by": {"type": "string", "pattern": CAUSE},
    }
    properties = head | fact.get("properties", {})
    optional = {"order_id"} if kinds != ("order",) else set()
    required = [field_name for field_name in properties if field_name not in optional]
    return {"type": "object", "properties": properties, "required": required}


def _subject(name: str) -> str:
    """Write the pattern of what an event may be about, kind by kind of equal ids."""
    by_form: dict[str, list[str]] = {}
    for kind in SUBJECTS.get(name, ("order",)):
        by_form.setdefault(FORMS.get(kind, ID), []).append(kind)
    parts = [f"({'|'.join(kinds)}):{form}" for form, kinds in by_form.items()]
    return parts[0] if len(parts) == 1 else f"({'|'.join(parts)})"


def _sentence(kind: type) -> str:
    return " ".join((kind.__doc__ or "").split("\n\n")[0].split())
