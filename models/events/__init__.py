"""Events: every kind of event that is published; to import this package registers them all."""

from __future__ import annotations

from typing import Any

from models.events import notifications
from models.events import orders as order_events
from models.events import parties as party_events
from models.events import payments as payment_events
from models.events.event import Fact, fact_adapter_for

MODULES = (order_events, payment_events, party_events, notifications)
"""Where the kinds of event are defined, in the order of the published documents."""


def read_fact(name: str, body: dict[str, Any]) -> Fact:
    """Read a fact from the flat object under which it was published."""
    return fact_adapter_for(name).validate_python(body)
