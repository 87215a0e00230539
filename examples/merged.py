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

HASTE = 0.25
"""The seconds within which a group's orders are placed, or accepted, one after another."""

ALONE: dict[str, str] = {}
STRAY = {"ord-9999": 88_000}
"""A share for an order that nobody knows."""


def tell(plots: Sequence[Plot], bend: str, at: float) -> None:
    """Write what happens to a group, one rehearsal for all, from its placing to its balance."""
    between = plots[0].stage.between
    for plot in plots:
        deposit.place(plot, at + between(0, HASTE), ALONE)
    offered = at + between(1.3, 3.5)
    if bend == "two_clients":
        for plot in plots:
            deposit.pay(plot, offered, ALONE)
    else:
        pay(plots, offered, STRAY if bend == "lost_order" else {})
    accepted = offered + between(1, 4.5)
    for plot in plots:
        declines = bend == "declined" and plot is plots[-1]
        answer = deposit.decline if declines else deposit.accept
        answer(plot, accepted + between(0, HASTE), ALONE)
    _settle(plots, bend, (accepted + between(1.3, 2.6), accepted + between(5.3, 5.9)))


def pay(plots: Sequence[Plot], at: float, more: Mapping[str, int]) -> Body:
    """Pay what is due for several orders at once, and perhaps something else."""
    shares = {plot.order_id: deposit.due(plot, at) for plot in plots} | dict(more)
    first = plots[0]
    body = first.stage.pay(at, at - first.stage.between(0, 0.3), shares)
    return _heard(plots, at, body)


def _heard(plots: Sequence[Plot], at: float, body: Body) -> Body:
    plots[0].heard(at, body)
    for plot in plots:
        plot.last = at
    return body


def _settle(plots: Sequence[Plot], bend: str, when: tuple[float, float]) -> None:
    """Pay the balances: soon and not quite right, and, where that failed, properly later."""
    soon, later = when
    first, *others = plots
    if bend in ("plain", "declined", "lost_order"):
        pay(plots, soon, {})
    elif bend == "wrong_share":
        pay(plots, soon, {first.order_id: deposit.due(first, soon) - 100})
        deposit.pay(first, later, ALONE)
    elif bend == "two_clients":
        _refuse(plots, soon, bend)
        deposit.pay(first, later, ALONE)
        pay(others, later, {})
    else:
        _refuse(plots, soon, bend)
        pay(plots, later, {})


def _refuse(plots: Sequence[Plot], at: float, bend: str) -> None:
    """Write a payment that goes back whole, and the notice that it has gone."""
    stage, due = plots[0].stage, {one.order_id: deposit.due(one, at) for one in plots}
    body = stage.pay(at, at - 0.2, due, plus=500_000 if bend == "wrong_sum" else 0)
    if bend == "said_twice":
        body["shares"].append(body["shares"][0])
        body["amount_fen"] += body["shares"][0]["amount_fen"]
    _heard(plots, at, body)
    gone = f"rf_{body['payment_id']}"
    plots[0].say(at + 1.5, "confirm_refund", GATEWAY, refund_id=gone)
