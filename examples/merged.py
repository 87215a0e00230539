"""Merged: several orders of one client that are paid together, and what can go wrong with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from examples import deposit
from examples.plot import Plot
from examples.stage import GATEWAY, Body

GROUPS = (
    *(("plain", size) for size in (2, 3, 4, 6)),
    ("wrong_share", 3),
    ("declined", 4),
    ("wrong_sum", 2),
    ("said_twice", 2),
    ("two_clients", 3),
    ("lost_order", 2),
)
"""What happens to a group, and how many orders it has."""

GROUP_SPREAD_S = 0.25
"""The seconds within which a group's orders are placed, or accepted, one after another."""

NO_OPTIONS: dict[str, str] = {}
UNKNOWN_ORDER_SHARE = {"ord-9999": 88_000}
"""A share for an order that nobody knows."""


def tell(plots: Sequence[Plot], bend: str, at: float) -> None:
    """Write what happens to a group, one rehearsal for all, from its placing to its balance."""
    between = plots[0].stage.between
    for plot in plots:
        deposit.place(plot, at + between(0, GROUP_SPREAD_S), NO_OPTIONS)
    offered_at = at + between(1.3, 3.5)
    if bend == "two_clients":
        for plot in plots:
            deposit.pay(plot, offered_at, NO_OPTIONS)
    else:
        pay(plots, offered_at, UNKNOWN_ORDER_SHARE if bend == "lost_order" else {})
    accepted_at = offered_at + between(1, 4.5)
    for plot in plots:
        declines = bend == "declined" and plot is plots[-1]
        answer = deposit.decline if declines else deposit.accept
        answer(plot, accepted_at + between(0, GROUP_SPREAD_S), NO_OPTIONS)
    _settle(plots, bend, (accepted_at + between(1.3, 2.6), accepted_at + between(5.3, 5.9)))


def pay(plots: Sequence[Plot], at: float, extra_shares: Mapping[str, int]) -> Body:
    """Pay what is due for several orders at once, and perhaps something else."""
    shares = {plot.order_id: deposit.due(plot, at) for plot in plots} | dict(extra_shares)
    first_plot = plots[0]
    body = first_plot.stage.pay(at, at - first_plot.stage.between(0, 0.3), shares)
    return _rehearse(plots, at, body)


def _rehearse(plots: Sequence[Plot], at: float, body: Body) -> Body:
    plots[0].rehearse(at, body)
    for plot in plots:
        plot.last = at
    return body


def _settle(plots: Sequence[Plot], bend: str, payment_times: tuple[float, float]) -> None:
    """Pay the balances: soon and not quite right, and, where that failed, properly later."""
    soon, later = payment_times
    first_plot, *other_plots = plots
    if bend in ("plain", "declined", "lost_order"):
        pay(plots, soon, {})
    elif bend == "wrong_share":
        pay(plots, soon, {first_plot.order_id: deposit.due(first_plot, soon) - 100})
        deposit.pay(first_plot, later, NO_OPTIONS)
    elif bend == "two_clients":
        _refuse(plots, soon, bend)
        deposit.pay(first_plot, later, NO_OPTIONS)
        pay(other_plots, later, {})
    else:
        _refuse(plots, soon, bend)
        pay(plots, later, {})


def _refuse(plots: Sequence[Plot], at: float, bend: str) -> None:
    """Write a payment that goes back whole, and the notice that it has gone."""
    stage, shares = plots[0].stage, {plot.order_id: deposit.due(plot, at) for plot in plots}
    body = stage.pay(at, at - 0.2, shares, plus=500_000 if bend == "wrong_sum" else 0)
    if bend == "said_twice":
        body["shares"].append(body["shares"][0])
        body["amount_fen"] += body["shares"][0]["amount_fen"]
    _rehearse(plots, at, body)
    refund_id = f"rf_{body['payment_id']}"
    plots[0].say(at + 1.5, "confirm_refund", GATEWAY, refund_id=refund_id)
