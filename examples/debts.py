"""Debts: refunds and payouts that leave, or fail, or are held by an operator."""

from __future__ import annotations

from examples import talk
from examples.plot import Options, Plot, Verb
from examples.powers import OPERATOR
from examples.stage import GATEWAY
from models.lifecycle import DebtStatus
from models.obligations import Debt, Payout, Refund

PAYOUT_INTERVAL_S = 0.05
"""The seconds between two payouts of one order, to the agency and to the creator."""


def refund(plot: Plot, at: float, options: Options) -> None:
    """Confirm a refund that waits, or with `again` one that has left."""
    name = _next(_refunds(plot, at), is_confirmed="again" in options).refund_id
    plot.say(at, "confirm_refund", GATEWAY, refund_id=name)


def refund_fails(plot: Plot, at: float, options: Options) -> None:
    """Fail a refund that waits, or with `again` one that has left."""
    name = _next(_refunds(plot, at), is_confirmed="again" in options).reference
    reason = plot.pick(talk.RETURNED)
    plot.say(at, "fail_refund", GATEWAY, refund_id=name, reason=reason)


def payout(plot: Plot, at: float, options: Options) -> None:
    """Confirm every payout that waits, or with `again` one that has left."""
    order_payouts = _payouts(plot, at)
    unconfirmed = [payout for payout in order_payouts if payout.status is not DebtStatus.CONFIRMED]
    for n, payout in enumerate(
        unconfirmed or [_next(order_payouts, is_confirmed="again" in options)]
    ):
        plot.say(at + n * PAYOUT_INTERVAL_S, "confirm_payout", GATEWAY, payout_id=payout.payout_id)


def payout_fails(plot: Plot, at: float, _: Options) -> None:
    """Fail the creator's payout, named by what it was sent under."""
    name, reason = _creators_payout(plot, at).reference, plot.pick(talk.RETURNED)
    plot.say(at, "fail_payout", GATEWAY, payout_id=name, reason=reason)


def hold(plot: Plot, at: float, _: Options) -> None:
    name, reason = _creators_payout(plot, at).payout_id, plot.pick(talk.HELD)
    plot.say(at, "hold_payout", OPERATOR, payout_id=name, reason=reason)


def let_go(plot: Plot, at: float, _: Options) -> None:
    name, reason = _creators_payout(plot, at).payout_id, plot.pick(talk.LET_GO)
    plot.say(at, "release_payout", OPERATOR, payout_id=name, reason=reason)


def reverse(plot: Plot, at: float, options: Options) -> None:
    """Reverse the creator's payout, `to` the client or the platform."""
    name, reason = _creators_payout(plot, at).payout_id, plot.pick(talk.REVERSED)
    plot.say(at, "reverse_payout", OPERATOR, payout_id=name, to=options["to"], reason=reason)


def _refunds(plot: Plot, at: float) -> list[Refund]:
    plot.rehearsal.wait(at)
    refunds = plot.rehearsal.simulation.state.refunds.values()
    return [refund for refund in refunds if refund.order_id == plot.order_id]


def _payouts(plot: Plot, at: float) -> list[Payout]:
    plot.rehearsal.wait(at)
    payouts = plot.rehearsal.simulation.state.payouts.values()
    return [payout for payout in payouts if payout.order_id == plot.order_id]


def _creators_payout(plot: Plot, at: float) -> Payout:
    return next(payout for payout in _payouts(plot, at) if payout.party.startswith("creator:"))


def _next(debts: list[Debt], *, is_confirmed: bool) -> Debt:
    """Return the first debt that waits, or that has left."""
    return next(debt for debt in debts if (debt.status is DebtStatus.CONFIRMED) is is_confirmed)


VERBS: dict[str, Verb] = {
    "refund": refund,
    "refund_fails": refund_fails,
    "payout": payout,
    "payout_fails": payout_fails,
    "hold": hold,
    "let_go": let_go,
    "reverse": reverse,
}
