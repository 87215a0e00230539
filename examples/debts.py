"""Debts: the payment side's word that refunds and payouts have left."""

from __future__ import annotations

from typing import TypeVar

from examples.plot import How, Plot, Verb
from examples.stage import GATEWAY
from models.debts import Payout
from models.refunds import Refund

Debt = TypeVar("Debt", Refund, Payout)

APART = 0.05
"""The seconds between two payouts of one order, to the agency and to the creator."""


def refund(plot: Plot, at: float, how: How) -> None:
    """Confirm a refund that waits, or with `again` one that has left."""
    plot.rehearsal.wait(at)
    refunds = plot.rehearsal.world.book.refunds.values()
    found = [one for one in refunds if one.order_id == plot.order_id]
    name = _next(found, left="again" in how).refund_id
    plot.say(at, "confirm_refund", GATEWAY, refund_id=name)


def payout(plot: Plot, at: float, how: How) -> None:
    """Confirm every payout that waits, or with `again` one that has left."""
    plot.rehearsal.wait(at)
    payouts = plot.rehearsal.world.book.payouts.values()
    found = [one for one in payouts if one.order_id == plot.order_id]
    waiting = [one for one in found if one.confirmed_at is None]
    for n, one in enumerate(waiting or [_next(found, left="again" in how)]):
        plot.say(at + n * APART, "confirm_payout", GATEWAY, payout_id=one.payout_id)


def _next(debts: list[Debt], *, left: bool) -> Debt:
    """Return the first debt that waits, or that has left."""
    return next(one for one in debts if (one.confirmed_at is not None) is left)


VERBS: dict[str, Verb] = {"refund": refund, "payout": payout}
