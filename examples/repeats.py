"""Repeats: what has been said once is said again, the same or not quite."""

from __future__ import annotations

from examples.plot import How, Plot, Verb
from examples.stage import Body


def again(plot: Plot, at: float, _: How) -> None:
    """Send the same command once more."""
    _say(plot, at, _last(plot))


def reuse(plot: Plot, at: float, _: How) -> None:
    """Ask something else under an id that has been used."""
    plot.stage.said.append((at, _last(plot) | {"by": {"role": "client", "id": "client-99"}}))
    plot.last = at


def anew(plot: Plot, at: float, _: How) -> None:
    """Say the same in another message: the order exists, the payment is known."""
    _say(plot, at, _renamed(plot, {}))


def conflict(plot: Plot, at: float, _: How) -> None:
    """Report the same payment with another amount."""
    _say(plot, at, _renamed(plot, {"amount_fen": _last(plot)["amount_fen"] + 100}))


def _renamed(plot: Plot, changes: Body) -> Body:
    last = _last(plot)
    return last | changes | {"id": f"{last['kind']}-{len(plot.stage.said):04}"}


def _say(plot: Plot, at: float, body: Body) -> None:
    plot.stage.said.append((at, body))
    plot.heard(at, body)


def _last(plot: Plot) -> Body:
    if plot.body is None:
        raise LookupError(f"nothing has been said of {plot.order_id} yet")
    return plot.body


VERBS: dict[str, Verb] = {"again": again, "reuse": reuse, "anew": anew, "conflict": conflict}
