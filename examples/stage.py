"""Stage: what all stories share: the demo's rules, chance, and the commands written so far."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import Random
from typing import Any

from models.fields import parse_instant
from models.policy import Policy
from models.service.unit_of_work import UnitOfWork
from ops.simulation.replay import shift_command

START = parse_instant("2026-03-02T10:00:00+08:00")

POLICY = Policy(
    deposit_window=timedelta(seconds=5),
    accept_window=timedelta(seconds=12),
    balance_window=timedelta(seconds=9),
    payment_notice_grace=timedelta(seconds=3),
    late_notice_window=timedelta(seconds=6),
    accept_reminders=(timedelta(seconds=6), timedelta(seconds=1)),
    balance_reminders=(timedelta(seconds=5), timedelta(seconds=2)),
    nudge_interval=timedelta(seconds=2.5),
    nudge_limit=2,
    require_registered_clients=True,
    first_work_window=timedelta(seconds=10),
    review_window=timedelta(seconds=5),
    revision_window=timedelta(seconds=6),
    production_window=timedelta(seconds=5),
    production_grace=timedelta(seconds=1),
    publication_window=timedelta(seconds=6),
    acceptance_window=timedelta(seconds=5),
    settlement_delay=timedelta(seconds=3),
    work_reminders=(timedelta(seconds=2),),
    review_reminders=(timedelta(seconds=2),),
    arbitration_window=timedelta(seconds=6),
    arbitration_interval=timedelta(hours=1),
    longest_extension=timedelta(seconds=20),
    longest_pause=timedelta(seconds=4),
    unconfirmed_window=timedelta(seconds=15),
)
"""The demo's rules: the usual ones, with seconds for days, and every client registered.

A ban lasts a day at least, so none ends by itself while the demo plays.
"""

Body = dict[str, Any]

Sender = tuple[str, str]
"""A role, and who in it."""

CONSOLE: Sender = ("platform", "console")
GATEWAY: Sender = ("payments", "gateway-1")

NULLABLE = ("provider_id",)
"""Fields in which null is not absence: it dismisses whoever was appointed."""


def instant(at: float) -> datetime:
    """Return an instant of the campaign, from seconds after its start."""
    return START + timedelta(milliseconds=round(at * 1000))


def seconds(at: datetime) -> float:
    """Return how many seconds after the campaign's start an instant is."""
    return (at - START).total_seconds()


def shanghai_text(at: float) -> str:
    """Write an instant as people in Shanghai would."""
    local = (instant(at) + timedelta(hours=8)).replace(tzinfo=None)
    return local.isoformat(timespec="milliseconds") + "+08:00"


@dataclass
class Stage:
    """Chance, the commands written so far with their seconds, and who is known when it begins."""

    chance: Random
    commands: list[tuple[float, Body]] = field(default_factory=list)
    opening: UnitOfWork = field(default_factory=lambda: UnitOfWork(policy=POLICY))

    def say(self, at: float, kind: str, by: Sender, **fields: object) -> Body:
        """Write one command; fields that are None are left out, but where null says something."""
        arguments = {n: value for n, value in fields.items() if value is not None or n in NULLABLE}
        head = {"kind": kind, "id": f"{kind}-{len(self.commands):04}"}
        body = head | {"by": dict(zip(("role", "id"), by, strict=True))} | arguments
        self.commands.append((at, body))
        return body

    def pay(self, at: float, paid_at: float, shares: Mapping[str, int], plus: int = 0) -> Body:
        """Write the notice of a payment; `plus` is what its shares do not account for."""
        return self.say(
            at,
            "confirm_payment",
            GATEWAY,
            payment_id=f"pay-{len(self.commands):04}",
            paid_at=shanghai_text(paid_at),
            amount_fen=sum(shares.values()) + plus,
            shares=[{"order_id": order_id, "amount_fen": fen} for order_id, fen in shares.items()],
        )

    def put_off(self, since: int, by: float) -> None:
        """Let commands from the `since`-th on be given later, with all that they say of time."""
        self.commands[since:] = [
            (at + by, shift_body(body, by)) for at, body in self.commands[since:]
        ]

    def between(self, low: float, high: float) -> float:
        return self.chance.uniform(low, high)


def shift_body(body: Body, by: float) -> Body:
    """Return a command that speaks of the same instants, so many seconds later."""
    return shift_command(body, timedelta(seconds=by), lambda at: shanghai_text(seconds(at)))
