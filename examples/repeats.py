"""Repeats: commands that are sent again, the same or not quite."""

from __future__ import annotations

from examples.plot import Options, Plot, Verb
from examples.stage import Body


def again(plot: Plot, at: float, _: Options) -> None:
    """Send the same command once more."""
    _say(plot, at, _last(plot))


def reuse(plot: Plot, at: float, _: Options) -> None:
    """Ask something else under an id that one has used."""
    plot.stage.commands.append((at, _last(plot) | {"name": "另一项任务"}))
    plot.last = at


def anew(plot: Plot, at: float, _: Options) -> None:
    """Send the same under another id: the order exists, the payment is known."""
    _say(plot, at, _renamed(plot, {}))


def conflict(plot: Plot, at: float, _: Options) -> None:
    """Report the same payment with another amount."""
    _say(plot, at, _renamed(plot, {"amount_fen": _last(plot)["amount_fen"] + 100}))


def _renamed(plot: Plot, changes: Body) -> Body:
    last = _last(plot)
    return last | changes | {"id": f"{last['kind']}-{len(plot.stage.commands):04}"}


def _say(plot: Plot, at: float, body: Body) -> None:
    plot.stage.commands.append((at, body))
    plot.rehearse(at, body)


def _last(plot: Plot) -> Body:
    if plot.body is None:
        raise LookupError(f"nothing has been said of {plot.order_id} yet")
    return plot.body


VERBS: dict[str, Verb] = {"again": again, "reuse": reuse, "anew": anew, "conflict": conflict}
