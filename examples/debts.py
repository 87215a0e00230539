"""Debts: the payment side's confirmations that refunds and payouts have left."""

from __future__ import annotations

from typing import TypeVar

from examples.plot import Options, Plot, Verb
from examples.stage import GATEWAY
from models.obligations import Payout, Refund

Debt = TypeVar("Debt", Refund, Payout)

PAYOUT_INTERVAL_S = 0.05
"""The seconds between two payouts of one order, to the agency and to the creator."""


def refund(plot: Plot, at: float, options: Options) -> None:
    """Confirm a refund that waits, or with `again` one that has left."""
    plot.rehearsal.wait(at)
    refunds = plot.rehearsal.simulation.state.refunds.values()
    order_refunds = [refund for refund in refunds if refund.order_id == plot.order_id]
    name = _next(order_refunds, is_confirmed="again" in options).refund_id
    plot.say(at, "confirm_refund", GATEWAY, refund_id=name)


def payout(plot: Plot, at: float, options: Options) -> None:
    """Confirm every payout that waits, or with `again` one that has left."""
    plot.rehearsal.wait(at)
    payouts = plot.rehearsal.simulation.state.payouts.values()
    order_payouts = [payout for payout in payouts if payout.order_id == plot.order_id]
    unconfirmed = [payout for payout in order_payouts if payout.confirmed_at is None]
    for n, payout in enumerate(
        unconfirmed or [_next(order_payouts, is_confirmed="again" in options)]
    ):
        plot.say(at + n * PAYOUT_INTERVAL_S, "confirm_payout", GATEWAY, payout_id=payout.payout_id)


def _next(debts: list[Debt], *, is_confirmed: bool) -> Debt:
    """Return the first debt that waits, or that has left."""
    return next(debt for debt in debts if (debt.confirmed_at is not None) is is_confirmed)


VERBS: dict[str, Verb] = {"refund": refund, "payout": payout}
