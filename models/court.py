"""Court: which judge hears which command, and what time does to which state."""

from __future__ import annotations

from collections import ChainMap
from datetime import datetime

from models import fulfilment, judges, powers, quotes
from models.events import Fact
from models.order import Order

JUDGES = ChainMap(powers.COMMANDS, fulfilment.COMMANDS, quotes.COMMANDS, judges.ORDER_COMMANDS)
"""The judge of each command about one order; `confirm_payment` is judged share by share."""


def enforce(order: Order, lapses_at: datetime) -> tuple[Fact, ...]:
    """End a wait whose time has passed, or a pause."""
    if order.stoppers:
        return (powers.resume(order, "operator", lapses_at),)
    lapse = fulfilment.LAPSES.get(order.state)
    return lapse(order, lapses_at) if lapse else judges.enforce_deadline(order, lapses_at)
