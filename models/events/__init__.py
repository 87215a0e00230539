"""Events: every kind of event that is published; to import this package registers them all."""

from __future__ import annotations

from typing import Any

from models.events import notifications, orders, parties, payments
from models.events.event import Fact, reader

MODULES = (orders, payments, parties, notifications)
"""Where the kinds of event are defined, in the order of the published documents."""


def read_fact(name: str, body: dict[str, Any]) -> Fact:
    """Read a fact from the flat object under which it was published."""
    return reader(name).validate_python(body)
