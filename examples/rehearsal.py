"""Rehearsal: a story played through the rules while it is being written.

So its author need not say what is due, until when, and what it costs: the rules do.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable
from copy import copy
from dataclasses import dataclass, field, fields
from typing import Any

from examples.stage import Body, instant, seconds
from models.creators import Creator
from models.fields import MICROSECOND, parse_instant
from models.orders.order import Order
from models.service.unit_of_work import UnitOfWork
from ops.json_schema import JsonObject
from ops.simulation.simulate import Simulation, SimulationStep

MOMENTS = {
    "order.placed": "placed",
    "order.offered": "offered",
    "order.accepted": "accepted",
    "order.balance_overdue": "overdue",
    "order.forfeited": "forfeited",
    "order.funded": "funded",
    "order.completed": "completed",
}
"""Events that scripts refer to, and what they call them."""


@dataclass
class Rehearsal:
    """A simulation of its own for one story, and when what happened in it."""

    simulation: Simulation
    moments: defaultdict[str, dict[str, float]] = field(default_factory=lambda: defaultdict(dict))

    @classmethod
    def of(cls, uow: UnitOfWork, moments: dict[str, dict[str, float]] | None = None) -> Rehearsal:
        """Begin with what a unit of work holds, leaving that one alone."""
        copies: dict[str, Any] = {
            attribute.name: copy(getattr(uow, attribute.name)) for attribute in fields(uow)
        }
        moments_by_order = {
            order_id: dict(moment_by_name) for order_id, moment_by_name in (moments or {}).items()
        }
        return cls(Simulation(UnitOfWork(**copies)), defaultdict(dict, moments_by_order))

    def fork(self) -> Rehearsal:
        """Go on alone: what is played from now on is no news to the others."""
        rehearsal = Rehearsal.of(self.simulation.state, self.moments)
        rehearsal.simulation.timers.extend(self.simulation.timers)
        return rehearsal

    def play(self, at: float, body: Body) -> None:
        """Play one command."""
        self._note(self.simulation.play(SimulationStep(instant(at), json.dumps(body))))

    def wait(self, at: float) -> None:
        """Let time pass."""
        self._note(self.simulation.advance(instant(at)))

    def order(self, order_id: str) -> Order:
        return self.simulation.state.orders[order_id]

    def creator(self, creator_id: str) -> Creator:
        return self.simulation.state.creators[creator_id]

    def moment(self, order_id: str, name: str) -> float:
        """Return when something happened to an order, or will by the clock alone."""
        while name not in self.moments[order_id]:
            self.lapse(order_id)
        return self.moments[order_id][name]

    def lapse(self, order_id: str) -> None:
        """Let the order's present wait end."""
        ends_at = self.order(order_id).lapses_at
        if ends_at is None:
            raise LookupError(f"{order_id} waits for nobody")
        self._note(self.simulation.advance(ends_at + MICROSECOND))

    def _note(self, lines: Iterable[JsonObject]) -> None:
        for line in lines:
            for event in line["events"]:
                name = MOMENTS.get(event["type"])
                if name:
                    self.moments[event["order_id"]][name] = seconds(parse_instant(event["at"]))
